"""The numbers of a specification that have a name: how each is read, and how another is put in its place."""

import difflib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeAlias

from limbeck._checks import check_positive
from limbeck.campaigns.row_share import own_share, with_share
from limbeck.errors import ArgumentError, SpecificationError
from limbeck.objective import HardLabels, Objective, SoftTargets, Weighted
from limbeck.specification import Distillation

Settings: TypeAlias = Mapping[str, float]
"""A number for each of some names of `SETTINGS`."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A number of a specification that has a name."""

    about: str
    """What it is, with its unit and range."""
    own: Callable[[Distillation], float]
    """Reads it. Raises: SpecificationError for a specification that has no such number."""
    set: Callable[[Distillation, float], Distillation]
    """Returns the specification with another one. Raises: SpecificationError, or ArgumentError for its range."""


def applied(spec: Distillation, settings: Settings) -> Distillation:
    """Return the specification with these numbers in place of its own; no settings leave it as it is.

    Raises: SpecificationError for a name that is none, or a number that such a specification does not have;
        ArgumentError for a number out of its range.
    """
    for name, value in settings.items():
        spec = setting_named(name).set(spec, value)
    return spec


def setting_named(name: str) -> Setting:
    """Return the setting of a name. Raises: SpecificationError for a name that is none, with the closest one."""
    if name not in SETTINGS:
        close = difflib.get_close_matches(name, SETTINGS, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(SETTINGS)}."
        raise SpecificationError(f"There is no setting {name!r} to change. {hint}")
    return SETTINGS[name]


def listed(values: Sequence[float]) -> str:
    """Numbers in a sentence: 1, 4 and 8."""
    *others, last = (f"{value:g}" for value in values)
    return f"{', '.join(others)} and {last}" if others else last


# The optimiser's numbers.


