"""Floor 2. What the student is asked to do: named, weighted terms -> one loss.

    0.9 * SoftTargets(temperature=4.0) + 0.1 * HardLabels()

A term gives one value per row (in nats, but for logit matching); the objective sums them over the rows, weighted, and
leaves the division to whoever knows the count of the whole window (micro-batches, ranks): summed, and divided once.

Shape legend, this file:  B rows of a batch, C classes or labels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol, Self, final

from torch import Tensor

from limbeck._checks import check_fraction, check_positive
from limbeck.errors import ArgumentError, LimbeckError, MismatchError, ObjectiveError
from limbeck.functional.divergences import forward_kl, soft_cross_entropy
from limbeck.functional.labels import binary_cross_entropy, cross_entropy, smoothed_cross_entropy
from limbeck.functional.matching import logit_matching
from limbeck.functional.partial import coarsened, sampled_cross_entropy
from limbeck.models import CallModel, knowledge_of
from limbeck.schedules import Schedule, value_at
from limbeck.types import Answer, Batch, Dense, Head, Knowledge, LogitKnowledge, Prepare, Sampled, TopK


class Divergence(Protocol):
    """A divergence of the core: logits (..., C) of student and teacher -> (...), in nats, at a temperature."""

    def __call__(self, student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
        """Return one value for each distribution."""


class _Algebra:
    """`weight * term` and `term + term`, for terms and objectives alike."""

    def as_parts(self) -> "tuple[Weighted, ...]":
        raise NotImplementedError

    def __rmul__(self, weight: "float | Schedule") -> "Objective":
        return Objective(tuple(part.scaled(weight) for part in self.as_parts()))

    def __add__(self, other: "_Algebra") -> "Objective":
        if not isinstance(other, _Algebra):
            return NotImplemented
        return Objective(self.as_parts() + other.as_parts())


class Term(_Algebra):
    """One thing asked of the student. Subclasses are frozen records with a `name` and a `__call__`."""

    needs_teacher: ClassVar[bool] = False
    """Whether it compares with a teacher."""
    needs_labels: ClassVar[bool] = False
    """Whether it reads labels."""
    name: str
    """The name under which it is logged and overridden."""

    def as_parts(self) -> "tuple[Weighted, ...]":
        """Return the term as the only part of an objective, with weight 1."""
        return (Weighted(1.0, self),)

    def __call__(self, student: LogitKnowledge, teacher: Knowledge | None, labels: Tensor | None, step: int) -> Tensor:
        """One value per row, (B,), not reduced, differentiable in the student's logits."""
        raise NotImplementedError


@final
@dataclass(frozen=True, kw_only=True)
class SoftTargets(Term):
    """T² · D(teacher, student) at temperature T: with the default divergence `hinton_kd`, always scaled.

    The gradients of the Kullback-Leibler and Jensen-Shannon divergences fall like 1/T², which the factor makes up for
    (Hinton et al. 2015, section 2); those of `total_variation` fall like 1/T, so that its weight must follow T.
    For a sigmoid head, the sum over the labels of the divergence between two yes/no distributions.

    Of a recorded teacher who tells only the likeliest classes apart, the divergence is that of the coarse distributions
    (`limbeck.functional.coarsened`): a lower bound of the full one. One who gives drawn classes can be learnt from with
    `divergence=soft_cross_entropy` alone, of which they are an unbiased estimate.

    Raises: ArgumentError for a temperature that is not positive and finite.
    """

    needs_teacher: ClassVar[bool] = True

    temperature: float | Schedule = 4.0
    """Softmax temperature of both models, > 0, dimensionless; or a schedule of the optimiser's step."""
    divergence: Divergence = forward_kl
    """Any divergence of `limbeck.functional`, or a `partial` of one."""
    name: str = "soft"
    """The name under which it is logged and overridden."""

    def __post_init__(self) -> None:
        check_positive("SoftTargets", temperature=value_at(self.temperature, 0))

    def __call__(self, student: LogitKnowledge, teacher: Knowledge | None, labels: Tensor | None, step: int) -> Tensor:
        """T² · divergence per row, (B,), in nats."""
        temperature = value_at(self.temperature, step)
        value = self._value(student.at(temperature), _known(teacher).at(temperature), temperature)
        return temperature**2 * _per_row(value)

    def _value(self, student: Dense, teacher: Answer, temperature: float) -> Tensor:
        if isinstance(teacher, Dense):
            return self.divergence(student.as_categorical(), teacher.as_categorical(), temperature=temperature)
        _require_same_classes(student, teacher)
        logits = student.logits
        if isinstance(teacher, TopK):
            pair = coarsened(logits, teacher.ids, teacher.log_probs, teacher.tail_log_prob, temperature=temperature)
            return self.divergence(pair.student, pair.teacher, temperature=temperature)
        _require_cross_entropy(self.divergence)
        return sampled_cross_entropy(logits, teacher.ids, teacher.weights, temperature=temperature)


