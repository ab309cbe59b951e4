"""Checkpoints of our own: safetensors and JSON, written aside, synced, renamed.

checkpoints/
  last-00000120/   student.safetensors, training.safetensors (optimiser, generators, sums), state.json: resumes
  best-00000080/   student.safetensors, state.json: the best on the validation rows so far
  kept-00000040/   the same, of an epoch that was asked for
"""

import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from limbeck.files import read_json, read_tensors, whole_directory, write_json, write_tensors

Kind: TypeAlias = Literal["last", "best", "kept"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Checkpoint:
    """A moment of training."""

    step: int
    """Optimiser steps taken."""
    epoch: int
    """Epochs completed."""
    rate: float
    """Learning rate of the first parameter group in the last step (TracIn weighs a checkpoint's gradients with it)."""
    weights: Mapping[str, Tensor]
    """The student's state dict."""
    scores: Mapping[str, float] | None = None
    """Validation scores, where they were taken at this moment."""
    tensors: Mapping[str, Tensor] | None = None
    """Optimiser state, generators and running sums; None for a checkpoint that is not resumed from."""
    state: Mapping[str, Any] | None = None
    """The part of the same that is no tensors."""

    def save(self, folder: Path, kind: Kind) -> Path:
        """Write whole, then remove the other checkpoints of this kind (but for those that are kept for good)."""
        final = folder / f"{kind}-{self.step:08d}"
        with whole_directory(final) as aside:
            write_tensors(aside / "student.safetensors", self.weights)
            if self.tensors is not None:
                write_tensors(aside / "training.safetensors", self.tensors)
            heading = {"step": self.step, "epoch": self.epoch, "rate": self.rate, "scores": self.scores}
            write_json(aside / "state.json", {**heading, "state": self.state})
        if kind != "kept":
            for other in folder.glob(f"{kind}-*"):
                if other != final:
                    shutil.rmtree(other)
        return final


def load_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint's folder. Raises: RunError where something is missing or damaged."""
    heading = read_json(path / "state.json")
    training = path / "training.safetensors"
    return Checkpoint(
        step=heading["step"],
        epoch=heading["epoch"],
        rate=heading["rate"],
        scores=heading["scores"],
        state=heading["state"],
        weights=read_tensors(path / "student.safetensors"),
        tensors=read_tensors(training) if training.exists() else None,
    )


def newest(folder: Path, kind: Kind) -> Checkpoint | None:
    """Return the newest checkpoint of a kind, or None. A kill before the older one is removed leaves two whole ones."""
    found = sorted(folder.glob(f"{kind}-*"))
    return load_checkpoint(found[-1]) if found else None


def optimizer_to_files(state: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimiser's state dict into tensors and a part for JSON."""
    tensors: dict[str, Tensor] = {}
    rest: dict[str, dict[str, Any]] = {}
    for parameter, entries in state.get("state", {}).items():
        for name, value in entries.items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{parameter}/{name}"] = value
            else:
                rest.setdefault(str(parameter), {})[name] = value
    groups = [dict(_plain(group)) for group in state.get("param_groups", ())]
    return tensors, {"groups": groups, "rest": rest}


def _plain(group: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in group.items():
        if isinstance(value, Tensor):
            yield name, {"$tensor": value.tolist(), "dtype": str(value.dtype).removeprefix("torch.")}
        else:
            yield name, value


def optimizer_from_files(tensors: Mapping[str, Tensor], saved: Mapping[str, Any]) -> dict[str, Any]:
    """Join into a state dict what `optimizer_to_files` split."""
    state: dict[int | str, dict[str, Any]] = {_key(name): dict(entries) for name, entries in saved["rest"].items()}
    for path, tensor in tensors.items():
        if path.startswith("optimizer/"):
            _, parameter, name = path.split("/")
            state.setdefault(_key(parameter), {})[name] = tensor
    groups = [{name: _restored(value) for name, value in group.items()} for group in saved["groups"]]
    return {"state": state, "param_groups": groups}


def _key(parameter: str) -> int | str:
    """A parameter's number, or its name where the optimiser's state was gathered from shards."""
    return int(parameter) if parameter.isdecimal() else parameter


def _restored(value: Any) -> Any:
    if isinstance(value, dict) and "$tensor" in value:
        return torch.tensor(value["$tensor"], dtype=getattr(torch, value["dtype"]))
    return tuple(value) if isinstance(value, list) and value and isinstance(value[0], float) else value
