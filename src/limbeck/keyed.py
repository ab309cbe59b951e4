"""Floor 1. Random numbers by key: a function of (seed, view, id) alone, the same in any batch, process or week.

A generator's numbers depend on who drew before; these depend on nothing but their key, so that a row is augmented, or
its targets sampled, alike wherever it turns up. The mixing function is SplitMix64 (Steele, Lea & Flood 2014), which is
no secret and no statistics package, but passes BigCrush.

Shape legend, this file:  B rows of a batch, D draws a row.
"""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Keys: TypeAlias = np.ndarray[Any, np.dtype[np.uint64]]
"""(B,) one key a row."""

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


def row_keys(seed: int, view: int, ids: Tensor) -> Keys:
    """Return a key for each row.  (B,) int64 -> (B,).

    Args:
        seed: in [0, 2^63).
        view: which augmented view of the rows, not negative.
        ids: the rows' numbers in their dataset.

    >>> one, same, other = row_keys(0, 1, torch.tensor([7, 7, 8]))
    >>> bool(one == same), bool(one == other)
    (True, False)
    """
    start = np.full(1, seed, np.uint64)
    return _mixed(_mixed(_mixed(start) ^ np.uint64(view)) ^ ids.numpy().astype(np.uint64))


def uniforms(keys: Keys, draws: int, *, stream: int = 0) -> Tensor:
    """Return independent numbers in [0, 1), as many as `draws` a key.  (B,) -> (B, D) float64.

    Streams of one key are independent of one another: whoever draws for two purposes takes two.

    >>> uniforms(row_keys(0, 0, torch.arange(3)), 2).shape
    torch.Size([3, 2])
    """
    steps = np.arange(1, draws + 1, dtype=np.uint64)
    own = _mixed(keys ^ _mixed(np.full(1, stream, np.uint64)))
    # 53 bits: every double of [0, 1) that a multiple of 2^-53 can be.
    bits = _mixed(own[:, None] + _GOLDEN * steps) >> np.uint64(11)
    return torch.from_numpy(bits.astype(np.float64) * 2.0**-53)


def _mixed(values: Keys) -> Keys:
    mixed = values + _GOLDEN
    mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
    mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
    return mixed ^ (mixed >> np.uint64(31))
