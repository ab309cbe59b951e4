"""What every public loss promises; a loss that is not classified in cases.py fails here."""

import inspect
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from functional.cases import (
    EXAMPLES,
    FEELS_A_CONSTANT,
    FUNCTIONS,
    IGNORES_A_CONSTANT,
    IGNORES_RULED_OUT_CLASSES,
    INFINITE_WHERE_ONLY_THE_TEACHER_RULES_OUT,
    KINDS,
    LABEL_LOSSES,
    LOSSES,
    NEEDS_FINITE_LOGITS,
    NOT_SYMMETRIC,
    NOT_ZERO_AT_EQUALITY,
    PAIR_LOSSES,
    PROPERTY,
    PUBLIC,
    SYMMETRIC,
    TEMPERED_LOSSES,
    ZERO_AT_EQUALITY,
    by_name,
    id_of,
    logits_strategy,
    losses,
    name_of,
    random_logits,
)
from limbeck import functional as lf
from limbeck.errors import ArgumentError
from tolerances import SLACK, assert_close

every_loss = pytest.mark.parametrize("loss", LOSSES, ids=id_of)
every_pair_loss = pytest.mark.parametrize("loss", losses(PAIR_LOSSES), ids=id_of)
every_function = pytest.mark.parametrize("function", by_name(FUNCTIONS), ids=name_of)
HALVES = [torch.bfloat16, torch.float16]


def gradients(loss, logits, target):
    """Values, and the gradients of their sum in the logits and, where it is made of logits, in the target."""
    leaves = [logits.clone().requires_grad_()]
    if loss.takes_teacher:
        leaves.append(target.clone().requires_grad_())
    values = loss(leaves[0], leaves[1] if loss.takes_teacher else target)
    return values.detach(), torch.autograd.grad(values.sum(), leaves)


def with_classes_ruled_out(loss, logits, target, extra, value=-math.inf):
    """Append classes that have no probability, to the logits and to the target."""
    wide = torch.nn.functional.pad(logits, (0, extra), value=value)
    if loss.takes_indices:
        return wide, target
    return wide, torch.nn.functional.pad(target, (0, extra), value=value if loss.takes_teacher else 0.0)


# Classification


@every_function
def test_is_of_exactly_one_kind(function):
    assert sum(function in kind for kind in KINDS) == 1


@every_function
def test_has_example_arguments(function):
    assert function in EXAMPLES


@pytest.mark.parametrize(
    ("group", "yes", "no"),
    [
        (PAIR_LOSSES, ZERO_AT_EQUALITY, NOT_ZERO_AT_EQUALITY),
        (PAIR_LOSSES, SYMMETRIC, NOT_SYMMETRIC),
        (PAIR_LOSSES | LABEL_LOSSES, IGNORES_A_CONSTANT, FEELS_A_CONSTANT),
        (PAIR_LOSSES | LABEL_LOSSES, IGNORES_RULED_OUT_CLASSES, NEEDS_FINITE_LOGITS),
    ],
)
def test_every_loss_is_classified_once(group, yes, no):
    assert yes | no == group
    assert not yes & no


def test_exports_are_functions_of_this_package_and_the_one_record():
    assert set(PUBLIC.values()) - FUNCTIONS == {lf.Summed}
    assert all(function.__module__.startswith("limbeck.functional.") for function in FUNCTIONS)


# Form


@every_function
def test_options_are_keyword_only(function):
    tensors = len(EXAMPLES[function][0])
    kinds = [parameter.kind for parameter in inspect.signature(function).parameters.values()]
    assert all(kind is inspect.Parameter.KEYWORD_ONLY for kind in kinds[tensors:])


@every_function
def test_is_pure(function):
    tensors, options = EXAMPLES[function]
    before, random_state = [tensor.clone() for tensor in tensors], torch.get_rng_state()
    first, second = function(*tensors, **options), function(*tensors, **options)
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(list(tensors), before, rtol=0, atol=0)
    assert torch.equal(torch.get_rng_state(), random_state)


@every_loss
@pytest.mark.parametrize("rows", [(), (2,), (0,), (2, 3), (2, 3, 5)], ids=str)
def test_gives_one_value_per_row(loss, rows):
    assert loss(random_logits(*rows, 7), loss.target(*rows, 7)).shape == rows


@every_pair_loss
def test_refuses_two_shapes(loss):
    name = id_of(loss)
    sentence = rf"^{name}: student and teacher must have the same shape\. Got student \(2, 3\), teacher \(2, 5\)\.$"
    with pytest.raises(ArgumentError, match=sentence):
        loss(torch.zeros(2, 3), torch.zeros(2, 5))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize(
    "function", by_name(f for f in FUNCTIONS if "temperature" in inspect.signature(f).parameters), ids=name_of
)
def test_refuses_a_temperature_that_is_not_positive_and_finite(function, temperature):
    tensors, options = EXAMPLES[function]
    sentence = rf"^{function.__name__}: temperature must be a positive finite number\. Got {temperature}\.$"
    with pytest.raises(ArgumentError, match=sentence):
        function(*tensors, **{**options, "temperature": temperature})


