"""Sample rows as pictures: nested lists of values -> PNG in a data address, with nothing but zlib.

Shape legend, this file:  N rows, K channels (1, 3 or 4), H height, W width.
"""

import struct
import zlib
from base64 import b64encode
from collections.abc import Iterable, Sequence
from itertools import chain
from math import isfinite, isqrt
from typing import Any, TypeAlias

Rows: TypeAlias = Sequence[Any]

SMALLEST_SIDE = 8
"""Feature vectors are drawn as squares from this side on: 64 values may be a picture, 16 more likely a table's row."""

_COLOUR_TYPE = {1: 0, 3: 2, 4: 6}  # PNG's names for grey, RGB and RGBA, by number of channels


def pictures(column: Rows) -> list[str] | None:
    """Draw every row of a column, or return None where its rows are not pictures.

    Pictures are (H, W), (K, H, W), (H, W, K), or (H·H,) from 8 × 8 on; the last, being no photographs, are drawn dark
    where the values are high. Values are whole numbers to 255, numbers in [0, 1], or else stretched over what the
    column holds.
    """
    if not column or not isinstance(column[0], list):
        return None
    images = [_channels_last(row) for row in column]
    shape = _shape(column[0])
    low, high = _range(list(_flat(column)))
    drawn = []
    for image in images:
        if image is None:
            return None
        levels = [[[_level(value, low, high) for value in pixel] for pixel in line] for line in image]
        if len(shape) == 1:
            levels = [[[255 - value for value in pixel] for pixel in line] for line in levels]
        drawn.append("data:image/png;base64," + b64encode(png(levels)).decode("ascii"))
    return drawn


def png(levels_HWK: Sequence[Sequence[Sequence[int]]]) -> bytes:
    """Encode levels of 0 to 255 as a PNG file."""
    height, width, channels = len(levels_HWK), len(levels_HWK[0]), len(levels_HWK[0][0])
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    lines = b"".join(b"\0" + bytes(chain.from_iterable(line)) for line in levels_HWK)  # 0: the line is not filtered
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _channels_last(row: Rows) -> list[list[list[float]]] | None:
    shape = _shape(row)
    if len(shape) == 1:
        side = isqrt(shape[0])
        square = side * side == shape[0] and side >= SMALLEST_SIDE
        return [[[row[y * side + x]] for x in range(side)] for y in range(side)] if square else None
    if len(shape) == 2 and min(shape) > 1:
        return [[[value] for value in line] for line in row]
    if len(shape) == 3 and shape[0] in _COLOUR_TYPE:
        return [[[channel[y][x] for channel in row] for x in range(shape[2])] for y in range(shape[1])]
    if len(shape) == 3 and shape[2] in _COLOUR_TYPE:
        return [[list(pixel) for pixel in line] for line in row]
    return None


def _shape(row: Any) -> tuple[int, ...]:
    return (len(row), *_shape(row[0])) if isinstance(row, list) and row else ()


def _flat(values: Any) -> Iterable[float]:
    return chain.from_iterable(map(_flat, values)) if isinstance(values, list) else (values,)


def _range(values: Sequence[float]) -> tuple[float, float]:
    finite = [value for value in values if isfinite(value)] or [0.0]
    low, high = min(finite), max(finite)
    if low >= 0 and high <= 1:
        return 0.0, 1.0
    if low >= 0 and 16 < high <= 255 and all(float(value).is_integer() for value in finite):
        return 0.0, 255.0
    return low, high


def _level(value: float, low: float, high: float) -> int:
    if not isfinite(value) or high == low:
        return 0
    return round(255 * min(1.0, max(0.0, (value - low) / (high - low))))
