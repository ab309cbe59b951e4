"""Whether a teacher saw the rows that choose or judge its student: rows are compared by what they hold, not by name.

Shape legend, this file:  N rows of a split, K rows that a teacher saw.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from limbeck.data.content import row_fingerprints
from limbeck.data.splits import Splits
from limbeck.errors import LimbeckError
from limbeck.evidence.verdict import Saw
from limbeck.specification import Distillation, EnsembleOf, Json, from_json, identity, to_json
from limbeck.targets.open import is_store, open_store
from limbeck.training.resolve import resolve_data
from limbeck.training.run import Run
from limbeck.training.surroundings import rows_of
from limbeck.types import TransferSet


def exposure(spec: Distillation, splits: Splits) -> dict[str, Json]:
    """Say whether the teacher of a specification saw its validation and its test rows.

    What a teacher saw of the test rows: all that it, or any teacher of its own, was trained on, and what chose its
    checkpoint. Of the validation rows: only what it was trained on; that both chose a checkpoint by the same rows is
    usual, favours no arm, and is told as `chosen_by`. A row counts as seen if a row with exactly the same content was.
    Copies that also stand in the student's own labelled training rows are counted as `duplicates`, and are no reason
    to say "yes": every arm learns from them.

    It can be told of a teacher that is a specification, a finished run, or an ensemble of such; of recorded targets
    without their teacher only if it was trained on the student's own splits. Of a module, a function or imported
    targets it cannot; nor where the teacher's rows have other columns.

    Args:
        spec: the student's; where it names both a teacher and recorded targets, they are the teacher's own.
        splits: the student's rows, as `resolve_data(spec)` gives them.

    Returns: `validation` and `test`, each "no", "yes" or "unknown"; `rows`, how many of each were seen for certain,
        `duplicates` among them; and `chosen_by`, how many of the validation rows chose the teacher's checkpoint.
    """
    seen = _everything(_Reader(splits).seen_by(spec.teacher if spec.teacher is not None else spec.targets))
    own = row_fingerprints(splits.train) if splits.train.labelled else torch.empty(0, dtype=torch.int64)
    validation = _counted(splits.validation, seen.trained, own)
    test = _counted(splits.test, torch.cat((seen.trained, seen.chosen)), own)
    chosen = _counted(splits.validation, seen.chosen, own)
    return {
        "validation": _word(validation, splits.validation, seen.whole),
        "test": _word(test, splits.test, seen.whole),
        "rows": {"validation": validation.rows, "test": test.rows},
        "duplicates": {"validation": validation.duplicates, "test": test.duplicates},
        "chosen_by": chosen.rows,
    }


class _Seen(NamedTuple):
    """Hashes of the rows that a teacher saw."""

    trained: Tensor
    """(K,) int64, what its weights, or its own teacher's, were fitted to."""
    chosen: Tensor
    """(K,) int64, what chose its checkpoint."""
    whole: bool
    """Whether this is all that it saw."""


_NOTHING = torch.empty(0, dtype=torch.int64)
_UNKNOWN = _Seen(_NOTHING, _NOTHING, whole=False)


def _everything(parts: Iterator[_Seen]) -> _Seen:
    found = list(parts)
    return _Seen(
        torch.cat([_NOTHING, *(part.trained for part in found)]),
        torch.cat([_NOTHING, *(part.chosen for part in found)]),
        all(part.whole for part in found),
    )


@dataclass(frozen=True)
class _Counts:
    rows: int
    duplicates: int


def _counted(rows: TransferSet | None, seen: Tensor, own: Tensor) -> _Counts:
    if rows is None or not len(seen):
        return _Counts(0, 0)
    contents_N = row_fingerprints(rows)
    found = contents_N[torch.isin(contents_N, seen)]
    return _Counts(len(found), int(torch.isin(found, own).sum()))


def _word(counts: _Counts, rows: TransferSet | None, whole: bool) -> Saw:
    if counts.rows > counts.duplicates:
        return "yes"
    return "no" if whole or rows is None else "unknown"


