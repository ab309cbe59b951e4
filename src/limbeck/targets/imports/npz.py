"""Predictions in a NumPy archive: the arrays `ids`, `probabilities` or `logits`, and `classes`.

Shape legend, this file:  N rows, C classes.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from limbeck.errors import DataError
from limbeck.targets.imports.arrays import Kind
from limbeck.targets.imports.source import ROW_NUMBERS, Source, agreed_classes, agreed_kind

_KINDS: tuple[Kind, ...] = ("probabilities", "logits")


def read_npz(path: Path, *, kind: Kind | None, id_column: str | None, classes: Sequence[str] | None) -> Source:
    """Read a NumPy archive: `probabilities` or `logits` (N, C), `ids` (N,) and `classes` (C,) where there are any.

    Without an array `ids`, or what `id_column` names, ids are row numbers. Raises: DataError for a file that is no
    archive of plain arrays, for none or both of the two arrays, and for names that contradict those given.
    """
    where = f"The archive {path}"
    arrays = arrays_of(path, where)
    present = [name for name in _KINDS if name in arrays]
    if len(present) == 2 and kind in present:
        present = [kind]
    if len(present) != 1:
        both = "both" if present else "neither"
        raise DataError(
            f"{where} must hold an array `probabilities` or an array `logits`; it holds {both}, among "
            f"{', '.join(arrays) or 'no arrays'}."
        )
    if id_column is not None and id_column not in arrays:
        raise DataError(f"{where} has no array {id_column!r}; it holds: {', '.join(arrays)}.")
    values = arrays[present[0]]
    ids = arrays.get(id_column or "ids")
    held = arrays["classes"].tolist() if "classes" in arrays else None
    return Source(
        ids=np.arange(len(np.atleast_1d(values))) if ids is None else ids,
        values=values,
        kind=agreed_kind(where, kind, present[0]),
        classes=agreed_classes(where, classes, held),
        notes=(ROW_NUMBERS,) if ids is None else (),
    )


def arrays_of(path: Path, where: str) -> Mapping[str, np.ndarray[Any, Any]]:
    """Read all arrays of an archive, by name. Raises: DataError, naming it as `where`, for one that cannot be read."""
    # Opened here: NumPy leaves the file open where it turns out to be no archive.
    with path.open("rb") as file:
        if not zipfile.is_zipfile(file):
            raise DataError(f"{where} cannot be read: it is no NumPy archive, which np.savez writes.")
        file.seek(0)
        try:
            with np.load(file, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        except Exception as error:  # a damaged archive raises whatever zipfile, zlib, struct and NumPy raise
            if not (isinstance(error, ValueError) and "allow_pickle" in str(error)):
                raise DataError(f"{where} cannot be read: {str(error).rstrip('.') or 'it is damaged'}.") from error
            raise DataError(
                f"{where} holds Python objects, which are code and are not loaded; store text as fixed-width arrays "
                '(np.array(names, dtype="U")) and numbers as numbers.'
            ) from error
