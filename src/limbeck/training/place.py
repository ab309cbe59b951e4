"""Where a run computes: device, precision, and this process's place among others."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import Optimizer

from limbeck.errors import SpecificationError
from limbeck.specification import Precision


@dataclass(frozen=True, kw_only=True)
class Place:
    """One process's device and arithmetic. In a single process nothing of Accelerate stands in a step's way."""

    device: torch.device
    half: bool
    """Whether forward passes run under bfloat16 autocast."""
    accelerator: Accelerator | None = None
    """Accelerate's handle where there are several processes (DDP, FSDP); None in one."""
    rank: int = 0
    ranks: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the records."""
        return self.rank == 0

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Context of the forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()

    def spread(self, student: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """Wrap student and optimiser for several processes; return them as they are in one."""
        if self.accelerator is None:
            return student, optimizer
        return self.accelerator.prepare(student, optimizer)  # type: ignore[no-any-return]

    def holding_back(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Context that postpones the exchange of gradients until a step's last micro-batch."""
        return nullcontext() if last or self.accelerator is None else self.accelerator.no_sync(module)

    def backward(self, loss: Tensor) -> None:
        """Backpropagate through whatever wraps the student."""
        if self.accelerator is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            self.accelerator.backward(loss)

    def clip(self, module: nn.Module, norm: float) -> None:
        """Clip the L2 norm of the whole gradient."""
        if self.accelerator is None:
            nn.utils.clip_grad_norm_(module.parameters(), norm)
        else:
            self.accelerator.clip_grad_norm_(module.parameters(), norm)

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """Add up a tensor over all processes."""
        return value if self.accelerator is None else self.accelerator.reduce(value, reduction="sum")

    def wait(self) -> None:
        """Wait until every process has come this far."""
        if self.accelerator is not None:
            self.accelerator.wait_for_everyone()


def find_place(device: str | None, precision: Precision) -> Place:
    """Find the device and the arithmetic of this process. Raises: SpecificationError for a device that is not there."""
    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    if ranks > 1:
        accelerator = Accelerator(cpu=device == "cpu" or not torch.accelerator.is_available())
        return Place(
            device=accelerator.device,
            half=_computes_in_half(accelerator.device, precision),
            accelerator=accelerator,
            rank=accelerator.process_index,
            ranks=accelerator.num_processes,
        )
    found = _device(device)
    return Place(device=found, half=_computes_in_half(found, precision))


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        first_line = str(error).splitlines()[0]
        raise SpecificationError(f"The device {name!r} cannot be used here: {first_line}") from error
    return device


def _computes_in_half(device: torch.device, precision: Precision) -> bool:
    return precision == "bfloat16" or (precision == "auto" and has_bfloat16(device))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the hardware computes matrix products in bfloat16, rather than emulating them."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return False
