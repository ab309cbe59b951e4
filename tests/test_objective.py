"""The algebra of weighted terms, what they compute, and what they refuse."""

from dataclasses import FrozenInstanceError, dataclass
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from limbeck.errors import ArgumentError, LimbeckError, ObjectiveError
from limbeck.functional import coarsened, forward_kl, jensen_shannon, soft_cross_entropy, total_variation
from limbeck.objective import HardLabels, LogitMatching, Loss, Objective, SoftTargets, Term, Weighted
from limbeck.schedules import Cosine, Linear
from limbeck.types import Batch, LogitKnowledge, Sampled, TopK
from plain import hard_loss_of_labels, soft_loss, soft_loss_of_labels
from tolerances import SLACK, assert_close

ROWS, CLASSES = 7, 5


def logits(seed):
    return 2 * torch.randn(ROWS, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def pair(head="softmax"):
    return LogitKnowledge(logits(0), head), LogitKnowledge(logits(1), head)


class Recorded:
    """A teacher's knowledge of which only one answer is known."""

    def __init__(self, answer):
        self._answer, self.features = answer, {}

    def at(self, temperature):
        return self._answer


def top_two(temperature, classes=CLASSES):
    log_probs, ids = (logits(1) / temperature).log_softmax(-1).topk(2)
    return TopK(ids, log_probs, torch.log1p(-log_probs.exp().sum(-1)), classes)


def every_class_as_a_sample(temperature, classes=CLASSES):
    return Sampled(torch.arange(CLASSES).expand(ROWS, -1), (logits(1) / temperature).softmax(-1), classes)


LABELS = torch.tensor([0, 4, 2, 2, 1, 3, 0])
MULTI_HOT = (logits(2) > 0).double()


@dataclass(frozen=True, kw_only=True)
class Constant(Term):
    """A term of a user's own making."""

    value: float = 1.0
    name: str = "constant"

    def __call__(self, student, teacher, labels, step):
        return torch.full((len(student.at(1.0).logits),), self.value)


# Algebra


def test_a_sum_of_weighted_terms_reads_as_it_is_written():
    objective = 0.9 * SoftTargets(temperature=4.0) + 0.1 * HardLabels()
    assert objective.parts == (Weighted(0.9, SoftTargets(temperature=4.0)), Weighted(0.1, HardLabels()))
    assert list(objective.terms) == ["soft", "hard"]
    assert objective.needs_teacher and objective.needs_labels


def test_a_term_alone_has_the_weight_one():
    assert HardLabels().as_parts() == (Weighted(1.0, HardLabels()),)
    assert (SoftTargets() + HardLabels()).parts == (Weighted(1.0, SoftTargets()), Weighted(1.0, HardLabels()))


def test_weights_multiply_through_a_sum():
    objective = 0.5 * (0.8 * SoftTargets() + HardLabels()) + 2 * LogitMatching()
    assert [part.weight for part in objective.parts] == [0.4, 0.5, 2.0]


def test_terms_say_what_they_need():
    assert not Objective(HardLabels().as_parts()).needs_teacher
    assert not Objective(SoftTargets().as_parts()).needs_labels
    assert Objective(LogitMatching().as_parts()).needs_teacher
    assert not Objective(Constant().as_parts()).needs_teacher


def test_terms_and_objectives_do_not_change():
    with pytest.raises(FrozenInstanceError):
        SoftTargets().temperature = 2.0
    with pytest.raises(FrozenInstanceError):
        (1.0 * HardLabels()).parts = ()


def test_a_sum_with_something_else_is_a_type_error():
    with pytest.raises(TypeError):
        HardLabels() + 1.0
    with pytest.raises(TypeError):
        HardLabels() * HardLabels()


def test_a_weight_may_be_a_schedule_and_be_scaled_by_one_only():
    ramp = Linear(start=0.0, stop=1.0, steps=10)
    objective = ramp * SoftTargets() + HardLabels()
    assert objective.parts[0].weight is ramp
    assert (1.0 * objective).parts[0].weight is ramp
    assert objective.weighted({"soft": 2.0, "hard": 3.0}, 5) == 0.5 * 2.0 + 3.0
    for again in (0.5, ramp):
        with pytest.raises(ObjectiveError, match="'soft' has a schedule for its weight and cannot be scaled once more"):
            again * objective


def test_a_term_of_weight_zero_is_computed_and_logged_and_has_no_say():
    student, teacher = pair()
    value = (0.0 * SoftTargets() + HardLabels())(student, teacher, LABELS, 0)
    assert_close(value.total, F.cross_entropy(student.logits, LABELS, reduction="sum"))
    assert value.sums["soft"] > 0


@pytest.mark.parametrize(
    ("build", "kind", "sentence"),
    [
        (
            lambda: SoftTargets() + SoftTargets(temperature=2.0),
            ObjectiveError,
            "two terms are named 'soft'; give",
        ),
        (lambda: -1.0 * SoftTargets(), ArgumentError, r"the term 'soft' must be finite and not negative\. Got -1\.0\."),
        (lambda: float("nan") * HardLabels(), ArgumentError, "must be finite and not negative"),
        (lambda: float("inf") * HardLabels(), ArgumentError, "must be finite and not negative"),
        (lambda: Objective(()), ObjectiveError, "Objective: there must be at least one term"),
        (lambda: Linear(start=-1, stop=1, steps=9) * HardLabels(), ArgumentError, "must be finite and not negative"),
        (
            lambda: SoftTargets(temperature=0.0),
            ArgumentError,
            "SoftTargets: temperature must be a positive",
        ),
        (
            lambda: SoftTargets(temperature=Linear(start=0, stop=1, steps=3)),
            ArgumentError,
            "temperature must be a posi",
        ),
        (lambda: HardLabels(smoothing=1.5), ArgumentError, r"HardLabels: smoothing must lie in \[0, 1\]\. Got 1\.5\."),
        (lambda: Linear(start=0, stop=1, steps=0), ArgumentError, "Linear: steps must be a positive finite number"),
        (lambda: Cosine(start=0, stop=1, steps=-1), ArgumentError, "Cosine: steps must be a positive finite number"),
    ],
)
def test_what_cannot_be_an_objective_is_refused_when_it_is_written(build, kind, sentence):
    with pytest.raises(kind, match=sentence):
        build()


def test_two_terms_of_one_kind_may_bear_names_of_their_own():
    objective = SoftTargets(temperature=1.0, name="cold") + SoftTargets(temperature=9.0, name="hot")
    student, teacher = pair()
    values = objective(student, teacher, None, 0).sums
    assert_close(values["cold"], ROWS * soft_loss(student.logits, teacher.logits, 1.0))
    assert_close(values["hot"], ROWS * soft_loss(student.logits, teacher.logits, 9.0))


def test_one_term_can_be_replaced_by_name():
    objective = 0.9 * SoftTargets(temperature=4.0) + 0.1 * HardLabels()
    changed = objective.replaced("soft", temperature=8.0, weight=0.5).replaced("hard", smoothing=0.1)
    assert changed == 0.5 * SoftTargets(temperature=8.0) + 0.1 * HardLabels(smoothing=0.1)
    assert objective.parts[0].term.temperature == 4.0
    renamed = objective.replaced("soft", name="gentle")
    assert list(renamed.terms) == ["gentle", "hard"]


def test_replacing_what_is_not_there_is_refused():
    objective = 0.9 * SoftTargets() + 0.1 * HardLabels()
    with pytest.raises(ObjectiveError, match=r"^The objective has no term 'sotf'; it has: soft, hard\.$"):
        objective.replaced("sotf", temperature=2.0)
    with pytest.raises(ArgumentError, match="weight of the term 'soft' must be finite and not negative"):
        objective.replaced("soft", weight=-1.0)
    with pytest.raises(ObjectiveError, match="two terms are named 'hard'"):
        objective.replaced("soft", name="hard")
    with pytest.raises(TypeError):
        objective.replaced("soft", smoothing=0.1)


# Values


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_the_value_is_the_weighted_sum_over_terms_and_rows(temperature):
    student, teacher = pair()
    value = (0.7 * SoftTargets(temperature=temperature) + 0.3 * HardLabels())(student, teacher, LABELS, 0)
    soft = ROWS * soft_loss(student.logits, teacher.logits, temperature)
    hard = F.cross_entropy(student.logits, LABELS, reduction="sum")
    assert_close(value.total, 0.7 * soft + 0.3 * hard)
    assert_close(value.sums["soft"], soft)
    assert value.values["hard"].shape == (ROWS,)


def test_a_sigmoid_head_is_c_questions_of_yes_or_no():
    student, teacher = pair("sigmoid")
    value = (SoftTargets(temperature=2.0) + HardLabels() + LogitMatching())(student, teacher, MULTI_HOT, 0)
    assert_close(value.sums["soft"], ROWS * soft_loss_of_labels(student.logits, teacher.logits, 2.0))
    assert_close(value.sums["hard"], ROWS * hard_loss_of_labels(student.logits, MULTI_HOT))
    # The centred logits of (z, 0) are ±z/2: half the mean of two squares of (z - v)/2, summed over the labels.
    difference = (student.logits - teacher.logits) / 2
    assert_close(value.sums["logits"], 0.5 * difference.square().sum())


def test_smoothed_labels_of_a_sigmoid_head_are_drawn_towards_a_half():
    student, _ = pair("sigmoid")
    value = HardLabels(smoothing=0.2)(student, None, MULTI_HOT, 0).sum()
    assert_close(value, ROWS * hard_loss_of_labels(student.logits, 0.8 * MULTI_HOT + 0.1))


@pytest.mark.parametrize("divergence", [forward_kl, jensen_shannon, total_variation, partial(jensen_shannon, beta=0.2)])
def test_any_divergence_of_the_core_may_teach_always_times_t_squared(divergence):
    student, teacher = pair()
    value = SoftTargets(temperature=3.0, divergence=divergence)(student, teacher, None, 0)
    assert_close(value, 9 * divergence(student.logits, teacher.logits, temperature=3.0))


@pytest.mark.parametrize("divergence", [forward_kl, total_variation, partial(jensen_shannon, beta=0.2)])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_top_k_targets_teach_through_coarse_distributions_times_t_squared(divergence, temperature):
    student, answer = pair()[0], top_two(temperature)
    value = SoftTargets(temperature=temperature, divergence=divergence)(student, Recorded(answer), None, 0)
    coarse = coarsened(student.logits, answer.ids, answer.log_probs, answer.tail_log_prob, temperature=temperature)
    assert_close(value, temperature**2 * divergence(*coarse, temperature=temperature))
    full = SoftTargets(temperature=temperature, divergence=divergence)(*pair(), None, 0)
    assert (value <= full + SLACK).all() and value.sum() < full.sum()


@pytest.mark.parametrize("divergence", [soft_cross_entropy, partial(partial(soft_cross_entropy))])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_sampled_targets_teach_through_cross_entropy_times_t_squared(divergence, temperature):
    soft = SoftTargets(temperature=temperature, divergence=divergence)
    value = soft(pair()[0], Recorded(every_class_as_a_sample(temperature)), None, 0)
    assert_close(value, soft(*pair(), None, 0))


def test_the_log_of_a_value_cannot_be_learnt_from():
    student = LogitKnowledge(logits(0).requires_grad_())
    value = (0.0 * SoftTargets() + HardLabels())(student, pair()[1], LABELS, 0)
    assert value.total.requires_grad and value.values["hard"].requires_grad
    assert not value.sums["hard"].requires_grad


def test_schedules_begin_and_end_where_they_say():
    for kind in (Linear, Cosine):
        schedule = kind(start=4.0, stop=1.0, steps=10)
        values = [schedule(step) for step in range(13)]
        assert values[0] == 4.0 and values[10:] == [1.0] * 3
        assert values == sorted(values, reverse=True)
        assert schedule(5) == pytest.approx(2.5)
    assert Cosine(start=4.0, stop=1.0, steps=10)(1) > Linear(start=4.0, stop=1.0, steps=10)(1)


def test_the_heart_of_training_calls_the_student_on_its_own_input():
    def ours(columns): ...

    def theirs(columns): ...

    batch = Batch({ours: logits(0), theirs: None}, LABELS, torch.arange(ROWS))
    loss = Loss(0.5 * HardLabels() + 0.5 * SoftTargets(), ours)
    value = loss(lambda inputs: {"logits": 2 * inputs}, batch, pair()[1], 0)
    assert_close(value.sums["hard"], F.cross_entropy(2 * logits(0), LABELS, reduction="sum"))


# Refusals


@dataclass(frozen=True, kw_only=True)
class Mean(Term):
    """A term that reduces too early."""

    name: str = "mean"

    def __call__(self, student, teacher, labels, step):
        return student.at(1.0).logits.mean()


def reduced(student, teacher, *, temperature):
    return F.kl_div(student.log_softmax(-1), teacher.log_softmax(-1), log_target=True, reduction="batchmean")


@pytest.mark.parametrize(
    ("term", "labels", "with_teacher", "sentence"),
    [
        (HardLabels(), None, True, r"^Term 'hard' cannot be computed: the rows have no labels$"),
        (SoftTargets(), LABELS, False, r"^Term 'soft' cannot be computed: there is no teacher$"),
        (LogitMatching(), LABELS, False, r"^Term 'logits' cannot be computed: there is no teacher$"),
        (
            HardLabels(),
            LABELS + 9,
            True,
            r"^Term 'hard' cannot be computed: cross_entropy: labels must lie in \[0, 5\)",
        ),
        (HardLabels(), LABELS.double(), True, "labels must be integer class indices"),
        (HardLabels(), LABELS[:3], True, "labels must have the shape of logits without their last axis"),
        (Mean(), LABELS, True, r"^Term 'mean' must give one value per row, not reduced\. Got shape \(\)\.$"),
        (SoftTargets(divergence=reduced), LABELS, True, r"^Term 'soft' must give one value per row, not reduced"),
    ],
)
def test_a_term_that_cannot_be_computed_is_named(term, labels, with_teacher, sentence):
    student, teacher = pair()
    with pytest.raises(ObjectiveError, match=sentence) as caught:
        Objective(term.as_parts())(student, teacher if with_teacher else None, labels, 0)
    assert "\n" not in str(caught.value)


SAMPLED, TOP_TWO = every_class_as_a_sample(1.0), top_two(1.0)


@pytest.mark.parametrize(
    ("term", "answer", "head", "sentence"),
    [
        (
            SoftTargets(),
            SAMPLED,
            "softmax",
            "soft_cross_entropy alone, not of forward_kl; give divergence=soft_cross_e",
        ),
        (SoftTargets(divergence=partial(jensen_shannon, beta=0.3)), SAMPLED, "softmax", "not of jensen_shannon; give"),
        (SoftTargets(), TOP_TWO, "sigmoid", "are top-k targets of a softmax head, and the student has a sigmoid head"),
        (SoftTargets(), SAMPLED, "sigmoid", "are sampled targets of a softmax head, and the student has a sigmoid"),
        (SoftTargets(), top_two(1.0, 9), "softmax", r"top-k targets are of 9 classes, and the student has 5; give"),
        (
            SoftTargets(divergence=soft_cross_entropy),
            every_class_as_a_sample(1.0, 4),
            "softmax",
            "sampled targets are of 4 classes, and the student has 5; give",
        ),
        (LogitMatching(), TOP_TWO, "softmax", "answers are top-k targets, and logits are matched class by class; re"),
        (LogitMatching(), SAMPLED, "softmax", "answers are sampled targets, and logits are matched class by class"),
    ],
)
def test_partial_answers_that_cannot_teach_are_refused_by_name(term, answer, head, sentence):
    with pytest.raises(ObjectiveError, match=f"^Term '{term.name}' cannot be computed: .*{sentence}") as caught:
        Objective(term.as_parts())(pair(head)[0], Recorded(answer), LABELS, 0)
    assert "\n" not in str(caught.value)


def test_the_cause_is_kept():
    with pytest.raises(ObjectiveError) as caught:
        (1.0 * HardLabels())(pair()[0], None, LABELS + 9, 0)
    assert isinstance(caught.value.__cause__, LimbeckError)


def test_teacher_and_student_of_different_widths_are_refused_by_shape():
    student, teacher = pair()[0], LogitKnowledge(torch.zeros(ROWS, 4, dtype=torch.float64))
    with pytest.raises(ObjectiveError, match=r"same shape\. Got student \(7, 5\), teacher \(7, 4\)\."):
        (1.0 * SoftTargets())(student, teacher, LABELS, 0)


def test_a_temperature_that_falls_to_zero_on_its_way_is_refused_when_it_gets_there():
    student, teacher = pair()
    objective = 1.0 * SoftTargets(temperature=Linear(start=1.0, stop=0.0, steps=4))
    objective(student, teacher, None, 3)
    with pytest.raises(ObjectiveError, match="Term 'soft' cannot be computed: forward_kl: temperature must be"):
        objective(student, teacher, None, 4)
