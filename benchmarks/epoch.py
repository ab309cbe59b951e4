"""What an epoch of distillation costs here, beside the plainest loop and beside other libraries.

    python benchmarks/epoch.py                            seconds per epoch and microseconds per step
    python benchmarks/epoch.py --accuracy --data FOLDER   what bfloat16 does to the errors of students of MNIST

FOLDER holds MNIST as a Hugging Face dataset. Records go to results/epoch.json and, beside it, results/bf16.json.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

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

EPOCH_LOOPS: Mapping[str, Callable[..., Any]] = {
    "lean, recorded teacher": partial(lean, recorded="teacher"),
    "recorded": partial(ours, recorded="teacher"),
    "lean": lean,
    "Trainer": trainer,
    "ours": ours,
    "lean, bfloat16": partial(lean, half=True),
    "ours, bfloat16": partial(ours, half=True),
}
ENSEMBLE_LOOPS: Mapping[str, Loop] = {
    "lean, recorded ensemble": partial(lean, recorded="ensemble"),
    "recorded, ten-network ensemble": partial(ours, recorded="ensemble"),
    "ours, ten-network ensemble": partial(ours, ensemble=True),
}
"""Loops that learn from another teacher than the others, so that their students are others."""
STEP_LOOPS: Mapping[str, Loop] = {"lean": lean, "ours": ours, "Accelerate": plain_accelerate}
CLIPPED = ", clipped"


def main(
    *,
    rounds: int = 15,
    rows: int = 15_360,
    data: Path | None = None,
    out: Path = Path("results/epoch.json"),
    accuracy: bool = False,
    seeds: int = 12,
    epochs: int = 3,
) -> None:
    """Measure, print and record.

    Args:
        rounds: how often each loop is timed.
        rows: rows of a timed epoch; of MNIST, the first.
        data: a folder with MNIST; without one, noise of MNIST's shape.
        out: where the record goes.
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
    epoch = measure_epochs(epoch_task(data, rows), rounds)
    step = measure_steps(step_task(), rounds)
    seeds_used = dict.fromkeys(("weights", "rows", "loops", "bootstrap"), SEED)
    write_record(out, seeds_used, {**settings, "epoch": epoch, "step": step})


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


def measure_epochs(task: Task, rounds: int) -> dict[str, Any]:
    """Time all loops with and without clipping, print seconds per epoch, return the record."""
    clipped = {name + CLIPPED: partial(loop, clip_norm=CLIP_NORM) for name, loop in EPOCH_LOOPS.items()}
    for same in (without_half(EPOCH_LOOPS), without_half(clipped), ENSEMBLE_LOOPS):
        check_same_students(same, task)
    seconds = timed({**EPOCH_LOOPS, **clipped, **ENSEMBLE_LOOPS}, task, rounds=rounds, seed=SEED)
    ratios = [found for suffix in ("", CLIPPED) for found in epoch_ratios(seconds, suffix)]
    ratios += ensemble_ratios(seconds)
    print(f"\nSeconds per epoch of {len(task.features)} rows, median of {rounds} rounds\n{'':34}plain   clipped")
    for name in EPOCH_LOOPS:
        print(f"  {name:30}{median(seconds[name]):7.3f}{median(seconds[name + CLIPPED]):10.3f}")
    for name in ENSEMBLE_LOOPS:
        print(f"  {name:30}{median(seconds[name]):7.3f}")
    return reported(seconds, ratios)


def without_half(loops: Mapping[str, Loop]) -> dict[str, Loop]:
    """The loops whose students must agree: those with a live teacher or the same answers, in float32."""
    return {name: loop for name, loop in loops.items() if "bfloat16" not in name}


def epoch_ratios(seconds: Mapping[str, Sequence[float]], suffix: str) -> list[Ratio]:
    """Compare loops with the same clipping."""
    half_goal = HALF_GOAL if machine()["bfloat16"] else None
    pairs: list[tuple[str, str, float | None]] = [
        ("ours", "lean", OVERHEAD_GOAL),
        ("ours", "lean, recorded teacher", None),
        ("recorded", "lean, recorded teacher", OVERHEAD_GOAL),
        ("ours", "Trainer", None),
        ("Trainer", "lean", None),
        ("ours, bfloat16", "ours", half_goal),
        ("lean, bfloat16", "lean", None),
        ("ours, bfloat16", "lean, bfloat16", OVERHEAD_GOAL),
    ]
    return [ratio(seconds, over + suffix, under + suffix, seed=SEED, goal=goal) for over, under, goal in pairs]


def ensemble_ratios(seconds: Mapping[str, Sequence[float]]) -> list[Ratio]:
    """Compare the loops that learn from ten networks."""
    return [
        ratio(seconds, "recorded, ten-network ensemble", "lean, recorded ensemble", seed=SEED, goal=OVERHEAD_GOAL),
        ratio(seconds, "ours, ten-network ensemble", "lean, recorded ensemble", seed=SEED),
    ]


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
