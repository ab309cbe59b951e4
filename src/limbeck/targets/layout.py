"""How one recorded row lies in bytes: named fields, one after the other.

All fields of a row stand together, so that reading a batch is one gather, whatever the encoding. NumPy reads the same
bytes with a structured dtype; `docs/targets.md` says how.

Shape legend, this file:  B rows, W bytes of a row.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int32": torch.int32,
    "uint16": torch.uint16,
    "uint8": torch.uint8,
    "int8": torch.int8,
}
"""The types that a field may have, by the names that a manifest uses. All are little-endian."""

_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Field(NamedTuple):
    """One named part of a row."""

    name: str
    """Such as "logits"."""
    dtype: torch.dtype
    """One of `DTYPES`."""
    shape: tuple[int, ...]
    """Of one row; () for a single number."""

    @property
    def nbytes(self) -> int:
        """Bytes that it takes in a row."""
        return self.dtype.itemsize * math.prod(self.shape)

    def as_json(self) -> dict[str, Any]:
        """Return what a manifest says of it."""
        return {"name": self.name, "dtype": _NAMES[self.dtype], "shape": list(self.shape)}


@final
class Layout:
    """The fields of a row in the order of their bytes, the widest types first, so that each is aligned.

    >>> layout = Layout([Field("ids", torch.uint8, (3,)), Field("log_probs", torch.float16, (3,))])
    >>> [field.name for field in layout.fields], layout.nbytes
    (['log_probs', 'ids'], 10)
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        """Order the fields; the row is padded with zeros to a multiple of its widest type."""
        self.fields = tuple(sorted(fields, key=lambda field: -field.dtype.itemsize))
        used = sum(field.nbytes for field in self.fields)
        widest = max(field.dtype.itemsize for field in self.fields)
        self.padding = -used % widest
        self.nbytes = used + self.padding

    def pack(self, values: Mapping[str, Tensor]) -> Tensor:
        """Lay the fields' values side by side.  {name: (B, *shape)} -> (B, W) uint8."""
        rows = len(values[self.fields[0].name])
        parts = [_bytes_of(values[field.name], rows, math.prod(field.shape)) for field in self.fields]
        if self.padding:
            parts.append(torch.zeros(rows, self.padding, dtype=torch.uint8))
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)

    def unpack(self, packed: Tensor) -> dict[str, Tensor]:
        """Find the fields in packed rows, without a copy.  (B, W) uint8 -> {name: (B, *shape)}."""
        found: dict[str, Tensor] = {}
        start = 0
        for field in self.fields:
            piece = packed[:, start : start + field.nbytes].view(field.dtype)
            found[field.name] = piece.view(len(packed), *field.shape)
            start += field.nbytes
        return found

    def as_json(self) -> list[dict[str, Any]]:
        """Return what a manifest says of it."""
        return [field.as_json() for field in self.fields]


def _bytes_of(values: Tensor, rows: int, width: int) -> Tensor:
    """(B, *shape) -> (B, bytes), without a copy of what lies in order."""
    # Strides are told: along axes of one or no entries they may be anything, and then `view` refuses another type.
    return values.contiguous().as_strided((rows, width), (width, 1)).view(torch.uint8)
