"""A recorded teacher meets the run's rows: which of them it has answers for, and whether they are the same rows."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from limbeck.data.content import row_fingerprints
from limbeck.data.splits import Splits
from limbeck.errors import MismatchError
from limbeck.specification import Distillation, EnsembleOf, Json, TeacherSource, identity, to_json
from limbeck.targets.imports.packed import IMPORTED
from limbeck.targets.imports.suspicions import agreement, warn_if_memorised, warn_if_misaligned
from limbeck.targets.manifest import ALTERED, Manifest
from limbeck.targets.open import open_targets
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.teachers.ensemble import Ensemble
from limbeck.training.progress import Watcher
from limbeck.training.run import Run
from limbeck.types import Batch, Teacher, TransferSet


def teacher_identity(spec: Distillation) -> str:
    """SHA-256 of what a specification calls its teacher: known without building it, let alone training it."""
    own = _own_prepares(spec.teacher)
    asked = identity(to_json([spec.teacher, spec.teacher_prepare, *([own] if own else [])]))
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def trained_on(source: Any, teachers: Path) -> list[Json] | None:
    """Number and content fingerprint of the rows that a teacher was trained on and had its checkpoint chosen by.

    `teachers` is the folder of those that had to be trained first. One entry for each distinct set of rows, of a run,
    a specification or an ensemble of such; None where any part of the teacher does not tell.
    """
    if isinstance(source, EnsembleOf):
        parts = [trained_on(member, teachers) for member in source.members]
        known = [part for part in parts if part is not None]
        return _distinct([entry for part in known for entry in part]) if len(known) == len(parts) else None
    own = source.teacher if isinstance(source, Distillation) and source.goal.needs_teacher else None
    if isinstance(source, Distillation):
        run = Run(teachers / source.hash[:16])
    elif isinstance(source, str | Path):
        run = Run(Path(source))
    else:
        return None
    if not run.finished or (own is None and run.spec["teacher"] is not None):
        return None
    taught = [] if own is None else trained_on(own, teachers)
    data = run.spec["data"]
    return None if taught is None else _distinct([{name: data[name] for name in ("train", "validation")}, *taught])


def _distinct(entries: Sequence[Json]) -> list[Json]:
    by_text = {json.dumps(entry, sort_keys=True): entry for entry in entries}
    return [by_text[text] for text in sorted(by_text)]


def _own_prepares(source: Any) -> list[Any]:
    """What teachers that were given as objects read of a row: their fingerprints say nothing of it."""
    if isinstance(source, EnsembleOf):
        return [prepare for member in source.members for prepare in _own_prepares(member)]
    return list(source.prepares) if hasattr(source, "fingerprint") and hasattr(source, "prepares") else []


def transform_of(spec: Distillation) -> dict[str, Json] | None:
    """Describe how the rows of each view were made; None where there are only the raw ones."""
    if spec.augment is None:
        return None
    return {"augment": identity(to_json(spec.augment)), "seed": spec.view_seed}


def recorded_teacher(spec: Distillation, splits: Splits, say: Callable[[str], Any] | None = None) -> RecordedTeacher:
    """Open the targets that a specification names, and compare them with the teacher that it names too.

    `say` is called with what was done to the predictions of a file on the way, a sentence at a time.

    Raises: MismatchError for targets of another teacher; StoreError where they cannot be read.
    """
    assert spec.targets is not None  # the caller has looked
    targets = open_targets(spec.targets, classes=splits.train.classes, head=splits.train.head, say=say)
    if spec.teacher is not None:
        _require_same_teacher(targets, spec)
    return RecordedTeacher(targets)


def _require_names(targets: Targets, splits: Splits, spec: Distillation) -> None:
    """Refuse predictions whose columns might be in any order, and imported ones that are in another than the data's."""
    ours, theirs = splits.train.classes, targets.manifest.classes
    imported = targets.manifest.teacher["kind"] == IMPORTED
    if ours is None or not imported:
        return
    if theirs is None:
        raise MismatchError(
            f"{_called(targets, spec)} do not name their classes, so their order is not known; import them with "
            "--classes, or with --by-position and --data if they are in the order of the data's."
        )
    if theirs != tuple(ours) and sorted(theirs) == sorted(ours):
        place = next(place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
        raise MismatchError(
            f"{_called(targets, spec)} have the data's classes in another order: class {place} is {theirs[place]!r} "
            f"there and {ours[place]!r} in the data; import them with --data, which brings them into its order."
        )


def _called(targets: Targets, spec: Distillation) -> str:
    where = spec.targets or targets.path
    return "The targets" if where is None else f"The targets {where}"


def _require_same_teacher(targets: Targets, spec: Distillation) -> None:
    """Compare weights where the teacher is a finished run, wherever it lies; else what the teacher is called."""
    said, weights = targets.manifest.teacher, weights_of(spec.teacher)
    if weights is not None and said.get("fingerprint") is not None:
        recorded, asked = said["fingerprint"], weights
    else:
        recorded, asked = said.get("specification"), teacher_identity(spec)
    if recorded is not None and recorded != asked:
        raise MismatchError(
            f"The targets {spec.targets} were recorded from the teacher {recorded[:12]}, and the specification names "
            f"the teacher {asked[:12]}; record them again with `limbeck record`, or name the teacher that they are of."
        )


def weights_of(source: "TeacherSource | None") -> str | None:
    """SHA-256 of the network that a finished run left behind; None where no such run is named."""
    if not isinstance(source, str | Path) or not Run(Path(source)).finished:
        return None
    return str(Run(Path(source)).summary["student"]["fingerprint"])


def _require_same_views(targets: Targets, spec: Distillation) -> None:
    asked, recorded = transform_of(spec), targets.manifest.transform
    if asked is not None and asked != recorded:
        before, now = in_words(recorded), in_words(asked)
        if before == now:  # the same names, and other code behind them
            before, now = (json.dumps(transform, sort_keys=True) for transform in (recorded, asked))
        raise MismatchError(
            f"{_called(targets, spec)} were recorded on rows that were changed by {before}, and the specification "
            f"changes them by {now}; record them again, or ask for the views that they hold."
        )


def in_words(transform: Mapping[str, Any] | None) -> str:
    """Tell how rows were changed, as `transform_of` describes it."""
    if transform is None:
        return "nothing"
    return f"{_written(transform.get('augment'))} with the seed {_written(transform.get('seed'))}"


def _written(encoded: Any) -> str:
    """Write a part of an encoded specification as it stands in a program, without what is at its default of None."""
    match encoded:
        case {"$record": str(name), "fields": dict(fields)}:
            given = [f"{field}={_written(value)}" for field, value in fields.items() if value is not None]
            return f"{name.rpartition(':')[2]}({', '.join(given)})"
        case {"$ref": str(name)}:
            return name.rpartition(":")[2]
        case list():
            return f"({', '.join(map(_written, encoded))})"
    return json.dumps(encoded, sort_keys=True)


def by_split(teacher: Teacher | None, splits: Splits, spec: Distillation, watcher: Watcher) -> dict[str, Teacher]:
    """Return who answers for the rows of train, validation and test.

    A live teacher answers for all. A recorded one must hold every training row, in every view, with the content that
    was recorded; of the others it may lack some, and then it is not scored there.

    Raises: MismatchError for training rows that are missing, or are not those that were recorded, for targets of other
        views, and for predictions whose classes nothing names.
    """
    if teacher is None:
        return {}
    named = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    there = {name: rows for name, rows in named.items() if rows is not None}
    if not is_recorded(teacher):
        return dict.fromkeys(there, teacher)
    for targets in _stores(teacher):  # however they came: by path, as an object, within an ensemble
        _require_names(targets, splits, spec)
        _require_same_views(targets, spec)
    parts = {name: _Split(rows) for name, rows in there.items()}
    found = {"train": _bound(teacher, parts["train"], "train", views_of(teacher, spec) or 1)}
    _suspect(found["train"], splits.train)
    for name in [name for name in there if name != "train"]:
        held = _held(teacher, parts, name)
        if held is None:
            if all(ALTERED in targets.manifest.marks for targets in _stores(teacher)):
                continue  # made to be learnt from, and of nobody whom one would score
            watcher.say(f"The targets hold no answers to the {name} rows, so the teacher is not scored there.")
        else:
            found[name] = held
    return found


def is_recorded(teacher: Teacher) -> bool:
    """Whether a teacher, or a member of an ensemble, answers from a store."""
    if isinstance(teacher, Ensemble):
        return any(is_recorded(member) for member in teacher.members)
    return isinstance(teacher, RecordedTeacher)


def origin_of(teacher: Teacher) -> dict[str, Json]:
    """Say in which form a teacher's answers were recorded, and what is known of their origin; nothing of a live one."""
    if not isinstance(teacher, RecordedTeacher):
        return {}
    manifest = teacher.targets.manifest
    return {"recorded": {"encoding": str(manifest.encoding["name"]), "marks": list(manifest.marks)}}


def _stores(teacher: Teacher) -> list[Targets]:
    if isinstance(teacher, Ensemble):
        return [targets for member in teacher.members for targets in _stores(member)]
    return [teacher.targets] if isinstance(teacher, RecordedTeacher) else []


def views_of(teacher: Teacher | None, spec: Distillation) -> int | None:
    """How many views the student cycles through: as many as asked for, else as many as were recorded."""
    if spec.views is not None or spec.augment is None or teacher is None:
        return spec.views
    if isinstance(teacher, Ensemble):
        counts = [count for member in teacher.members if (count := views_of(member, spec)) is not None]
        return min(counts, default=None)
    return teacher.views if isinstance(teacher, RecordedTeacher) else None


def contents_of(rows: TransferSet, ids: Tensor) -> Tensor:
    """Return the hash of the content of each of the rows with these ids.  (N,) int64 -> (N,) int64.

    Raises: MismatchError for ids that the rows do not have.
    """
    order = rows.ids.argsort()
    places = torch.searchsorted(rows.ids[order], ids).clamp(max=len(order) - 1)
    positions = order[places]
    missing = ids[rows.ids[positions] != ids]
    if len(missing):
        first = ", ".join(map(str, missing[:5].tolist()))
        raise MismatchError(
            f"The data have no rows for {len(missing)} of {len(ids)} predictions; the first ids: {first}."
        )
    return row_fingerprints(rows, positions)


MOST_SUSPECTED = 10_000
"""Rows whose targets are laid beside their labels before a run; of more, those at equal distances."""


def _suspect(teacher: Teacher, rows: TransferSet) -> None:
    """Warn of imported targets that repeat the labels, or seem to belong to other rows."""
    if not isinstance(teacher, RecordedTeacher) or rows.labels is None or rows.head != teacher.head:
        return
    manifest = teacher.targets.manifest
    if manifest.teacher["kind"] != IMPORTED or (rows.classes is not None and not _may_name(manifest, rows.classes)):
        return
    chosen = torch.arange(0, len(rows), -(-len(rows) // MOST_SUSPECTED))
    found = agreement(teacher(Batch({}, None, rows.ids[chosen])), rows.labels[chosen])
    if found is not None:
        warn_if_memorised(found, manifest.marks)
        warn_if_misaligned(found)


def _may_name(manifest: Manifest, classes: Sequence[str]) -> bool:
    """Whether these may be the classes of what was recorded, in its order."""
    return len(classes) == manifest.width and manifest.classes in (None, tuple(classes))


@final
class _Split:
    """The rows of a split and, once somebody asks, the hash of each one's content."""

    def __init__(self, rows: TransferSet) -> None:
        self.rows = rows

    @cached_property
    def contents(self) -> Tensor:
        """(N,) int64."""
        return row_fingerprints(self.rows)


def _bound(teacher: Teacher, split: _Split, part: str, views: int) -> Teacher:
    """Return the teacher that answers these rows from a part of its store. Raises: MismatchError."""
    if isinstance(teacher, Ensemble):
        members = [_bound(member, split, part, views) for member in teacher.members]
        return Ensemble(members, mean=teacher.mean, weights=teacher.weights)
    if not isinstance(teacher, RecordedTeacher):
        return teacher
    own = teacher.of(part)
    own.require(split.rows.ids, split.contents if own.knows_contents else None, views)
    return own


def _held(teacher: Teacher, splits: Mapping[str, _Split], name: str) -> Teacher | None:
    """Return who answers the rows of a split that is not trained on; None where the store lacks some of them.

    Held-out rows have the ids of the training data, and stand in its part; rows of a file of their own have ids that
    mean something else there, and only their content can tell.
    """
    apart = not torch.isin(splits[name].rows.ids, splits["train"].rows.ids).any()
    for part in (name, "train"):
        if part == "train" and not (apart or knows_contents(teacher)):
            continue
        with suppress(MismatchError):
            return _bound(teacher, splits[name], part, 1)
    return None


def knows_contents(teacher: Teacher) -> bool:
    """Whether what was recorded can be compared with the rows themselves, not only with their ids."""
    if isinstance(teacher, Ensemble):
        return all(knows_contents(member) for member in teacher.members)
    return not isinstance(teacher, RecordedTeacher) or teacher.of("train").knows_contents
