"""Which rows come when: a function of seed and epoch alone, so that any process and any resume finds the same order."""

import hashlib

import torch
from torch import Tensor

from limbeck.errors import ArgumentError


def mixed_seed(seed: int, *parts: int | str) -> int:
    """Return a generator seed in [0, 2^63) for a seed and what it is used for, e.g. an epoch's number.

    A hash, not a sum: seed + epoch would give epoch 1 of seed 0 the order of epoch 0 of seed 1.
    """
    digest = hashlib.sha256(repr((seed, *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def private_generator(seed: int, *parts: int | str) -> torch.Generator:
    """Return a CPU generator of its own, seeded by `mixed_seed`: torch's global one is neither read nor moved."""
    return torch.Generator().manual_seed(mixed_seed(seed, *parts))


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """Return the order of an epoch's rows: a permutation of 0 to count - 1, (count,) int64.

    Raises:
        ArgumentError: `count` or `epoch` is negative.

    >>> epoch_order(5, seed=0, epoch=1).sort().values.tolist()
    [0, 1, 2, 3, 4]
    """
    if count < 0 or epoch < 0:
        raise ArgumentError(f"epoch_order: count and epoch must not be negative. Got {count} and {epoch}.")
    return torch.randperm(count, generator=private_generator(seed, epoch))


def share(positions: Tensor, rank: int, ranks: int) -> Tensor:
    """Return what one of `ranks` processes takes of a global batch: every ranks-th row, none twice, none left over.

    (B,) -> (B / ranks, rounded up or down,): empty where the batch has fewer rows than there are processes.

    Raises:
        ArgumentError: `rank` lies outside [0, ranks).

    >>> share(torch.tensor([4, 8, 15, 16, 23]), rank=1, ranks=2)
    tensor([ 8, 16])
    """
    if not 0 <= rank < ranks:
        raise ArgumentError(f"share: rank must lie in [0, ranks). Got rank {rank} of {ranks}.")
    return positions if ranks == 1 else positions[rank::ranks]
