"""Is a store what it was when it was written, to the bit?"""

import hashlib
from pathlib import Path

from limbeck.errors import ArgumentError, StoreError
from limbeck.files import is_aside
from limbeck.targets.folder import require_size
from limbeck.targets.manifest import MANIFEST, RECORDING, FileRecord
from limbeck.targets.remote import RemoteFolder
from limbeck.targets.store import Targets
from limbeck.targets.tensorfile import mapped_bytes


def verify(source: Targets | Path | str) -> None:
    """Compare every file of a store with its manifest, and the manifest with itself.

    Files beside them that a reader could take for the store's own, tensors, JSON or what a killed writer left, are
    damage too: a folder is copied and published as a whole. Others, such as the README of a repository, are left alone.

    Of a store elsewhere every file is brought here and the copy is compared, which is what will be read; what was
    damaged here is brought again.

    Raises: StoreError for the first damage found: any changed bit of any file is found. ArgumentError for targets that
        are in memory, which have no files.
    """
    targets = source if isinstance(source, Targets) else Targets.open(source)
    if isinstance(targets.folder, RemoteFolder):
        for name in targets.manifest.files:
            targets.folder.checked(name)
    else:
        _verify_here(targets)
    for name in targets.parts:
        targets.part(name).open()


def _verify_here(targets: Targets) -> None:
    folder = targets.path
    if folder is None:
        raise ArgumentError("verify: these targets are in memory and have no files.")
    if mapped_bytes(folder / MANIFEST).tobytes() != targets.manifest.to_bytes():
        raise StoreError(f"The manifest of {folder} was changed after it was opened.")
    for record in targets.manifest.files.values():
        require_size(folder, record)
        _require_content(folder, record)
    _refuse_others(folder, {MANIFEST, *targets.manifest.files})


def _require_content(folder: Path, record: FileRecord) -> None:
    if hashlib.sha256(mapped_bytes(folder / record.file).data).hexdigest() != record.sha256:
        raise StoreError(f"The file {record.file} in {folder} is damaged: its checksum is not the manifest's.")


def _refuse_others(folder: Path, known: set[str]) -> None:
    others = sorted(path for path in folder.iterdir() if path.name not in known and _looks_like_ours(path))
    if any(_is_a_writers(path, known) for path in others):
        raise StoreError(
            f"The store {folder} is whole, but its writer was stopped before it had tidied up; run the recording once "
            "more with --resume."
        )
    if others:
        raise StoreError(f"The file {others[0].name} in {folder} is no part of the store; remove it.")


def _looks_like_ours(path: Path) -> bool:
    return path.suffix in (".safetensors", ".json") or is_aside(path)


def _is_a_writers(path: Path, known: set[str]) -> bool:
    """Whether a file is one that a recording keeps until its store is whole."""
    beside = path.with_suffix(".safetensors").name in known
    return path.name == RECORDING or is_aside(path) or (path.suffix == ".json" and beside)
