"""Which numbers of a specification a search may change, and in which ranges."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, final

from limbeck.campaigns.settings import SETTINGS, applied, listed, setting_named
from limbeck.errors import ArgumentError, MismatchError, SpecificationError
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


def own_settings(spec: Distillation, space: Space) -> dict[str, float]:
    """Read a specification's own numbers, or the nearest that a space allows: where a search begins.

    Raises: SpecificationError for a name that is none, or a number that such a specification does not have.
    """
    return {name: part.nearest(setting_named(name).own(spec)) for name, part in space.items()}


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


def check_space(spec: Distillation, space: Space, *, who: str = "search") -> None:
    """Refuse a space that a specification cannot take, or whose temperatures its recorded targets cannot answer.

    `who` asks, for people.

    Raises: SpecificationError, ArgumentError or MismatchError, each in one sentence.
    """
    for name, part in space.items():
        for value in part.ends:
            applied(spec, {name: value})
    if "temperature" in space:
        _require_answerable(spec, space["temperature"], who)


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
    setting_named(name)
    match encoded:
        case {"values": list(values)}:
            return Choice(tuple(values))
        case {"low": float() | int() as low, "high": float() | int() as high}:
            return Range(low, high, bool(encoded.get("log", False)), bool(encoded.get("whole", False)))
    raise SpecificationError(f"The part {name!r} of a space must have low and high, or values. Got {encoded!r}.")


def _require_answerable(spec: Distillation, part: Range | Choice, who: str) -> None:
    known = answerable(spec)
    if known is None:
        return
    missing = [value for value in part.ends if value not in known]
    if isinstance(part, Choice) and not missing:
        return
    places = "temperature" if len(known) == 1 else "temperatures"
    called = f"The targets {_targets_of(spec)} answer exactly at the {places} {listed(known)} only"
    if isinstance(part, Choice):
        asked = " ".join(f"{value:g}" for value in sorted({*known, *missing}))
        raise MismatchError(
            f"{called}, and the {who} asks for {listed(missing)}; record them with "
            f"`limbeck record … --temperatures {asked}`."
        )
    raise MismatchError(
        f"{called}, and the {who} asks for any from {part.low:g} to {part.high:g}; search among those, or record what "
        "answers at every one: dense targets of a network, `limbeck record … --encoding members` of an ensemble."
    )


def _targets_of(spec: Distillation) -> Path | str | None:
    if spec.targets is not None:
        return spec.targets
    return spec.teacher if isinstance(spec.teacher, str | Path) and is_store(spec.teacher) else None


def _own(spec: Distillation, name: str) -> float | None:
    """A specification's own number; None where it has none."""
    try:
        return SETTINGS[name].own(spec)
    except SpecificationError:
        return None


def _two_digits(value: float) -> float:
    return float(f"{value:.1e}")
