"""A student that starts from another model's weights, as far as names and shapes agree."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from limbeck.files import read_tensors
from limbeck.specification import StudentFactory


def started_from(factory: StudentFactory, weights: str) -> nn.Module:
    """Build a student and copy each tensor whose name and shape are found in a file; the others stay as drawn.

    `partial(started_from, factory, "teacher.safetensors")` is a student factory that another process can rebuild.

    Args:
        factory: builds the student.
        weights: a safetensors file.

    Raises: RunError where the file is missing or damaged.
    """
    module = factory()
    own = module.state_dict()
    with torch.no_grad():
        for name, tensor in agreeing(own, read_tensors(Path(weights))).items():
            own[name].copy_(tensor)
    return module


def agreeing(own: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of another model that have a name and a shape of one's own."""
    return {name: tensor for name, tensor in other.items() if name in own and own[name].shape == tensor.shape}