# Value


@pytest.mark.parametrize("loss", losses(ZERO_AT_EQUALITY), ids=id_of)
@given(logits=logits_strategy(2, 5), constant=st.floats(-50, 50))
@PROPERTY
def test_is_zero_at_equality(loss, logits, constant):
    assert_close(loss(logits + constant, logits), torch.zeros(2))


@pytest.mark.parametrize("loss", losses(NOT_ZERO_AT_EQUALITY), ids=id_of)
def test_is_not_zero_at_equality(loss):
    logits = random_logits(5, 7)
    assert (loss(logits, logits) > 0.01).all()


@every_loss
def test_is_above_zero_elsewhere(loss):
    assert (loss(random_logits(5, 7), loss.target(5, 7)) > 0.01).all()


@every_pair_loss
@given(student=logits_strategy(2, 5), teacher=logits_strategy(2, 5))
@PROPERTY
def test_is_never_below_zero(loss, student, teacher):
    assert (loss(student, teacher) > -SLACK).all()


@pytest.mark.parametrize("loss", losses(SYMMETRIC), ids=id_of)
@given(student=logits_strategy(2, 5), teacher=logits_strategy(2, 5))
@PROPERTY
def test_is_symmetric(loss, student, teacher):
    assert_close(loss(student, teacher), loss(teacher, student))


@pytest.mark.parametrize("loss", losses(NOT_SYMMETRIC), ids=id_of)
def test_is_not_symmetric(loss):
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    assert ((loss(student, teacher) - loss(teacher, student)).abs() > 0.01).all()


@pytest.mark.parametrize("loss", losses(IGNORES_A_CONSTANT) + TEMPERED_LOSSES, ids=id_of)
@given(logits=logits_strategy(3, 5), constant=st.floats(-50, 50))
@PROPERTY
def test_ignores_a_constant_added_to_all_logits(loss, logits, constant):
    target = loss.target(3, 5)
    moved = target - 2 * constant if loss.takes_teacher else target
    assert_close(loss(logits + constant, moved), loss(logits, target))


@pytest.mark.parametrize("loss", losses(FEELS_A_CONSTANT), ids=id_of)
def test_feels_a_constant_added_to_all_logits(loss):
    logits, target = random_logits(5, 7), loss.target(5, 7)
    assert ((loss(logits + 1, target) - loss(logits, target)).abs() > 0.01).all()


@pytest.mark.parametrize("loss", TEMPERED_LOSSES, ids=id_of)
def test_temperature_divides_the_logits(loss):
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    at_one = loss.function(student / 2.5, teacher / 2.5, temperature=1.0)
    factor = 2.5**2 if loss.function is lf.hinton_kd else 1.0
    assert_close(loss(student, teacher), factor * at_one)


# Rows, classes, masks


@every_loss
def test_permuting_rows_permutes_the_values(loss):
    logits, target = random_logits(5, 3, 7), loss.target(5, 3, 7)
    order = torch.tensor([3, 0, 4, 1, 2])
    assert_close(loss(logits[order], target[order]), loss(logits, target)[order])
    assert_close(loss(logits.transpose(0, 1), target.transpose(0, 1)), loss(logits, target).T)


@every_loss
def test_permuting_classes_of_both_leaves_the_values(loss):
    logits, target = random_logits(5, 7), loss.target(5, 7)
    order = torch.tensor([3, 0, 6, 4, 1, 5, 2])
    moved = order.argsort()[target] if loss.takes_indices else target[:, order]
    assert_close(loss(logits[:, order], moved), loss(logits, target))


@every_loss
@given(keep=st.lists(st.booleans(), min_size=11, max_size=11))
@PROPERTY
def test_a_mask_equals_a_subset(loss, keep):
    kept = torch.tensor(keep)
    logits, target = random_logits(11, 7), loss.target(11, 7)
    masked, subset = lf.masked_sum(loss(logits, target), kept), lf.summed(loss(logits[kept], target[kept]))
    assert_close(masked.mean(), subset.mean())
    assert int(masked.count) == int(subset.count) == sum(keep)


@every_loss
def test_a_stack_of_students_under_vmap_equals_a_loop(loss):
    logits, target = random_logits(3, 5, 7), loss.target(5, 7)
    gradient = torch.func.grad(lambda rows: lf.summed(loss(rows, target)).mean())
    stacked = torch.vmap(gradient)(logits)
    assert_close(stacked, torch.stack([gradient(rows) for rows in logits]))


