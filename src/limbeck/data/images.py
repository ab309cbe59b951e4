"""Images as tensors: uint8, (C, H, W), one channel for grey and three for colour, in every loader."""

import io
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.columns import Column
from limbeck.errors import DataError, MissingExtra

_GREY = {"1", "L", "LA"}
_DEEP = ("I", "F")  # PIL's modes of more than 8 bits a channel: I, I;16, I;16B, F


def pixels(image: Any) -> Tensor:
    """Return a PIL image as uint8 (C, H, W): C = 1 for grey and black-and-white, else 3; transparency is dropped.

    Raises:
        DataError: The image has more than 8 bits a channel.
    """
    if image.mode.startswith(_DEEP):
        raise DataError(
            f"An image has mode {image.mode!r}, more than 8 bits a channel, which uint8 cannot hold; "
            "read such images with a dataset of your own in a `MapStyleSet`."
        )
    if image.mode not in {"L", "RGB"}:
        image = image.convert("L" if image.mode in _GREY else "RGB")
    array = np.array(image)  # (H, W) or (H, W, 3)
    return torch.from_numpy(array[None] if array.ndim == 2 else np.ascontiguousarray(array.transpose(2, 0, 1)))


def decoded(where: str, encoded: list[bytes]) -> Column:
    """Decode image files: one tensor (N, C, H, W) if all have the same shape, else a list of (C, H, W).

    Raises:
        DataError: A row is no image that Pillow can read.
        MissingExtra: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtra("reading images with Pillow", "hub") from error
    images = []
    for row, content in enumerate(encoded):
        try:
            images.append(pixels(Image.open(io.BytesIO(content))))
        except (OSError, SyntaxError) as error:  # Pillow's way of saying that a PNG is broken
            raise DataError(f"{where}: image {row} of {len(encoded)} cannot be decoded: {error}.") from error
    return stack_if_equal(images)


def stack_if_equal(values: list[Tensor]) -> Column:
    """Stack tensors of one shape and dtype, (...) × N -> (N, ...); return others as the list they are."""
    if values and all(value.shape == values[0].shape and value.dtype == values[0].dtype for value in values):
        return torch.stack(values)
    return values
