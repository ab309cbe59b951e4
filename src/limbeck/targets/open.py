"""Whatever a path or an address names, as targets: a store's folder, one elsewhere, or a file of predictions."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from limbeck.errors import ArgumentError, DataError, MismatchError, StoreError
from limbeck.targets.imports.open import ENDINGS, read_targets
from limbeck.targets.manifest import MANIFEST
from limbeck.targets.remote import is_address, remote_folder
from limbeck.targets.store import Targets
from limbeck.types import Head


def open_store(source: Path | str, *, cache: Path | None = None) -> Targets:
    """Open a store of soft targets in a folder, or at an address of fsspec (s3://…, hf://datasets/owner/name/…).

    The files of an address are brought here when their first row is read, and kept: see `targets.remote`.

    Raises: StoreError where there is none, or where it is damaged or not finished.
    """
    if is_address(str(source)):
        return Targets.open(remote_folder(str(source), cache))
    if Path(source).is_file() and Path(source).suffix in ENDINGS:
        raise StoreError(
            f"{source} is a file of predictions, not a store; `limbeck targets import {source}` makes one of it."
        )
    return Targets.open(source)


def open_targets(
    source: Path | str,
    *,
    classes: Sequence[str] | None = None,
    head: Head = "softmax",
    say: Callable[[str], Any] | None = None,
) -> Targets:
    """Open a store, or read a file of predictions (.npz, .parquet, .csv, .jsonl) into memory.

    Args:
        source: a folder, an address or a file.
        classes: those of the data in their order: the columns of a file are brought into it by name.
        head: of the data; a file does not tell.
        say: is called with what was done to the predictions of a file on the way, a sentence at a time.

    Raises: StoreError for a store that cannot be read, DataError or MismatchError for a file that cannot be used.
    """
    elsewhere = is_address(str(source))
    if elsewhere and str(source).endswith(ENDINGS):
        raise StoreError(
            f"{source} is a file of predictions; only stores are read from elsewhere, so bring the file here first."
        )
    if elsewhere or Path(source).is_dir():
        return open_store(source)
    if Path(source).suffix not in ENDINGS:
        raise StoreError(
            f"There is no store of soft targets at {source}, and it is no file of predictions, which would end in "
            f"{', '.join(ENDINGS)}."
        )
    try:
        return read_targets(source, expected_classes=classes, head=head, say=say)
    except (ArgumentError, DataError, MismatchError) as error:
        if not _SETTING.search(str(error)):
            raise
        raise type(error)(
            f"{error} Such settings are for `limbeck targets import {source}`, whose store can then be taught from."
        ) from error


_SETTING = re.compile(r"\b(kind|missing|classes|id_column)=|\bverbaliser\b")
"""What a sentence names that would mend how a file is read, and cannot be said where only the file is named."""


def is_store(source: Path | str) -> bool:
    """Whether a string that may name a finished run names targets instead."""
    text = str(source)
    return is_address(text) or (Path(text) / MANIFEST).is_file() or (Path(text).suffix in ENDINGS)
