"""Fair timing: the loops take turns, in an order drawn anew each round, and are compared within rounds.

A machine's speed drifts with its neighbours and its temperature; what drifts slowly cancels in the ratio of two laps of
one round.

Shape legend, this file:  R rounds.
"""

import gc
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from loops import Loop, Task
from rich.console import Console
from rich.progress import track
from scipy import stats
from torch.testing import assert_close

LEVEL = 0.95
RESAMPLES = 9999


def check_same_students(loops: Mapping[str, Loop], task: Task, *, rtol: float = 1e-5) -> None:
    """Let every loop train one epoch and refuse one whose student differs from the first's, or has learnt nothing."""
    weights = {name: loop(task).weights for name, loop in loops.items()}
    first, *others = weights
    begun = task.beginning()[0].state_dict()
    assert not any(weights[first][name].equal(begun[name]) for name in begun), f"{first} trained nothing"
    for other in others:
        # Adam divides a gradient by its own size, so a weight may differ by more than its gradient's rounding error;
        # atol allows that for weights near zero, at a thousandth of one step.
        assert_close(dict(weights[other]), dict(weights[first]), rtol=rtol, atol=1e-6, msg=_prefixed(other, first))


def _prefixed(other: str, first: str) -> Callable[[str], str]:
    return lambda message: f"{other} and {first} trained different students. {message}"


def timed(loops: Mapping[str, Loop], task: Task, *, rounds: int, seed: int) -> dict[str, list[float]]:
    """Seconds per epoch of each loop in each round, (R,); one round before them is not counted."""
    shuffled = random.Random(seed)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for number in track(range(-1, rounds), "timing", console=Console(stderr=True)):
        for name in shuffled.sample(list(loops), len(loops)):
            gc.collect()
            lap = loops[name](task)
            if number >= 0:
                seconds[name].append(lap.seconds)
    return seconds


Verdict = Literal["met", "missed", "open"]


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """How much longer one loop takes than another, within rounds."""

    over: str
    under: str
    median: float
    low: float
    high: float
    """Ends of the 95 % interval of the median: bootstrap of the rounds, percentiles."""
    goal: float | None
    """What the ratio should not exceed; None where nothing was promised."""

    @property
    def verdict(self) -> Verdict | None:
        """Met or missed if the whole interval is; open otherwise."""
        if self.goal is None:
            return None
        if self.high <= self.goal:
            return "met"
        return "missed" if self.low > self.goal else "open"


def ratio(
    seconds: Mapping[str, Sequence[float]], over: str, under: str, *, seed: int, goal: float | None = None
) -> Ratio:
    """Compare two loops by the ratios of their laps of the same round.  (R,), (R,) -> record."""
    ratios = np.array(seconds[over]) / np.array(seconds[under])
    interval = stats.bootstrap(
        (ratios,), np.median, n_resamples=RESAMPLES, confidence_level=LEVEL, method="percentile", rng=seed
    ).confidence_interval
    return Ratio(
        over=over,
        under=under,
        median=float(np.median(ratios)),
        low=float(interval.low),
        high=float(interval.high),
        goal=goal,
    )
