"""What a transfer set holds, as one SHA-256: what a recorded target or a resumed run is checked against."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import DataError
from limbeck.types import TransferSet

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