@final
@dataclass(frozen=True, kw_only=True)
class HardLabels(Term):
    """Cross-entropy with the labels at T = 1; for a sigmoid head, summed over the labels.

    Raises: ArgumentError for a smoothing outside [0, 1].
    """

    needs_labels: ClassVar[bool] = True

    smoothing: float = 0.0
    """Share of a label's mass spread evenly over all classes (over yes and no, for a sigmoid head), in [0, 1]."""
    name: str = "hard"
    """The name under which it is logged and overridden."""

    def __post_init__(self) -> None:
        check_fraction("HardLabels", smoothing=self.smoothing)

    def __call__(self, student: LogitKnowledge, teacher: Knowledge | None, labels: Tensor | None, step: int) -> Tensor:
        """Cross-entropy per row, (B,), in nats."""
        if labels is None:
            raise ObjectiveError("the rows have no labels")
        answer = student.at(1.0)
        if answer.head == "sigmoid":
            return binary_cross_entropy(answer.logits, labels * (1 - self.smoothing) + self.smoothing / 2)
        if self.smoothing:
            return smoothed_cross_entropy(answer.logits, labels, smoothing=self.smoothing)
        return cross_entropy(answer.logits, labels)


@final
@dataclass(frozen=True, kw_only=True)
class LogitMatching(Term):
    """Half the mean squared difference of the centred logits: the limit of `SoftTargets` as T grows (Caruana).

    An arithmetic ensemble has logits only at a temperature: those at T = 1 are matched, the logs of its probabilities.
    """

    needs_teacher: ClassVar[bool] = True

    name: str = "logits"
    """The name under which it is logged and overridden."""

    def __call__(self, student: LogitKnowledge, teacher: Knowledge | None, labels: Tensor | None, step: int) -> Tensor:
        """Half the mean squared difference per row, (B,)."""
        answer = _known(teacher).at(1.0)
        if not isinstance(answer, Dense):
            raise MismatchError(
                f"the teacher's answers are {_KINDS[type(answer)]}, and logits are matched class by class; "
                "record dense or low-rank targets, or take SoftTargets instead"
            )
        return _per_row(logit_matching(student.at(1.0).as_categorical(), answer.as_categorical()))


def _per_row(values: Tensor) -> Tensor:
    """(B,) as it is; (B, C) of a sigmoid head summed over its labels."""
    return values if values.ndim < 2 else values.flatten(1).sum(-1)


_KINDS: Mapping[type, str] = {TopK: "top-k targets", Sampled: "sampled targets"}


def _require_same_classes(student: Dense, teacher: TopK | Sampled) -> None:
    kind = _KINDS[type(teacher)]
    if student.head != "softmax":
        raise MismatchError(
            f"the teacher's answers are {kind} of a softmax head, and the student has a {student.head} head; "
            "record dense targets, or give the student a softmax head"
        )
    classes = student.logits.shape[-1]
    if classes != teacher.classes:
        raise MismatchError(
            f"the teacher's {kind} are of {teacher.classes} classes, and the student has {classes}; give both the same"
        )


def _require_cross_entropy(divergence: Divergence) -> None:
    inner = _unwrapped(divergence)
    if inner is not soft_cross_entropy:
        raise MismatchError(
            "sampled targets give an unbiased estimate of soft_cross_entropy alone, not of "
            f"{getattr(inner, '__name__', type(inner).__name__)}; "
            "give divergence=soft_cross_entropy, or record dense or top-k targets."
        )


def _unwrapped(divergence: object) -> object:
    """The function inside any number of partials."""
    while isinstance(divergence, partial):
        divergence = divergence.func
    return divergence


def _known(teacher: Knowledge | None) -> Knowledge:
    if teacher is None:
        raise ObjectiveError("there is no teacher")
    return teacher


class Weighted(NamedTuple):
    """A term and its weight: a number, or a schedule of the optimiser's step."""

    weight: float | Schedule
    """Not negative."""
    term: Term
    """What is weighted."""

    def scaled(self, factor: float | Schedule) -> "Weighted":
        """Multiply the weight; at most one of the two may be a schedule."""
        if not callable(factor) and not callable(self.weight):
            return Weighted(float(factor) * self.weight, self.term)
        if factor == 1.0 or self.weight == 1.0:
            return Weighted(self.weight if factor == 1.0 else factor, self.term)
        raise ObjectiveError(f"Term {self.term.name!r} has a schedule for its weight and cannot be scaled once more.")


