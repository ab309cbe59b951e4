"""Augmentations whose draws are a function of each row's key: the same row, seen otherwise, alike wherever it turns up.

Images are tensors whose last two axes are the rows and columns of pixels, (B, H, W) or (B, C, H, W), as all loaders
give them, of any dtype; on raw rows the value zero is black. A batch is augmented at once: no row is touched from
Python.

Shape legend, this file:  B rows, C channels, H rows and W columns of pixels, P padding, D values a row.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from limbeck._checks import check_fraction, check_positive
from limbeck.data.columns import Column, take
from limbeck.errors import ArgumentError, DataError
from limbeck.keyed import Keys, row_keys, uniforms
from limbeck.types import Augment, Columns


@final
@dataclass(frozen=True)
class Shift:
    """Move each image by whole pixels, downwards and sideways alike; what comes in at the edge is zero.

    Both offsets are uniform over the whole numbers in [-pixels, pixels]. This is also the random crop, at its own size,
    of an image padded with `pixels` zeros on each side.

    Raises: ArgumentError without a pixel to move by; DataError, when applied, for a column that holds no images of one
    size, all larger than the greatest shift.

    >>> image = torch.zeros(1, 5, 5).index_put_((torch.tensor(0), torch.tensor(2), torch.tensor(2)), torch.tensor(1.0))
    >>> moved = Shift(2)({"image": image}, row_keys(0, 1, torch.tensor([7])))["image"]
    >>> moved.shape == image.shape, int(moved.sum())
    (True, 1)
    """

    pixels: int
    """Largest shift in each direction, >= 1."""
    column: str | None = None
    """Which column holds the images; None for the only one."""

    def __post_init__(self) -> None:
        _check_pixels("Shift", pixels=self.pixels)

    def __call__(self, columns: Columns, keys: Keys) -> Columns:
        """Return the columns with their images shifted."""

        def shifted(images: Tensor) -> Tensor:
            return _random_windows(_padded_with_zeros(images, self.pixels), images.shape, keys)

        return changed_images("Shift", columns, self.column, shifted, padding=self.pixels)


@final
@dataclass(frozen=True)
class RandomCrop:
    """Cut a window of an image's own size out of the image, continued on each side by its reflection.

    `Shift` is the same with zeros at the edge: take that where the background is black, as that of digits is.

    Raises: ArgumentError without padding; DataError, when applied, for a column that holds no images of one size, all
    larger than the padding.
    """

    padding: int
    """By how many pixels the image is continued on each side, >= 1."""
    column: str | None = None
    """Which column holds the images; None for the only one."""

    def __post_init__(self) -> None:
        _check_pixels("RandomCrop", padding=self.padding)

    def __call__(self, columns: Columns, keys: Keys) -> Columns:
        """Return the columns with their images cropped."""

        def cropped(images: Tensor) -> Tensor:
            return _random_windows(_padded_with_reflection(images, self.padding), images.shape, keys)

        return changed_images("RandomCrop", columns, self.column, cropped, padding=self.padding)


@final
@dataclass(frozen=True)
class HorizontalFlip:
    """Swap left and right of each image with a probability.

    Raises: ArgumentError for a probability outside [0, 1]; DataError, when applied, for a column that holds no images
    of one size.
    """

    probability: float = 0.5
    """Of being flipped, in [0, 1]."""
    column: str | None = None
    """Which column holds the images; None for the only one."""

    def __post_init__(self) -> None:
        check_fraction("HorizontalFlip", probability=self.probability)

    def __call__(self, columns: Columns, keys: Keys) -> Columns:
        """Return the columns with some of their images flipped."""

        def flipped(images: Tensor) -> Tensor:
            chosen = (uniforms(keys, 1)[:, 0] < self.probability).nonzero()[:, 0].to(images.device)
            return images.index_copy(0, chosen, images.index_select(0, chosen).flip(-1))

        return changed_images("HorizontalFlip", columns, self.column, flipped)


@final
@dataclass(frozen=True)
class Noise:
    """Add independent Gaussian noise to every value of a column of floats.

    The noise is computed in float64 and rounded to the column's dtype.

    Raises: ArgumentError for a scale that is not positive; DataError, when applied, for a column that is no tensor of
    floats.
    """

    scale: float
    """Standard deviation of the noise, > 0, in the units of the column."""
    column: str | None = None
    """Which column is meant; None for the only one."""

    def __post_init__(self) -> None:
        check_positive("Noise", scale=self.scale)

    def __call__(self, columns: Columns, keys: Keys) -> Columns:
        """Return the columns with noise added to one of them."""
        name, values = _tensor_column("Noise", columns, self.column)
        if not values.is_floating_point():
            raise DataError(
                f"Noise: column {name!r} must hold floats. Got {values.dtype}; use Shift, HorizontalFlip or Mask, or "
                "make floats of it when the data are loaded."
            )
        noise = normals(keys, math.prod(values.shape[1:])).reshape(values.shape) * self.scale
        return {**columns, name: values + noise.to(values.device, values.dtype)}


@final
@dataclass(frozen=True)
class Mask:
    """Set a share of the values of each row to zero, each value with that probability, independently.

    The masking noise of denoising autoencoders (Vincent et al. 2008): for features where zero means nothing, such as
    counts, one-hot groups or black pixels. What is left is not scaled up, as dropout would.

    Raises: ArgumentError for a share outside [0, 1]; DataError, when applied, for a column that is no tensor.
    """

    share: float
    """Expected share of values that are set to zero, in [0, 1]."""
    column: str | None = None
    """Which column is meant; None for the only one."""

    def __post_init__(self) -> None:
        check_fraction("Mask", share=self.share)

    def __call__(self, columns: Columns, keys: Keys) -> Columns:
        """Return the columns with some values of one of them set to zero."""
        name, values = _tensor_column("Mask", columns, self.column)
        hidden = _coarse_uniforms(keys, math.prod(values.shape[1:])).reshape(values.shape) < self.share
        return {**columns, name: values.masked_fill(hidden.to(values.device), 0)}


@final
@dataclass(frozen=True)
class Compose:
    """Apply augmentations one after the other, each with keys of its own: two of one kind draw independently.

    Raises: ArgumentError without parts.

    >>> both = Compose((Shift(2), HorizontalFlip()))
    >>> both({"image": torch.zeros(3, 5, 5)}, row_keys(0, 1, torch.arange(3)))["image"].shape
    torch.Size([3, 5, 5])
    """

    parts: tuple[Augment, ...]
    """In the order of application, at least one."""

    def __post_init__(self) -> None:
        parts: Any = self.parts  # a list is welcome; the record stays hashable
        if callable(parts) or not parts or not all(callable(part) for part in parts):
            raise ArgumentError("Compose: parts must be a sequence of at least one augmentation.")
        object.__setattr__(self, "parts", tuple(parts))

    def __call__(self, columns: Columns, keys: Keys) -> Columns:
        """Return the columns after all parts."""
        for place, part in enumerate(self.parts):
            columns = part(columns, keys_apart(keys, place))
        return columns


@final
@dataclass(frozen=True)
class RandomApply:
    """Apply an augmentation to a row with a probability, and leave the row as it is otherwise.

    For augmentations that change all that they touch: a network that has seen bent images alone has never seen one as
    sharp as those that it will be asked about. The others cost nothing.

    Raises: ArgumentError for a probability outside [0, 1] or a part that is no function; DataError, when applied, where
    the augmentation changes which columns there are, their kind, or the number, dtype or shape of their rows.

    >>> half = RandomApply(Noise(0.1), 0.5)
    >>> changed = half({"x": torch.zeros(1000, 2)}, row_keys(0, 1, torch.arange(1000)))["x"].any(-1)
    >>> 450 < int(changed.sum()) < 550
    True
    """

    part: Augment
    """What is applied."""
    probability: float
    """That a row is changed, in [0, 1], in each view anew."""

    def __post_init__(self) -> None:
        if not callable(self.part):
            raise ArgumentError(f"RandomApply: part must be an augmentation. Got {self.part!r}.")
        check_fraction("RandomApply", probability=self.probability)

    def __call__(self, columns: Columns, keys: Keys) -> Columns:
        """Return the columns, with some of their rows changed."""
        chosen = (_coarse_uniforms(keys_apart(keys, 0), 1)[:, 0] < self.probability).nonzero()[:, 0]
        if not len(chosen):
            return columns
        lists = {name: one if isinstance(one, Tensor | list) else list(one) for name, one in columns.items()}
        some = {name: take(column, chosen) for name, column in lists.items()}
        changed = self.part(some, keys_apart(keys[chosen.numpy()], 1))
        for name in {**lists, **changed}:
            was, now = (_form_of(found.get(name)) for found in (some, changed))
            if was != now:
                raise DataError(
                    f"RandomApply: the augmentation must leave column {name!r} as the rows have it that it does not "
                    f"touch, {was}. Got {now}."
                )
        return {name: _with_rows(column, chosen, changed[name]) for name, column in lists.items()}


def keys_apart(keys: Keys, place: int) -> Keys:
    """Return keys made from keys, independent of them and of those for any other place.  (B,) -> (B,).

    For augmentations made of several that each draw: the streams of one key are theirs to use.

    >>> keys = row_keys(0, 1, torch.arange(2))
    >>> len({*keys.tolist(), *keys_apart(keys, 0).tolist(), *keys_apart(keys, 1).tolist()})
    6
    """
    return row_keys(place, 0, torch.from_numpy(keys.view(np.int64)))


def normals(keys: Keys, draws: int) -> Tensor:
    """Independent standard normal numbers (Box & Muller 1958), none beyond ±6.1.  (B,) -> (B, D) float64.

    They are made of the numbers of stream 0 of each key.

    >>> normals(row_keys(0, 1, torch.arange(3)), 5).shape
    torch.Size([3, 5])
    """
    half = -(-draws // 2)
    radius, angle = _coarse_uniforms(keys, 2 * half).numpy().reshape(-1, 2, half).swapaxes(0, 1)
    # 1 - u lies in (0, 1]: its logarithm is finite.
    radius, angle = np.sqrt(-2 * np.log(1 - radius)), 2 * np.pi * angle
    return torch.from_numpy(np.concatenate((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)[:, :draws])


def changed_images(
    caller: str, columns: Columns, column: str | None, change: Callable[[Tensor], Tensor], *, padding: int = 0
) -> Columns:
    """Change the images of a column, told apart as (B, C, H, W), and give them their own shape back.

    For augmentations of images: what they refuse, they refuse in one wording.

    Args:
        caller: the augmentation, as the sentence of an error calls it.
        columns: of the rows.
        column: which one holds the images; None for the only one.
        change: from images (B, C, H, W) to as many of that size.
        padding: by how many pixels they are moved; their sides must be longer.

    Raises: DataError for a column that holds no images of one size, or too small ones.
    """
    name, images = _tensor_column(caller, columns, column)
    shape = images.shape
    if images.dim() not in (3, 4):
        raise DataError(f"{caller}: column {name!r} must hold images (H, W) or (C, H, W). Got rows {tuple(shape[1:])}.")
    if images.dim() == 4 and shape[-1] <= 4 < shape[1]:
        raise DataError(
            f"{caller}: the images of column {name!r} have shape {tuple(shape[1:])}, with the channels last; they must "
            "come first, (C, H, W)."
        )
    if padding >= min(shape[-2:]):
        raise DataError(
            f"{caller}: the images of column {name!r}, {shape[-2]} × {shape[-1]} pixels, must be larger than the "
            f"{padding} pixels to move them by."
        )
    return {**columns, name: change(images.reshape(shape[0], math.prod(shape[1:-2]), *shape[-2:])).reshape(shape)}


def _tensor_column(caller: str, columns: Columns, column: str | None) -> tuple[str, Tensor]:
    if column is None and len(columns) > 1:
        raise DataError(f"{caller}: rows have the columns {', '.join(columns)}; say which one is meant (column=…).")
    name = next(iter(columns)) if column is None else column
    if name not in columns:
        raise DataError(f"{caller}: rows have no column {name!r}; they have: {', '.join(columns)}.")
    values = columns[name]
    if not isinstance(values, Tensor):
        raise DataError(
            f"{caller}: column {name!r} is a list, not a tensor, as text and images of several sizes are; give images "
            "of one size, or an augmentation of your own."
        )
    return name, values


def _form_of(column: Tensor | Sequence[Any] | None) -> str:
    """What a sentence says of a column: whether it is there, a tensor or a list, and of how many rows of what."""
    if column is None:
        return "absent"
    if isinstance(column, Tensor):
        return f"a tensor {tuple(column.shape)} of {str(column.dtype).removeprefix('torch.')}"
    return f"a list of {len(column)}"


def _with_rows(column: Column, places: Tensor, rows: Any) -> Column:
    """Put rows of the same form into a copy of a column."""
    if isinstance(column, Tensor):
        return column.index_copy(0, places.to(column.device), rows)
    copy = list(column)
    for place, row in zip(places.tolist(), rows, strict=True):
        copy[place] = row
    return copy


def _random_windows(padded: Tensor, shape: torch.Size, keys: Keys) -> Tensor:
    """Cut from each image a window at a place of its own.  (B, C, H + 2P, W + 2P), (B,) keys -> (B, C, H, W)."""
    rows, _, height, width = shape
    _, channels, tall, wide = padded.shape
    # The image is moved down by P - top: top is uniform in [0, 2P].
    places = (uniforms(keys, 2) * torch.tensor([tall - height + 1, wide - width + 1])).to(padded.device, torch.int64)
    top, left = places[:, 0, None, None], places[:, 1, None, None]
    # One gather of lines: the window's line y is the W values from a place on in the flat, padded batch. A view with a
    # stride of one holds, overlapping, the W values from every place.
    lines = padded.reshape(-1).as_strided((max(padded.numel() - width + 1, 0), width), (1, 1))
    image = torch.arange(rows * channels, device=padded.device).view(rows, channels, 1)
    first = (image * tall + top + torch.arange(height, device=padded.device)) * wide + left  # (B, C, H)
    return lines.index_select(0, first.view(-1)).view(rows, channels, height, width)


def _padded_with_zeros(images: Tensor, padding: int) -> Tensor:
    rows, channels, height, width = images.shape
    padded = images.new_zeros(rows, channels, height + 2 * padding, width + 2 * padding)
    padded[:, :, padding : padding + height, padding : padding + width] = images
    return padded


def _padded_with_reflection(images: Tensor, padding: int) -> Tensor:
    """Continue images by their mirror image, the edge itself not repeated: c b | a b c d | c b."""
    padded = _padded_with_zeros(images, padding)
    for axis in (-2, -1):  # the corners come with the second
        size = images.shape[axis]
        inside = padded.narrow(axis, padding, size)
        padded.narrow(axis, 0, padding).copy_(inside.narrow(axis, 1, padding).flip(axis))
        padded.narrow(axis, padding + size, padding).copy_(inside.narrow(axis, size - 1 - padding, padding).flip(axis))
    return padded


def _coarse_uniforms(keys: Keys, draws: int) -> Tensor:
    """As `keyed.uniforms`, in steps of 2^-26: two numbers from the bits of one, at half the cost.  (B,) -> (B, D)."""
    pairs = uniforms(keys, -(-draws // 2)) * 2.0**26
    high = pairs.floor()
    return torch.cat((high * 2.0**-26, pairs - high), dim=-1)[:, :draws]


def _check_pixels(caller: str, **named: Any) -> None:
    for name, value in named.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ArgumentError(f"{caller}: {name} must be a whole number of pixels from 1 up. Got {value!r}.")
