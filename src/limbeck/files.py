"""Floor 1. Writing so that nothing half-written is ever taken as whole: aside, synced, renamed."""

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

import safetensors.torch
from torch import Tensor

from limbeck.errors import RunError

_ASIDE = ".writing-"


@contextmanager
def whole_directory(final: Path) -> Iterator[Path]:
    """Yield an empty folder beside `final`; on leaving, sync what was written there and rename it to `final`.

    What stood at `final` is replaced; an exception leaves it as it was. It is moved away just before the new folder is
    moved in, so that a kill in between leaves neither: what must never be missing gets a new name each time.
    """
    aside, before = _aside(final), final.with_name(f"{_ASIDE}replaced-{final.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for path in (aside, *aside.rglob("*")):
            _sync(path)
        if final.exists():
            final.rename(before)
        aside.rename(final)
        _sync(final.parent)
        shutil.rmtree(before, ignore_errors=True)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_bytes(path: Path, *chunks: bytes | memoryview) -> None:
    """Write a whole file, chunk after chunk, or leave what was there. A failure leaves nothing half-written."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    try:
        with aside.open("xb", buffering=0) as file:
            for chunk in chunks:
                _write_all(file, memoryview(chunk))
            os.fsync(file.fileno())
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    _sync(path.parent)


def _write_all(file: FileIO, rest: memoryview) -> None:
    """Write bytes without a copy; near a limit the system takes only a part, and says why at the next attempt."""
    while len(rest):
        rest = rest[file.write(rest) :]


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave what was there."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file, keys in the order given."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def append_json(path: Path, value: Any) -> None:
    """Add a line of JSON to a file and sync it; it begins a line of its own, also after one that a kill cut short."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell() and _last_byte(file) != b"\n":
            file.write(b"\n")
        file.write(json.dumps(value, ensure_ascii=False).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _last_byte(file: BinaryIO) -> bytes:
    file.seek(-1, os.SEEK_END)
    return file.read()


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises: RunError where it is missing, cannot be read or does not parse."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors; tensors that share memory are stored once each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(path)
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        # safetensors refuses shared storage (tied weights); a copy under each name loads into a tied module unchanged.
        own[name] = flat.clone() if flat.untyped_storage().data_ptr() in seen else flat
        seen.add(flat.untyped_storage().data_ptr())
    safetensors.torch.save_file(own, aside)
    _sync(aside)
    aside.replace(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU. Raises: RunError where it is missing, cannot be read or is damaged."""
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except safetensors.SafetensorError as error:
        raise RunError(f"{path} is damaged: {error}.") from error
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror or error}.") from error


def is_aside(path: Path) -> bool:
    """Whether a file or folder is one that was being written when its process was killed."""
    return path.name.startswith(_ASIDE)


def sweep(folder: Path) -> None:
    """Remove what killed processes left half-written in a folder. No other process may be writing there."""
    for path in folder.glob(f"{_ASIDE}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def _aside(path: Path) -> Path:
    # Writers on two machines may share a folder, and a process number.
    return path.with_name(f"{_ASIDE}{path.name}-{os.getpid()}-{secrets.token_hex(4)}")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
