"""Hugging Face datasets, from a folder or from the hub, as transfer sets.

Shape legend, this file:  N rows, C classes of labels or channels of images.
"""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.data.arrow import class_indices, class_names, column_of, first_line
from limbeck.data.columns import Column
from limbeck.data.images import decoded
from limbeck.data.mapstyle import MapStyleSet
from limbeck.data.splits import Splits
from limbeck.data.tensors import TensorSet
from limbeck.errors import ArgumentError, DataError, MissingExtra
from limbeck.types import Head, TransferSet

_NAMES = {
    "train": ("train",),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test",),
}
_HUB_ID = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_CHUNK = 1000  # rows of Arrow read at a time


def hub(
    path_or_id: str | Path,
    *,
    features: str | Sequence[str] | None = None,
    label: str | None = "label",
    classes: Sequence[str] | None = None,
    config: str | None = None,
    splits: Mapping[str, str] | None = None,
    in_memory: bool = True,
) -> Splits:
    """Read a Hugging Face dataset: a folder of Parquet, CSV, JSON or image files, or an id of the hub.

    Images become uint8 (N, C, H, W), C = 1 for grey and 3 for colour, or a list of (C, H, W) where sizes differ.
    Numbers and equal lists of numbers become tensors, text stays a list of text, and audio a list of encoded files,
    `bytes`, which the model's `prepare` decodes. Ids are row numbers within a split.

    A folder is read without the network and, if in memory, without a copy in the cache of the `datasets` library.

    Args:
        path_or_id: A folder, or an id such as "owner/name".
        features: The feature columns; all but the label if None.
        label: The label column; None for rows without labels. A list of classes a row becomes multi-hot labels, (N, C).
            A split whose labels are all -1 or empty is unlabelled.
        classes: The class names in the order of the labels. If None, the dataset's own; where it has none, text labels
            are classes in alphabetical order, and whole numbers the classes "0" to the highest of any split.
        config: The dataset's configuration, where it has several; its default one if None.
        splits: What the dataset calls our splits, e.g. {"train": "train", "test": "validation"}; a split that is left
            out is not read. If None, validation is sought as validation, valid, dev and val.
        in_memory: Read and decode everything now; False reads and decodes rows when they are asked for.

    Raises:
        ArgumentError: `splits` names a split that we do not have.
        DataError: The dataset, its configuration, a split or a column is missing; a label or an image is damaged.
        MissingExtra: datasets, or Pillow for images, is not installed.
    """
    where = f"The dataset at {path_or_id}"
    with _quiet(_library(path_or_id)):
        found = _opened(where, path_or_id, config, in_memory)
        names = _split_names(where, list(found), splits)
        wanted = [features] if isinstance(features, str) else features
        parts = {ours: _Part(where, found[theirs], wanted, label, in_memory) for ours, theirs in names.items()}
    if label is not None:
        columns = [part.label_column for part in parts.values()]
        classes = classes or parts["train"].recorded_classes or class_names(columns)
    return _as_splits({ours: part.labels(classes) for ours, part in parts.items()}, parts, classes)


def _as_splits(
    labels: Mapping[str, Tensor | None], parts: Mapping[str, "_Part"], classes: Sequence[str] | None
) -> Splits:
    multi_hot = any(values is not None and values.dim() == 2 for values in labels.values())
    head: Head = "sigmoid" if multi_hot else "softmax"
    sets: dict[str, TransferSet] = {ours: part.rows(labels[ours], classes, head) for ours, part in parts.items()}
    return Splits(train=sets["train"], validation=sets.get("validation"), test=sets.get("test"))


class _Part:
    """One split of the dataset: its columns in Arrow, and what they are."""

    def __init__(
        self, where: str, dataset: Any, features: Sequence[str] | None, label: str | None, in_memory: bool
    ) -> None:
        self._where = where
        self._label = label
        self._in_memory = in_memory
        if dataset.column_names is not None:  # a streamed CSV or JSON file does not know them before it is read
            dataset = dataset.select_columns(_needed(where, dataset.column_names, features, label))
        self._kinds: Mapping[str, Any] = dataset.features or {}
        dataset = dataset.with_format("arrow")
        if in_memory:
            self._rows = _joined(where, dataset)
            self._rows = self._rows.select(_needed(where, self._rows.column_names, features, label))
        else:
            self._rows = dataset
        self._names = [name for name in self._rows.column_names if name != label]

    @property
    def label_column(self) -> Any:
        if self._in_memory:
            return self._rows[self._label]
        return _joined(self._where, self._rows.select_columns([self._label]))[self._label]

    @property
    def recorded_classes(self) -> Sequence[str] | None:
        kind = self._kinds.get(self._label or "")
        return getattr(kind, "names", None) or getattr(getattr(kind, "feature", None), "names", None)

    def labels(self, classes: Sequence[str] | None) -> Tensor | None:
        if self._label is None:
            return None
        return class_indices(self._where, self._label, self.label_column, classes)

    def rows(self, labels: Tensor | None, classes: Sequence[str] | None, head: Head) -> TransferSet:
        if self._in_memory:
            columns = _columns(self._where, self._rows.select(self._names), self._kinds)
            return TensorSet(columns, labels=labels, classes=classes, head=head)
        lazy = _ArrowRows(self._where, self._rows.select_columns(self._names), self._kinds)
        return MapStyleSet(lazy, labels=labels, classes=classes, head=head)