@final
class _Reader:
    """Finds the rows of teachers, those of equal data once."""

    def __init__(self, splits: Splits) -> None:
        self._splits = splits
        self._read: dict[str, _Seen] = {}

    def seen_by(self, source: Any) -> Iterator[_Seen]:
        """Yield what a teacher saw, part by part; nothing for no teacher."""
        if isinstance(source, EnsembleOf):
            for member in source.members:
                yield from self.seen_by(member)
        elif isinstance(source, Distillation):
            yield self._rows_of(source)
            if source.goal.needs_teacher:
                yield from self.seen_by(source.teacher if source.teacher is not None else source.targets)
        elif isinstance(source, str | Path) and is_store(source):
            yield from self._recorded(source)
        elif isinstance(source, str | Path) and Run(Path(source)).finished:
            yield from self._seen_by_run(Run(Path(source)))
        elif source is not None:
            yield _UNKNOWN

    def _rows_of(self, spec: Distillation, expected: Json = None) -> _Seen:
        """What a specification's data lead to; unknown where they do not, or to other rows than were expected."""
        key = json.dumps(identity(to_json([spec.data, spec.validation, spec.split_seed])), sort_keys=True)
        key += json.dumps(expected)
        if key not in self._read:
            self._read[key] = self._hashed(spec, expected)
        return self._read[key]

    def _hashed(self, spec: Distillation, expected: Json) -> _Seen:
        try:
            found = resolve_data(spec)
        except LimbeckError:
            return _UNKNOWN
        if _columns(found.train) != self._columns or (expected is not None and rows_of(found) != expected):
            return _UNKNOWN
        chosen = _NOTHING if found.validation is None else row_fingerprints(found.validation)
        return _Seen(row_fingerprints(found.train), chosen, whole=True)

    @cached_property
    def _columns(self) -> dict[str, str]:
        return _columns(self._splits.train)

    def _seen_by_run(self, run: Run) -> Iterator[_Seen]:
        """What a finished run was trained on, found through its specification, or else by its rows' fingerprints."""
        try:
            data, fields = run.spec["data"], run.spec["specification"]["fields"]
        except (LimbeckError, KeyError, TypeError):
            yield _UNKNOWN
            return
        spec = _rebuilt(fields)
        seen = _UNKNOWN if spec is None else self._rows_of(spec, data)
        yield seen if seen.whole else self._by_fingerprint(data)
        for name in ("targets", "teacher"):
            source = fields.get(name)
            if source is not None and (name == "teacher" or fields.get("teacher") is None):
                yield from self.seen_by(_found(source))

    def _recorded(self, source: str | Path) -> Iterator[_Seen]:
        """What a store tells of the rows behind its teacher, which it names by their fingerprints."""
        try:
            told = open_store(source).manifest.teacher.get("trained_on")
        except LimbeckError:
            told = None
        yield from map(self._by_fingerprint, told) if isinstance(told, list) else [_UNKNOWN]

    def _by_fingerprint(self, data: Any) -> _Seen:
        """What was seen, if the rows are splits of the student's own."""
        ours = {part["fingerprint"]: name for name, part in self._fingerprints.items() if isinstance(part, dict)}
        hashes = {}
        for name in ("train", "validation"):
            part = data.get(name) if isinstance(data, dict) else None
            if part is None and name == "validation":
                hashes[name] = _NOTHING
                continue
            split = ours.get(part["fingerprint"]) if isinstance(part, dict) and "fingerprint" in part else None
            if split is None:
                return _UNKNOWN
            hashes[name] = row_fingerprints(getattr(self._splits, split))
        return _Seen(hashes["train"], hashes["validation"], whole=True)

    @cached_property
    def _fingerprints(self) -> dict[str, Json]:
        return rows_of(self._splits)


def _rebuilt(fields: dict[str, Any]) -> Distillation | None:
    """The part of a run's specification that leads to its rows; None where its data were live objects, or are gone."""
    try:
        parts = {name: from_json(fields[name]) for name in ("data", "objective", "validation", "split_seed")}
        return Distillation(student=nn.Identity, teacher=nn.Identity, **parts)  # neither is ever built
    except (LimbeckError, KeyError, TypeError):
        return None


def _found(encoded: Json) -> Any:
    """A teacher as a record names it; something that nothing is known of where it cannot be rebuilt."""
    try:
        return from_json(encoded)
    except LimbeckError:
        return object()


def _columns(rows: TransferSet) -> dict[str, str]:
    """Names and kinds of the columns: contents of other columns cannot be equal, whatever they show."""
    columns = rows.rows(torch.zeros(1, dtype=torch.int64)).columns
    return {
        name: f"{values.dtype} {tuple(values.shape[1:])}" if isinstance(values, Tensor) else type(values[0]).__name__
        for name, values in columns.items()
    }
