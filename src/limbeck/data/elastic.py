"""Elastic distortion, rotation, change of size and shift of images, all in one resampling: nothing is blurred twice.

Shape legend, this file:  B rows, C channels, H rows and W columns of pixels, P pixels along one axis, N lumps of noise
along it. Points and displacements are planes (B, 2, …) in pixels from the image's centre: rightwards, then downwards.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample

from limbeck._checks import check_not_negative, check_positive
from limbeck.data.augment import changed_images, normals
from limbeck.errors import ArgumentError
from limbeck.keyed import Keys, uniforms
from limbeck.types import Columns

Numbers: TypeAlias = np.ndarray[Any, np.dtype[Any]]
"""An array of floats."""


@final
@dataclass(frozen=True)
class Elastic:
    """Bend each image smoothly, and turn, stretch and shift it about its centre; what comes in at the edge is zero.

    The elastic distortion of Simard, Steinkraus & Platt (2003): every point is read a little off its place, and
    neighbours are so together. A displacement is normal with the standard deviation `pixels`, along each axis
    independently, and that of two points at the distance d has the correlation exp(-d² / 4σ²), where σ is `smoothness`:
    that of white noise smoothed by a Gaussian of standard deviation σ. They smooth noise that is uniform over [-1, 1]
    and scale it by α, which makes `pixels` = α / (√3 · 2 √π σ): their α = 34 and σ = 4 are `Elastic(1.4)`.

    The image is stretched, turned, shifted and bent in this order, read once between the four nearest pixels, in
    float32, and rounded where its values are whole numbers (of at most 24 bits). Each change has draws of its own: a
    row is bent alike whether or not it is turned too.

    Raises: ArgumentError for a number out of its range, or where all four changes are zero; DataError, when applied,
    for a column that holds no images of one size.

    >>> from limbeck.keyed import row_keys
    >>> bent = Elastic(1.4, rotation=10.0)({"image": torch.ones(3, 28, 28)}, row_keys(0, 1, torch.arange(3)))["image"]
    >>> bent.shape, bool((bent[:, 9:19, 9:19] - 1).abs().max() < 1e-5)
    (torch.Size([3, 28, 28]), True)
    """

    pixels: float
    """Standard deviation of a point's displacement along each axis, in pixels, >= 0."""
    smoothness: float = 4.0
    """Standard deviation, in pixels, of the Gaussian that smooths the displacements, > 0."""
    rotation: float = 0.0
    """Largest turn either way, in degrees, >= 0; uniform."""
    scaling: float = 0.0
    """Largest relative change of size, along each axis by itself, in [0, 1); uniform."""
    shift: float = 0.0
    """Largest shift along each axis, in pixels, >= 0; uniform, not only by whole pixels."""
    column: str | None = None
    """Which column holds the images; None for the only one."""

    def __post_init__(self) -> None:
        changes = {name: getattr(self, name) for name in ("pixels", "rotation", "scaling", "shift")}
        check_not_negative("Elastic", **changes)
        check_positive("Elastic", smoothness=self.smoothness)
        if self.scaling >= 1:
            raise ArgumentError(f"Elastic: scaling must lie in [0, 1). Got {self.scaling}.")
        if not any(changes.values()):
            raise ArgumentError(f"Elastic: at least one of {', '.join(changes)} must be above zero.")

    def __call__(self, columns: Columns, keys: Keys) -> Columns:
        """Return the columns with their images bent."""

        def bent(images: Tensor) -> Tensor:
            return read_at(images, self._places(keys, images.shape[-2], images.shape[-1], images.device))

        return changed_images("Elastic", columns, self.column, bent)

    def _places(self, keys: Keys, height: int, width: int, device: torch.device) -> Tensor:
        """Where each pixel is read.  (B,) -> (B, 2, H, W)."""
        maps, offsets = _maps(keys, rotation=self.rotation, scaling=self.scaling, shift=self.shift)
        along = maps[:, :, 0, None] * _from_centre(width) + offsets[:, :, None]
        down = maps[:, :, 1, None] * _from_centre(height)
        along_rows, down_columns = (torch.from_numpy(part).to(device, torch.float32) for part in (along, down))
        affine = along_rows[:, :, None, :] + down_columns[:, :, :, None]
        if not self.pixels:
            return affine
        return affine.add_(smooth_fields(keys, height, width, self.smoothness, device).mul_(self.pixels))


