"""Safetensors files, written from memory without a copy and read through a memory map.

The library's own writer joins everything into one string of bytes first; a shard is large, and its hash is wanted too.
A file is eight bytes, the length of the header as a little-endian integer; the header, a JSON object that gives each
tensor's dtype, shape and place; and the tensors' bytes.
"""

import json
import math
import mmap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor

from limbeck.errors import StoreError

Bytes: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]

_LENGTH = 8  # bytes of the header's length
_NAMES = {
    torch.int64: "I64",
    torch.float32: "F32",
    torch.int32: "I32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.uint16: "U16",
    torch.uint8: "U8",
    torch.int8: "I8",
}


class Expected(NamedTuple):
    """What a tensor of a file has to be."""

    dtype: torch.dtype
    """Its type."""
    shape: tuple[int | None, ...]
    """Its shape; None for an axis of any length."""


def serialised(tensors: Mapping[str, Tensor]) -> list[bytes | memoryview]:
    """Return the pieces of a safetensors file, the header and each tensor's bytes; contiguous ones are not copied.

    The widest types come first, then names in alphabetical order, so that each tensor is aligned and equal tensors are
    equal bytes.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].dtype.itemsize, name))
    header: dict[str, Any] = {}
    end = 0
    for name in names:
        start, end = end, end + tensors[name].nbytes
        dtype, shape = _NAMES[tensors[name].dtype], list(tensors[name].shape)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _LENGTH)
    pieces = (bytes_of(tensors[name]) for name in names)
    return [len(text).to_bytes(_LENGTH, "little") + text, *pieces]


def bytes_of(tensor: Tensor) -> memoryview:
    """Return a CPU tensor's bytes, without a copy where it is contiguous."""
    view: memoryview = tensor.detach().contiguous().view(-1).view(torch.uint8).numpy().data
    return view


def mapped(
    path: Path, expected: Mapping[str, Expected], *, private: bool = False
) -> dict[str, tuple[Bytes, tuple[int, ...]]]:
    """Map a file into memory and return each expected tensor's bytes and shape.

    Args:
        path: of the file.
        expected: what must stand there; other tensors are left alone.
        private: writable pages, whose changes never reach the file: torch wants no read-only memory.

    Raises: StoreError where the file is missing, cannot be read, or does not hold what is expected.
    """
    content = mapped_bytes(path, private=private)
    if len(content) < _LENGTH:
        raise _damaged(path, f"it has {len(content)} bytes")
    start = _LENGTH + int.from_bytes(content[:_LENGTH].tobytes(), "little")
    if start > len(content):
        raise _damaged(path, "its header reaches beyond its end")
    try:
        header = json.loads(content[_LENGTH:start].tobytes())
    except (ValueError, RecursionError):
        raise _damaged(path, "its header does not parse") from None
    data = content[start:]
    return {name: _found(path, header, name, wanted, data) for name, wanted in expected.items()}


def mapped_bytes(path: Path, *, private: bool = False) -> Bytes:
    """Map a whole file into memory.  -> (bytes of the file,) uint8. Raises: StoreError where it cannot be read."""
    access = mmap.ACCESS_COPY if private else mmap.ACCESS_READ
    try:
        with path.open("rb") as file:
            if not path.stat().st_size:
                return np.empty(0, np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=access), np.uint8)
    except FileNotFoundError:
        raise StoreError(f"There is no {path.name} in {path.parent}; the store is not whole.") from None
    except (OSError, ValueError) as error:
        raise StoreError(f"The file {path} cannot be read: {error}.") from error


def _found(path: Path, header: Any, name: str, wanted: Expected, data: Bytes) -> tuple[Bytes, tuple[int, ...]]:
    entry = header.get(name) if isinstance(header, dict) else None
    if not isinstance(entry, dict):
        raise _damaged(path, f"it holds no tensor {name!r}")
    shape, place = _whole_numbers(entry.get("shape")), _whole_numbers(entry.get("data_offsets"))
    if shape is None or place is None or len(place) != 2:
        raise _damaged(path, f"its header does not say where {name!r} stands")
    if entry.get("dtype") != _NAMES[wanted.dtype] or not _fits(shape, wanted.shape):
        asked = f"{_NAMES[wanted.dtype]} ({_in_words(wanted.shape)})"
        raise _damaged(path, f"{name!r} is {entry.get('dtype')} ({_in_words(shape)}) and should be {asked}")
    start, end = place
    if not start <= end <= len(data) or end - start != wanted.dtype.itemsize * math.prod(shape):
        raise _damaged(path, f"its header does not say where {name!r} stands")
    return data[start:end], shape


def _whole_numbers(values: Any) -> tuple[int, ...] | None:
    """Return a list of JSON as numbers; None where it is no list of whole numbers that are not negative."""
    if not isinstance(values, list) or not all(type(value) is int and value >= 0 for value in values):
        return None
    return tuple(values)


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(asked in (None, size) for size, asked in zip(shape, wanted, strict=True))


def _in_words(shape: Iterable[int | None]) -> str:
    return ", ".join("any" if size is None else str(size) for size in shape)


def _damaged(path: Path, why: str) -> StoreError:
    return StoreError(f"The file {path.name} in {path.parent} is damaged: {why}.")
