"""MNIST's own file format: IDX, a big-endian header and the bytes.

Shape legend, this file:  N images, H rows and W columns of pixels.
"""

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.data.columns import tensor_of
from limbeck.data.splits import Splits
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError

_FILES = {
    "train": (("train-images", 3), ("train-labels", 1)),
    "test": (("t10k-images", 3), ("t10k-labels", 1)),
}
_UNSIGNED_BYTE = 0x08


def idx(folder: str | Path) -> Splits:
    """Read MNIST, or a set in its clothes, from the four raw IDX files: column "image", (N, 1, H, W) uint8.

    Files are called train-images-idx3-ubyte or train-images.idx3-ubyte, with or without .gz, and so on for
    train-labels, t10k-images and t10k-labels. Classes are the names "0" to the highest label. There is no validation
    split; see `hold_out`.

    Raises:
        DataError: A file is missing, is not IDX, or is longer or shorter than its header says, or images and labels
            differ in number.
    """
    folder = Path(folder)
    arrays = {split: [_read(_find(folder, *file), file[1]) for file in files] for split, files in _FILES.items()}
    for split, (images, labels) in arrays.items():
        if len(images) != len(labels):
            raise DataError(f"The {split} split in {folder} has {len(images)} images and {len(labels)} labels.")
    highest = max(int(labels.max(initial=0)) for _, labels in arrays.values())
    classes = [str(number) for number in range(highest + 1)]
    sets = {
        split: TensorSet({"image": tensor_of(images[:, None])}, labels=labels, classes=classes)
        for split, (images, labels) in arrays.items()
    }
    return Splits(train=sets["train"], test=sets["test"])


def holds_idx(folder: Path) -> bool:
    """Tell whether a folder has IDX training images in it."""
    return any(candidate.is_file() for candidate in _candidates(folder, "train-images", 3))


def _candidates(folder: Path, stem: str, dimensions: int) -> list[Path]:
    return [folder / f"{stem}{mark}idx{dimensions}-ubyte{end}" for mark in "-." for end in ("", ".gz")]


def _find(folder: Path, stem: str, dimensions: int) -> Path:
    candidates = _candidates(folder, stem, dimensions)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise DataError(f"The folder {folder} lacks {candidates[0].name} (also sought with a dot, and with .gz).")


def _read(path: Path, dimensions: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return the array of one file, (N, H, W) or (N,) uint8.

    The header is two zero bytes, the type of the values, the number of dimensions, and each dimension as big-endian
    32 bits.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"The file {path} cannot be read: {error}.") from error
    expected = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    header = 4 + 4 * dimensions
    if content[:4] != expected or len(content) < header:
        raise DataError(
            f"The file {path} is no IDX file of unsigned bytes in {dimensions} dimensions: "
            f"it should begin with {expected.hex(' ')} and begins with {content[:4].hex(' ') or 'nothing'}."
        )
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", count=dimensions, offset=4))
    if len(content) - header != math.prod(shape):
        raise DataError(
            f"The file {path} announces {' × '.join(map(str, shape))} values and holds {len(content) - header} bytes."
        )
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)
