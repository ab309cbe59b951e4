"""A few rows in raw form, and what both models answer to them at several temperatures: for people to look at."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.data.loader import Loader
from limbeck.files import write_json, write_tensors
from limbeck.knowledge import shown_logits
from limbeck.models import caller_of, knowledge_of
from limbeck.objective import Loss
from limbeck.training.place import Place
from limbeck.types import Head, Knowledge, Teacher, TransferSet

ROWS = 16
"""How many rows are kept."""

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
"""At which both models' probabilities are kept."""


def keep_samples(
    rows: TransferSet, student: nn.Module, teacher: Teacher | None, loss: Loss, place: Place, folder: Path
) -> None:
    """Keep the first rows of a split in raw form (tensors as safetensors, text as JSON) and what both models answer."""
    positions = torch.arange(min(ROWS, len(rows)))
    some = rows.rows(positions)
    tensors: dict[str, Tensor] = {name: value for name, value in some.columns.items() if isinstance(value, Tensor)}
    texts = {name: list(value) for name, value in some.columns.items() if _is_text(value)}
    own = {"ids": some.ids} if some.labels is None else {"ids": some.ids, "labels": some.labels}
    write_tensors(folder / "rows.safetensors", {**{f"columns.{k}": v for k, v in tensors.items()}, **own})
    if texts:
        write_json(folder / "rows.json", texts)
    write_tensors(folder / "answers.safetensors", _answers(rows, positions, student, teacher, loss, place))


@torch.no_grad()
def _answers(
    rows: TransferSet, positions: Tensor, student: nn.Module, teacher: Teacher | None, loss: Loss, place: Place
) -> dict[str, Tensor]:
    """`student@T` and `teacher@T`: probabilities (rows, classes) at each temperature that the models answer."""
    prepares = (loss.prepare, *(() if teacher is None else teacher.prepares))
    batch = next(Loader(rows, prepares, batch_size=len(positions)).sequential(positions)).to(place.device)
    student.eval()
    models: dict[str, Knowledge] = {"student": knowledge_of(caller_of(student), batch.inputs[loss.prepare], loss.head)}
    if teacher is not None:
        models["teacher"] = teacher(batch)
    return {
        f"{who}@{temperature:g}": _probabilities(logits / temperature, loss.head)
        for who, knowledge in models.items()
        for temperature in TEMPERATURES
        if (logits := shown_logits(knowledge, temperature)) is not None
    }


def _probabilities(tempered: Tensor, head: Head) -> Tensor:
    return tempered.softmax(-1) if head == "softmax" else tempered.sigmoid()


def _is_text(value: Any) -> bool:
    return not isinstance(value, Tensor) and all(isinstance(item, str) for item in value)