# Ruled-out classes and extreme logits


@pytest.mark.parametrize("loss", losses(IGNORES_RULED_OUT_CLASSES), ids=id_of)
@pytest.mark.parametrize("value", [-math.inf, -1e4], ids=["ruled out", "all but ruled out"])
def test_scale_does_not_depend_on_the_number_of_classes(loss, value):
    logits, target = random_logits(5, 7), loss.target(5, 7)
    values, slopes = gradients(loss, logits, target)
    wide_values, wide_slopes = gradients(loss, *with_classes_ruled_out(loss, logits, target, extra=93, value=value))
    assert_close(wide_values, values)
    for wide_slope, slope in zip(wide_slopes, slopes, strict=True):
        assert_close(wide_slope[:, :7], slope)
        assert_close(wide_slope[:, 7:], torch.zeros(5, 93))


@every_pair_loss
def test_a_class_that_only_the_teacher_rules_out(loss):
    student, teacher = random_logits(5, 7), random_logits(5, 7, seed=1)
    teacher[:, 2] = -math.inf
    values, (student_slope, teacher_slope) = gradients(loss, student, teacher)
    if loss.function in INFINITE_WHERE_ONLY_THE_TEACHER_RULES_OUT:
        assert values.isposinf().all()
    elif loss.function in NEEDS_FINITE_LOGITS:
        assert not values.isfinite().any()
    else:
        assert_close(values, loss(student, teacher.clamp_min(-1e4)))
        assert student_slope.isfinite().all()
        assert teacher_slope.isfinite().all()


@pytest.mark.parametrize("function", [lf.soft_cross_entropy, lf.forward_kl], ids=name_of)
def test_a_class_that_only_the_student_rules_out_is_infinitely_wrong(function):
    student = torch.tensor([0.0, -math.inf], requires_grad=True)
    value = function(student, torch.zeros(2))
    assert value.isposinf()
    value.backward()
    assert_close(student.grad, [0.5, -0.5])  # q - p, as anywhere


@every_loss
@pytest.mark.parametrize("size", [1e4, 3e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_huge_logits_stay_finite(loss, size, dtype):
    logits, target = (size * random_logits(5, 7).sign()).to(dtype), loss.target(5, 7, dtype=dtype)
    if loss.takes_teacher:
        target = (size * target.sign()).to(dtype)
    values, slopes = gradients(loss, logits, target)
    assert values.isfinite().all()
    assert all(slope.isfinite().all() for slope in slopes)


@every_loss
@given(data=st.data())
@PROPERTY
def test_any_float32_logits_give_finite_values_and_slopes(loss, data):
    logits = data.draw(logits_strategy(2, 3, bound=300.0)).float()
    target = data.draw(logits_strategy(2, 3, bound=300.0)).float() if loss.takes_teacher else loss.target(2, 3)
    values, slopes = gradients(loss, logits, target)
    assert values.isfinite().all()
    assert all(slope.isfinite().all() for slope in slopes)


@every_loss
def test_a_model_that_has_diverged_is_seen(loss):
    logits = random_logits(5, 7)
    logits[1, 3] = math.nan
    assert loss(logits, loss.target(5, 7)).isnan().tolist() == [False, True, False, False, False]


# Types and slopes


@every_loss
@pytest.mark.parametrize("dtype", HALVES, ids=str)
def test_half_types_are_computed_in_float32(loss, dtype):
    logits, target = random_logits(5, 7, dtype=dtype), loss.target(5, 7, dtype=dtype)
    values, (slope, *_) = gradients(loss, logits, target)
    wide_target = target if loss.takes_indices else target.double()
    exact, (exact_slope, *_) = gradients(loss, logits.double(), wide_target)
    assert values.dtype == torch.float32
    assert_close(values, exact)
    assert slope.dtype == dtype  # the slope is handed back in the type of the logits, rounded once
    assert_close(slope, exact_slope)


@every_loss
def test_float64_stays(loss):
    assert loss(random_logits(5, 7), loss.target(5, 7)).dtype == torch.float64


@every_loss
def test_float32_is_close_to_float64(loss):
    logits, target = random_logits(5, 7).float(), loss.target(5, 7).float()
    target = target.long() if loss.takes_indices else target
    exact_target = target if loss.takes_indices else target.double()
    assert loss(logits, target).dtype == torch.float32
    assert_close(loss(logits, target), loss(logits.double(), exact_target))


@pytest.mark.parametrize("loss", LOSSES + TEMPERED_LOSSES, ids=id_of)
def test_slopes_are_those_of_finite_differences(loss):
    logits, target = random_logits(3, 5).requires_grad_(), loss.target(3, 5)
    assert torch.autograd.gradcheck(loss, (logits, target.requires_grad_(loss.takes_teacher)))
