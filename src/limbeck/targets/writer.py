"""`Recording`: a store that is being written, by one process or several, and survives the end of any of them.

A shard is written aside, synced and renamed; then comes its sidecar with size and checksum, and with that it is
committed. The manifest is written last, by whoever finds every shard committed: its bytes are the same whoever it is.

Shape legend, this file:  n rows of a shard, V views, W bytes of a row, P positions of ragged rows.
"""

import errno
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from limbeck.errors import ArgumentError, StoreError
from limbeck.files import is_aside, sweep, write_bytes
from limbeck.targets.locks import Presence, is_shared, locked
from limbeck.targets.manifest import MANIFEST, RECORDING, FileRecord, Manifest, canonical, read_canonical
from limbeck.targets.plan import BASIS, PartPlan, Plan, Shard, default_shard_rows, file_record, shard_tensors
from limbeck.targets.tensorfile import serialised

__all__ = ["PartPlan", "Plan", "Recording", "Shard", "default_shard_rows", "refuse_occupied"]

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_WORDS = {
    "format": "another format",
    "version": "another version of the format",
    "head": "another head",
    "classes": "other classes",
    "width": "another number of classes",
    "teacher": "another teacher",
    "encoding": "another encoding",
    "basis": "another basis of the encoding",
    "temperatures": "other temperatures",
    "transform": "another transform of the rows",
    "marks": "other marks",
    "batch_size": "another batch size",
    "features": "other features",
    "layout": "another layout of rows",
    "row_bytes": "another layout of rows",
    "ragged": "another layout of rows",
    "parts": "other splits",
    "views": "another number of views",
    "rows": "another number of rows",
    "fingerprint": "another dataset",
    "index": "another dataset",
    "shards": "another number of rows in a shard",
}
"""What it means that two plans differ in a key; what explains other differences comes first."""

_LONGEST = 80  # characters of a value in a sentence
_HASH = re.compile(r"[0-9a-f]{64}")


