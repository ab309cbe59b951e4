"""Which way many runs of one architecture are quickest: as one stack, as a stack in each of several processes, apart.

The rule: a few steps are timed, of one run alone, of the whole stack, and of one process's share of it; where so many
steps of one run would take longer than a trial should, of a smaller stack, whose time is multiplied. Times the steps
that there are, and START_UP where processes must be started, this gives the seconds of each way; the least is taken.
What runs do between steps and at their end costs about the same either way, and is left out.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal, TypeAlias, final

import torch

from limbeck.data.splits import Splits
from limbeck.specification import Distillation
from limbeck.training.distill import prepare_fit, with_student
from limbeck.training.interrupt import StopRequest
from limbeck.training.place import Place, find_place
from limbeck.training.progress import Silent, Watcher
from limbeck.training.randomness import seeded
from limbeck.training.runner import Backend, cores
from limbeck.training.stacking.distill import Job, Shared, stacked_fit
from limbeck.training.worker import using_threads
from limbeck.types import Teacher

Engine: TypeAlias = Literal["auto", "stacked", "apart"]
"""How many runs are executed: by whichever way a quick trial finds quickest, as stacks, or each by itself."""

Way: TypeAlias = Literal["here", "shares", "apart"]
"""One stack in this process, a share of it in each of several, or each run by itself, side by side."""

START_UP = 3.0
"""Seconds until processes that were started have imported what they need."""
_STEPS = 6
_SECONDS = 0.1
"""Of a trial's steps, and of as many steps of one run as a stack in a trial may have students."""


@final
@dataclass(frozen=True, kw_only=True)
class Estimate:
    """How many seconds the steps of a group of runs will take, by way."""

    count: int
    """How many runs there are."""
    workers: int
    """How many processes would share them."""
    here: float
    """As one stack in this process."""
    shares: float
    """As a stack in each of the processes; infinite where there is one, or too few runs."""
    apart: float
    """Each by itself, side by side."""


@final
class _Sample(Shared):
    """The first training rows of what is loaded: enough for the steps of a trial."""

    def __init__(self, found: Shared, watcher: Watcher) -> None:
        super().__init__()
        self._found, self._watcher = found, watcher

    def splits(self, spec: Distillation) -> Splits:
        """Return a few training rows, and no others."""
        train = self._found.splits(spec).train
        few = min(len(train), _STEPS * spec.batch_size)
        return Splits(train=train if few == len(train) else train.subset(torch.arange(few)))

    def teachers(self, spec: Distillation, out: Path, place: Place, watcher: Watcher) -> dict[str, Teacher]:
        """Return those of the whole data, compared with all rows: what is said of them is said once."""
        return self._found.teachers(spec, out, place, self._watcher)


def cheapest(found: Estimate, backend: Backend) -> Way:
    """Return the way that takes the fewest seconds; on a cluster, of those that use it."""
    ways: dict[Way, float] = {"here": found.here, "shares": found.shares, "apart": found.apart}
    if backend != "loky":
        del ways["here"]
    return min(ways, key=ways.__getitem__)


def estimated(jobs: Sequence[Job], found: Shared, workers: int, watcher: Watcher) -> Estimate:
    """Try a few steps of each way; nothing is written. Raises: CannotStack; the errors of loading."""
    workers = max(1, min(workers, len(jobs)))
    steps = [_steps(job, found) for job in jobs]
    sample = _Sample(found, watcher)
    with seeded(jobs[0][0].seed), using_threads(max(1, cores() // workers)):
        alone = _alone_step(jobs[0], sample)
        share = jobs[: -(-len(jobs) // workers)]
        shared = _stacked_step(share, sample, alone) if 1 < len(share) < len(jobs) else math.inf
    with seeded(jobs[0][0].seed):
        whole = _stacked_step(jobs, sample, alone)
    # Of runs of unequal length the last are alone: a step then costs between as much as before, and in proportion.
    lasting = (max(steps) + sum(steps) / len(steps)) / 2
    started = START_UP if workers > 1 else 0.0
    return Estimate(
        count=len(jobs),
        workers=workers,
        here=whole * lasting,
        shares=started + shared * lasting,
        apart=started + alone * max(*steps, sum(steps) / workers),
    )


def _steps(job: Job, found: Shared) -> int:
    spec = job[0]
    return spec.epochs * -(-len(found.splits(spec).train) // spec.batch_size)


def _stacked_step(jobs: Sequence[Job], sample: Shared, alone: float) -> float:
    """Seconds of a step of a stack."""
    size = min(len(jobs), max(2, int(_SECONDS / alone)))
    # At equal distances: what differs from run to run, such as their objectives, is in a smaller stack too.
    some = [jobs[number * len(jobs) // size] for number in range(size)]
    return stacked_fit(some, watcher=Silent(), found=sample).timed_steps(_STEPS, _SECONDS) * len(jobs) / size


def _alone_step(job: Job, found: Shared) -> float:
    """Seconds of a step of `distill`'s loop."""
    spec, out = job
    place = find_place("cpu", spec.precision)
    materials = with_student(spec, found.splits(spec), found.teachers(spec, out, place, Silent()), place)
    fit = prepare_fit(spec, materials, out, place, Silent(), StopRequest())
    fit.wrapped.train()
    batches = fit.train.epoch(spec.seed, 0)
    rows = min(spec.batch_size, len(fit.train.rows))
    quickest, until = math.inf, time.perf_counter() + _SECONDS
    for _ in range(min(_STEPS, len(fit.train.rows) // rows)):
        began = time.perf_counter()
        fit.take_step(islice(batches, spec.microbatches), rows)
        now = time.perf_counter()
        quickest = min(quickest, now - began)
        if now > until:
            break
    return quickest
