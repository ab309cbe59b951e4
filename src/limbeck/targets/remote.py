"""A store in an object store or on the hub: its files are brought here when they are first read, and kept.

Addresses are those of fsspec: s3://bucket/folder, gs://…, https://…, hf://datasets/owner/name/folder, memory://….
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from filelock import FileLock

from limbeck.errors import StoreError
from limbeck.files import write_bytes
from limbeck.targets.manifest import MANIFEST, Manifest


def is_address(source: str) -> bool:
    """Whether a string is an address rather than a path: it names a protocol."""
    return "://" in source


def cache_folder() -> Path:
    """Where files that were brought here are kept: LIMBECK_CACHE, or ~/.cache/limbeck."""
    given = os.environ.get("LIMBECK_CACHE")
    return Path(given) if given else Path.home() / ".cache" / "limbeck"


@final
@dataclass(frozen=True)
class RemoteFolder:
    """A store's folder elsewhere, and its copy here, which holds the files that were asked for so far.

    The copy is named by the manifest's bytes: a store that was changed gets a new one.
    """

    address: str
    """Of the folder."""
    copy: Path
    """Where its files are kept."""

    def __str__(self) -> str:
        return self.address

    def fetch(self, name: str) -> Path:
        """Return the path of a file of the store, which is downloaded if it is not here yet, and checked.

        Raises: StoreError where it is missing, cannot be read, or is not what the manifest says.
        """
        path = self.copy / name
        if path.is_file():
            return path
        with FileLock(self.copy / f".{name}.lock"):  # several processes that start together download it once
            if not path.is_file():
                expected = Manifest.from_bytes((self.copy / MANIFEST).read_bytes(), self.address).files[name]
                content = _read(self.address, name)
                if hashlib.sha256(content).hexdigest() != expected.sha256:
                    raise StoreError(f"The file {name} in {self.address} is damaged: it is not what its manifest says.")
                write_bytes(path, content)
        return path


def remote_folder(address: str, cache: Path | None = None) -> RemoteFolder:
    """Bring the manifest of a store here. Raises: StoreError where there is none.

    Args:
        address: the folder's.
        cache: where files are kept; `cache_folder()` if None.
    """
    content = _read(address, MANIFEST)
    Manifest.from_bytes(content, address)
    copy = (cache or cache_folder()) / "targets" / hashlib.sha256(content).hexdigest()[:32]
    if not (copy / MANIFEST).is_file():
        write_bytes(copy / MANIFEST, content)
    return RemoteFolder(address, copy)


def _read(address: str, name: str) -> bytes:
    import fsspec  # torch brings it along, and a run without addresses starts sooner without it

    try:
        system, root = fsspec.core.url_to_fs(address)
        found: Any = system.cat_file(f"{root.rstrip('/')}/{name}")
    except FileNotFoundError as error:
        raise StoreError(f"There is no {name} in {address}.") from error
    except ImportError as error:  # fsspec's own sentence names the package of the protocol
        raise StoreError(f"The address {address} cannot be opened: {error}") from error
    except Exception as error:  # each protocol raises what its own library raises
        raise StoreError(f"The file {name} in {address} cannot be read: {type(error).__name__}: {error}") from error
    return bytes(found)