@final
class Recording:
    """A folder in which a store is being written.

    Any number of writers may work on one recording at a time, each with a `Recording` of its own: those that start
    while another one is at work join it. Afterwards, one that was stopped is gone on with by `resume`.

    Args:
        folder: of the store; new, empty, or with a recording of this plan.
        plan: what is to be recorded.
        resume: go on with a recording that was stopped; also where there is none yet.

    Raises: StoreError for a folder that holds something else, a finished store, a recording of another plan (and says
        what differs), or one that was stopped where `resume` is not asked for; and where the folder cannot be written.
    """

    def __init__(self, folder: Path | str, plan: Plan, *, resume: bool = False) -> None:
        self.folder, self.plan = Path(folder), plan
        self._content = canonical(plan.draft.plan)
        refuse_occupied(self.folder, resume=True)
        with self._on_disk("the plan"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder):
                alone = not is_shared(self.folder / RECORDING)
                self._claim(resume or not alone)
                if alone:
                    sweep(self.folder)
                if not self._finished():
                    self._begin()
                self._presence = Presence(self.folder / RECORDING)

    def missing(self, rank: int = 0, ranks: int = 1) -> list[Shard]:
        """Return the shards that are one writer's to record and are not committed yet.

        Args:
            rank: of the writer, in [0, ranks).
            ranks: how many writers there are; each gets every `ranks`-th shard, whatever is committed already.
        """
        if self._finished():
            return []
        found = [shard for shard in self.plan.shards[rank::ranks] if self._committed(shard) is None]
        # Another writer may have finished meanwhile: the manifest is there before the sidecars go.
        return [] if self._finished() else found

    def commit(
        self, shard: Shard, packed: Tensor, features: Mapping[str, Tensor] | None = None, offsets: Tensor | None = None
    ) -> None:
        """Write a shard. When this returns, no kill and no crash can lose it.

        Args:
            shard: one of the plan's.
            packed: (n, V, W) uint8 on the CPU; (P, W) for ragged rows: rows after one another, each view after view.
            features: {name: (n, V, *shape)} for each of the plan's.
            offsets: (n * V + 1,) int64, where each view of each ragged row begins, and where the last ends.

        Raises: ArgumentError for tensors that are not what the plan says; StoreError where they cannot be written.
        """
        tensors = self._checked(shard, packed, dict(features or {}), offsets)
        with self._on_disk(shard.file):
            record = _written(self.folder, shard.file, serialised(tensors))
            sidecar = {"bytes": record.bytes, "sha256": record.sha256}
            write_bytes(self.folder / shard.sidecar, canonical(sidecar))

    def finish(self) -> bool:
        """Write the manifest if every shard is committed; return whether the store is whole.

        Raises: StoreError where it cannot be written.
        """
        with self._on_disk(MANIFEST), locked(self.folder):
            if not self._finished():
                written = self._all_committed()
                if written is None:
                    return False
                write_bytes(self.folder / MANIFEST, self.plan.manifest(written).to_bytes())
            self._tidy()
        self._presence.end()
        return True

    def _claim(self, resume: bool) -> None:
        """Refuse a folder that is not free for this plan."""
        refuse_occupied(self.folder, resume=resume)
        if self._finished():
            found = Manifest.from_bytes((self.folder / MANIFEST).read_bytes(), str(self.folder)).plan
            self._compare(found, "was recorded")
        elif (begun := self._read(RECORDING)) is not None:
            plan = read_canonical(begun)
            if plan is None:
                raise StoreError(f"The file {RECORDING} in {self.folder} is damaged; remove the folder to begin anew.")
            self._compare(plan, "was begun")
            safe = self._safe()
            if safe and not resume:
                raise StoreError(
                    f"The folder {self.folder} holds a recording that was stopped, with {safe} of "
                    f"{len(self.plan.shards)} shards; go on with --resume, or give another folder."
                )

    def _compare(self, found: Mapping[str, Any], verb: str) -> None:
        differ = _difference(found, json.loads(self._content))
        if differ is not None:
            raise StoreError(
                f"The store in {self.folder} {verb} with {differ}. Ask for the same again, or give another folder."
            )

    def _begin(self) -> None:
        """Write what must be there before the first shard, unless it is."""
        self._ensure(RECORDING, [self._content])
        for name, part in self.plan.parts.items():
            self._ensure(self.plan.indices[name].file, part.index)
        if self.plan.basis is not None:
            self._ensure(BASIS, self.plan.basis)

    def _ensure(self, name: str, pieces: list[bytes | memoryview]) -> None:
        if _size(self.folder / name) != sum(len(piece) for piece in pieces):
            write_bytes(self.folder / name, *pieces)

    def _checked(
        self, shard: Shard, packed: Tensor, features: dict[str, Tensor], offsets: Tensor | None
    ) -> dict[str, Tensor]:
        if shard not in self.plan.shards:
            raise ArgumentError(f"commit: the plan has no shard {shard.file} of these rows.")
        found = shard_tensors(packed, features, offsets)
        cells, width = (shard.rows, shard.views), self.plan.layout.nbytes
        wanted: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {"rows": (torch.uint8, (*cells, width))}
        for name, (dtype, shape) in self.plan.features.items():
            wanted[f"features.{name}"] = (dtype, (*cells, *shape))
        if self.plan.ragged:
            _check_offsets(offsets, shard, packed)
            wanted["rows"] = (torch.uint8, (len(packed), width))
            wanted["offsets"] = (torch.int64, (shard.rows * shard.views + 1,))
        if found.keys() != wanted.keys():
            raise ArgumentError(f"commit: {shard.file} must hold {', '.join(wanted)}. Got {', '.join(found)}.")
        for name, (dtype, shape) in wanted.items():
            if (found[name].dtype, tuple(found[name].shape)) != (dtype, shape):
                got = f"{found[name].dtype} {tuple(found[name].shape)}"
                raise ArgumentError(f"commit: {name} of {shard.file} must be {dtype} {shape}. Got {got}.")
        return found

    def _committed(self, shard: Shard) -> FileRecord | None:
        content = self._read(shard.sidecar)
        facts = None if content is None else read_canonical(content)
        if facts is None or facts.keys() != {"bytes", "sha256"}:
            return None
        return FileRecord(shard.file, **facts) if _size(self.folder / shard.file) == facts["bytes"] else None

    def _all_committed(self) -> dict[Shard, FileRecord] | None:
        written = {shard: self._committed(shard) for shard in self.plan.shards}
        found = {shard: record for shard, record in written.items() if record is not None}
        return found if len(found) == len(written) else None

    def _finished(self) -> bool:
        return (self.folder / MANIFEST).exists()

    def _safe(self) -> int:
        shards = self.plan.shards
        return len(shards) if self._finished() else sum(self._committed(shard) is not None for shard in shards)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def _tidy(self) -> None:
        """Leave nothing but the store; other writers may be at the same work."""
        for shard in self.plan.shards:
            (self.folder / shard.sidecar).unlink(missing_ok=True)
        sweep(self.folder)  # every shard is there: what is half-written is of killed writers
        (self.folder / RECORDING).unlink(missing_ok=True)

    @contextmanager
    def _on_disk(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(self._sentence(what, error)) from error

    def _sentence(self, what: str, error: OSError) -> str:
        try:
            kept = f"{self._safe()} of {len(self.plan.shards)} shards are safe"
        except OSError:
            kept = "What was committed is safe"
        why = error.strerror or str(error)
        mend = "free space" if error.errno in _FULL else "mend that"
        return f"Could not write {what} in {self.folder}: {why}. {kept}; {mend} and run again with --resume."


def refuse_occupied(folder: Path, *, resume: bool = False) -> None:
    """Refuse a folder in which no store could be written, whatever the plan: to be asked before long work.

    Raises: StoreError for a file, a folder below a file, one that holds other files, or a finished store where `resume`
        is not asked for.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        held = "so no store can be written to it" if nearest == folder else f"so no store can be written to {folder}"
        raise StoreError(f"{nearest} is a file, {held}; give another folder.")
    if nearest != folder:
        return
    if (folder / MANIFEST).exists() and not resume:
        raise StoreError(f"The folder {folder} holds a finished store already; give another one.")
    # What is there is listed before it is known whose it is: another writer may begin, or finish, between two looks.
    foreign = sorted(path.name for path in folder.iterdir() if not is_aside(path))
    if foreign and not (folder / RECORDING).exists() and not (folder / MANIFEST).exists():
        raise StoreError(f"The folder {folder} holds other files, such as {foreign[0]}; give a new or an empty one.")


def _written(folder: Path, name: str, pieces: list[bytes | memoryview]) -> FileRecord:
    write_bytes(folder / name, *pieces)
    return file_record(name, pieces)


def _check_offsets(offsets: Tensor | None, shard: Shard, packed: Tensor) -> None:
    if offsets is None or offsets.dtype != torch.int64 or offsets.dim() != 1 or not len(offsets):
        raise ArgumentError(f"commit: {shard.file} holds ragged rows and needs offsets, (n * V + 1,) int64.")
    if offsets[0] != 0 or offsets[-1] != len(packed) or bool((offsets.diff() < 0).any()):
        raise ArgumentError(
            f"commit: offsets of {shard.file} must rise from 0 to the number of positions, {len(packed)}."
        )


def _difference(found: Mapping[str, Any], asked: Mapping[str, Any]) -> str | None:
    """Say in what a plan that was found differs from the one that is asked for; None where they are the same."""
    differ = _keys_apart(found, asked)
    if not differ:
        return None
    # A teacher of other classes differs in much; what is told is what explains the rest.
    first = next((key for key in _WORDS if key in differ), "format")
    if first != "parts":
        return _told(first, found.get(first), asked.get(first))
    theirs, ours = found.get("parts"), asked["parts"]
    if not isinstance(theirs, dict) or theirs.keys() != ours.keys():
        return _WORDS["parts"]
    name = next(name for name in ours if theirs[name] != ours[name])
    inner = next(key for key in _WORDS if key in _keys_apart(theirs[name], ours[name]))
    return f"{_told(inner, theirs[name].get(inner), ours[name].get(inner))} (split {name!r})"


def _keys_apart(found: Mapping[str, Any], asked: Mapping[str, Any]) -> set[str]:
    return {key for key in {*found, *asked} if found.get(key) != asked.get(key)}


def _told(key: str, found: Any, asked: Any) -> str:
    values = (json.dumps(value, ensure_ascii=False, sort_keys=True) for value in _apart(found, asked))
    theirs, ours = (value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…" for value in values)
    return f"{_WORDS[key]}: {theirs}, now {ours}"


def _apart(found: Any, asked: Any) -> tuple[Any, Any]:
    """Leave out what two values have in common, and the greater part of hashes."""
    if isinstance(found, dict) and isinstance(asked, dict):
        keys = _keys_apart(found, asked)
        theirs, ours = ({key: _short(side[key]) for key in sorted(side.keys() & keys)} for side in (found, asked))
        return theirs, ours
    if isinstance(found, list) and isinstance(asked, list):
        for theirs, ours in zip(found, asked, strict=False):
            if theirs != ours and isinstance(theirs, dict) and isinstance(ours, dict):
                return _apart(theirs, ours)
    return _short(found), _short(asked)


def _short(value: Any) -> Any:
    return value[:12] if isinstance(value, str) and _HASH.fullmatch(value) else value


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
