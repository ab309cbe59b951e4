"""The share of its training rows that a student learns from, as a number of its specification; and its length."""

from dataclasses import replace
from functools import partial
from math import ceil

from limbeck.data.splits import Splits, fewer_rows
from limbeck.errors import ArgumentError
from limbeck.specification import Distillation


def own_share(spec: Distillation) -> float:
    """Return the share that `fewer_rows` leaves of a specification's rows; 1 where it has them all."""
    thinned = _thinned(spec)
    return 1.0 if thinned is None else float(thinned.keywords["share"])


def with_share(spec: Distillation, value: float) -> Distillation:
    """Let the student learn from a share of its training rows, in (0, 1]: of all of them, whatever share was set.

    Its data become a `partial` of `fewer_rows`, which holds out as the specification says, so that every share is
    validated on the same rows. Raises: ArgumentError.
    """
    if not 0 < value <= 1:
        raise ArgumentError(f"applied: rows must lie in (0, 1]. Got {value}.")
    before = _thinned(spec)
    source = spec.data if before is None else before.args[0]
    if value == 1:
        return replace(spec, data=source)
    rows = partial(fewer_rows, source, share=float(value), validation=spec.validation, split_seed=spec.split_seed)
    return replace(spec, data=rows)


def epochs_for_equal_steps(epochs: int, batch_size: int, *, rows: int, fewer: int) -> int:
    """Return for how many epochs fewer rows are trained to come to as many optimiser steps, to the nearest epoch.

    Args:
        epochs: over all rows.
        batch_size: rows of a step; the last of an epoch may have fewer.
        rows: all of them.
        fewer: those that are left, at least 1.

    >>> epochs_for_equal_steps(10, 32, rows=320, fewer=32), epochs_for_equal_steps(3, 32, rows=320, fewer=320)
    (100, 3)
    """
    return max(1, round(epochs * ceil(rows / batch_size) / ceil(fewer / batch_size)))


def _thinned(spec: Distillation) -> "partial[Splits] | None":
    """The specification's data, where they are a share of others."""
    return spec.data if isinstance(spec.data, partial) and spec.data.func is fewer_rows else None
