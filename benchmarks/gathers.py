"""What it costs to read a batch of recorded targets, beside one gather from a tensor in memory.

    python benchmarks/gathers.py                    microseconds per batch, and whether the goals are met

A store of a million rows in eight shards is recorded into a temporary folder, for rows of 64 bytes and of 2 KB; batches
of 256 random rows are read from the page cache. The record goes to results/gathers.json.

Shape legend, this file:  N rows, B rows of a batch, C classes.
"""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import torch
import tyro
from record import machine, write_record
from rounds import ratio
from torch import Tensor

from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.plan import PartPlan, Plan
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.targets.writer import Recording
from limbeck.types import Batch

SEED = 0
BATCH = 256
SHARDS = 8
CLASSES = {"64 bytes": 16, "2 KB": 512}
"""Logits in float32 of a row."""
RATE_GOAL = 2.0
"""A batch of 2 KB rows may take so many times what `torch.index_select` takes."""
MICROSECONDS_GOAL = 100.0
"""A batch of 64-byte rows may take so long."""

Read = Callable[[Tensor], object]


def main(
    *, rounds: int = 15, batches: int = 200, rows: int = 1_000_000, out: Path = Path("results/gathers.json")
) -> None:
    """Measure, print and record.

    Args:
        rounds: how often each way to read is timed.
        batches: batches of a round.
        rows: rows of the store.
        out: where the record goes.
    """
    print(f"{machine()['cpu']}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    found = {}
    for name, classes in CLASSES.items():
        with tempfile.TemporaryDirectory() as folder:
            found[name] = measured(ways(Path(folder) / "store", rows, classes), rows, rounds, batches)
        show(name, found[name])
    settings = {"rows": rows, "batch": BATCH, "shards": SHARDS, "rounds": rounds, "batches": batches}
    goals = {
        "2 KB, gather / index_select": RATE_GOAL,
        "64 bytes, microseconds": MICROSECONDS_GOAL,
    }
    write_record(out, {"rows": SEED, "bootstrap": SEED}, {**settings, "goals": goals, "found": found})


def ways(folder: Path, rows: int, classes: int) -> Mapping[str, Read]:
    """The ways to read a batch: from ids (B,) to answers."""
    logits = torch.randn(rows, classes, generator=torch.Generator().manual_seed(SEED))
    targets = recorded(folder, logits)
    part, teacher = targets.part("train"), RecordedTeacher(targets)
    out = torch.empty(BATCH, classes)
    check = torch.randperm(rows)[:BATCH]
    assert teacher(Batch({}, None, check)).at(1.0).logits.equal(logits[check])  # type: ignore[union-attr]
    for first in range(0, rows, 100_000):
        part.gather(torch.arange(first, min(first + 100_000, rows)))  # every page is mapped
    return {
        "index_select": lambda ids: torch.index_select(logits, 0, ids, out=out),
        "gather": lambda ids: part.gather(part.positions(ids)),
        "recorded teacher": lambda ids: teacher(Batch({}, None, ids)).at(1.0),
    }


def recorded(folder: Path, logits: Tensor) -> Targets:
    """Record logits as any teacher's are recorded.  (N, C)."""
    rows, classes = logits.shape
    plan = Plan(
        head="softmax",
        classes=None,
        width=classes,
        encoding=DenseLogits(),
        teacher={"fingerprint": None, "specification": None, "kind": "network", "precision": "float32"},
        transform=None,
        marks=(),
        batch_size=512,
        features={},
        parts={"train": PartPlan(torch.arange(rows), None, 1, -(-rows // SHARDS))},
    )
    recording = Recording(folder, plan)
    for shard in recording.missing():
        own = logits[shard.first : shard.first + shard.rows]
        recording.commit(shard, own.view(torch.uint8).view(shard.rows, 1, -1))
    assert recording.finish()
    return Targets.open(folder)


def measured(reads: Mapping[str, Read], rows: int, rounds: int, batches: int) -> dict[str, Any]:
    """Time the ways in turns, each on batches of its own, and compare them within rounds."""
    generator = torch.Generator().manual_seed(SEED)
    seconds: dict[str, list[float]] = {name: [] for name in reads}
    names = list(reads)
    for number in range(-1, rounds):  # one round is not counted
        for name in names[number % len(names) :] + names[: number % len(names)]:
            asked = torch.randint(0, rows, (batches, BATCH), generator=generator).unbind()
            lap = timed(reads[name], asked)
            if number >= 0:
                seconds[name].append(lap / batches)
    goals = {"gather": RATE_GOAL, "recorded teacher": RATE_GOAL}
    found = [ratio(seconds, over, "index_select", seed=SEED, goal=goal) for over, goal in goals.items()]
    return {
        "microseconds": {name: 1e6 * median(laps) for name, laps in seconds.items()},
        "seconds": seconds,
        "ratios": [{**asdict(one), "verdict": one.verdict} for one in found],
    }


def timed(read: Read, batches: tuple[Tensor, ...]) -> float:
    """Seconds for all batches."""
    began = time.perf_counter()
    for ids in batches:
        read(ids)
    return time.perf_counter() - began


def show(name: str, found: Mapping[str, Any]) -> None:
    """Print what was measured."""
    print(f"\nMicroseconds for {BATCH} rows of {name}, median of rounds")
    for way, value in found["microseconds"].items():
        print(f"  {way:20}{value:8.1f}")
    for one in found["ratios"]:
        print(f"  {one['over']} / {one['under']}:  {one['median']:.2f} [{one['low']:.2f}, {one['high']:.2f}]")


if __name__ == "__main__":
    tyro.cli(main)
