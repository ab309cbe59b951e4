"""What an epoch of distillation costs here, beside the plainest loop and beside other libraries.

    python benchmarks/epoch.py                            seconds per epoch and microseconds per step
    python benchmarks/epoch.py --only recorded --out results/recorded.json    recorded teachers alone
    python benchmarks/epoch.py --accuracy --data FOLDER   what bfloat16 does to the errors of students of MNIST

FOLDER holds MNIST as a Hugging Face dataset. Records go to results/epoch.json and, beside it, results/bf16.json.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, final

import torch
import tyro
from accuracy import check_accuracy
from loops import CLIP_NORM, Loop, Task, lean, ours
from record import STATE, machine, write_record
from rivals import plain_accelerate, trainer
from rounds import Ratio, check_same_students, ratio, timed
from torch import Tensor

from limbeck.data import hub

SEED = 0
"""Of weights, order of rows, order of loops and the bootstrap."""
OVERHEAD_GOAL = 1.05
HALF_GOAL = 0.7
SMALL_STEPS = 400
BUSY = 0.5
"""Load average above which other programs will have disturbed the measurement."""

LOOPS: Mapping[str, Callable[..., Any]] = {
    "lean, recorded teacher": partial(lean, recorded="teacher"),
    "recorded": partial(ours, recorded="teacher"),
    "lean": lean,
    "Trainer": trainer,
    "ours": ours,
    "lean, bfloat16": partial(lean, half=True),
    "ours, bfloat16": partial(ours, half=True),
    "lean, recorded ensemble": partial(lean, recorded="ensemble"),
    "recorded, ten-network ensemble": partial(ours, recorded="ensemble"),
    "ours, ten-network ensemble": partial(ours, ensemble=True),
}
SAME_STUDENTS = (
    ("lean", "lean, recorded teacher", "recorded", "Trainer", "ours"),
    ("lean, recorded ensemble", "recorded, ten-network ensemble", "ours, ten-network ensemble"),
)
"""Loops whose students must agree: the same teacher, in float32."""


class Pair(NamedTuple):
    """Two loops to compare."""

    over: str
    under: str
    goal: float | None = None


@final
@dataclass(frozen=True)
class Group:
    """Loops that take turns with one another alone: the shorter a round, the less the machine changes within it."""

    pairs: tuple[Pair, ...]
    clipped: bool
    """Whether they are timed with clipped gradients, too."""
    rounds: int = 1
    """How many times the rounds that were asked for."""

    def loops(self, suffix: str) -> dict[str, Loop]:
        """The loops of the pairs by name, clipping where the suffix says so."""
        names = dict.fromkeys(name for over, under, _ in self.pairs for name in (under, over))
        clip_norm = CLIP_NORM if suffix else None
        return {name + suffix: partial(LOOPS[name], clip_norm=clip_norm) for name in names}


def groups() -> dict[str, Group]:
    """What is timed together."""
    half_goal = HALF_GOAL if machine()["bfloat16"] else None
    return {
        "recorded": Group(
            (
                Pair("recorded", "lean, recorded teacher", OVERHEAD_GOAL),
                Pair("recorded, ten-network ensemble", "lean, recorded ensemble", OVERHEAD_GOAL),
            ),
            clipped=False,
            rounds=2,
        ),
        "live": Group(
            (
                Pair("ours", "lean", OVERHEAD_GOAL),
                Pair("ours", "lean, recorded teacher"),
                Pair("ours", "Trainer"),
                Pair("Trainer", "lean"),
            ),
            clipped=True,
        ),
        "bfloat16": Group(
            (
                Pair("ours, bfloat16", "ours", half_goal),
                Pair("lean, bfloat16", "lean"),
                Pair("ours, bfloat16", "lean, bfloat16", OVERHEAD_GOAL),
            ),
            clipped=True,
        ),
        "live ensemble": Group((Pair("ours, ten-network ensemble", "lean, recorded ensemble"),), clipped=False),
    }


STEP_LOOPS: Mapping[str, Loop] = {"lean": lean, "ours": ours, "Accelerate": plain_accelerate}
CLIPPED = ", clipped"


def main(
    *,
    rounds: int = 15,
    rows: int = 15_360,
    data: Path | None = None,
    out: Path = Path("results/epoch.json"),
    only: tuple[str, ...] = (),
    accuracy: bool = False,
    seeds: int = 12,
    epochs: int = 3,
) -> None:
    """Measure, print and record.

    Args:
        rounds: how often each loop is timed; those that learn from recorded targets twice as often.
        rows: rows of a timed epoch; of MNIST, the first.
        data: a folder with MNIST; without one, noise of MNIST's shape.
        out: where the record goes.
        only: groups of loops to time, and no steps of small networks; all of it unless given.
        accuracy: compare errors in bfloat16 and float32 instead of times; needs `data`.
        seeds: pairs of students of the accuracy check, at least 6.
        epochs: epochs of its teacher and its students.
    """
    if accuracy:
        if data is None or seeds < 6:
            raise SystemExit("--accuracy needs --data FOLDER and at least 6 seeds.")
        check_accuracy(data, seeds=seeds, epochs=epochs, out=out.with_name("bf16.json"))
        return
    print(f"{machine()['cpu']}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    if STATE["load_before"] > BUSY:
        print(f"Others use this machine (load {STATE['load_before']:.1f}): the figures will be rough.")
    settings = {"data": "noise" if data is None else data.name, "rows": rows, "rounds": rounds}
    found = {"epoch": measure_epochs(epoch_task(data, rows), rounds, only)}
    if not only:
        found["step"] = measure_steps(step_task(), rounds)
    seeds_used = dict.fromkeys(("weights", "rows", "loops", "bootstrap"), SEED)
    write_record(out, seeds_used, {**settings, **found})


def epoch_task(data: Path | None, rows: int) -> Task:
    """Hinton's networks for MNIST, smaller in the student."""
    features, labels = noise(rows, 784) if data is None else mnist(data, rows)
    return Task(
        features=features,
        labels=labels,
        teacher_widths=(784, 1200, 1200, 10),
        student_widths=(784, 800, 800, 10),
        batch_size=256,
        seed=SEED,
    )


