"""What recording a teacher costs beside asking it: rows per second of `record`, and of the bare forward pass.

    python benchmarks/recording.py

The networks are Hinton's for MNIST, 784-1200-1200-10, one of them and ten; the rows are noise of MNIST's shape.
Recording is timed from the first batch to the last byte on the disk, and once more with everything around it: the rows
are hashed before, so that a student can be refused other rows. The record goes to results/recording.json.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, final

import torch
import tyro
from loops import MEMBERS, network
from record import write_record
from rounds import ratio
from torch import Tensor, nn

from limbeck.data import TensorSet, plain_features
from limbeck.objective import SoftTargets
from limbeck.specification import Distillation
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.training.recording import record
from limbeck.types import Teacher

SEED = 0
BATCH = 512
WIDTHS = (784, 1200, 1200, 10)
GOAL = 1 / 0.95
"""What recording may take, of the bare forward pass."""


@final
class Stopwatch:
    """Times the writing of a store: from the first batch until every shard is on the disk."""

    def __init__(self) -> None:
        self.seconds = float("nan")
        self._began = 0.0

    def start(self, what: str, total: int) -> None:
        """Begin to time."""
        self._began = time.perf_counter()

    def advance(self, done: int, note: str) -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Stop."""
        self.seconds = time.perf_counter() - self._began


class Recorded(NamedTuple):
    """How long a recording took."""

    writing: float
    """Seconds from the first batch to the last byte."""
    whole: float
    """Seconds with the hashing of the rows, the plan and the manifest."""


def main(*, rounds: int = 15, rows: int = 61_440, out: Path = Path("results/recording.json")) -> None:
    """Measure, print and record.

    Args:
        rounds: how often each is timed.
        rows: rows that are recorded, as many as MNIST has and a few; the ensemble is asked about an eighth of them.
        out: where the record goes.
    """
    found = {}
    for name, teacher, count in (("one network", _networks(1), rows), ("ten networks", _networks(MEMBERS), rows // 8)):
        data = TensorSet(torch.randint(0, 256, (count, 784), dtype=torch.uint8, generator=_generator()))
        found[name] = measure(name, teacher, data, rounds)
    write_record(out, {"weights": SEED, "rows": SEED, "bootstrap": SEED}, {"rounds": rounds, "batch": BATCH, **found})


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)


def _networks(count: int) -> Teacher:
    torch.manual_seed(SEED)
    members = [FrozenTeacher(network(WIDTHS), prepare=plain_features) for _ in range(count)]
    return members[0] if count == 1 else Ensemble(members)


def measure(name: str, teacher: Teacher, data: TensorSet, rounds: int) -> dict[str, Any]:
    """Time the bare forward pass and the recording in turns, print rows per second, return the record."""
    features = torch.as_tensor(data.columns["features"])
    modules = [member.module for member in getattr(teacher, "members", [teacher])]
    seconds: dict[str, list[float]] = {"bare": [], "recording": [], "recording and preparation": []}
    for number in range(-1, rounds):
        # In turns: whoever comes second finds the processor warmer.
        if number % 2:
            bare, recorded = bare_forward(modules, features), recording(teacher, data)
        else:
            recorded, bare = recording(teacher, data), bare_forward(modules, features)
        if number >= 0:
            for which, value in zip(seconds, (bare, recorded.writing, recorded.whole), strict=True):
                seconds[which].append(value)
    ratios = [
        ratio(seconds, over, "bare", seed=SEED, goal=goal)
        for over, goal in (("recording", GOAL), ("recording and preparation", None))
    ]
    print(f"\n{name}, {len(features):,} rows of 784 bytes, batch {BATCH}, {rounds} rounds")
    for which, laps in seconds.items():
        print(f"  {which:28}{len(features) / median(laps):10,.0f} rows/s")
    for found in ratios:
        goal = "" if found.goal is None else f"   goal ≤ {found.goal:.3f}: {found.verdict}"
        print(f"  {found.over} / bare:  {found.median:.3f} [{found.low:.3f}, {found.high:.3f}]{goal}")
    return {
        "rows": len(features),
        "seconds": seconds,
        "rows_per_second": {which: len(features) / median(laps) for which, laps in seconds.items()},
        "ratios": [{**asdict(found), "verdict": found.verdict} for found in ratios],
    }


@torch.no_grad()
def bare_forward(modules: Sequence[nn.Module], features: Tensor) -> float:
    """Seconds to put every row through every network, batch by batch, and to keep nothing."""
    began = time.perf_counter()
    for rows in features.split(BATCH):
        inputs = rows.float().div_(255)
        for module in modules:
            module(inputs)
    return time.perf_counter() - began


def recording(teacher: Teacher, data: TensorSet) -> Recorded:
    """Seconds to record every row into a fresh folder."""
    spec = Distillation(data=data, student=nn.Identity, teacher=teacher, objective=1.0 * SoftTargets(), device="cpu")
    stopwatch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        record(spec, Path(folder) / "store", batch_size=BATCH, watcher=stopwatch)
        return Recorded(stopwatch.seconds, time.perf_counter() - began)


if __name__ == "__main__":
    tyro.cli(main)
