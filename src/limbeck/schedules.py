"""Floor 1. Numbers that change with the step: temperatures, weights, learning rates.

A schedule is any function from the optimiser's step (0, 1, …) to a float. Those here are frozen records, so that a
specification that holds one can be written down, hashed and read back.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from limbeck._checks import check_positive

Schedule: TypeAlias = Callable[[int], float]
"""From the optimiser's step, counted from 0, to a value."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Linear:
    """From `start` to `stop` in a straight line over `steps` steps, then constant (FitNets' λ: 4 to 1)."""

    start: float
    """Value at step 0."""
    stop: float
    """Value from step `steps` on."""
    steps: int
    """Length of the line, > 0, in optimiser steps."""

    def __post_init__(self) -> None:
        check_positive("Linear", steps=self.steps)

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        return self.start + (self.stop - self.start) * min(step / self.steps, 1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Cosine:
    """From `start` to `stop` along half a cosine over `steps` steps, then constant (Loshchilov & Hutter 2017)."""

    start: float
    """Value at step 0."""
    stop: float
    """Value from step `steps` on."""
    steps: int
    """Length of the curve, > 0, in optimiser steps."""

    def __post_init__(self) -> None:
        check_positive("Cosine", steps=self.steps)

    def __call__(self, step: int) -> float:
        """Return the value at a step."""
        done = min(step / self.steps, 1.0)
        return self.stop + (self.start - self.stop) * 0.5 * (1 + math.cos(math.pi * done))


def value_at(value: float | Schedule, step: int) -> float:
    """The value at a step, of a constant or of a schedule."""
    return value(step) if callable(value) else value
