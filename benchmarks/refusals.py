"""What a store of soft targets refuses, each in its own sentence: a part of reliability.py."""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from limbeck.data import TensorSet
from limbeck.data.augment import Noise
from limbeck.errors import LimbeckError
from limbeck.objective import SoftTargets
from limbeck.specification import Distillation
from limbeck.targets.imports.from_arrays import from_arrays
from limbeck.targets.store import Targets
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record

ROWS, NAMES = 53, ("oak", "ash", "elm")


def features(rows: int = ROWS) -> Tensor:
    """(rows, 5)."""
    return torch.randn(rows, 5, generator=torch.Generator().manual_seed(0))


def data(columns: Tensor | None = None, names: tuple[str, ...] = NAMES) -> TensorSet:
    """Rows with the first class for a label."""
    columns = features() if columns is None else columns
    return TensorSet(columns, labels=torch.zeros(len(columns), dtype=torch.int64), classes=names)


def teacher(seed: int) -> nn.Module:
    """A linear map."""
    torch.manual_seed(seed)
    return nn.Linear(5, 3)


def specification(**changes: Any) -> Distillation:
    """A run that would fit the store."""
    fields: dict[str, Any] = {
        "data": data(),
        "student": partial(nn.Linear, 5, 3),
        "objective": 1.0 * SoftTargets(temperature=4.0),
        "validation": None,
        "device": "cpu",
        "epochs": 1,
    }
    return Distillation(**{**fields, **changes})


def refusals(work: Path) -> dict[str, str]:
    """Try everything that must be refused; what was wrong -> the sentence.

    Raises: AssertionError for what was let through.
    """
    recording = specification(teacher=teacher(1))
    record(recording, work / "store", watcher=Silent())
    mixed = Ensemble([FrozenTeacher(teacher(seed), prepare=_features) for seed in (1, 2)])
    record(specification(teacher=mixed), work / "mixed", watcher=Silent())
    _another_version(work / "store", work / "newer")
    runs: Mapping[str, tuple[str, dict[str, Any]]] = {
        "another teacher": ("store", {"teacher": teacher(2)}),
        "another dataset": ("store", {"data": data(features() + 1)}),
        "a permuted dataset": ("store", {"data": data(features().flip(0))}),
        "another transform": ("store", {"augment": Noise(scale=0.1), "views": 1}),
        "fewer rows in the store than in the data": ("store", {"data": data(features(ROWS + 2))}),
        "other classes": ("store", {"data": data(names=("oak", "ash", "yew"))}),
        "classes in another order": ("store", {"data": data(names=("ash", "oak", "elm"))}),
        "a temperature that it cannot answer": ("mixed", {"objective": 1.0 * SoftTargets(temperature=2.0)}),
        "an unknown version of the format": ("newer", {}),
    }
    found = {
        what: _sentence(what, partial(_distil, work, store, changes)) for what, (store, changes) in runs.items()
    }
    return {**found, **{what: _sentence(what, partial(_import, **changes)) for what, changes in _imports().items()}}


def _features(columns: Mapping[str, Any]) -> Any:
    return columns["features"]


def _another_version(store: Path, copy: Path) -> None:
    """A store of a version to come, whose own checksum is right."""
    shutil.copytree(store, copy)
    manifest = Targets.open(store).manifest
    content = json.loads(manifest.to_bytes())
    content["version"] = 99
    (copy / "manifest.json").write_text(json.dumps(content))


def _distil(work: Path, store: str, changes: Mapping[str, Any]) -> None:
    spec = replace(specification(targets=work / store), **changes)
    distill(spec, work / "run", watcher=Silent())


def _imports() -> dict[str, dict[str, Any]]:
    """Predictions of three rows that cannot be imported."""
    good = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]])

    def changed(row: int, column: int, value: float) -> dict[str, Any]:
        values = good.copy()
        values[row, column] = value
        return {"probabilities": values}

    return {
        "imported NaN": changed(1, 1, np.nan),
        "an imported negative probability": changed(1, 0, -0.1),
        "imported probabilities that do not sum to 1": changed(2, 2, 0.9),
        "imported ids that come twice": {"ids": [0, 1, 1], "probabilities": good},
        "too few classes for the columns": {"probabilities": good, "classes": ("oak", "ash")},
        "a class named twice": {"probabilities": good, "classes": ("oak", "ash", "ash")},
    }


def _import(**changes: Any) -> None:
    from_arrays(**{"ids": [0, 1, 2], "classes": NAMES, **changes})


def _sentence(what: str, attempt: Callable[[], Any]) -> str:
    try:
        attempt()
    except LimbeckError as error:
        folder = str(error).partition("/tmp")[0] and str(error)
        return " ".join(folder.split())
    raise AssertionError(f"{what} was not refused")