class ObjectiveValue(NamedTuple):
    """What an objective says of one batch."""

    total: Tensor
    """Scalar, differentiable: the weighted sum over terms and rows; divide by the count of rows of the whole window."""
    values: Mapping[str, Tensor]
    """Each term's value per row, (B,), unweighted and differentiable."""
    sums: Mapping[str, Tensor]
    """Each term's sum over the rows, unweighted and detached: what gets logged."""


@final
@dataclass(frozen=True)
class Objective(_Algebra):
    """Named, weighted terms. Written as a sum: `0.9 * SoftTargets(temperature=4.0) + 0.1 * HardLabels()`.

    Raises: ArgumentError for a weight that is negative or infinite; ObjectiveError for two terms of one name, or none.
    """

    parts: tuple[Weighted, ...]
    """The terms with their weights, in the order written."""

    def __post_init__(self) -> None:
        if not self.parts:
            raise ObjectiveError("Objective: there must be at least one term.")
        names = [part.term.name for part in self.parts]
        for weight, term in self.parts:
            if names.count(term.name) > 1:
                raise ObjectiveError(f"Objective: two terms are named {term.name!r}; give one of them another name=….")
            start = value_at(weight, 0)
            if not (start >= 0 and math.isfinite(start)):
                raise ArgumentError(
                    f"Objective: the weight of the term {term.name!r} must be finite and not negative. Got {start}."
                )

    def as_parts(self) -> tuple[Weighted, ...]:
        """Return the weighted terms."""
        return self.parts

    @property
    def terms(self) -> Mapping[str, Weighted]:
        """The weighted terms by name."""
        return {part.term.name: part for part in self.parts}

    @property
    def asks_something(self) -> bool:
        """Whether any term has a weight above zero, or one that changes with the step."""
        return any(callable(part.weight) or part.weight > 0 for part in self.parts)

    @property
    def needs_teacher(self) -> bool:
        """Whether any term compares with a teacher."""
        return any(part.term.needs_teacher for part in self.parts)

    @property
    def needs_labels(self) -> bool:
        """Whether any term reads labels."""
        return any(part.term.needs_labels for part in self.parts)

    def __call__(
        self, student: LogitKnowledge, teacher: Knowledge | None, labels: Tensor | None, step: int
    ) -> ObjectiveValue:
        """Evaluate all terms on one batch. Raises: ObjectiveError that names the term that failed."""
        values: dict[str, Tensor] = {}
        sums: dict[str, Tensor] = {}
        total: Tensor | None = None
        for weight, term in self.parts:
            try:
                value = term(student, teacher, labels, step)
            except LimbeckError as error:
                raise ObjectiveError(f"Term {term.name!r} cannot be computed: {error}") from error
            if value.ndim != 1:  # a mean or a matrix would be summed too, at another scale than the other terms
                raise ObjectiveError(
                    f"Term {term.name!r} must give one value per row, not reduced. Got shape {tuple(value.shape)}."
                )
            summed = value.sum()
            values[term.name], sums[term.name] = value, summed.detach()
            weighted = value_at(weight, step) * summed
            total = weighted if total is None else total + weighted
        assert total is not None  # an objective without terms is refused
        return ObjectiveValue(total, values, sums)

    def weighted(self, means: Mapping[str, float], step: int) -> float:
        """Return the weighted sum of the terms' means at a step: the loss per row, for the record."""
        return sum(value_at(part.weight, step) * means[part.term.name] for part in self.parts)

    def replaced(self, name: str, /, **changes: Any) -> Self:
        """Return the objective with fields of one term changed; `weight` is one of them."""
        if name not in self.terms:
            raise ObjectiveError(f"The objective has no term {name!r}; it has: {', '.join(self.terms)}.")
        weight, term = self.terms[name]
        weight = changes.pop("weight", weight)
        changed = Weighted(weight, replace(term, **changes))  # type: ignore[type-var]
        return type(self)(tuple(changed if part.term.name == name else part for part in self.parts))


@final
@dataclass(frozen=True)
class Loss:
    """The pure heart of training: `loss(call_student, batch, knowledge, step)`.

    The loop passes the prepared module, so that DDP and FSDP hooks fire; a stack of students passes a
    `functional_call` under `vmap`; a probe passes the unwrapped module.
    """

    objective: Objective
    """What is asked of the student."""
    prepare: Prepare
    """The student's `prepare`, whose output is read from the batch."""
    head: Head = "softmax"
    """How the student's logits become probabilities."""

    def __call__(self, call_student: CallModel, batch: Batch, knowledge: Knowledge | None, step: int) -> ObjectiveValue:
        """Call the student on its input and evaluate the objective at the optimiser's `step`."""
        student = knowledge_of(call_student, batch.inputs[self.prepare], self.head)
        return self.objective(student, knowledge, batch.labels, step)
