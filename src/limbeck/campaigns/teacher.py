"""What a campaign's teacher is: size, time to answer beside the student's, members, the rows that it learnt from.

Shape legend, this file:  M members, N rows, C classes or labels.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from limbeck.data.loader import Loader
from limbeck.data.splits import Splits
from limbeck.errors import MismatchError
from limbeck.evidence.latency import latencies
from limbeck.evidence.ledger import enter
from limbeck.knowledge import MixtureKnowledge
from limbeck.models import parameter_count
from limbeck.specification import Distillation, EnsembleOf, Json
from limbeck.targets.open import open_targets
from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.distill import room_beside
from limbeck.training.place import find_place
from limbeck.training.progress import Watcher
from limbeck.training.resolve import resolve_data, teacher_of
from limbeck.training.run import Run
from limbeck.types import Batch, Teacher


def describe_teacher(
    asked: Distillation, taught: Distillation, targets: Path, run: Run, watcher: Watcher
) -> dict[str, Json]:
    """Describe the teacher for the record of a campaign.

    Args:
        asked: the specification as it was given, with its teacher.
        taught: the same with recorded targets.
        targets: the folder that the teacher was recorded into; teachers that were trained first lie beside it.
        run: one of the distilled students.
        watcher: is told where a teacher must be trained.

    Returns: `title`; `parameters`, `bytes` and `seconds_per_row` of teacher and `student`, None for a teacher that is
        nothing but recorded answers; `members`, the test errors in points of each member of a recorded ensemble; and
        `rows`, the labelled rows that it was trained on, None where that is not known.
    """
    splits = resolve_data(taught)
    live = (
        None
        if asked.teacher is None
        else room_beside(targets, _cpu(), watcher, 1).resolve(asked.teacher, asked, splits)
    )
    modules = [] if live is None else _modules(live)
    student = teacher_of(run)
    seconds = _seconds({"student": student, **({} if not modules else {"teacher": live})}, splits)
    return {
        "title": _title(live, taught),
        "parameters": sum(map(parameter_count, modules)) or None,
        "bytes": sum(map(_bytes, modules)) or None,
        "seconds_per_row": seconds.get("teacher"),
        "student": {
            "parameters": parameter_count(student.module),
            "bytes": _bytes(student.module),
            "seconds_per_row": seconds["student"],
        },
        "members": _members(taught, splits, targets.parent),
        "rows": _rows(asked, targets.parent / "teachers"),
    }


def _cpu() -> Any:
    return find_place("cpu", "float32")


def _modules(teacher: Teacher) -> list[nn.Module]:
    """The networks of a live teacher; none where any part of it is recorded or a stranger's."""
    if isinstance(teacher, FrozenTeacher):
        return [teacher.module]
    if isinstance(teacher, Ensemble):
        found = [_modules(member) for member in teacher.members]
        return [module for part in found for module in part] if all(found) else []
    return []


def _bytes(module: nn.Module) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in module.state_dict().values())


def _title(live: Teacher | None, taught: Distillation) -> str:
    if isinstance(live, Ensemble):
        return f"the ensemble of {len(live.members)}"
    return "the teacher" if live is not None else "the teacher, recorded"


def _seconds(models: Mapping[str, Any], splits: Splits) -> Mapping[str, float]:
    """Median seconds to answer one row, on one thread, the models taking turns."""
    prepares = [prepare for model in models.values() for prepare in model.prepares]
    row = next(Loader(splits.train, prepares, batch_size=1).sequential())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return latencies({name: lambda model=model: _answer(model, row) for name, model in models.items()})  # type: ignore[misc]
    finally:
        torch.set_num_threads(threads)


def _answer(teacher: Teacher, row: Batch) -> object:
    return teacher(row).at(1.0)


def _members(taught: Distillation, splits: Splits, folder: Path) -> list[float] | None:
    """Test errors of each member, in points, from what was recorded: a scoring like any other, and entered as one."""
    test = splits.test
    assert test is not None and test.labels is not None and taught.targets is not None  # the campaign has looked
    targets = open_targets(taught.targets, classes=splits.train.classes, head=splits.train.head)
    if test.head != "softmax" or "test" not in targets.parts:
        return None
    try:
        knowledge = targets.knowledge(test.ids, part="test")
    except MismatchError:  # the store's test rows are others
        return None
    if not isinstance(knowledge, MixtureKnowledge):
        return None
    enter(folder, rows=len(test), who="members of the teacher")
    wrong_MN = knowledge.logits_MBC.argmax(-1) != test.labels
    return [100.0 * float(wrong.double().mean()) for wrong in wrong_MN]


def _rows(spec: Distillation, teachers: Path) -> int | None:
    """Labelled rows that the teacher was trained on; of members that saw different numbers, the most."""
    source = spec.teacher
    if isinstance(source, EnsembleOf):
        found = [_rows_of(member, teachers) for member in source.members]
        return max(rows for rows in found if rows is not None) if all(rows is not None for rows in found) else None
    return _rows_of(source, teachers)


def _rows_of(source: Any, teachers: Path) -> int | None:
    run = None
    if isinstance(source, Distillation):
        run = Run(teachers / source.hash[:16])
    elif isinstance(source, str | Path) and (Path(source) / "spec.json").is_file():
        run = Run(Path(source))
    return None if run is None or not run.finished else int(run.spec["data"]["train"]["rows"])
