"""Bytes against error for every encoding of soft targets, and what an encoding costs a student.

    python benchmarks/encodings.py --data FOLDER       results/encodings.json, about an hour on one core

The teacher is a language model over 1,000 tokens of Tiny Shakespeare (`shakespeare.py`): the geometric mean of two
recurrent networks trained on the whole training text. The student, a small feed-forward model, is taught on a sample
of its positions. Everything is chosen on the validation split. Each finished piece is kept in `--work`, and a
measurement that was stopped goes on where it was.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
import tyro
from encoding_bench import Bench, Lesson
from encoding_students import Setting

TEMPERATURES = (1.0, 2.0, 4.0)
SELECTION_SEED = 100
SEEDS = (0, 1, 2, 3, 4, 5)

ALONE_GRID = tuple(
    Setting(rate=rate, epochs=epochs, dropout=dropout)
    for rate in (2e-3, 4e-3, 8e-3)
    for epochs in (4, 8)
    for dropout in (0.0, 0.2, 0.4)
)
DENSE_GRID = tuple(Setting(rate=rate, epochs=10) for rate in (4e-3, 8e-3, 1.6e-2))

ALONE = Lesson("alone", None)
DENSE = {temperature: Lesson(f"dense-{temperature:g}", temperature) for temperature in TEMPERATURES}


def chosen(bench: Bench, lesson: Lesson, grid: Sequence[Setting]) -> tuple[Setting, dict[str, float]]:
    """The setting that is best on the validation rows, and the whole grid's scores."""
    scores = bench.students([(lesson, setting, SELECTION_SEED) for setting in grid], judged=False)
    best = min(range(len(grid)), key=lambda index: scores[index]["validation"])
    return grid[best], {str(asdict(setting)): found["validation"] for setting, found in zip(grid, scores, strict=True)}


def main(
    *, data: Path, work: Path = Path("runs/encodings"), out: Path = Path("results/encodings.json"), parallel: int = 1
) -> None:
    """Measure and record.

    Args:
        data: a folder with Tiny Shakespeare.
        work: where finished pieces are kept.
        out: where the record goes.
        parallel: how many runs at once, each on one core.
    """
    torch.set_num_threads(1)
    bench = Bench(data=data.resolve(), work=work.resolve(), parallel=parallel)
    for lesson, grid in [(ALONE, ALONE_GRID), *((DENSE[t], DENSE_GRID) for t in TEMPERATURES)]:
        print(chosen(bench, lesson, grid))


if __name__ == "__main__":
    tyro.cli(main)
