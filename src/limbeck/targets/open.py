"""Whatever a path or an address names, as targets: a store's folder, one elsewhere, or a file of predictions."""

from collections.abc import Sequence
from pathlib import Path

from limbeck.errors import StoreError
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
    return Targets.open(source)


def open_targets(source: Path | str, *, classes: Sequence[str] | None = None, head: Head = "softmax") -> Targets:
    """Open a store, or read a file of predictions (.npz, .parquet, .csv, .jsonl) into memory.

    Args:
        source: a folder, an address or a file.
        classes: those of the data in their order: the columns of a file are brought into it by name.
        head: of the data; a file does not tell.

    Raises: StoreError for a store that cannot be read, DataError or MismatchError for a file that cannot be used.
    """
    if is_address(str(source)) or Path(source).is_dir():
        return open_store(source)
    if Path(source).suffix not in ENDINGS:
        raise StoreError(
            f"There is no store of soft targets at {source}, and it is no file of predictions, which would end in "
            f"{', '.join(ENDINGS)}."
        )
    return read_targets(source, expected_classes=classes, head=head)


def is_store(source: Path | str) -> bool:
    """Whether a string that may name a finished run names targets instead."""
    text = str(source)
    return is_address(text) or (Path(text) / MANIFEST).is_file() or (Path(text).suffix in ENDINGS)
