"""MNIST's four raw files, made small from scikit-learn's digits: 8 × 8 images stretched to 24 × 24, with a margin."""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def write_small_mnist(folder: Path, *, train: int = 600, test: int = 120) -> Path:
    """Write `train` and `test` rows as IDX files and return the folder."""
    found = load_digits()
    images = np.pad(np.kron(found.images, np.ones((1, 3, 3))) * 15, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for stem, part in (("train", slice(0, train)), ("t10k", slice(train, train + test))):
        _write(folder / f"{stem}-images-idx3-ubyte", images[part])
        _write(folder / f"{stem}-labels-idx1-ubyte", found.target[part].astype(np.uint8))
    return folder


def _write(path: Path, values: np.ndarray) -> None:
    head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(head + values.tobytes())