def smooth_fields(keys: Keys, height: int, width: int, smoothness: float, device: torch.device) -> Tensor:
    """Two independent smooth Gaussian fields a key, of mean 0 and variance 1.  (B,) -> (B, 2, H, W) float32.

    The correlation of two points at the distance d is exp(-d² / 4 `smoothness`²).
    """
    rows, columns = (torch.from_numpy(_lumps(pixels, smoothness)).to(device) for pixels in (height, width))
    down, along = rows.shape[1], columns.shape[1]
    noise = _coarse(normals(keys, 2 * down * along).to(device, torch.float32), 8)
    # Products of such numbers have 19 bits after the point and their sums stay far below 2^5: no sum is ever rounded,
    # so that no order of adding, which depends on the batch and the machine, can be told from another.
    smoothed = _coarse(noise.view(-1, along) @ columns.T, 8).view(2 * len(keys), down, width)
    return torch.bmm(rows.expand(2 * len(keys), height, down), smoothed).view(-1, 2, height, width)


def read_at(images: Tensor, places: Tensor) -> Tensor:
    """Read images between their pixels, bilinearly, zero outside.  (B, C, H, W), (B, 2, H, W) -> (B, C, H, W).

    Args:
        images: of any dtype, which stays.
        places: for each pixel of the result where it is read, in pixels from the centre: rightwards, then downwards.
    """
    height, width = images.shape[-2:]
    # Pixels are squares, and -1 and 1 the image's outer edges (align_corners=False): that holds for one pixel, too.
    halves = places.new_tensor([width / 2, height / 2])[:, None, None]
    grid = (places / halves).permute(0, 2, 3, 1)
    found = grid_sample(images.to(torch.float32), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    # The four weights are not negative and sum to 1 at most: a mean of bytes is a byte without being clamped.
    return found.to(images.dtype) if images.is_floating_point() else found.round_().to(images.dtype)


def _maps(keys: Keys, *, rotation: float, scaling: float, shift: float) -> tuple[Numbers, Numbers]:
    """Each row's linear map and offset: the point p is read at map @ p + offset.  (B,) -> (B, 2, 2), (B, 2)."""
    draws = 2 * uniforms(keys, 5, stream=1).numpy() - 1
    angles, sizes, shifts = math.radians(rotation) * draws[:, 0], 1 + scaling * draws[:, 1:3], shift * draws[:, 3:]
    # R diag(sizes) q + shifts is where q goes, R the turn; what is seen at p was at diag(1 / sizes) R' (p - shifts).
    cosines, sines = np.cos(angles), np.sin(angles)
    back = np.stack((cosines, sines, -sines, cosines), axis=-1).reshape(-1, 2, 2) / sizes[:, :, None]
    return back, -(back * shifts[:, None, :]).sum(-1)


def _from_centre(pixels: int) -> Numbers:
    return np.linspace(0.5 - pixels / 2, pixels / 2 - 0.5, pixels)


def _lumps(pixels: int, smoothness: float) -> Numbers:
    """How much of each lump of noise along an axis is felt at each pixel; rows of norm 1.  -> (P, N) float32.

    Noise at every pixel is not needed. A sum over lumps σ apart, ∑ exp(-(x - s)² / 2σ²) exp(-(y - s)² / 2σ²), is the
    integral over s, a multiple of exp(-(x - y)² / 4σ²), up to a part of 2 exp(-π²) = 0.0001: the trapezoidal rule on a
    Gaussian. Lumps half a pixel apart are exact for any σ, as x, y and their middle are on them.
    """
    step = max(smoothness, 0.5)
    outermost = math.ceil(((pixels - 1) / 2 + 2.5 * smoothness) / step)
    distances = _from_centre(pixels)[:, None] - step * np.arange(-outermost, outermost + 1)
    weights: Numbers = np.exp(-0.5 * (distances / smoothness) ** 2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return (np.round(weights * 2**11) / 2**11).astype(np.float32)


def _coarse(values: Tensor, bits: int) -> Tensor:
    """Round to so many binary digits after the point."""
    return values.mul(2.0**bits).round_().mul_(2.0**-bits)
