"""Where a run computes: device, precision, and this process's place among others."""

import atexit
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

from limbeck.errors import SpecificationError
from limbeck.specification import Precision
from limbeck.training.state import shard, synchronising_later

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, kw_only=True)
class Place:
    """One process's device and arithmetic. In a single process nothing of Accelerate stands in a step's way."""

    device: torch.device
    half: bool
    """Whether forward passes run under bfloat16 autocast."""
    accelerator: "Accelerator | None" = None
    """Accelerate's handle where there are several processes; None in one, where it is not even imported."""
    sharded: bool = False
    """Whether each process holds a part of the student (FSDP) rather than a copy (DDP)."""
    channel: Any = None
    """The processes' group for small numbers on the CPU: what goes through it waits for no accelerator."""
    rank: int = 0
    ranks: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes the records."""
        return self.rank == 0

    def arithmetic(self) -> AbstractContextManager[Any]:
        """Context of the forward passes."""
        return torch.autocast(self.device.type, torch.bfloat16) if self.half else nullcontext()

    def spread(self, student: nn.Module) -> nn.Module:
        """Wrap a student for several processes, or shard it in place; return it as it is in one. Before the optimiser.

        Both leave the optimiser an ordinary one: Accelerate's wrapper of it is not needed.
        """
        if self.sharded:
            shard(student, self.device, self.ranks)
            return student
        return student if self.accelerator is None else self.accelerator.prepare(student)

    def holding_back(self, module: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Context that postpones the exchange of gradients until a step's last micro-batch."""
        if last or self.accelerator is None:
            return nullcontext()
        return synchronising_later(module) if self.sharded else self.accelerator.no_sync(module)

    def sum_over_ranks(self, value: Tensor) -> Tensor:
        """Add up a CPU tensor over all processes."""
        if self.ranks > 1:
            distributed.all_reduce(value, group=self.channel)
        return value

    def agreed(self, *said: bool) -> tuple[bool, ...]:
        """Which of several things at least one process says: the same answer in all of them.

        Clocks and signals differ from process to process; one that stops to save alone would wait for the others
        forever.
        """
        if self.ranks == 1:
            return said
        return tuple(count > 0 for count in self.sum_over_ranks(torch.tensor(said, dtype=torch.int64)).tolist())

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block after which the processes leave together; one that fails in it leaves alone.

        Waiting for the others would never end: they learn of it by the connection that is gone.
        """
        try:
            yield
        except BaseException:
            atexit.unregister(_leave)
            raise

    def wait(self) -> None:
        """Wait until every process has come this far."""
        self.agreed(True)


def find_place(device: str | None, precision: Precision) -> Place:
    """Find the device and the arithmetic of this process. Raises: SpecificationError for a device that is not there."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return _place_among_others(device, precision)
    found = _device(device)
    return Place(device=found, half=_computes_in_half(found, precision))


def _place_among_others(device: str | None, precision: Precision) -> Place:
    from accelerate import Accelerator  # a single process does without, and starts sooner for it

    for name in ("DEEPSPEED", "MEGATRON_LM"):
        if _asked_for(name):
            raise SpecificationError(
                f"This launch asks for {name}, which Limbeck does not speak; launch for DDP (torchrun, or accelerate "
                "launch --multi_gpu) or for FSDP (accelerate launch --use_fsdp)."
            )
    # Precision is the specification's, whatever the launcher was told.
    accelerator = Accelerator(cpu=device == "cpu" or not torch.accelerator.is_available(), mixed_precision="no")
    atexit.register(_leave)
    return Place(
        device=accelerator.device,
        half=_computes_in_half(accelerator.device, precision),
        accelerator=accelerator,
        sharded=_asked_for("FSDP"),
        channel=None if distributed.get_backend() == "gloo" else distributed.new_group(backend="gloo"),
        rank=accelerator.process_index,
        ranks=accelerator.num_processes,
    )


def _leave() -> None:
    """Leave the other processes in order: threads of theirs that outlive the interpreter would abort it."""
    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


def _asked_for(name: str) -> bool:
    """Whether `accelerate launch` was told to use FSDP, DeepSpeed or Megatron: it says so in the environment."""
    return os.environ.get(f"ACCELERATE_USE_{name}", "false").lower() in ("1", "true")


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.accelerator.current_accelerator() or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta" has room for anything and holds nothing
    except (RuntimeError, AssertionError) as error:
        why = str(error).splitlines()[0].removesuffix(".")
        raise SpecificationError(
            f"The device {name!r} cannot be used here: {why}. Leave `device` out for the best there is."
        ) from error
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
