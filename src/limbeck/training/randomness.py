"""Seeds, set for a run and put back after it; the generators' states, saved and restored."""

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python, NumPy and torch (all devices) inside the block; on leaving, their states are as they were before."""
    before = capture()
    sow(seed)
    try:
        yield
    finally:
        restore(before)


def sow(seed: int) -> None:
    """Seed Python, NumPy and torch (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def capture() -> dict[str, Any]:
    """Return the states of all generators: tensors under `torch` and `devices`, the rest fit for JSON."""
    name, keys, position, has_gauss, gauss = np.random.get_state()
    version, internal, gauss_next = random.getstate()
    return {
        "torch": torch.get_rng_state(),
        "devices": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, np.asarray(keys).tolist(), position, has_gauss, gauss],
        "python": [version, list(internal), gauss_next],
    }


def restore(states: Mapping[str, Any]) -> None:
    """Put back what `capture` returned; of devices that are not here, nothing."""
    torch.set_rng_state(states["torch"])
    here = torch.cuda.device_count() if torch.cuda.is_available() else 0
    for index, state in enumerate(states["devices"][:here]):
        torch.cuda.set_rng_state(state, index)
    np.random.set_state(tuple(states["numpy"]))
    version, internal, gauss_next = states["python"]
    random.setstate((version, tuple(internal), gauss_next))


def to_files(states: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split the states into tensors and a part for JSON."""
    tensors = {"random.torch": states["torch"]}
    tensors.update({f"random.device.{index}": state for index, state in enumerate(states["devices"])})
    return tensors, {"numpy": states["numpy"], "python": states["python"]}


def from_files(tensors: Mapping[str, Tensor], rest: Mapping[str, Any]) -> dict[str, Any]:
    """Join what `to_files` split."""
    devices = sorted(name for name in tensors if name.startswith("random.device."))
    return {"torch": tensors["random.torch"], "devices": [tensors[name] for name in devices], **rest}
