"""The end of a run: the kept weights, their answers, the one scoring of the test rows, the card, the summary."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limbeck.data.loader import Loader
from limbeck.data.order import mixed_seed
from limbeck.data.splits import Splits
from limbeck.files import write_json, write_tensors, write_text
from limbeck.models import caller_of, fingerprint, knowledge_of, parameter_count
from limbeck.training.card import model_card
from limbeck.training.checkpoint import load_weights
from limbeck.training.evaluate import Predictions, predict_student, predict_teacher, scores
from limbeck.training.loop import Fit
from limbeck.types import Knowledge, Teacher, TransferSet

MOST_TRAINING_ROWS = 100_000
"""Training rows whose answers are kept; of more, a seeded sample."""

SAMPLE_ROWS = 16
"""Rows whose raw content is kept for people to look at."""

SAMPLE_TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
"""Temperatures at which both models' probabilities on the sample rows are kept."""


def harvest(fit: Fit, splits: Splits, classes: tuple[str, ...] | None, out: Path) -> None:
    """Keep the best weights (the last without validation rows), score each split once, and write the summary last."""
    if fit.best is not None:
        load_weights(fit.student, fit.best.weights, fit.checkpoints)
    found: dict[str, dict[str, float]] = {}
    teacher_found: dict[str, dict[str, float]] = {}
    for name, rows in (("train", splits.train), ("validation", splits.validation), ("test", splits.test)):
        if rows is None:
            continue
        ours, theirs = _answers(fit, name, rows)
        if fit.place.leads:
            _keep(out, name, ours, theirs)
        found[name] = scores(ours, theirs, fit.loss.head)
        if theirs is not None:
            teacher_found[name] = scores(theirs, None, fit.loss.head)
    if not fit.place.leads:
        return
    write_tensors(out / "student" / "model.safetensors", fit.student.state_dict())
    summary = _summary(fit, found, teacher_found)
    write_json(out / "student" / "config.json", _config(fit, classes))
    write_text(out / "student" / "README.md", model_card(out.name, summary, classes))
    _sample(fit, splits.test or splits.validation or splits.train, out / "samples")
    _enter_in_ledger(fit, found, out)
    write_json(out / "summary.json", summary)


def _answers(fit: Fit, name: str, rows: TransferSet) -> tuple[Predictions, Predictions | None]:
    positions = None
    if name == "train" and len(rows) > MOST_TRAINING_ROWS:
        generator = torch.Generator().manual_seed(mixed_seed(fit.spec.split_seed, "predictions"))
        positions = torch.randperm(len(rows), generator=generator)[:MOST_TRAINING_ROWS].sort().values
    prepares = (fit.loss.prepare, *(() if fit.teacher is None else fit.teacher.prepares))
    loader = Loader(rows, prepares, batch_size=max(fit.spec.batch_size, 512), workers=fit.spec.workers)
    ours = predict_student(
        fit.call, fit.wrapped, fit.loss.prepare, fit.loss.head, loader.sequential(positions), fit.place
    )
    if name == "validation" and fit.taught_validation is not None:
        return ours, fit.taught_validation
    teacher: Teacher | None = fit.teacher
    theirs = None if teacher is None else predict_teacher(teacher, loader.sequential(positions), fit.place)
    return ours, theirs


def _keep(out: Path, name: str, ours: Predictions, theirs: Predictions | None) -> None:
    ours.save(out / "predictions" / f"student-{name}.safetensors")
    if theirs is not None:
        theirs.save(out / "predictions" / f"teacher-{name}.safetensors")


def _summary(fit: Fit, found: dict[str, Any], teacher_found: dict[str, Any]) -> dict[str, Any]:
    parameters = parameter_count(fit.student)
    student = {
        "parameters": parameters,
        "bytes": sum(tensor.numel() * tensor.element_size() for tensor in fit.student.state_dict().values()),
        "fingerprint": fingerprint(fit.student),
        **found,
    }
    kept = {"step": fit.step, "epoch": fit.epoch, "rate": fit.rate, "chosen_by": "last"}
    if fit.best is not None:
        kept = {"step": fit.best.step, "epoch": fit.best.epoch, "rate": fit.best.rate, "chosen_by": "validation"}
    teacher = None if fit.teacher is None else {"fingerprint": fit.teacher.fingerprint, **teacher_found}
    return {"student": student, "teacher": teacher, "kept": kept, "epochs": fit.epoch, "steps": fit.step}


def _config(fit: Fit, classes: tuple[str, ...] | None) -> dict[str, Any]:
    encoded = fit.spec.student
    names = None if classes is None else {str(index): name for index, name in enumerate(classes)}
    factory = getattr(encoded, "func", encoded)
    return {
        "architecture": type(fit.student).__qualname__,
        "factory": f"{factory.__module__}:{getattr(factory, '__qualname__', type(factory).__qualname__)}",
        "head": fit.loss.head,
        "id2label": names,
    }


def _enter_in_ledger(fit: Fit, found: dict[str, Any], out: Path) -> None:
    """Write down that the test rows were scored, when and with which weights: a second line is a second look."""
    if "test" not in found:
        return
    entry = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "split": "test",
        "rows": found["test"]["rows"],
        "student": fingerprint(fit.student),
        "step": fit.step if fit.best is None else fit.best.step,
    }
    with (out / "ledger.jsonl").open("a", encoding="utf-8") as ledger:
        ledger.write(json.dumps(entry) + "\n")


def _sample(fit: Fit, rows: TransferSet, folder: Path) -> None:
    """Keep the first rows of a split in raw form (tensors as safetensors, text as JSON) and what both models answer."""
    positions = torch.arange(min(SAMPLE_ROWS, len(rows)))
    some = rows.rows(positions)
    tensors: dict[str, Tensor] = {name: value for name, value in some.columns.items() if isinstance(value, Tensor)}
    texts = {name: list(value) for name, value in some.columns.items() if _is_text(value)}
    own = {"ids": some.ids} if some.labels is None else {"ids": some.ids, "labels": some.labels}
    write_tensors(folder / "rows.safetensors", {**{f"columns.{k}": v for k, v in tensors.items()}, **own})
    if texts:
        write_json(folder / "rows.json", texts)
    write_tensors(folder / "answers.safetensors", _sample_answers(fit, rows, positions))


@torch.no_grad()
def _sample_answers(fit: Fit, rows: TransferSet, positions: Tensor) -> dict[str, Tensor]:
    """`student@T` and `teacher@T`: probabilities (rows, classes), asked of the models at each temperature."""
    prepares = (fit.loss.prepare, *(() if fit.teacher is None else fit.teacher.prepares))
    batch = next(Loader(rows, prepares, batch_size=len(positions)).sequential(positions)).to(fit.place.device)
    fit.student.eval()
    student = knowledge_of(caller_of(fit.student), batch.inputs[fit.loss.prepare], fit.loss.head)
    models: dict[str, Knowledge] = {"student": student}
    if fit.teacher is not None:
        models["teacher"] = fit.teacher(batch)
    return {
        f"{who}@{temperature:g}": _probabilities(knowledge, temperature)
        for who, knowledge in models.items()
        for temperature in SAMPLE_TEMPERATURES
    }


def _probabilities(knowledge: Knowledge, temperature: float) -> Tensor:
    answer = knowledge.at(temperature)
    tempered = answer.logits / temperature
    return tempered.softmax(-1) if answer.head == "softmax" else tempered.sigmoid()


def _is_text(value: Any) -> bool:
    return not isinstance(value, Tensor) and all(isinstance(item, str) for item in value)