def _keyword_of(spec: Distillation, keyword: str, what: str) -> float:
    """The value that an optimiser's keyword has, by the partial or by default. Raises: SpecificationError."""
    if not isinstance(spec.optimizer, partial):
        raise SpecificationError(
            f"The optimiser must be a functools.partial for its {what} to be set, as in partial(torch.optim.Adam, "
            "lr=1e-3)."
        )
    function = spec.optimizer.func
    known = inspect.signature(function).parameters
    value = spec.optimizer.keywords.get(keyword, known[keyword].default if keyword in known else None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        name = getattr(function, "__name__", type(function).__name__)
        raise SpecificationError(f"The optimiser {name} has no number {keyword!r}, so its {what} cannot be set.")
    return float(value)


def _with_keyword(spec: Distillation, keyword: str, what: str, value: float) -> Distillation:
    _keyword_of(spec, keyword, what)  # refuses an optimiser that has none
    assert isinstance(spec.optimizer, partial)
    keywords = {**spec.optimizer.keywords, keyword: float(value)}
    return replace(spec, optimizer=partial(spec.optimizer.func, *spec.optimizer.args, **keywords))


def with_rate(spec: Distillation, value: float) -> Distillation:
    """Set the learning rate. Raises: SpecificationError for an optimiser that is no `partial`; ArgumentError."""
    check_positive("applied", rate=value)
    return _with_keyword(spec, "lr", "rate", value)


def _with_decay(spec: Distillation, value: float) -> Distillation:
    if not 0 <= value < math.inf:
        raise ArgumentError(f"applied: weight_decay must be finite and not negative. Got {value}.")
    return _with_keyword(spec, "weight_decay", "weight decay", value)


# The objective's numbers.


def _temperature(spec: Distillation) -> float:
    soft = {name: term for name, (_, term) in spec.goal.terms.items() if isinstance(term, SoftTargets)}
    if not soft:
        raise SpecificationError("The objective has no SoftTargets, so there is no temperature to change.")
    found = set()
    for name, term in soft.items():
        if callable(term.temperature):
            raise SpecificationError(
                f"The temperature of the term {name!r} changes with the step; give a number for it to be set."
            )
        found.add(float(term.temperature))
    if len(found) > 1:
        raise SpecificationError(
            f"The soft terms have the temperatures {listed(sorted(found))}, and one is set for all; give them the same."
        )
    return found.pop()


def _with_temperature(spec: Distillation, value: float) -> Distillation:
    _temperature(spec)
    return replace(spec, objective=_of_each(spec.goal, SoftTargets, temperature=float(value)))


def _smoothing(spec: Distillation) -> float:
    found = [term.smoothing for _, term in spec.goal.parts if isinstance(term, HardLabels)]
    if not found:
        raise SpecificationError("The objective has no HardLabels, so there are no labels to smooth.")
    return float(found[0])


def _with_smoothing(spec: Distillation, value: float) -> Distillation:
    _smoothing(spec)
    return replace(spec, objective=_of_each(spec.goal, HardLabels, smoothing=float(value)))


def _of_each(objective: Objective, kind: type, **changes: Any) -> Objective:
    for name, (_, term) in objective.terms.items():
        if isinstance(term, kind):
            objective = objective.replaced(name, **changes)
    return objective


def _hard_share(spec: Distillation) -> float:
    """The share of the terms that read labels in the sum of all weights, where there are such and others."""
    hard, soft = _weights(spec, hard=True), _weights(spec, hard=False)
    if not hard or not soft:
        lacks = "HardLabels" if not hard else "soft term"
        raise SpecificationError(f"The objective has no {lacks}, so there is no share of the labels to change.")
    return sum(hard) / (sum(hard) + sum(soft))


def _weights(spec: Distillation, *, hard: bool) -> list[float]:
    found = []
    for weight, term in spec.goal.parts:
        if callable(weight):
            raise SpecificationError(
                f"The weight of the term {term.name!r} changes with the step; give a number for it to be set."
            )
        if term.needs_labels is hard:
            found.append(float(weight))
    return found


def _with_hard_share(spec: Distillation, value: float) -> Distillation:
    """Divide the sum of all weights anew between hard and soft terms; each kind keeps its own proportions."""
    _hard_share(spec)
    if not 0 <= value <= 1:
        raise ArgumentError(f"applied: hard_weight must lie in [0, 1]. Got {value}.")
    sums = {kind: sum(_weights(spec, hard=kind)) for kind in (True, False)}
    counts = {kind: len(_weights(spec, hard=kind)) for kind in (True, False)}
    total, shares = sum(sums.values()), {True: value, False: 1 - value}

    def weighted(part: Weighted) -> Weighted:
        kind = part.term.needs_labels
        assert not callable(part.weight)  # schedules are refused above
        proportion = part.weight / sums[kind] if sums[kind] else 1 / counts[kind]
        return Weighted(total * shares[kind] * proportion, part.term)

    return replace(spec, objective=Objective(tuple(map(weighted, spec.goal.parts))))


# The length.


def _with_epochs(spec: Distillation, value: float) -> Distillation:
    if not float(value).is_integer():
        raise ArgumentError(f"applied: epochs must be a whole number. Got {value}.")
    return replace(spec, epochs=int(value))


SETTINGS: Mapping[str, Setting] = {
    "rate": Setting(
        about="The optimiser's learning rate, > 0.",
        own=partial(_keyword_of, keyword="lr", what="rate"),
        set=with_rate,
    ),
    "weight_decay": Setting(
        about="The optimiser's weight decay, >= 0.",
        own=partial(_keyword_of, keyword="weight_decay", what="weight decay"),
        set=_with_decay,
    ),
    "temperature": Setting(about="Of every SoftTargets, > 0, dimensionless.", own=_temperature, set=_with_temperature),
    "hard_weight": Setting(
        about="Share of the terms that read labels in the sum of all weights, in [0, 1].",
        own=_hard_share,
        set=_with_hard_share,
    ),
    "smoothing": Setting(about="Of the labels, in [0, 1].", own=_smoothing, set=_with_smoothing),
    "epochs": Setting(
        about="Passes over the training rows, >= 1.", own=lambda spec: float(spec.epochs), set=_with_epochs
    ),
    "rows": Setting(
        about="Share of the training rows that the student learns from, in (0, 1].", own=own_share, set=with_share
    ),
}
"""Every number that has a name here."""
