"""Floor 1. Writing so that nothing half-written is ever taken as whole: aside, synced, renamed."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from limbeck.errors import RunError


@contextmanager
def whole_directory(final: Path) -> Iterator[Path]:
    """Yield an empty folder beside `final`; on leaving, sync what was written there and rename it to `final`.

    What stood at `final` is replaced. After an exception, or a kill, `final` is as it was before.
    """
    aside = final.with_name(f".writing-{final.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        yield aside
        for path in aside.rglob("*"):
            if path.is_file():
                _sync(path)
        shutil.rmtree(final, ignore_errors=True)
        aside.rename(final)
        _sync(final.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or leave what was there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".writing-{path.name}-{os.getpid()}")
    aside.write_text(text, encoding="utf-8")
    _sync(aside)
    aside.replace(path)


def write_json(path: Path, value: Any) -> None:
    """Write a whole JSON file, keys in the order given."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises: RunError where it is missing or does not parse."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except ValueError as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors as safetensors; tensors that share memory are stored once each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".writing-{path.name}-{os.getpid()}")
    own: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        # safetensors refuses shared storage (tied weights); a copy under each name loads into a tied module unchanged.
        own[name] = flat.clone() if flat.untyped_storage().data_ptr() in seen else flat
        seen.add(flat.untyped_storage().data_ptr())
    safetensors.torch.save_file(own, aside)
    aside.replace(path)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file onto the CPU. Raises: RunError where it is missing or damaged."""
    try:
        return safetensors.torch.load_file(path)
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except safetensors.SafetensorError as error:
        raise RunError(f"{path} is damaged: {error}.") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
