"""The rows that MNIST's section is developed, trained and scored on, and the transfer sets made of them.

The images are unpacked once into a file of tensors, so that some hundred runs need not decode them each.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from limbeck.data.columns import take
from limbeck.data.open import load
from limbeck.data.order import private_generator
from limbeck.data.splits import Splits, hold_out, stratified_order, stratified_sample
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError
from limbeck.files import read_json, read_tensors, write_json, write_tensors
from limbeck.types import TransferSet

CLASSES = tuple("0123456789")
HELD_OUT = 1 / 6
"""Share of the training rows that development keeps for validation: 10,000 of 60,000."""


def unpack(data: str, out: Path) -> Path:
    """Write all images and labels of MNIST, read from a folder or a hub id, into a file of tensors; return its path.

    A file that stands there is taken as it is where it was unpacked from these data, which a note beside it tells; else
    it is compared with them.
    Raises: DataError for data that are no digits with a test split, and for a file that holds others.
    """
    source = str(Path(data).resolve()) if Path(data).exists() else data
    note = out.with_suffix(".json")
    if out.is_file() and note.is_file() and read_json(note) == {"data": source}:
        return out
    found = _digits(data)
    if not out.is_file():
        write_tensors(out, found)
    elif not _same(found, read_tensors(out)):
        raise DataError(f"{out} holds other digits than {data}; choose another --out.")
    write_json(note, {"data": source})
    return out


def _digits(data: str) -> dict[str, Tensor]:
    splits = load(data)
    if not isinstance(splits, Splits) or splits.test is None:
        raise DataError(f"{data} has no test split; MNIST has 60,000 training rows and 10,000 test rows.")
    return {**_tensors("train", splits.train), **_tensors("test", splits.test)}


def _same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def _tensors(name: str, rows: TransferSet) -> dict[str, Tensor]:
    read = rows.rows(torch.arange(len(rows)))
    images = next(iter(read.columns.values()))
    if not isinstance(images, Tensor) or images.shape[-2:] != (28, 28) or read.labels is None:
        raise DataError(f"The {name} rows are no labelled images of 28 × 28 pixels; name a folder that holds MNIST.")
    return {f"{name}_images": images.reshape(-1, 1, 28, 28), f"{name}_labels": read.labels}


def training_rows(images: str) -> TensorSet:
    """All training rows of an unpacked file."""
    return _rows(images, "train")


def test_rows(images: str) -> TensorSet:
    """The test rows: what only a scoring may read."""
    return _rows(images, "test")


def development_rows(images: str) -> TensorSet:
    """The training rows but for those that validate."""
    return _as_set(hold_out(training_rows(images), HELD_OUT, seed=0)[0])


def held_out_rows(images: str) -> TensorSet:
    """The training rows that validate: no run in development sees them, and no teacher of one."""
    return _as_set(hold_out(training_rows(images), HELD_OUT, seed=0)[1])


def without_classes(source: Callable[[], TensorSet], classes: Sequence[int]) -> TensorSet:
    """The rows of a source whose label is none of these."""
    rows = source()
    return rows.subset((~_is_one_of(rows, classes)).nonzero()[:, 0])


def only_classes(source: Callable[[], TensorSet], classes: Sequence[int]) -> TensorSet:
    """The rows of a source whose label is one of these."""
    rows = source()
    return rows.subset(_is_one_of(rows, classes).nonzero()[:, 0])


def share_of(source: Callable[[], TensorSet], share: float) -> TensorSet:
    """A share of a source's rows, each class in proportion: the same at every seed, and within any larger share."""
    rows = source()
    return rows.subset(stratified_order(_labels(rows), len(rows), seed=0)[: max(1, round(share * len(rows)))])


def some_rows(source: Callable[[], TensorSet], most: int) -> TensorSet:
    """At most so many of a source's rows, each class in proportion, the same at every seed."""
    rows = source()
    return rows.subset(stratified_sample(_labels(rows), min(most, len(rows)), seed=0))


def without_labels(source: Callable[[], TensorSet]) -> TensorSet:
    """The rows of a source, unlabelled."""
    rows = source()
    return TensorSet(dict(rows.columns), classes=rows.classes, ids=rows.ids, head=rows.head)


def uniform_noise(source: Callable[[], TensorSet]) -> TensorSet:
    """As many images as a source has, each pixel drawn evenly from all grey values; unlabelled."""
    rows = source()
    images = _images(rows)
    drawn = torch.randint(0, 256, images.shape, generator=private_generator(0, "noise"), dtype=torch.uint8)
    return TensorSet({"image": drawn}, classes=rows.classes, head="softmax")


def pixel_noise(source: Callable[[], TensorSet]) -> TensorSet:
    """As many images as a source has, each pixel that of an image drawn for it alone; unlabelled.

    Every pixel has the grey values that it has among the digits, and nothing connects it with its neighbours.
    """
    rows = source()
    flat = _images(rows).flatten(1)
    drawn = torch.randint(0, len(flat), flat.shape, generator=private_generator(0, "pixels"))
    return TensorSet({"image": flat.gather(0, drawn).view(-1, 1, 28, 28)}, classes=rows.classes, head="softmax")


def overlaid(source: Callable[[], TensorSet]) -> TensorSet:
    """As many images as a source has, each the mean of two of its images drawn at random; unlabelled."""
    rows = source()
    images = _images(rows).to(torch.int16)
    first, second = torch.randint(0, len(images), (2, len(images)), generator=private_generator(0, "overlaid"))
    mean = (images[first] + images[second]) // 2
    return TensorSet({"image": mean.to(torch.uint8)}, classes=rows.classes, head="softmax")


def _rows(images: str, name: str) -> TensorSet:
    tensors = read_tensors(Path(images))
    return TensorSet({"image": tensors[f"{name}_images"]}, labels=tensors[f"{name}_labels"], classes=CLASSES)


def _as_set(rows: TransferSet) -> TensorSet:
    read = rows.rows(torch.arange(len(rows)))
    return TensorSet(dict(read.columns), labels=read.labels, classes=rows.classes, ids=read.ids)


def _is_one_of(rows: TensorSet, classes: Sequence[int]) -> Tensor:
    return torch.isin(_labels(rows), torch.tensor(classes))


def _labels(rows: TensorSet) -> Tensor:
    if rows.labels is None:
        raise DataError("These rows have no labels to choose by.")
    return rows.labels


def _images(rows: TensorSet) -> Tensor:
    column = take(rows.columns["image"], torch.arange(len(rows)))
    assert isinstance(column, Tensor)  # `_rows` makes it so
    return column
