"""What becomes of an objective when one kind of its terms is dropped: the others take over its weight.

The sum of all weights is kept. A term that reads labels and `SoftTargets`, with its factor T², pull at the logits with
forces of the same order at the same weight (Hinton et al. 2015, section 2), so that a learning rate that suits the one
objective suits the other: what is dropped is what the term says, not a part of the step's length.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from limbeck.campaigns.arms import LeftOut
from limbeck.objective import HardLabels, LogitMatching, Objective, SoftTargets, Term, Weighted
from limbeck.schedules import Schedule, value_at


@final
@dataclass(frozen=True)
class Total:
    """The sum of several weights, some of which change with the step: a schedule."""

    weights: tuple[float | Schedule, ...]
    """Numbers, and schedules of the optimiser's step."""

    def __call__(self, step: int) -> float:
        """Return the sum at a step."""
        return sum(value_at(weight, step) for weight in self.weights)


def is_soft(term: Term) -> bool:
    """Whether a term compares with a teacher."""
    return term.needs_teacher


def is_hard(term: Term) -> bool:
    """Whether a term reads labels and no teacher."""
    return term.needs_labels and not term.needs_teacher


def on_labels_alone(objective: Objective) -> Objective:
    """Drop what compares with a teacher; the terms that read labels take over its weight, in their own proportions.

    Without such terms there is one `HardLabels`. Terms that do neither stay as they are.

    >>> kept = on_labels_alone(0.75 * SoftTargets() + 0.25 * HardLabels())
    >>> [(part.weight, part.term.name) for part in kept.parts]
    [(1.0, 'hard')]
    """
    return _taken_over(objective, is_hard, is_soft, HardLabels())


def on_targets_alone(objective: Objective) -> Objective:
    """Drop what reads labels alone; the terms that compare with a teacher take over its weight.

    >>> kept = on_targets_alone(0.75 * SoftTargets() + 0.25 * HardLabels())
    >>> [(part.weight, part.term.name) for part in kept.parts]
    [(1.0, 'soft')]
    """
    return _taken_over(objective, is_soft, is_hard, SoftTargets())


def _taken_over(
    objective: Objective, own: Callable[[Term], bool], other: Callable[[Term], bool], instead: Term
) -> Objective:
    staying = [part for part in objective.parts if own(part.term)] or [Weighted(1.0, instead)]
    counted = [part for part in objective.parts if own(part.term) or other(part.term)]
    shared = iter(_weighted_like(staying, total_of(counted)))
    kept = [next(shared) if own(part.term) else part for part in objective.parts if not other(part.term)]
    return Objective((*kept, *shared))


def total_of(parts: Sequence[Weighted]) -> float | Schedule:
    """Return the sum of the weights: a number, or a schedule where one of them is.

    >>> total_of([Weighted(0.5, HardLabels()), Weighted(1.5, SoftTargets())])
    2.0
    """
    weights = tuple(part.weight for part in parts)
    fixed = [weight for weight in weights if not callable(weight)]
    return float(sum(fixed)) if len(fixed) == len(weights) else Total(weights)


def _weighted_like(parts: Sequence[Weighted], total: float | Schedule) -> list[Weighted]:
    """Weigh terms so that their weights sum to a total, in the proportions that they have."""
    if len(parts) == 1:
        return [Weighted(total, parts[0].term)]
    own = total_of(parts)
    if callable(own) or callable(total):
        raise LeftOut(
            f"the weights of {' and '.join(part.term.name for part in parts)} change with the step, so that they "
            "cannot be shared out anew"
        )
    shares = [value_at(part.weight, 0) / own if own else 1 / len(parts) for part in parts]
    return [Weighted(total * share, part.term) for share, part in zip(shares, parts, strict=True)]


def share_of_labels(objective: Objective) -> float:
    """Return the share of the terms that read labels in the sum of all weights, in [0, 1].

    Raises: LeftOut where a weight changes with the step.
    """
    hard = total_of([part for part in objective.parts if is_hard(part.term)])
    soft = total_of([part for part in objective.parts if is_soft(part.term)])
    if callable(hard) or callable(soft):
        raise LeftOut("the weights of the objective change with the step, so that labels have no one share in it")
    return hard / (hard + soft) if hard + soft else 0.0


def temperature_asked(objective: Objective) -> float:
    """Return the one temperature at which an objective asks its teacher; altered targets answer no other.

    Raises: LeftOut where it changes with the step, where there are two, and for terms that do not tell.
    """
    found = set()
    for _, term in objective.parts:
        if not is_soft(term):
            continue
        if isinstance(term, SoftTargets):
            if callable(term.temperature):
                raise LeftOut(
                    f"the temperature of the term {term.name!r} changes with the step, and altered targets answer one "
                    "temperature"
                )
            found.add(float(term.temperature))
        elif isinstance(term, LogitMatching):
            found.add(1.0)
        else:
            raise LeftOut(f"the term {term.name!r} does not tell at which temperature it asks its teacher")
    if len(found) != 1:
        listed = " and ".join(f"{value:g}" for value in sorted(found))
        raise LeftOut(
            f"the objective asks its teacher at the temperatures {listed}, and altered targets answer one"
            if found
            else "the objective asks no teacher"
        )
    return found.pop()
