"""What partial answers ask of a student: known values, SciPy, bounds by the full divergence, and slopes."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from functional.cases import PROPERTY, logits_strategy, name_of, random_logits
from limbeck import functional as lf
from limbeck.errors import ArgumentError
from limbeck.functional import coarsened, sampled_cross_entropy
from tolerances import SLACK, assert_close

DIVERGENCES = [lf.forward_kl, lf.reverse_kl, lf.jensen_shannon, lf.total_variation, lf.hinton_kd]
every_divergence = pytest.mark.parametrize("divergence", DIVERGENCES, ids=name_of)


def top(teacher, k, temperature=1.0):
    """Ids, log-probabilities and the log of the tail of a dense teacher, by plain sums."""
    probs = (teacher / temperature).softmax(-1)
    kept, ids = probs.topk(k)
    rest = probs.scatter(-1, ids, 0.0).sum(-1)
    return ids, kept.log(), rest.log()


def of_top(divergence, student, teacher, k, temperature=1.0):
    pair = coarsened(student, *top(teacher, k, temperature), temperature=temperature)
    return divergence(*pair, temperature=temperature)


# Values


def test_four_classes_of_which_two_are_told_apart():
    # p = (1/2, 1/4 | 1/4), q = (1/4, 1/4 | 1/2): KL = 1/2 log 2 - 1/4 log 2 = 1/4 log 2.
    student = torch.tensor([[0.25, 0.25, 0.4, 0.1]], dtype=torch.float64).log()
    ids, log_probs = torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.25]], dtype=torch.float64).log()
    pair = coarsened(student, ids, log_probs, log_probs[:, 1], temperature=1.0)
    assert_close(pair.student.softmax(-1), [[0.25, 0.25, 0.5]])
    assert_close(pair.teacher.softmax(-1), [[0.5, 0.25, 0.25]])
    assert_close(lf.forward_kl(*pair), [math.log(2) / 4])


def test_the_temperature_is_that_of_both():
    # Logits 4 log q: at T = 4 the student's distribution is q, whatever that of the logits is at T = 1.
    student = 4 * torch.tensor([[0.25, 0.25, 0.4, 0.1]], dtype=torch.float64).log()
    ids, log_probs = torch.tensor([[0, 1]]), torch.tensor([[0.5, 0.25]], dtype=torch.float64).log()
    pair = coarsened(student, ids, log_probs, log_probs[:, 1], temperature=4.0)
    assert_close((pair.student / 4).softmax(-1), [[0.25, 0.25, 0.5]])
    assert_close(lf.hinton_kd(*pair, temperature=4.0), [16 * math.log(2) / 4])


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_agrees_with_scipy_on_the_merged_distributions(temperature):
    student, teacher = random_logits(5, 11), random_logits(5, 11, seed=1)
    p, q = ((logits / temperature).softmax(-1).numpy() for logits in (teacher, student))
    expected = []
    for p_row, q_row in zip(p, q, strict=True):
        order = p_row.argsort()[::-1]
        merged = [[*row[order[:4]], row[order[4:]].sum()] for row in (p_row, q_row)]
        expected.append(entropy(*merged))
    assert_close(of_top(lf.forward_kl, student, teacher, 4, temperature), expected)


def test_samples_are_worth_the_log_of_what_the_student_gives_them():
    # q = (1/2, 1/4, 1/4): two draws of the first class and one of the last, 2/3 log 2 + 1/3 log 4 = 4/3 log 2.
    student = torch.tensor([[0.5, 0.25, 0.25]], dtype=torch.float64).log()
    ids, weights = torch.tensor([[0, 2, 0]]), torch.full((1, 3), 1 / 3, dtype=torch.float64)
    assert_close(sampled_cross_entropy(student, ids, weights, temperature=1.0), [4 / 3 * math.log(2)])


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_every_class_weighted_by_its_probability_is_the_whole_cross_entropy(temperature):
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    weights = (teacher / temperature).softmax(-1)
    sampled = sampled_cross_entropy(student, torch.arange(7).expand(5, 7), weights, temperature=temperature)
    assert_close(sampled, lf.soft_cross_entropy(student, teacher, temperature=temperature))


# The whole and its parts


@every_divergence
@given(data=st.data(), k=st.integers(1, 7), temperature=st.sampled_from([0.5, 1.0, 4.0]))
@PROPERTY
def test_is_never_above_the_full_divergence(divergence, data, k, temperature):
    student, teacher = data.draw(logits_strategy(2, 7)), data.draw(logits_strategy(2, 7))
    full = divergence(student, teacher, temperature=temperature)
    assert (of_top(divergence, student, teacher, k, temperature) <= full * (1 + SLACK) + SLACK).all()


@every_divergence
@given(data=st.data(), constant=st.floats(-5, 5))
@PROPERTY
def test_is_the_full_divergence_where_the_tails_are_proportional(divergence, data, constant):
    # Two hand-picked likely classes; on the other five the student's logits are the teacher's and a constant.
    teacher, student = data.draw(logits_strategy(2, 7)), data.draw(logits_strategy(2, 7))
    teacher[:, :2] += 100
    student[:, 2:] = teacher[:, 2:] + constant
    assert_close(of_top(divergence, student, teacher, 2, 20.0), divergence(student, teacher, temperature=20.0))


@every_divergence
def test_is_the_full_divergence_where_every_class_is_told_apart(divergence):
    student, teacher = random_logits(5, 7).requires_grad_(), random_logits(5, 7, seed=1)
    value, full = of_top(divergence, student, teacher, 7, 2.0), divergence(student, teacher, temperature=2.0)
    assert_close(value, full)
    slope, full_slope = (torch.autograd.grad(each.sum(), student)[0] for each in (value, full))
    assert_close(slope, full_slope)


def test_a_stored_tail_is_not_looked_at_where_every_class_is_told_apart():
    teacher = random_logits(5, 7)
    ids, log_probs, _ = top(teacher, 7)
    pair = coarsened(teacher, ids, log_probs, torch.full((5,), -9.0), temperature=1.0)
    assert pair.student[:, -1].isneginf().all() and pair.teacher[:, -1].isneginf().all()
    assert_close(lf.forward_kl(*pair), torch.zeros(5))


# Slopes


@pytest.mark.parametrize("gap", [0.0, 27.0, 80.0])
def test_the_slope_of_a_tail_is_right_however_small_it_is(gap):
    # d/dz of H(p, q) = q - p on the K classes, and q_c (1 - p_tail / q_tail) on the tail.
    student = torch.tensor([[gap, 0.3, -0.2, 0.1]], requires_grad=True)
    tail = torch.tensor([-2.0])
    ids, log_probs = torch.tensor([[0]]), torch.log1p(-tail.exp()).unsqueeze(0)
    pair = coarsened(student, ids, log_probs, tail, temperature=1.0)
    (slope,) = torch.autograd.grad(lf.forward_kl(*pair).sum(), student)
    q = student.detach().double().softmax(-1)[0]
    p_tail = math.exp(-2.0)
    expected = torch.cat((q[:1] - (1 - p_tail), q[1:] - p_tail * q[1:] / q[1:].sum()))
    assert_close(slope, expected.unsqueeze(0))
    assert (slope[0, 1:] < -1e-3).all() or gap == 0.0


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_slopes_are_those_of_finite_differences(k, temperature):
    student, teacher = random_logits(3, 5).requires_grad_(), random_logits(3, 5, seed=1)
    assert torch.autograd.gradcheck(lambda z: of_top(lf.forward_kl, z, teacher, k, temperature), (student,))
    ids, weights = top(teacher, k)[0], torch.full((3, k), 1 / k, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: sampled_cross_entropy(z, ids, weights, temperature=temperature), (student,)
    )


@pytest.mark.parametrize("divergence", [lf.forward_kl, lf.jensen_shannon, lf.total_variation], ids=name_of)
def test_a_teacher_without_a_tail_teaches_a_student_that_has_one(divergence):
    student = random_logits(5, 7).requires_grad_()
    log_probs = random_logits(5, 2, seed=1).log_softmax(-1)
    pair = coarsened(
        student, torch.tensor([[4, 1]]).expand(5, 2), log_probs, torch.full((5,), -math.inf), temperature=2
    )
    values = divergence(*pair, temperature=2.0)
    (slope,) = torch.autograd.grad(values.sum(), student)
    assert values.isfinite().all() and slope.isfinite().all()
    assert (values > 0.01).all()


def test_classes_that_both_rule_out_leave_values_and_slopes():
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    wide_student, wide_teacher = (torch.nn.functional.pad(x, (0, 9), value=-math.inf) for x in (student, teacher))
    for k in (3, 7, 9):
        slopes = []
        for z, t, kept in ((student, teacher, min(k, 7)), (wide_student, wide_teacher, k)):
            leaf = z.clone().requires_grad_()
            slopes.append(torch.autograd.grad(of_top(lf.forward_kl, leaf, t, kept).sum(), leaf)[0])
        assert_close(slopes[1][:, :7], slopes[0])
        assert not slopes[1][:, 7:].any()


@pytest.mark.parametrize("size", [1e4, 3e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_huge_logits_stay_finite(size, dtype):
    student = (size * random_logits(5, 7).sign()).to(dtype).requires_grad_()
    ids, log_probs, tail = top(random_logits(5, 7, seed=1).float(), 3)
    value = lf.forward_kl(*coarsened(student, ids, log_probs, tail, temperature=1.0))
    (slope,) = torch.autograd.grad(value.sum(), student)
    assert value.isfinite().all() and slope.isfinite().all() and value.dtype == torch.float32


def test_a_model_that_has_diverged_is_seen():
    student = random_logits(3, 7)
    student[1, 3] = math.nan
    teacher = random_logits(3, 7, seed=1)
    assert of_top(lf.forward_kl, student, teacher, 2).isnan().tolist() == [False, True, False]


# Form


@pytest.mark.parametrize("rows", [(), (0,), (2, 3)], ids=str)
def test_gives_one_value_per_row(rows):
    student, ids = random_logits(*rows, 7), torch.zeros(*rows, 1, dtype=torch.uint8)
    log_half = torch.full((*rows, 1), math.log(0.5))
    assert coarsened(student, ids, log_half, log_half[..., 0], temperature=2.0).student.shape == (*rows, 2)
    assert sampled_cross_entropy(student, ids, log_half.exp(), temperature=2.0).shape == rows


def test_a_stack_of_students_under_vmap_equals_a_loop():
    students, teacher = random_logits(3, 5, 7), random_logits(5, 7, seed=1)
    gradient = torch.func.grad(lambda rows: of_top(lf.forward_kl, rows, teacher, 2, 2.0).sum())
    assert_close(torch.vmap(gradient)(students), torch.stack([gradient(rows) for rows in students]))


ONE, HALF = torch.tensor([[1]]), torch.tensor([[-0.7]])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((torch.zeros(2, 4), ONE, HALF), r"ids must have one or more classes for each row of student_logits\. Got"),
        ((torch.zeros(1, 4), ONE[:, :0], HALF), "ids must have one or more classes for each row"),
        ((torch.zeros(1, 4), ONE + 3, HALF), r"ids must lie in \[0, 4\)\. Got 4\.$"),
        ((torch.zeros(1, 4), ONE - 2, HALF), r"ids must lie in \[0, 4\)\. Got -1\.$"),
        ((torch.zeros(1, 4), ONE.float(), HALF), "ids must be integer class indices"),
        ((torch.zeros(1, 4), ONE, HALF.expand(1, 2)), "must have the same shape"),
    ],
)
@pytest.mark.parametrize("function", [coarsened, sampled_cross_entropy], ids=name_of)
def test_what_does_not_fit_is_refused(function, arguments, sentence):
    tail = (HALF[:, 0],) if "tail_log_prob" in inspect.signature(function).parameters else ()
    with pytest.raises(ArgumentError, match=f"^{function.__name__}: .*{sentence}"):
        function(*arguments, *tail, temperature=1.0)


def test_a_tail_of_another_shape_is_refused():
    with pytest.raises(ArgumentError, match=r"tail_log_prob must have the shape of ids without their last axis\. Got"):
        coarsened(torch.zeros(1, 4), ONE, HALF, HALF, temperature=1.0)
