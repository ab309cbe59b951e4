"""Predictions that Limbeck did not make: archives of NumPy arrays, read with suspicion.

Shape legend, this file:  S runs (seeds), N rows, C classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import DataError
from limbeck.targets.imports.npz import arrays_of

Integers = NDArray[np.int64]
Array = NDArray[Any]

SCORES = ("logits", "probabilities")
"""Arrays whose largest entry names the class."""


@final
@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Classes that some runs predicted for some rows."""

    name: str
    """The file, for sentences."""
    classes_SN: Integers
    """The class that each run gave each row."""
    width: int | None
    """Number of classes; None where only predicted classes are known."""
    names: tuple[str, ...] | None
    """Of the classes, in their order, where the file tells them."""
    ids_N: Array | None
    """What names the rows; None for their order."""
    seeds: tuple[int, ...] | None
    """Of the runs; None for their order."""
    labels_N: Integers | None
    """The true classes, where the file brings them."""

    @property
    def runs(self) -> int:
        """How many there are."""
        return len(self.classes_SN)

    @property
    def rows(self) -> int:
        """How many there are."""
        return int(self.classes_SN.shape[1])


def read_predicted(path: Path) -> Predicted:
    """Read an archive with `predictions` (class indices), `logits` or `probabilities` (scores), of one run or several.

    Class indices are (N,) or (S, N), scores (N, C) or (S, N, C). Optional: `ids` (N,), `seeds` (S,), `labels` (N,),
    `classes` (C,), their names.
    Raises: DataError for a file that is no archive of plain arrays, or arrays of another kind or shape.
    """
    where = f"The archive {path}"
    arrays = arrays_of(path, where)
    classes_SN, width = _classes(arrays, where)
    runs, rows = classes_SN.shape
    names = tuple(map(str, arrays["classes"].ravel())) if "classes" in arrays else None
    if names is not None and width is not None and len(names) != width:
        raise DataError(f"{where} names {len(names)} classes, and its scores have {width}.")
    return Predicted(
        name=str(path),
        classes_SN=classes_SN,
        width=width if names is None else len(names),
        names=names,
        ids_N=ids_of(arrays, where, rows),
        seeds=_seeds(arrays, where, runs),
        labels_N=labels_in(arrays["labels"], where, rows) if "labels" in arrays else None,
    )


def _classes(arrays: Any, where: str) -> tuple[Integers, int | None]:
    present = [name for name in ("predictions", *SCORES) if name in arrays]
    if len(present) != 1:
        found = " and ".join(present) or f"none of them, among {', '.join(arrays) or 'no arrays'}"
        raise DataError(
            f"{where} must hold one array of `predictions` (class indices), `logits` or `probabilities`; it holds "
            f"{found}."
        )
    name, values = present[0], arrays[present[0]]
    if not values.size:
        raise DataError(f"{where} holds no rows: its {name} have the shape {values.shape}.")
    if name == "predictions" and values.dtype.kind in "iu":
        return _class_indices(values, where), None
    if values.dtype.kind != "f" and name != "predictions":
        raise DataError(f"{where} holds {name} of the type {values.dtype}; scores must be floating-point numbers.")
    if values.dtype.kind != "f" or values.ndim < 2:
        raise DataError(
            f"{where} holds predictions of the type {values.dtype} and the shape {values.shape}; class indices must be "
            "integers, scores floating-point numbers with a last axis of classes."
        )
    return _largest(values, name, where)


def _class_indices(values: Array, where: str) -> Integers:
    if values.ndim not in (1, 2):
        raise DataError(
            f"{where} holds class indices of the shape {values.shape}; give (rows,) for one run, (seeds, rows) for "
            "several."
        )
    if values.min() < 0:
        raise DataError(f"{where} predicts the class {values.min()}; class indices begin at 0.")
    return np.atleast_2d(values).astype(np.int64)


