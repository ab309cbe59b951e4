"""A store in an object store or on the hub: its files are brought here when they are first read, and kept.

Addresses are those of fsspec: s3://bucket/folder, gs://…, https://…, hf://datasets/owner/name/folder, memory://….
"""

import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, final

from filelock import FileLock

from limbeck.errors import StoreError
from limbeck.files import write_bytes
from limbeck.targets.manifest import MANIFEST, FileRecord, Manifest
from limbeck.targets.tensorfile import mapped_bytes

_OURS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
"""What is wrong with the disk here, not with the address."""


def is_address(source: str) -> bool:
    """Whether a string is an address rather than a path: it names a protocol."""
    return "://" in source


def cache_folder() -> Path:
    """Where files that were brought here are kept: LIMBECK_CACHE, or ~/.cache/limbeck."""
    given = os.environ.get("LIMBECK_CACHE")
    return Path(given).expanduser() if given else Path.home() / ".cache" / "limbeck"


@final
@dataclass(frozen=True)
class RemoteFolder:
    """A store's folder elsewhere, and its copy here, which holds the files that were asked for so far.

    The copy is named by the manifest's bytes: a store that was changed gets a new one. A process that is killed leaves
    nothing half-copied, and several that read one store bring each file once.
    """

    address: str
    """Of the folder."""
    copy: Path
    """Where its files are kept."""

    def __str__(self) -> str:
        return self.address

    def fetch(self, name: str) -> Path:
        """Return the path of a file of the store, which is brought here if it is not here yet, and checked.

        A shard that was brought here before is known by its size, smaller files by their checksums; one that was cut or
        changed since is brought again.

        Raises: StoreError where it is missing, cannot be read or kept, or is not what the manifest says.
        """
        path = self.copy / name
        if name == MANIFEST or (name in self._shards and _size(path) == self._files[name].bytes):
            return path
        return self.checked(name)

    def checked(self, name: str) -> Path:
        """Return the path of a file after a look at its checksum. Raises: as `fetch` does."""
        path, record = self.copy / name, self._files[name]
        if not _is(path, record):
            with _on_disk(self.copy), FileLock(self.copy / f".{name}.lock"):
                if not _is(path, record):  # nobody else brought it meanwhile
                    self._bring(record, path)
        return path

    def _bring(self, record: FileRecord, path: Path) -> None:
        aside = path.with_name(f".bringing-{record.file}")
        try:
            with _reading(self.address, record.file) as (system, source):
                system.get_file(source, str(aside))
            if not _is(aside, record):
                raise StoreError(
                    f"The file {record.file} in {self.address} is damaged: it is not what its manifest says."
                )
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)

    @cached_property
    def _manifest(self) -> Manifest:
        return Manifest.from_bytes((self.copy / MANIFEST).read_bytes(), self.address)

    @cached_property
    def _files(self) -> Mapping[str, FileRecord]:
        return self._manifest.files

    @cached_property
    def _shards(self) -> frozenset[str]:
        return frozenset(shard.file for part in self._manifest.parts.values() for shard in part.shards)

    def __getstate__(self) -> dict[str, Any]:
        return {"address": self.address, "copy": self.copy}


def remote_folder(address: str, cache: Path | None = None) -> RemoteFolder:
    """Bring the manifest of a store here. Raises: StoreError where there is none.

    Args:
        address: the folder's.
        cache: where files are kept; `cache_folder()` if None.
    """
    with _reading(address, MANIFEST) as (system, source):
        content = bytes(system.cat_file(source))
    Manifest.from_bytes(content, address)
    copy = (cache or cache_folder()) / "targets" / hashlib.sha256(content).hexdigest()[:32]
    with _on_disk(copy):
        if not (copy / MANIFEST).is_file() or (copy / MANIFEST).read_bytes() != content:
            write_bytes(copy / MANIFEST, content)
    return RemoteFolder(address, copy)


@contextmanager
def _reading(address: str, name: str) -> Iterator[tuple[Any, str]]:
    """Yield the file system of an address, and where a file is in it. Raises: StoreError for what goes wrong there."""
    import fsspec  # torch brings it along, and a run without addresses starts sooner without it

    try:
        if fsspec.utils.get_protocol(address) not in (*fsspec.available_protocols(), *fsspec.registry):
            raise StoreError(f"The address {address} begins with a protocol that fsspec does not know.")
        system, root = fsspec.core.url_to_fs(address)
        yield system, f"{root.rstrip('/')}/{name}"
    except StoreError:
        raise
    except FileNotFoundError as error:
        raise StoreError(f"There is no {name} in {address}.") from error
    except ImportError as error:  # fsspec's own sentence names the package of the protocol: "Install s3fs to access S3"
        raise StoreError(f"The address {address} cannot be opened yet. {_as_sentence(error)}") from error
    except Exception as error:  # each protocol raises what its own library raises
        if isinstance(error, OSError) and error.errno in _OURS:
            raise
        said = _as_sentence(error)
        raise StoreError(f"The file {name} in {address} cannot be read: {type(error).__name__}: {said}") from error


def _as_sentence(error: Exception) -> str:
    return f"{str(error).strip().rstrip('.') or 'it says no more'}."


@contextmanager
def _on_disk(copy: Path) -> Iterator[None]:
    try:
        copy.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StoreError(
            f"Files from elsewhere cannot be kept in {copy}: {error.strerror or error}. Mend that, or name another "
            "folder for them in the environment variable LIMBECK_CACHE."
        ) from error


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _is(path: Path, record: FileRecord) -> bool:
    """Whether a file is the one that a manifest names, to the bit."""
    if _size(path) != record.bytes:
        return False
    return hashlib.sha256(mapped_bytes(path).data).hexdigest() == record.sha256