class _ArrowRows:
    """A map-style dataset of mappings, which reads and decodes a batch at a time."""

    def __init__(self, where: str, dataset: Any, kinds: Mapping[str, Any]) -> None:
        self._where = where
        self._dataset = dataset
        self._kinds = kinds

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        columns = _columns(self._where, self._dataset[indices], self._kinds)
        return [{name: values[row] for name, values in columns.items()} for row in range(len(indices))]


def _columns(where: str, rows: Any, kinds: Mapping[str, Any]) -> dict[str, Column]:
    columns: dict[str, Column] = {}
    for name in rows.column_names:
        kind = type(kinds.get(name)).__name__
        if kind in {"Image", "Audio"}:
            files = _encoded(where, name, rows[name])
            columns[name] = decoded(f"{where}, column {name!r}", files) if kind == "Image" else files
        else:
            columns[name] = column_of(where, name, rows[name])
    return columns


def _encoded(where: str, name: str, values: Any) -> list[bytes]:
    """Return the files of a column of images or sounds: they lie in the table, or at a path of this machine."""
    files = []
    for row, entry in enumerate(values.to_pylist()):
        if not entry or (entry["bytes"] is None and not entry["path"]):
            raise DataError(f"{where}: column {name!r} is empty in row {row}.")
        content = entry["bytes"]
        files.append(Path(entry["path"]).read_bytes() if content is None else content)
    return files


def _joined(where: str, dataset: Any) -> Any:
    import datasets
    import pyarrow as pa

    try:
        return pa.concat_tables(list(dataset.iter(batch_size=_CHUNK)))
    except (OSError, ValueError, pa.ArrowException, datasets.exceptions.DatasetsError) as error:
        raise DataError(f"{where} cannot be read: {first_line(error)}") from error


def _needed(where: str, present: list[str], features: Sequence[str] | None, label: str | None) -> list[str]:
    names = [name for name in present if name != label] if features is None else list(features)
    for name in names if label is None else [*names, label]:
        if name not in present:
            raise DataError(f"{where} has no column {name!r}; it has: {', '.join(present)}.")
    if not names:
        raise DataError(f"{where} has no feature columns; it has: {', '.join(present)}.")
    return names if label is None else [*names, label]


def _split_names(where: str, present: list[str], splits: Mapping[str, str] | None) -> dict[str, str]:
    """Return the dataset's name of each of our splits that is to be read."""
    if splits is None:
        found = {ours: [name for name in theirs if name in present] for ours, theirs in _NAMES.items()}
        names = {ours: theirs[0] for ours, theirs in found.items() if theirs}
    else:
        names = dict(splits)
    unknown = [ours for ours in names if ours not in _NAMES]
    if unknown:
        raise ArgumentError(f"hub: splits may name train, validation and test. Got {unknown[0]!r}.")
    missing = [theirs for theirs in names.values() if theirs not in present]
    if missing or "train" not in names:
        raise DataError(
            f"{where} has no split {missing[0] if missing else 'train'!r}; it has: {', '.join(present)}. "
            'Say which one to train on with splits={"train": …}.'
        )
    return names


def _library(path_or_id: str | Path) -> Any:
    """Import what reads datasets. Raises: DataError for a path to nothing, MissingExtra."""
    if not Path(path_or_id).expanduser().is_dir() and (
        isinstance(path_or_id, Path) or not _HUB_ID.fullmatch(path_or_id)
    ):
        raise DataError(f"There is no folder {path_or_id}.")
    try:
        import datasets
    except ImportError as error:
        raise MissingExtra("reading a Hugging Face dataset", "hub") from error
    return datasets


def _opened(where: str, path_or_id: str | Path, config: str | None, in_memory: bool) -> Any:
    """Return the dataset's splits by name: streamed where everything is read once, else backed by the Arrow cache."""
    import datasets

    folder = Path(path_or_id).expanduser()
    source = str(folder.resolve()) if folder.is_dir() else str(path_or_id)
    try:
        return datasets.load_dataset(source, config, streaming=in_memory and folder.is_dir())
    except ValueError as error:
        known = datasets.get_dataset_config_names(source)
        if config in known or (config is None and len(known) == 1):
            raise DataError(f"{where} cannot be read: {first_line(error)}") from error
        raise DataError(f"{where} needs a `config` out of: {', '.join(known)}. Got {config!r}.") from error
    except (OSError, datasets.exceptions.DatasetsError) as error:
        what = where if folder.is_dir() else f"There is no folder {path_or_id}, and the hub's dataset of that name"
        raise DataError(f"{what} cannot be read: {first_line(error)}") from error


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Keep the library from logging what its errors say, and from drawing bars where there is no terminal."""
    level = datasets.logging.get_verbosity()
    hides_bars = not sys.stderr.isatty() and not datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    if hides_bars:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if hides_bars:
            datasets.enable_progress_bars()