def _largest(values: Array, name: str, where: str) -> tuple[Integers, int]:
    if values.ndim not in (2, 3) or values.shape[-1] < 2:
        raise DataError(
            f"{where} holds {name} of the shape {values.shape}; give (rows, classes) for one run, (seeds, rows, "
            "classes) for several, and at least two classes."
        )
    scores_SNC = values[None] if values.ndim == 2 else values
    broken = np.argwhere(np.isnan(scores_SNC).any(-1))
    if len(broken):
        run, row = broken[0].tolist()
        of_run = f" of run {run}" if len(scores_SNC) > 1 else ""
        raise DataError(f"{where} holds NaN among its {name}, in row {row}{of_run} (counted from 0); predict it again.")
    return scores_SNC.argmax(-1).astype(np.int64), scores_SNC.shape[-1]


def _seeds(arrays: Any, where: str, runs: int) -> tuple[int, ...] | None:
    if "seeds" not in arrays:
        return None
    seeds = np.atleast_1d(arrays["seeds"])
    if seeds.dtype.kind not in "iu" or seeds.shape != (runs,):
        raise DataError(
            f"{where} holds seeds of the type {seeds.dtype} and the shape {seeds.shape}; give one integer for each of "
            f"its {runs} runs."
        )
    named = tuple(int(seed) for seed in seeds)
    if len(set(named)) != runs:
        raise DataError(f"{where} names the seed {_repeated(named)} twice; each run has a seed of its own.")
    return named


def _repeated(values: Any) -> Any:
    seen = set()
    return next(value for value in values if value in seen or seen.add(value))  # type: ignore[func-returns-value]


def ids_of(arrays: Any, where: str, rows: int) -> Array | None:
    """Return the array `ids` (N,), of integers or text. Raises: DataError for others, another number, or repeats."""
    if "ids" not in arrays:
        return None
    ids: Array = arrays["ids"]
    if ids.dtype.kind not in "iuU" or ids.shape != (rows,):
        raise DataError(
            f"{where} holds ids of the type {ids.dtype} and the shape {ids.shape}; give one integer or text for each "
            f"of its {rows:,} rows."
        )
    if len(np.unique(ids)) != rows:
        raise DataError(f"{where} holds the id {_repeated(ids.tolist())} twice; ids name rows.")
    return ids


def labels_in(values: Array, where: str, rows: int | None = None) -> Integers:
    """Return labels (N,). Raises: DataError for labels that are not one class index for each of the rows."""
    if values.dtype.kind not in "iu" or values.ndim != 1:
        raise DataError(
            f"{where} holds labels of the type {values.dtype} and the shape {values.shape}; give one integer class "
            "index for each row."
        )
    if rows is not None and len(values) != rows:
        raise DataError(f"{where} holds {len(values):,} labels for {rows:,} rows.")
    if len(values) and values.min() < 0:
        raise DataError(f"{where} holds the label {values.min()}; class indices begin at 0.")
    return values.astype(np.int64)


@final
@dataclass(frozen=True, kw_only=True)
class Labels:
    """The true classes of some rows."""

    name: str
    """Where they are from, for sentences."""
    labels_N: Integers
    """Class indices."""
    ids_N: Array | None
    """What names the rows; None for their order."""


def read_labels(path: Path) -> Labels:
    """Read labels: an .npy file with one array, or an archive with `labels` and perhaps `ids`.

    Raises: DataError for a file that cannot be read or holds none.
    """
    if path.suffix == ".npz":
        where = f"The archive {path}"
        arrays = arrays_of(path, where)
        if "labels" not in arrays:
            raise DataError(f"{where} holds no array `labels`, among {', '.join(arrays) or 'no arrays'}.")
        labels_N = labels_in(arrays["labels"], where)
        return Labels(name=str(path), labels_N=labels_N, ids_N=ids_of(arrays, where, len(labels_N)))
    where = f"The file {path}"
    with path.open("rb") as file:
        try:
            values = np.lib.format.read_array(file, allow_pickle=False)
        except Exception as error:  # whatever a damaged header raises
            objects = isinstance(error, ValueError) and "allow_pickle" in str(error)
            what = "it holds Python objects, which are code" if objects else "it is no .npy file, which np.save writes"
            raise DataError(f"{where} cannot be read as labels: {what}; save one array of integers.") from error
    return Labels(name=str(path), labels_N=labels_in(values, where), ids_N=None)
