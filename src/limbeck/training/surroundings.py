"""spec.json: the specification and everything around it that a stranger would ask for."""

import platform
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from limbeck._version import __version__
from limbeck.data.splits import Splits
from limbeck.specification import Distillation, Json, hash_of, to_json
from limbeck.training.place import Place
from limbeck.training.runner import cores
from limbeck.types import Teacher, TransferSet

FORMAT = 1
"""Version of the run directory's layout."""


def surroundings(
    spec: Distillation,
    splits: Splits,
    teacher: Teacher | None,
    classes: tuple[str, ...] | None,
    place: Place,
    origin: Json,
) -> dict[str, Any]:
    """Describe a run: what was asked for, by which command, on what data, with which teacher, versions and hardware."""
    encoded = to_json(spec)
    return {
        "format": FORMAT,
        "hash": hash_of(encoded),
        "origin": origin,
        "specification": encoded,
        "head": splits.train.head,
        "classes": None if classes is None else list(classes),
        "data": rows_of(splits),
        "teacher": None if teacher is None else {"fingerprint": teacher.fingerprint},
        "versions": versions(),
        "hardware": hardware(place),
    }


def rows_of(splits: Splits) -> dict[str, Json]:
    """Number of rows and content fingerprint of each split, None for one that is not there."""
    return {
        "train": _rows(splits.train),
        "validation": _rows(splits.validation),
        "test": _rows(splits.test),
    }


def _rows(rows: TransferSet | None) -> Json:
    return None if rows is None else {"rows": len(rows), "fingerprint": rows.fingerprint}


def versions() -> dict[str, str | None]:
    """Versions of Limbeck, Python and the libraries that arithmetic depends on."""
    found: dict[str, str | None] = {"limbeck": __version__, "python": platform.python_version()}
    return {**found, **{name: _installed(name) for name in ("torch", "numpy", "accelerate", "safetensors")}}


@cache
def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def hardware(place: Place) -> dict[str, Any]:
    """The device, its arithmetic and how many processes and threads compute."""
    device = place.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": device.type,
        "name": name,
        "bfloat16": place.half,
        "processes": place.ranks,
        "cores": cores(),
        "threads": torch.get_num_threads(),
    }
