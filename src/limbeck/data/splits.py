"""Training, validation and test rows, and drawing some of them fairly.

Shape legend, this file:  N rows, K classes that occur.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from limbeck.data.order import private_generator
from limbeck.errors import ArgumentError, DataError
from limbeck.types import TransferSet


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Splits:
    """The rows to learn from, to choose by and to be judged on."""

    train: TransferSet
    """What the student learns from: the transfer set."""
    validation: TransferSet | None = None
    """What checkpoints and hyper-parameters are chosen by; None keeps the last checkpoint."""
    test: TransferSet | None = None
    """What is scored once, at the end."""

    def __post_init__(self) -> None:
        for name, other in (("validation", self.validation), ("test", self.test)):
            if other is not None:
                _check_same_classes(name, other, self.train)


def _check_same_classes(name: str, other: TransferSet, train: TransferSet) -> None:
    if other.head != train.head:
        raise DataError(f"Splits: train has a {train.head} head and {name} a {other.head} head; they must agree.")
    if other.classes is None or train.classes is None or other.classes == train.classes:
        return
    if len(other.classes) != len(train.classes):
        difference = f"train has {len(train.classes)} classes and {name} has {len(other.classes)}"
    else:
        first = next(pair for pair in zip(train.classes, other.classes, strict=True) if pair[0] != pair[1])
        difference = f"where train has class {first[0]!r}, {name} has {first[1]!r}"
    raise DataError(f"Splits: {difference}; give every split the same `classes`, in the same order.")


def without_test(source: Splits | TransferSet | Callable[[], Splits | TransferSet]) -> Splits:
    """Load splits and leave the test rows out: for what must not see them, such as runs that choose settings.

    `partial(without_test, source)` is a data factory of its own.
    """
    found = source() if callable(source) else source
    return replace(found, test=None) if isinstance(found, Splits) else Splits(train=found)


def fewer_rows(
    source: Splits | TransferSet | Callable[[], Splits | TransferSet],
    *,
    share: float,
    validation: float | None,
    split_seed: int = 0,
) -> Splits:
    """Load splits and leave a share of the training rows, the classes in proportion; other rows are not touched.

    Rows are held out before any are left out, so that every share is validated on the same rows; and the rows of a
    smaller share are among those of a larger. Both follow from `split_seed`, never from a run's own seed.
    `partial(fewer_rows, source, share=0.1, validation=0.1)` is a data factory of its own.

    Args:
        source: the splits, or what loads them.
        share: of the training rows that are left after holding out, in (0, 1].
        validation: share of the training rows that is held out where the data bring no validation split, as in a
            specification; None holds none out.
        split_seed: of both draws.

    Raises:
        ArgumentError: `share` does not lie in (0, 1].
        DataError: The share leaves a class without a row; what `hold_out` raises.
    """
    if not 0 < share <= 1:
        raise ArgumentError(f"fewer_rows: share must lie in (0, 1]. Got {share}.")
    found = source() if callable(source) else source
    splits = found if isinstance(found, Splits) else Splits(train=found)
    if splits.validation is None and validation is not None:
        train, held = hold_out(splits.train, validation, split_seed)
        splits = replace(splits, train=train, validation=held)
    return replace(splits, train=_thinned(splits.train, share, split_seed))


def _thinned(train: TransferSet, share: float, seed: int) -> TransferSet:
    count = max(1, round(share * len(train)))
    kept = stratified_order(train.labels, len(train), seed)[:count].sort().values
    groups = _groups(train.labels, len(train))
    inside = torch.zeros(len(train), dtype=torch.bool).index_fill(0, kept, True)
    empty = next((group for group in groups if not inside[group].any()), None)
    if empty is not None:
        raise DataError(
            f"A share of {share:g} leaves {count} of {len(train)} training rows, and none of the class "
            f"{_class_of(train, int(empty[0]))!r}, which has {len(empty)}; take a larger share."
        )
    return train.subset(kept)


def _class_of(rows: TransferSet, position: int) -> str:
    assert rows.labels is not None  # else there is one group, and it has a row
    label = int(rows.labels[position])
    return str(label) if rows.classes is None else rows.classes[label]


def hold_out(train: TransferSet, fraction: float, seed: int) -> tuple[TransferSet, TransferSet]:
    """Split rows into a larger part to train on and a smaller part to validate on: (train, validation).

    Rows with one class each are drawn class by class: every class with two rows or more keeps at least one on either
    side, which may hold out more than `fraction` where classes are small, and a class with a single row stays in
    training. Unlabelled and multi-label rows are drawn plainly. Both parts keep the rows' ids and order. The same rows,
    fraction and seed give the same split in every process.

    Raises:
        ArgumentError: `fraction` does not lie strictly between 0 and 1.
        DataError: There is no row to spare for one of the two sides.

    >>> from limbeck.data.tensors import TensorSet
    >>> rows = TensorSet(torch.randn(40, 3), labels=[0] * 30 + [1] * 10)
    >>> train, validation = hold_out(rows, fraction=0.2, seed=0)
    >>> train.labels.bincount(), validation.labels.bincount()
    (tensor([24,  8]), tensor([6, 2]))
    """
    if not 0 < fraction < 1:
        raise ArgumentError(f"hold_out: fraction must lie strictly between 0 and 1. Got {fraction}.")
    count = len(train)
    if count < 2:
        raise DataError(f"hold_out: a split needs at least two rows. Got {count}.")
    groups = _groups(train.labels, count)
    sizes = torch.tensor([len(group) for group in groups])
    small = (sizes > 1) & (sizes * fraction < 1)  # one row each, on top of what the others give
    others = sizes.masked_fill(small | (sizes < 2), 0)
    wanted = round(fraction * int(others.sum()))
    numbers = small.long() + _apportioned(others, wanted, low=small * 0, high=(others - 1).clamp_min(0))
    if not int(numbers.sum()):
        raise DataError(
            f"hold_out: each of the {count} classes has a single row, and a class's only row is not held out; "
            "add rows, or make the splits by hand."
        )
    held = torch.zeros(count, dtype=torch.bool)
    held[_drawn(groups, numbers, seed, "hold_out")] = True
    return train.subset((~held).nonzero().flatten()), train.subset(held.nonzero().flatten())


def stratified_sample(labels: Tensor, count: int, seed: int) -> Tensor:
    """Return `count` positions with each class in proportion, ascending: (N,) int64 labels -> (count,) int64.

    Every class gets at least one row where `count` allows it. Multi-hot labels, (N, C), are drawn plainly. The same
    labels, count and seed give the same positions in every process.

    Raises:
        ArgumentError: `count` lies outside [1, N].

    >>> labels = torch.tensor([0, 0, 0, 0, 1, 1])
    >>> labels[stratified_sample(labels, 3, seed=0)]
    tensor([0, 0, 1])
    """
    total = len(labels)
    if not 1 <= count <= total:
        raise ArgumentError(f"stratified_sample: count must lie in [1, {total}], the number of rows. Got {count}.")
    groups = _groups(labels, total)
    sizes = torch.tensor([len(group) for group in groups])
    low = torch.full_like(sizes, int(count >= len(groups)))
    return _drawn(groups, _apportioned(sizes, count, low=low, high=sizes), seed, "stratified_sample")


def stratified_order(labels: Tensor | None, count: int, seed: int) -> Tensor:
    """Order rows so that every beginning holds each class in proportion: (N,) int64 labels -> (N,) positions.

    The j-th row of a class, drawn at random from 0 on, stands at (j + 1/2) / n of the way where the class has n rows:
    the divisor method of Webster and Sainte-Laguë. So no class loses a row as a beginning grows, which largest
    remainders do not promise, and a beginning of a share s of all rows holds about s n of each class, to the nearest
    row. Unlabelled and multi-label rows are drawn plainly.

    Args:
        labels: a class for each row; None, or multi-hot labels, for rows without single classes.
        count: N.
        seed: of the draws within classes.

    >>> torch.tensor([0, 0, 0, 0, 1, 1])[stratified_order(torch.tensor([0, 0, 0, 0, 1, 1]), 6, seed=0)]
    tensor([0, 1, 0, 0, 1, 0])
    """
    generator = private_generator(seed, "stratified_order")
    groups = [group[torch.randperm(len(group), generator=generator)] for group in _groups(labels, count)]
    places = [(torch.arange(len(group), dtype=torch.float64) + 0.5) / len(group) for group in groups]
    return torch.cat(groups)[torch.cat(places).argsort(stable=True)]  # ties go to the lower class on every machine


def _groups(labels: Tensor | None, count: int) -> list[Tensor]:
    """Return the positions of each class that occurs, in class order; one group of all rows without single classes."""
    if labels is None or labels.dim() != 1:
        return [torch.arange(count)]
    by_class = labels.argsort(stable=True)
    ends = labels.bincount().cumsum(0).tolist()
    groups = (by_class[start:end] for start, end in pairwise([0, *ends]))
    return [group for group in groups if len(group)]


def _apportioned(sizes_K: Tensor, total: int, *, low: Tensor, high: Tensor) -> Tensor:
    """Deal `total` to groups in proportion to their sizes by largest remainders, each within its bounds.  (K,) -> (K,).

    The sum is `total` unless the bounds forbid it.
    """
    quota = sizes_K.double() * (total / max(int(sizes_K.sum()), 1))
    numbers = quota.floor().long().clamp(low, high)
    missing = total - int(numbers.sum())
    while missing:
        step = 1 if missing > 0 else -1
        movable = numbers < high if step > 0 else numbers > low
        owed = ((quota - numbers) * step).masked_fill(~movable, -torch.inf)
        # Stable, so that ties go to the lower class on every machine.
        chosen = owed.argsort(descending=True, stable=True)[: min(abs(missing), int(movable.sum()))]
        if not len(chosen):
            break
        numbers[chosen] += step
        missing = total - int(numbers.sum())
    return numbers


def _drawn(groups: list[Tensor], numbers: Tensor, seed: int, purpose: str) -> Tensor:
    generator = private_generator(seed, purpose)
    drawn = [
        group[torch.randperm(len(group), generator=generator)[:number]]
        for group, number in zip(groups, numbers.tolist(), strict=True)
    ]
    return torch.cat(drawn).sort().values
