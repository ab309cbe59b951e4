"""Intervals as strips: places on one scale in per cent of its width, drawn by the style sheet alone.

A strip needs no script, is sharp on paper, and is as wide as the place it is given.
"""

from collections.abc import Iterable, Sequence
from math import ceil, floor, isfinite, log10
from typing import NamedTuple

from limbeck.evidence.words import points

MOST_TICKS = 6


class Tick(NamedTuple):
    """One number under a strip."""

    place: float
    text: str


class Scale(NamedTuple):
    """What a strip's width stands for."""

    low: float
    high: float
    ticks: list[Tick]

    def place(self, value: float) -> float:
        """Return where a value stands, in per cent from the left; what is outside stands at the edge."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 2)


class Strip(NamedTuple):
    """One interval on its scale, all in per cent from the left."""

    scale: Scale
    alt: str
    mean: float | None = None
    low: float | None = None
    """Left end of the interval; None without one."""
    high: float | None = None
    zero: float | None = None
    band: tuple[float, float] | None = None
    """From and to: the differences that are not worth having."""
    margin: float | None = None
    """The limit that was asked for."""
    dots: list[float] = []  # noqa: RUF012 - a tuple's default is never changed
    open_left: bool = False
    """Whether the interval goes on beyond the left edge: it has an upper limit only."""


def scale_of(values: Iterable[float | None], *, ticks: int = MOST_TICKS) -> Scale:
    """Return the scale that holds all values and some air, with round numbers below it."""
    known = [value for value in values if value is not None and isfinite(value)] or [0.0]
    low, high = min(known), max(known)
    air = 0.06 * (high - low) or 0.5
    low, high = low - air, high + air
    step = _step((high - low) / ticks)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    bare = Scale(low, high, [])
    digits = max(0, -floor(log10(step) + 1e-9))
    return Scale(low, high, [Tick(bare.place(n * step), _number(n * step, digits)) for n in range(first, last + 1)])


def _step(least: float) -> float:
    """The smallest of 1, 2, 5, 10 … that is at least this."""
    power: float = 10.0 ** floor(log10(least))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * 0.999)


def _number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}".replace("-", "−", 1) if round(value, 9) else "0"


def difference_strip(
    scale: Scale,
    mean: float | None,
    interval: Sequence[float | None] | None,
    *,
    worth: float | None = None,
    dots: Sequence[float] = (),
) -> Strip:
    """Lay out a difference with its interval, zero, and the band of what is not worth having."""
    low, high = interval or (None, None)
    bounds = "" if low is None or high is None else f", interval {points(low)} to {points(high)}"
    said = "no number" if mean is None else f"difference {points(mean)} points{bounds}"
    return Strip(
        scale=scale,
        alt=said + ("" if worth is None else f"; less than {worth:g} points either way is not worth having"),
        mean=None if mean is None else scale.place(mean),
        low=None if low is None else scale.place(low),
        high=None if high is None else scale.place(high),
        zero=scale.place(0.0),
        band=None if worth is None else (scale.place(-worth), scale.place(worth)),
        dots=[scale.place(value) for value in dots],
    )
