"""Which numbers of a specification a search may change, and how a specification is changed by them."""

import difflib
import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, final

from limbeck._checks import check_positive
from limbeck.errors import ArgumentError, MismatchError, SpecificationError
from limbeck.objective import HardLabels, Objective, SoftTargets, Weighted
from limbeck.specification import Distillation, Json
from limbeck.targets.open import is_store, open_targets
from limbeck.targets.remote import is_address
from limbeck.targets.store import Targets
from limbeck.training.resolve import load_splits

RATE_SPAN = 30.0
"""The learning rates of `default_space` reach from the specification's own divided by this to it times this."""
TEMPERATURES = (1.0, 20.0)
"""The temperatures of `default_space`, where the targets answer every one."""
DECAYS = (0.0, 1e-5, 1e-4, 1e-3, 1e-2)
"""The weight decays of `default_space`: none, and a power of ten each."""
MOST_HARD = 0.9
"""The largest share of the hard terms in `default_space`: at 1 nothing would be left to distil."""
MOST_SMOOTHING = 0.3
"""The largest smoothing of the labels in `default_space`."""


@final
@dataclass(frozen=True)
class Range:
    """Any number between two. Raises: ArgumentError for bounds that are none."""

    low: float
    """The smallest."""
    high: float
    """The largest, above `low`."""
    log: bool = False
    """Whether numbers are drawn evenly by their logarithm; `low` is then above zero."""
    whole: bool = False
    """Whether only whole numbers are drawn."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise ArgumentError(f"Range: low must be below high, both finite. Got {self.low} and {self.high}.")
        if self.log and self.low <= 0:
            raise ArgumentError(f"Range: a logarithmic range begins above zero. Got low {self.low}.")
        if self.whole and not (float(self.low).is_integer() and float(self.high).is_integer()):
            raise ArgumentError(f"Range: a range of whole numbers has whole bounds. Got {self.low} and {self.high}.")

    @property
    def ends(self) -> tuple[float, ...]:
        """The numbers that are looked at to see whether a specification can take all of it."""
        return (self.low, self.high)

    def nearest(self, value: float) -> float:
        """Return the number of the range that is nearest to a value."""
        inside = min(max(value, self.low), self.high)
        return float(round(inside)) if self.whole else inside


@final
@dataclass(frozen=True)
class Choice:
    """One of several numbers. Raises: ArgumentError where there are none, or one of them twice."""

    values: tuple[float, ...]
    """The numbers, each once."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", tuple(map(float, self.values)))
        if not self.values or len(set(self.values)) < len(self.values) or not all(map(math.isfinite, self.values)):
            raise ArgumentError(f"Choice: values must be finite and distinct, at least one. Got {list(self.values)}.")

    @property
    def ends(self) -> tuple[float, ...]:
        """The numbers that are looked at to see whether a specification can take all of it."""
        return self.values

    def nearest(self, value: float) -> float:
        """Return the number that is nearest to a value."""
        return min(self.values, key=lambda known: abs(known - value))


Space: TypeAlias = Mapping[str, Range | Choice]
"""What a search may change, by the names of `SETTINGS`."""

Settings: TypeAlias = Mapping[str, float]
"""A number for each name of a space."""


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
        spec = _setting(name).set(spec, value)
    return spec


def own_settings(spec: Distillation, space: Space) -> dict[str, float]:
    """Read a specification's own numbers, or the nearest that a space allows: where a search begins.

    Raises: SpecificationError for a name that is none, or a number that such a specification does not have.
    """
    return {name: part.nearest(_setting(name).own(spec)) for name, part in space.items()}


def default_space(spec: Distillation) -> Space:
    """Return what is worth searching for a specification, its own numbers always among it.

    The learning rate, from a thirtieth of the specification's own to thirty times it; the weight decay, where the
    optimiser knows one; the temperature of soft terms, where it is one constant: those that recorded targets answer
    exactly, else 1 to 20; the share of the hard terms beside soft ones, up to 0.9; the smoothing of labels that are
    smoothed.

    Raises: SpecificationError for an optimiser whose rate cannot be set; what reading the targets raises.
    """
    rate = SETTINGS["rate"].own(spec)
    space: dict[str, Range | Choice] = {
        "rate": Range(_two_digits(rate / RATE_SPAN), _two_digits(rate * RATE_SPAN), True)
    }
    if (decay := _own(spec, "weight_decay")) is not None:
        space["weight_decay"] = Choice(tuple(sorted({*DECAYS, decay})))
    if (temperature := _own(spec, "temperature")) is not None:
        known, (low, high) = answerable(spec), TEMPERATURES
        if known is None:
            space["temperature"] = Range(min(low, temperature), max(high, temperature), True)
        elif len(known) > 1:
            space["temperature"] = Choice(known)
    if (share := _own(spec, "hard_weight")) is not None and share < 1:
        space["hard_weight"] = Range(0.0, max(MOST_HARD, share))
    if (smoothing := _own(spec, "smoothing")) is not None and smoothing > 0:
        space["smoothing"] = Range(0.0, max(MOST_SMOOTHING, smoothing))
    return space


