"""The state of student and optimiser as a whole, wherever their parts lie.

In one process, and under DDP, each process holds all of it. Under FSDP each holds a shard: looking at the whole, or
loading it, is something that all processes do together, and what is whole lies in the leading process alone.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.optim import Optimizer

from limbeck.errors import ResumeError, RunError

_GATHER = StateDictOptions(full_state_dict=True, cpu_offload=True)
_DEAL = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def shard(student: nn.Module, device: torch.device, ranks: int) -> None:
    """Spread a student's parameters over all processes, in place: each block of a `ModuleList` apart, then the rest.

    Reference: Zhao et al., PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel, VLDB 2023.
    """
    mesh = _mesh(device.type, ranks)
    for parameter in student.parameters():  # FSDP takes no other order in memory, such as that of channels last
        parameter.data = parameter.data.contiguous()
    for part in list(student.modules()):
        if isinstance(part, nn.ModuleList):
            for block in part:
                fully_shard(block, mesh=mesh)
    # The root too, after each forward pass: one without a backward pass, as in scoring, would leave it in one piece.
    fully_shard(student, mesh=mesh, reshard_after_forward=True)


@cache
def _mesh(kind: str, ranks: int) -> DeviceMesh:
    """All processes in a row; made once, since each mesh opens channels between them."""
    return init_device_mesh(kind, (ranks,))


@contextmanager
def synchronising_later(student: nn.Module) -> Iterator[None]:
    """Keep gradients where they are during the backward passes inside the block; a later one exchanges their sum."""
    assert isinstance(student, FSDPModule)  # `shard` made it one
    student.set_requires_gradient_sync(False)
    try:
        yield
    finally:
        student.set_requires_gradient_sync(True)


def weights_of(student: nn.Module, *, sharded: bool) -> dict[str, Tensor]:
    """The student's state dict, detached; under FSDP a copy on the CPU, and empty but in the leading process."""
    if sharded:
        return cast(dict[str, Tensor], get_model_state_dict(student, options=_GATHER))
    return {name: tensor.detach() for name, tensor in student.state_dict().items()}


def load_weights(
    student: nn.Module, weights: Mapping[str, Tensor], where: Path | str, *, sharded: bool = False
) -> None:
    """Load a state dict strictly. Raises: RunError that says which names or shapes do not fit."""
    try:
        if sharded:
            set_model_state_dict(student, dict(weights), options=_DEAL)
        else:
            student.load_state_dict(dict(weights))
    except RuntimeError as error:
        detail = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise RunError(f"The weights in {where} do not fit {type(student).__name__}: {detail}") from error


def optimizer_state(student: nn.Module, optimizer: Optimizer, *, sharded: bool) -> dict[str, Any]:
    """The optimiser's state dict; under FSDP by the parameters' names, and empty but in the leading process."""
    return dict(get_optimizer_state_dict(student, optimizer, options=_GATHER)) if sharded else optimizer.state_dict()


def load_optimizer_state(
    student: nn.Module, optimizer: Optimizer, state: Mapping[str, Any], *, sharded: bool = False
) -> None:
    """Load what `optimizer_state` gave. Raises: ResumeError where it does not fit."""
    try:
        if sharded:
            set_optimizer_state_dict(student, optimizer, dict(state), options=_DEAL)
        else:
            optimizer.load_state_dict(dict(state))
            _laid_out_as_parameters(optimizer)
    except (ValueError, KeyError) as error:
        raise ResumeError(f"The checkpoint's optimiser state does not fit this optimiser: {error}.") from error


def _laid_out_as_parameters(optimizer: Optimizer) -> None:
    """Give moments the order in memory of their parameters, where it differs: with channels last, for one.

    Files hold all tensors in the order of their axes, and fused optimisers walk through parameter and moments alike.
    """
    for parameter, own in optimizer.state.items():
        for name, value in own.items():
            if isinstance(value, Tensor) and value.shape == parameter.shape and value.stride() != parameter.stride():
                own[name] = torch.empty_like(parameter, dtype=value.dtype, requires_grad=False).copy_(value)