def step_task() -> Task:
    """Networks so small that a step is mostly what surrounds the arithmetic."""
    features, labels = noise(SMALL_STEPS * 64, 64)
    widths = (64, 32, 32, 10)
    return Task(
        features=features, labels=labels, teacher_widths=widths, student_widths=widths, batch_size=64, seed=SEED
    )


def noise(rows: int, width: int) -> tuple[Tensor, Tensor]:
    """Features in [0, 1), (rows, width), and labels, (rows,)."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.rand(rows, width, generator=generator), torch.randint(0, 10, (rows,), generator=generator)


def mnist(folder: Path, rows: int) -> tuple[Tensor, Tensor]:
    """The first training rows as floats in [0, 1], (rows, 784), and their labels, (rows,)."""
    first = hub(folder, splits={"train": "train"}).train.rows(torch.arange(rows))
    assert first.labels is not None  # MNIST has labels
    return torch.as_tensor(first.columns["image"]).flatten(1) / 255, first.labels


def measure_epochs(task: Task, rounds: int, only: Sequence[str] = ()) -> dict[str, Any]:
    """Time all groups, or some, print seconds per epoch and ratios, return the record."""
    for names in SAME_STUDENTS:
        for suffix in ("", CLIPPED):
            clip_norm = CLIP_NORM if suffix else None
            check_same_students({name + suffix: partial(LOOPS[name], clip_norm=clip_norm) for name in names}, task)
    found: dict[str, Any] = {}
    for name, group in groups().items():
        if only and name not in only:
            continue
        for suffix in ("", CLIPPED) if group.clipped else ("",):
            count = rounds * group.rounds
            seconds = timed(group.loops(suffix), task, rounds=count, seed=SEED)
            print(f"\n{name}{suffix}: seconds per epoch of {len(task.features)} rows, median of {count} rounds")
            for loop, laps in seconds.items():
                print(f"  {loop:40}{median(laps):7.3f}")
            ratios = [
                ratio(seconds, over + suffix, under + suffix, seed=SEED, goal=goal) for over, under, goal in group.pairs
            ]
            found[name + suffix] = {"rounds": count, **reported(seconds, ratios)}
    return {"groups": found, "ratios": [one for group in found.values() for one in group["ratios"]]}


def measure_steps(task: Task, rounds: int) -> dict[str, Any]:
    """Time steps of small networks, print microseconds, return the record."""
    check_same_students(STEP_LOOPS, task)
    seconds = timed(STEP_LOOPS, task, rounds=rounds, seed=SEED)
    ratios = [ratio(seconds, over, "lean", seed=SEED) for over in ("ours", "Accelerate")]
    print(f"\nMicroseconds per step of {task.student_widths}, batch {task.batch_size}, median of {rounds} rounds")
    for name, laps in seconds.items():
        print(f"  {name:30}{1e6 * median(laps) / task.steps:7.1f}")
    return {"steps": task.steps, **reported(seconds, ratios)}


def reported(seconds: Mapping[str, Sequence[float]], ratios: Sequence[Ratio]) -> dict[str, Any]:
    """Print ratios and return what the record holds of a comparison."""
    print("\nRatio within rounds, median [95 % interval]")
    for found in ratios:
        goal = "" if found.goal is None else f"   goal ≤ {found.goal}: {found.verdict}"
        print(f"  {found.over} / {found.under}:  {found.median:.3f} [{found.low:.3f}, {found.high:.3f}]{goal}")
    return {
        "seconds": dict(seconds),
        "medians": {name: median(laps) for name, laps in seconds.items()},
        "ratios": [{**asdict(found), "verdict": found.verdict} for found in ratios],
    }


if __name__ == "__main__":
    tyro.cli(main)
