"""Before anything is written: whether rows and students are what a stack takes them for.

Shape legend, this file:  R replicas, N training rows, B rows of a batch, C classes.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from limbeck.data.loader import Loader
from limbeck.errors import CannotStack
from limbeck.models import arranger_of
from limbeck.training.stacking.reasons import as_reason
from limbeck.training.stacking.rows import ViewRows, require_row_by_row
from limbeck.training.stacking.stack import Noise, call_alone
from limbeck.types import ModelInput, Prepare

_FLOAT64, _FLOAT32 = 1e-9, 1e-3
"""By how much, of the largest number, a stack may differ from a student alone on the first batch."""


def check_prepares(loaders: Mapping[Prepare, Loader], rows: ViewRows, order: Tensor, batch_size: int) -> None:
    """Refuse a `prepare` that looks beyond a row, and replicas whose own `prepare`s differ.

    Args:
        loaders: of the training rows, for each replica's `prepare`.
        rows: the same, prepared all at once.
        order: (N,), in which they come first.
        batch_size: B.

    Raises: CannotStack.
    """
    for prepare, loader in loaders.items():
        for positions in (order[:batch_size], order[:2], order[-1:]):
            require_row_by_row(loader, prepare, rows, positions)


@torch.no_grad()
def check_same_as_alone(
    logits_RBC: Tensor,
    buffers: Mapping[str, Tensor],
    students: Sequence[nn.Module],
    inputs: Sequence[ModelInput],
    noise: Noise,
) -> None:
    """Let each student see its first batch alone, and refuse a stack that answered otherwise.

    Students of one architecture by name may hold other numbers than parameters, and layers may look at the batch in
    ways that a stack cannot follow: here it shows.

    Args:
        logits_RBC: what the stack answered, in training mode.
        buffers: what its buffers became, (R, ...) each.
        students: one for each replica.
        inputs: each one's batch.
        noise: whose generators are where they were before the stack answered.

    Raises: CannotStack.
    """
    for number, (student, batch) in enumerate(zip(students, inputs, strict=True)):
        with as_reason(), noise.generator_at(number):
            alone, moved = call_alone(student, arranger_of(student), batch, logits_RBC.device)
        pairs = [(logits_RBC[number], alone), *((stacked[number], moved[name]) for name, stacked in buffers.items())]
        if not all(_near(ours, theirs) for ours, theirs in pairs):
            raise CannotStack("in a stack their students answer otherwise than each alone")


def _near(ours: Tensor, theirs: Tensor) -> bool:
    if not theirs.is_floating_point():
        return torch.equal(ours, theirs)
    slack = _FLOAT64 if theirs.dtype == torch.float64 else _FLOAT32
    largest = float(theirs.abs().nan_to_num(0, 0, 0).max()) if theirs.numel() else 0.0
    return torch.allclose(ours, theirs.to(ours.dtype), rtol=0, atol=slack * max(1.0, largest), equal_nan=True)