def check_space(spec: Distillation, space: Space) -> None:
    """Refuse a space that a specification cannot take, or whose temperatures its recorded targets cannot answer.

    Raises: SpecificationError, ArgumentError or MismatchError, each in one sentence.
    """
    for name, part in space.items():
        for value in part.ends:
            applied(spec, {name: value})
    if "temperature" in space:
        _require_answerable(spec, space["temperature"])


def answerable(spec: Distillation) -> tuple[float, ...] | None:
    """The temperatures that a specification's recorded targets answer exactly; None for every one.

    Raises: what reading the targets raises.
    """
    targets = recorded_targets(spec)
    return None if targets is None else targets.temperatures


def recorded_targets(spec: Distillation) -> Targets | None:
    """Open what a specification's teacher was recorded as; None where it is a live one, or none.

    Raises: what reading the targets raises.
    """
    source = _targets_of(spec)
    if source is None:
        return None
    if is_address(str(source)) or Path(source).is_dir():
        return open_targets(source)
    rows = load_splits(spec).train  # the columns of a file are the data's classes
    return open_targets(source, classes=rows.classes, head=rows.head)


def space_to_json(space: Space) -> dict[str, Json]:
    """Encode a space."""
    return {name: _part_to_json(part) for name, part in space.items()}


def space_from_json(encoded: Mapping[str, Any]) -> Space:
    """Rebuild what `space_to_json` encoded. Raises: SpecificationError or ArgumentError for what it would not write."""
    return {name: _part_from_json(name, part) for name, part in encoded.items()}


def _part_to_json(part: Range | Choice) -> Json:
    if isinstance(part, Choice):
        return {"values": list(part.values)}
    return {"low": part.low, "high": part.high, "log": part.log, "whole": part.whole}


def _part_from_json(name: str, encoded: Any) -> Range | Choice:
    _setting(name)
    match encoded:
        case {"values": list(values)}:
            return Choice(tuple(values))
        case {"low": float() | int() as low, "high": float() | int() as high}:
            return Range(low, high, bool(encoded.get("log", False)), bool(encoded.get("whole", False)))
    raise SpecificationError(f"The part {name!r} of a space must have low and high, or values. Got {encoded!r}.")


def _require_answerable(spec: Distillation, part: Range | Choice) -> None:
    known = answerable(spec)
    if known is None:
        return
    missing = [value for value in part.ends if value not in known]
    if isinstance(part, Choice) and not missing:
        return
    places = "temperature" if len(known) == 1 else "temperatures"
    called = f"The targets {_targets_of(spec)} answer exactly at the {places} {_listed(known)} only"
    if isinstance(part, Choice):
        asked = " ".join(f"{value:g}" for value in sorted({*known, *missing}))
        raise MismatchError(
            f"{called}, and the search asks for {_listed(missing)}; record them with "
            f"`limbeck record … --temperatures {asked}`."
        )
    raise MismatchError(
        f"{called}, and the search asks for any from {part.low:g} to {part.high:g}; search among those, or record what "
        "answers at every one: dense targets of a network, `limbeck record … --encoding members` of an ensemble."
    )


def _targets_of(spec: Distillation) -> Path | str | None:
    if spec.targets is not None:
        return spec.targets
    return spec.teacher if isinstance(spec.teacher, str | Path) and is_store(spec.teacher) else None


def _setting(name: str) -> Setting:
    if name not in SETTINGS:
        close = difflib.get_close_matches(name, SETTINGS, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(SETTINGS)}."
        raise SpecificationError(f"There is no setting {name!r} to search. {hint}")
    return SETTINGS[name]


def _own(spec: Distillation, name: str) -> float | None:
    """A specification's own number; None where it has none."""
    try:
        return SETTINGS[name].own(spec)
    except SpecificationError:
        return None


def _listed(values: Sequence[float]) -> str:
    *others, last = (f"{value:g}" for value in values)
    return f"{', '.join(others)} and {last}" if others else last


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")


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
        raise SpecificationError("The objective has no SoftTargets, so there is no temperature to search.")
    found = set()
    for name, term in soft.items():
        if callable(term.temperature):
            raise SpecificationError(
                f"The temperature of the term {name!r} changes with the step; give a number for a search to change it."
            )
        found.add(float(term.temperature))
    if len(found) > 1:
        raise SpecificationError(
            f"The soft terms have the temperatures {_listed(sorted(found))}, and a search changes one; give them the "
            "same."
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
        raise SpecificationError(f"The objective has no {lacks}, so there is no share of the labels to search.")
    return sum(hard) / (sum(hard) + sum(soft))


def _weights(spec: Distillation, *, hard: bool) -> list[float]:
    found = []
    for weight, term in spec.goal.parts:
        if callable(weight):
            raise SpecificationError(
                f"The weight of the term {term.name!r} changes with the step; give a number for a search to change it."
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
}
"""Every number that has a name here."""
