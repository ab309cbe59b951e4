"""What bfloat16 does to a student: pairs of students that differ in nothing but precision.

Counted in wrong answers to MNIST's test rows; one teacher, trained once, serves all pairs.
"""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from loops import HARD, SOFT, TEMPERATURE, make_optimizer, network
from record import write_record
from scipy import stats
from torch import nn

from limbeck.data import hub
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation, Precision
from limbeck.training.distill import distill
from limbeck.training.progress import Silent

GOAL = 10.0
"""Errors on 10,000 test rows that bfloat16 may cost: for the upper end of the interval of the mean difference."""
TEACHER_SEED = 1000
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")


def check_accuracy(data: Path, *, seeds: int, epochs: int, out: Path) -> None:
    """Train one teacher, then pairs of students; score each once; print the mean difference and record everything."""
    print(f"Errors on the test rows after {epochs} epochs")
    with tempfile.TemporaryDirectory() as folder:
        teacher_spec, student_spec = specifications(data, Path(folder) / "teacher", epochs)
        teacher = test_errors(teacher_spec, Path(folder) / "teacher")
        print(f"  teacher {teacher}")
        errors: dict[Precision, list[int]] = {precision: [] for precision in PRECISIONS}
        for seed in range(seeds):
            for precision in PRECISIONS:
                spec = replace(student_spec, seed=seed, precision=precision)
                errors[precision].append(test_errors(spec, Path(folder) / f"{precision}-{seed}"))
            newest = "   ".join(f"{precision} {errors[precision][-1]:4}" for precision in PRECISIONS)
            print(f"  seed {seed:2}   {newest}", flush=True)
    found = difference(errors)
    low, high = found["interval"]
    print(f"bfloat16 - float32: {found['mean']:+.1f} [{low:+.1f}, {high:+.1f}]   goal < {GOAL:g}: {found['verdict']}")
    settings = {"data": data.name, "epochs": epochs, "teacher_errors": teacher, "errors": errors}
    write_record(out, {"teacher": TEACHER_SEED, "students": list(range(seeds))}, {**settings, "difference": found})


def specifications(data: Path, teacher: Path, epochs: int) -> tuple[Distillation, Distillation]:
    """The teacher, trained on labels in float32, and the student that will learn from its folder."""
    common: Mapping[str, Any] = {
        "data": hub(data, splits={"train": "train", "test": "test"}),
        "optimizer": make_optimizer,
        "epochs": epochs,
        "batch_size": 256,
        "device": "cpu",
        "validation": None,
        "probe_rows": 0,
    }
    from_labels = Distillation(
        student=partial(flat_network, (784, 1200, 1200, 10)), objective=HardLabels(), seed=TEACHER_SEED, **common
    )
    from_teacher = Distillation(
        student=partial(flat_network, (784, 800, 800, 10)),
        teacher=teacher,
        objective=SOFT * SoftTargets(temperature=TEMPERATURE) + HARD * HardLabels(),
        **common,
    )
    return from_labels, from_teacher


def flat_network(widths: tuple[int, ...]) -> nn.Sequential:
    """A ReLU network that takes images as they are stored, (B, 1, 28, 28)."""
    return nn.Sequential(nn.Flatten(), *network(widths))


def test_errors(spec: Distillation, folder: Path) -> int:
    """Train, and return the wrong answers to the test rows: the run scores them once, at its end."""
    run = distill(spec, folder, watcher=Silent())
    return int(run.summary["student"]["test"]["errors"])


def difference(errors: Mapping[Precision, Sequence[int]]) -> dict[str, Any]:
    """The mean difference over pairs and its 95 % interval by Student's t."""
    paired = stats.ttest_rel(errors["bfloat16"], errors["float32"])
    interval = paired.confidence_interval(0.95)
    mean = sum(errors["bfloat16"]) / len(errors["bfloat16"]) - sum(errors["float32"]) / len(errors["float32"])
    verdict = "met" if interval.high < GOAL else "missed" if interval.low > GOAL else "open"
    return {"mean": mean, "interval": [float(interval.low), float(interval.high)], "goal": GOAL, "verdict": verdict}
