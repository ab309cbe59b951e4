"""What a transfer set holds, as one SHA-256 or as eight bytes a row, for recorded targets and resumes to compare.

Shape legend, this file:  N rows of a set or of those asked for.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck._checks import check_same_shape
from limbeck.errors import DataError
from limbeck.types import Columns, TransferSet

_FORMAT = 1
_CHUNK = 256  # rows read at a time: a bound on memory, without influence on the hash


def content_fingerprint(rows: TransferSet) -> str:
    """Return the SHA-256, in hexadecimal, of columns, labels, ids, class names and head of a transfer set.

    Every row is read once. How rows are stored or stacked makes no difference: a folder read lazily has the fingerprint
    of the same folder held in memory. Their order does, and so do column names, dtypes and shapes.

    Raises:
        DataError: A column holds objects whose content has no defined bytes.
    """
    columns: dict[str, _ContentHash] = {}
    for start in range(0, len(rows), _CHUNK):
        positions = torch.arange(start, min(start + _CHUNK, len(rows)))
        for name, values in rows.rows(positions).columns.items():
            columns.setdefault(name, _ContentHash(name)).add(values)
    labels = rows.labels
    facts = {
        "format": _FORMAT,
        "columns": {name: column.hexdigest() for name, column in columns.items()},
        "labels": None if labels is None else _digest("labels", labels),
        "ids": _digest("ids", rows.ids),
        "classes": rows.classes,
        "head": rows.head,
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def row_fingerprints(rows: TransferSet, positions: Tensor | None = None) -> Tensor:
    """Return a hash of each row's raw columns: eight bytes of its names, dtypes, shapes and values.  -> (N,) int64.

    A row's hash depends on nothing but the row: not on its neighbours, labels or id, nor on how rows are stored or
    stacked. It is BLAKE2b with a digest of 8 bytes, read as a little-endian integer, of the columns one after the
    other, sorted by name; each is a line of JSON, [name, kind], and the bytes of its value. Among 10^9 honest rows two
    share a hash with a chance of three in a hundred.

    Args:
        rows: what to read; each row once.
        positions: (N,) int64, which rows (not ids); None for all, in order.

    Raises:
        DataError: A column holds objects whose content has no defined bytes.

    >>> from limbeck.data.tensors import TensorSet
    >>> one, other = row_fingerprints(TensorSet({"x": torch.tensor([[1.0], [2.0]]), "text": ["a", "b"]}))
    >>> bool(one == other)
    False
    """
    every = torch.arange(len(rows)) if positions is None else positions
    parts = (every[start : start + _CHUNK] for start in range(0, len(every), _CHUNK))
    digests = (_row_digests(rows.rows(part).columns, len(part)) for part in parts)
    return torch.from_numpy(np.frombuffer(bytearray().join(digests), "<i8").astype(np.int64))


def ids_fingerprint(ids: Tensor, contents: Tensor) -> str:
    """Return the SHA-256, in hexadecimal, of ids and row hashes in the order given.  (N,) int64, (N,) int64.

    It is taken of the ids as little-endian 64-bit integers, one after the other, and then the hashes likewise.

    Raises: ArgumentError for another number of hashes than of ids.
    """
    check_same_shape("ids_fingerprint", ids=ids, contents=contents)
    both = torch.stack((ids, contents)).numpy().astype("<i8")
    return hashlib.sha256(both.tobytes()).hexdigest()


def row_bytes(name: str, value: Any) -> bytes:
    """Return the bytes of one row's value in a column, its name and kind before them; no two values share theirs.

    Raises: DataError for an object whose content has no defined bytes.
    """
    kind, payload = _encoded(name, value)
    return _heading(name, kind) + bytes(payload)


def _heading(name: str, kind: str) -> bytes:
    return json.dumps([name, kind]).encode() + b"\n"


def _row_digests(columns: Columns, count: int) -> bytes:
    """Return the digests of all rows of a batch, 8 bytes each, one after the other."""
    names = sorted(columns)
    if all(isinstance(columns[name], Tensor) for name in names):
        table = np.concatenate([part for name in names for part in _byte_columns(name, columns[name], count)], axis=1)
        width, flat = table.shape[1], table.reshape(-1).data
        pieces = (flat[start : start + width] for start in range(0, count * width, width))
        return b"".join([_digest_of_row(piece) for piece in pieces])
    cells = [_row_cells(name, columns[name]) for name in names]
    return b"".join([_digest_of_row(b"".join(row)) for row in zip(*cells, strict=True)])


def _digest_of_row(content: Any) -> bytes:
    return hashlib.blake2b(content, digest_size=8).digest()


def _byte_columns(name: str, values: Any, count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return what `row_bytes` gives for each row of a tensor as two tables of bytes: headings and values."""
    heading = np.frombuffer(_heading(name, f"{values.dtype} {tuple(values.shape[1:])}"), np.uint8)
    width = values.element_size() * math.prod(values.shape[1:])
    return np.broadcast_to(heading, (count, len(heading))), _raw(values).reshape(count, width)


