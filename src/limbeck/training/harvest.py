"""The end of a run: the kept weights, their answers, the one scoring of the test rows, the card, the summary."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from limbeck.data.loader import Loader
from limbeck.data.order import mixed_seed
from limbeck.data.splits import Splits
from limbeck.files import append_json, write_json, write_tensors, write_text
from limbeck.models import fingerprint, parameter_count
from limbeck.specification import Distillation
from limbeck.training.card import About, model_card, task_of
from limbeck.training.evaluate import Predictions, predict_student, predict_teacher, scores
from limbeck.training.loop import Fit
from limbeck.training.recorded import origin_of
from limbeck.training.samples import keep_samples
from limbeck.training.state import load_weights, weights_of
from limbeck.types import TransferSet

MOST_TRAINING_ROWS = 100_000
"""Training rows whose answers are kept; of more, a seeded sample."""


Answering: TypeAlias = Callable[[str, TransferSet], tuple[Predictions, Predictions | None]]
"""From a split's name and rows to the student's answers, by the weights that are kept, and the teacher's."""


def harvest(
    fit: Fit, splits: Splits, classes: tuple[str, ...] | None, out: Path, answer: Answering | None = None
) -> None:
    """Keep the best weights (the last without validation rows), score each split once, and write the summary last.

    `answer` gives the answers where they are known already; None to ask the two models.
    """
    answer = answer or partial(_answers, fit)
    if fit.best is not None:
        load_weights(fit.student, fit.best.weights, fit.checkpoints, sharded=fit.place.sharded)
    weights = weights_of(fit.student, sharded=fit.place.sharded)
    student = _whole(fit, weights)
    if fit.place.leads and splits.test is not None:
        _enter_in_ledger(fit, student, len(splits.test), out)  # before the look, so that no look goes unrecorded
    found: dict[str, dict[str, float]] = {}
    teacher_found: dict[str, dict[str, float]] = {}
    for name, rows in _parts(splits):
        if rows is None:
            continue
        ours, theirs = answer(name, rows)
        if fit.place.leads:
            _keep(out, name, ours, theirs)
        found[name] = scores(ours, theirs, fit.loss.head)
        if theirs is not None:
            teacher_found[name] = _finite(scores(theirs, None, fit.loss.head))
    if not fit.place.leads:
        return
    write_tensors(out / "student" / "model.safetensors", weights)
    summary = _summary(fit, student, found, teacher_found)
    write_json(out / "student" / "config.json", _config(fit, student, classes))
    about = About(task=task_of(splits.train.rows(torch.arange(1)).columns))
    write_text(out / "student" / "README.md", model_card(out.name, summary, classes, about))
    name, rows = next((name, rows) for name, rows in reversed(_parts(splits)) if rows is not None)
    keep_samples(rows, student, fit.teachers.get(name), fit.loss, fit.place, out / "samples")
    write_json(out / "summary.json", summary)


def _finite(found: Mapping[str, float]) -> dict[str, float]:
    """Leave out what no file of JSON can hold: the nats of a teacher that rules a row's own label out are infinite."""
    return {name: value for name, value in found.items() if isfinite(value)}


def _parts(splits: Splits) -> list[tuple[str, TransferSet | None]]:
    return [("train", splits.train), ("validation", splits.validation), ("test", splits.test)]


def _whole(fit: Fit, weights: Mapping[str, Tensor]) -> nn.Module:
    """The student in one piece: itself, or built again where its own weights are spread over processes."""
    if not (fit.place.sharded and fit.place.leads):
        return fit.student
    student = fit.spec.student().to(fit.place.device)
    load_weights(student, weights, fit.checkpoints)
    return student


def _answers(fit: Fit, name: str, rows: TransferSet) -> tuple[Predictions, Predictions | None]:
    positions = kept_positions(fit.spec, name, rows)
    teacher = fit.teachers.get(name)
    prepares = (fit.loss.prepare, *(() if teacher is None else teacher.prepares))
    loader = Loader(rows, prepares, batch_size=max(fit.spec.batch_size, 512), workers=fit.spec.workers)
    ours = predict_student(
        fit.call, fit.wrapped, fit.loss.prepare, fit.loss.head, loader.sequential(positions), fit.place
    )
    if name == "validation" and fit.taught_validation is not None:
        return ours, fit.taught_validation
    theirs = None if teacher is None else predict_teacher(teacher, loader.sequential(positions), fit.place)
    return ours, theirs


def kept_positions(spec: Distillation, name: str, rows: TransferSet) -> Tensor | None:
    """Which rows of a split are answered and kept; None for all of them."""
    if name != "train" or len(rows) <= MOST_TRAINING_ROWS:
        return None
    generator = torch.Generator().manual_seed(mixed_seed(spec.split_seed, "predictions"))
    return torch.randperm(len(rows), generator=generator)[:MOST_TRAINING_ROWS].sort().values


def _keep(out: Path, name: str, ours: Predictions, theirs: Predictions | None) -> None:
    ours.save(out / "predictions" / f"student-{name}.safetensors")
    if theirs is not None:
        theirs.save(out / "predictions" / f"teacher-{name}.safetensors")


def _summary(
    fit: Fit, student: nn.Module, found: Mapping[str, Any], teacher_found: Mapping[str, Any]
) -> dict[str, Any]:
    own = {
        "parameters": parameter_count(student),
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in student.state_dict().values()),
        "fingerprint": fingerprint(student),
        **found,
    }
    kept = {"step": fit.step, "epoch": fit.epoch, "rate": fit.rate, "chosen_by": "last"}
    if fit.best is not None:
        kept = {"step": fit.best.step, "epoch": fit.best.epoch, "rate": fit.best.rate, "chosen_by": "validation"}
    taught = fit.teacher
    teacher = None if taught is None else {"fingerprint": taught.fingerprint, **origin_of(taught), **teacher_found}
    return {"student": own, "teacher": teacher, "kept": kept, "epochs": fit.epoch, "steps": fit.step}


def _config(fit: Fit, student: nn.Module, classes: tuple[str, ...] | None) -> dict[str, Any]:
    encoded = fit.spec.student
    names = None if classes is None else {str(index): name for index, name in enumerate(classes)}
    factory = getattr(encoded, "func", encoded)
    return {
        "architecture": type(student).__qualname__,
        "factory": f"{factory.__module__}:{getattr(factory, '__qualname__', type(factory).__qualname__)}",
        "head": fit.loss.head,
        "id2label": names,
    }


def _enter_in_ledger(fit: Fit, student: nn.Module, rows: int, out: Path) -> None:
    """Write down that the test rows are scored, when and with which weights: a second line is a second look."""
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "split": "test",
        "rows": rows,
        "student": fingerprint(student),
        "step": fit.step if fit.best is None else fit.best.step,
    }
    append_json(out / "ledger.jsonl", entry)
