"""Where recorded answers are read from: the files of a folder, each when it is first asked for.

Shape legend, this file:  n rows of a shard, K views, W bytes of a packed row, P positions of ragged rows.
"""

import hashlib
from pathlib import Path
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import StoreError
from limbeck.targets.manifest import MANIFEST, RECORDING, FileRecord, Manifest, PartRecord
from limbeck.targets.part import Part, Positions, ShardArrays, cells_of
from limbeck.targets.tensorfile import Bytes, Expected, mapped, mapped_bytes

SMALL = 1 << 24
"""Bytes of a part up to which its shards are read into memory as one."""


class Folder(Protocol):
    """Where the files of a store are."""

    def fetch(self, name: str) -> Path:
        """Return the path of a file, which is brought here if it is elsewhere. Raises: StoreError."""


@final
class LocalFolder:
    """A folder on this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def fetch(self, name: str) -> Path:
        """Return the path of a file."""
        return self.path / name

    def __str__(self) -> str:
        return str(self.path)


def require_manifest(path: Path) -> None:
    """Refuse a folder without a manifest, and say what it is instead. Raises: StoreError."""
    if (path / MANIFEST).is_file():
        return
    if not path.is_dir():
        raise StoreError(f"There is no store of soft targets at {path}.")
    if (path / RECORDING).is_file():
        raise StoreError(f"The recording in {path} is not finished; run it again with --resume.")
    raise StoreError(f"The folder {path} is no store of soft targets: it has no {MANIFEST}.")


def require_files(path: Path, manifest: Manifest) -> None:
    """Refuse a store with missing or cut files before anything is read from them. Raises: StoreError."""
    for record in manifest.files.values():
        require_size(path, record)


def require_size(folder: Path, record: FileRecord) -> None:
    """Refuse a file that is missing or has another size than the manifest says. Raises: StoreError."""
    try:
        size = (folder / record.file).stat().st_size
    except OSError as error:
        why = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read: {error.strerror}"
        raise StoreError(f"The store {folder} is not whole: {record.file} {why}.") from error
    if size != record.bytes:
        raise StoreError(
            f"The file {record.file} in {folder} is damaged: it has {size} bytes, and its manifest says {record.bytes}."
        )


def side_tensors(folder: Folder, manifest: Manifest) -> dict[str, Tensor] | None:
    """Read what all rows share; None for encodings that share nothing. Raises: StoreError for damage."""
    if manifest.basis is None:
        return None
    path = _checked(folder, manifest.basis)
    found = mapped(path, {"basis": Expected(torch.float32, (None, None)), "mean": Expected(torch.float32, (None,))})
    return {name: _copied(content, torch.float32).view(shape) for name, (content, shape) in found.items()}


def _copied(content: Bytes, dtype: torch.dtype) -> Tensor:
    return torch.from_numpy(content.copy()).view(dtype)


def _checked(folder: Folder, record: FileRecord) -> Path:
    """Return the path of a small file after a look at its checksum: all that is read depends on it."""
    path = folder.fetch(record.file)
    if hashlib.sha256(mapped_bytes(path).data).hexdigest() != record.sha256:
        raise StoreError(f"The file {record.file} in {folder} is damaged: its checksum is not the manifest's.")
    return path


@final
class FolderSource:
    """Reads parts from the files of a folder."""

    def __init__(self, folder: Folder, manifest: Manifest) -> None:
        self.folder, self._manifest = folder, manifest

    def part(self, name: str) -> Part:
        """Read ids and contents of a split; answers are read later."""
        record = self._manifest.parts[name]
        ids, contents = self._index(record)
        shards, firsts = _Shards(self.folder, self._manifest, record), [shard.first for shard in record.shards]
        joined = len(firsts) > 1 and self._is_small(record)
        return Part(
            ids,
            contents,
            record.views,
            firsts=[0] if joined else firsts,
            shard=_Joined(shards, len(firsts)) if joined else shards,
            row_bytes=self._manifest.row_bytes,
            features=self._manifest.feature_fields,
            ragged=self._manifest.ragged,
            where=f"The split {name!r} of {self.folder}",
        )

    def _is_small(self, record: PartRecord) -> bool:
        """Whether all shards of a part are better read at once: then a batch is one gather, not one for each shard."""
        if self._manifest.ragged or self._manifest.features or not isinstance(self.folder, LocalFolder):
            return False
        return record.rows * record.views * self._manifest.row_bytes <= SMALL

    def _index(self, record: PartRecord) -> tuple[Tensor, Tensor | None]:
        path = _checked(self.folder, record.index)
        known = record.fingerprint is not None
        wanted = Expected(torch.int64, (record.rows,))
        found = mapped(path, dict.fromkeys(("ids", "contents") if known else ("ids",), wanted), private=True)
        columns = {name: torch.from_numpy(content.view(np.int64)) for name, (content, _) in found.items()}
        if not bool((columns["ids"][1:] > columns["ids"][:-1]).all()):
            raise StoreError(f"The file {record.index.file} in {self.folder} is damaged: its ids do not ascend.")
        return columns["ids"], columns.get("contents")


@final
class _Joined:
    """The shards of a small part as one, in memory, when they are first asked for."""

    def __init__(self, shards: "_Shards", count: int) -> None:
        self._shards, self._count = shards, count
        self._found: ShardArrays | None = None

    def __call__(self, number: int) -> ShardArrays:
        if self._found is None:
            rows = np.concatenate([self._shards(shard).rows for shard in range(self._count)])
            self._found = ShardArrays(rows, {}, None)
        return self._found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_found": None}  # read again where it arrives


@final
class _Shards:
    """Maps shards into memory when they are first asked for."""

    def __init__(self, folder: Folder, manifest: Manifest, part: PartRecord) -> None:
        self._folder, self._manifest, self._part = folder, manifest, part
        self._open: dict[int, ShardArrays] = {}

    def __call__(self, number: int) -> ShardArrays:
        found = self._open.get(number)
        if found is None:
            found = self._open[number] = self._mapped(number)
        return found

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_open": {}}  # a map cannot travel; its file is mapped again there

    def _mapped(self, number: int) -> ShardArrays:
        shard = self._part.shards[number]
        path = self._folder.fetch(shard.file)
        cells, manifest = shard.rows * self._part.views, self._manifest
        each = (shard.rows, self._part.views)
        fields = {f"features.{field.name}": field for field in manifest.feature_fields}
        wanted = {name: Expected(field.dtype, (*each, *field.shape)) for name, field in fields.items()}
        rows_shape = (None, manifest.row_bytes) if manifest.ragged else (*each, manifest.row_bytes)
        wanted["rows"] = Expected(torch.uint8, rows_shape)
        if manifest.ragged:
            wanted["offsets"] = Expected(torch.int64, (cells + 1,))
        found = mapped(path, wanted)
        rows = cells_of(found["rows"][0], manifest.row_bytes)
        offsets = _checked_offsets(path, found["offsets"][0], len(rows)) if manifest.ragged else None
        features = {field.name: cells_of(found[name][0], field.nbytes) for name, field in fields.items()}
        return ShardArrays(rows, features, offsets)


def _checked_offsets(path: Path, content: Bytes, positions: int) -> Positions:
    offsets: Positions = content.view(np.int64)
    if offsets[0] != 0 or offsets[-1] != positions or (np.diff(offsets) < 0).any():
        raise StoreError(f"The file {path.name} in {path.parent} is damaged: its offsets do not rise to its end.")
    return offsets