def _row_cells(name: str, values: Tensor | Sequence[Any]) -> list[bytes]:
    if not isinstance(values, Tensor):
        return [row_bytes(name, value) for value in values]
    heading, content = _byte_columns(name, values, len(values))
    return [cell.tobytes() for cell in np.concatenate((heading, content), axis=1)]


class _ContentHash:
    """SHA-256 of a column's rows in whatever pieces they come.

    Consecutive rows of one kind (dtype and shape) form a run; a run is hashed as kind, count and bytes, so that one
    tensor, its slices, and a list of its rows agree, and no two different columns can spell the same bytes.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._runs = hashlib.sha256()
        self._start_run("")

    def add(self, values: Tensor | Sequence[Any]) -> None:
        if isinstance(values, Tensor):
            self._extend(f"{values.dtype} {tuple(values.shape[1:])}", len(values), _raw(values))
            return
        for value in values:
            kind, payload = _encoded(self._name, value)
            self._extend(kind, 1, payload)

    def hexdigest(self) -> str:
        self._end_run()
        self._start_run("")
        return self._runs.hexdigest()

    def _extend(self, kind: str, count: int, payload: Any) -> None:
        if kind != self._kind:
            self._end_run()
            self._start_run(kind)
        self._run.update(payload)
        self._count += count

    def _start_run(self, kind: str) -> None:
        self._kind, self._count, self._run = kind, 0, hashlib.sha256()

    def _end_run(self) -> None:
        if self._count:
            self._runs.update(f"{self._kind}\n{self._count}\n{self._run.hexdigest()}\n".encode())


def _digest(name: str, values: Tensor | Sequence[Any]) -> str:
    content = _ContentHash(name)
    content.add(values)
    return content.hexdigest()


def _raw(values: Tensor) -> Any:
    """Return the bytes of a tensor as an array that hashlib reads without copying."""
    flat = values.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def _encoded(name: str, value: Any) -> tuple[str, Any]:
    """Return the kind of one row's value, and its bytes: self-delimiting, because a run of them is concatenated."""
    if hasattr(value, "__array_interface__"):  # numpy arrays and scalars, PIL images
        value = torch.as_tensor(np.array(value))
    if isinstance(value, Tensor):
        return f"{value.dtype} {tuple(value.shape)}", _raw(value)
    if isinstance(value, str | bytes):
        text = value.encode(errors="surrogatepass") if isinstance(value, str) else value
        return type(value).__name__, len(text).to_bytes(8, "little") + text
    if value is None or isinstance(value, bool | int | float):
        return type(value).__name__, f"{value!r}\n".encode()
    if isinstance(value, Mapping):
        items = sorted(value.items(), key=lambda item: str(item[0]))
        return "mapping", _digest(name, [part for item in items for part in item]).encode()
    if isinstance(value, list | tuple):
        return "list", _digest(name, value).encode()
    raise DataError(
        f"Column {name!r} holds objects of type {type(value).__name__}, which have no fingerprint; "
        "give tensors, arrays, numbers, text, bytes, or lists and mappings of them."
    )
