"""Real handwritten digits that need no download: scikit-learn's bundled copy of the UCI test set."""

import torch

from limbeck.data.splits import Splits, stratified_sample
from limbeck.data.tensors import TensorSet
from limbeck.errors import ArgumentError, MissingExtra
from limbeck.types import TransferSet

_VALIDATION, _TEST = 250, 350
_TRAIN = 1797 - _VALIDATION - _TEST


def digits(*, train_rows: int | None = None, seed: int = 0) -> Splits:
    """Return 1,797 handwritten digits of 8 × 8 grey values: 1,197 to train on, 250 to validate, 350 to test.

    The column "features" is (N, 64) float32 in [0, 1], row by row from the top left. Every split holds the ten classes
    in proportion; ids are row numbers of `sklearn.datasets.load_digits`.

    Args:
        train_rows: A smaller training split, 1 to 1,197 rows, drawn class by class; validation and test stay the same.
        seed: Another seed, another split. Results of two seeds are judged on different test rows.

    Raises:
        ArgumentError: `train_rows` lies outside [1, 1197].
        MissingExtra: scikit-learn is not installed.
    """
    if train_rows is not None and not 1 <= train_rows <= _TRAIN:
        raise ArgumentError(f"digits: train_rows must lie in [1, {_TRAIN}]. Got {train_rows}.")
    everything = _all_digits()
    rest, test = _without(everything, _TEST, seed)
    train, validation = _without(rest, _VALIDATION, seed)
    if train_rows is not None:
        train = train.subset(stratified_sample(_labels(train), train_rows, seed))
    return Splits(train=train, validation=validation, test=test)


def _all_digits() -> TensorSet:
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtra("reading the bundled digits with scikit-learn", "demo") from error
    bunch = load_digits()
    features = torch.from_numpy(bunch.data).to(torch.float32) / 16  # grey values are 0 to 16
    return TensorSet(features, labels=bunch.target, classes=[str(digit) for digit in range(10)])


def _without(rows: TransferSet, count: int, seed: int) -> tuple[TransferSet, TransferSet]:
    """Return the rows without a stratified sample of `count`, and the sample."""
    drawn = stratified_sample(_labels(rows), count, seed)
    kept = torch.ones(len(rows), dtype=torch.bool)
    kept[drawn] = False
    return rows.subset(kept.nonzero().flatten()), rows.subset(drawn)


def _labels(rows: TransferSet) -> torch.Tensor:
    assert rows.labels is not None
    return rows.labels
