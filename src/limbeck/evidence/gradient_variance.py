"""How much the gradients of single rows differ: the trace of their covariance, and the noise of a step by its signal.

Shape legend, this file:  N rows, C classes or labels, P parameters.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from limbeck.errors import ArgumentError
from limbeck.models import arranger_of, caller_of, logits_of
from limbeck.objective import Loss
from limbeck.references import called
from limbeck.types import Batch, Knowledge, ModelInput

_AT_ONCE = 2**22
"""Numbers that the gradients of rows taken side by side may have, so that they fit into a cache."""


@final
@dataclass(frozen=True, kw_only=True)
class GradientVariance:
    """What the gradients of N rows say of the loss's gradient, in the squared unit of the gradient."""

    variance: float
    """Σ |g_i - ḡ|² / (N - 1): the trace of the covariance of the rows' gradients, unbiased, at least zero."""
    squared_mean: float
    """|ḡ|² - variance / N: unbiased for the squared norm of the gradient over all rows that there are; below zero where
    chance will have it."""
    rows: int
    """N."""

    @property
    def noise(self) -> float:
        """variance / squared_mean, the simple noise scale: rows of a batch whose step is as much noise as signal.

        Range: [0, inf]; 0 where rows do not differ, infinite where they do not show that there is a mean. The scale of
        the loss does not matter: weights and T² cancel.
        Reference: McCandlish et al., An Empirical Model of Large-Batch Training, 2018, section 2.2.
        """
        if self.variance == 0:
            return 0.0
        return self.variance / self.squared_mean if self.squared_mean > 0 else inf


def gradient_variance(
    loss: Loss, student: nn.Module, batch: Batch, knowledge: Knowledge | None, step: int = 0
) -> GradientVariance:
    """Measure how much the rows of a batch differ in the gradient of their weighted loss, in all parameters.

    The student is asked in eval mode, where rows do not touch one another, and left as it was; parameters that require
    no gradient are left out. Beside the student, the memory is that of a few rows' gradients, not N × P.

    Args:
        loss: of one row, what the objective's terms sum to, weights, T² and all.
        student: callable row by row under `torch.func.vmap`.
        batch: at least two rows, on the student's device.
        knowledge: what the teacher says of them; None where no term asks.
        step: of the optimiser, for weights and temperatures that change.

    Raises: ArgumentError for fewer than two rows; ObjectiveError for a term that cannot be computed; SpecificationError
    for a student that vmap cannot call on single rows.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 1: soft targets
    provide "much less variance in the gradient between training cases".

    >>> from limbeck.data.prepare import plain_features
    >>> from limbeck.objective import HardLabels
    >>> student = nn.Linear(4, 2, bias=False)
    >>> _ = nn.init.zeros_(student.weight)
    >>> batch = Batch({plain_features: torch.eye(4)}, torch.tensor([0, 1, 0, 1]), torch.arange(4))
    >>> found = gradient_variance(Loss(1.0 * HardLabels(), plain_features), student, batch, None)
    >>> round(found.variance, 6), found.rows  # four gradients of the squared norm 1/2, orthogonal
    (0.5, 4)
    """
    if len(batch) < 2:
        raise ArgumentError(f"gradient_variance: there must be at least two rows. Got {len(batch)}.")
    modes = [(module, module.training) for module in student.modules()]
    student.eval()
    try:
        slopes = _slopes(loss, student, batch, knowledge, step)
        variance, size = spread_and_size(student, batch.inputs[loss.prepare], slopes)
    finally:
        for module, training in modes:
            module.training = training
    return GradientVariance(variance=variance, squared_mean=size - variance / len(batch), rows=len(batch))


def _slopes(loss: Loss, student: nn.Module, batch: Batch, knowledge: Knowledge | None, step: int) -> Tensor:
    """Each row's derivative of its loss in its logits, (N, C): all that its gradient needs of objective and teacher."""
    with torch.no_grad():
        answers = logits_of(caller_of(student)(batch.inputs[loss.prepare]))
    logits = answers.requires_grad_()
    return torch.autograd.grad(loss(lambda _inputs: logits, batch, knowledge, step).total, logits)[0]


def spread_and_size(module: nn.Module, inputs: ModelInput, slopes: Tensor) -> tuple[float, float]:
    """Σ |g_i - ḡ|² / (N - 1) and |ḡ|² of the rows' gradients g_i = J_iᵀ slope_i, J_i of the logits in all parameters.

    Args:
        module: in eval mode.
        inputs: of N rows, as the module takes them.
        slopes: (N, C), each row's derivative of its loss in its logits.

    Raises: SpecificationError for a module that `torch.func.vmap` cannot call on single rows.
    """
    parameters = {name: tensor.detach() for name, tensor in module.named_parameters() if tensor.requires_grad}
    arrange = arranger_of(module)

    def along(weights: Mapping[str, Tensor], row: ModelInput, slope: Tensor) -> Tensor:
        args, kwargs = arrange(_alone(row))
        logits = logits_of(functional_call(module, dict(weights), args, kwargs))
        return (logits.to(slope.dtype) * slope).sum()

    rows, width = len(slopes), sum(tensor.numel() for tensor in parameters.values())
    sums = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor in parameters.items()}
    each, squares = vmap(grad(along), in_dims=(None, 0, 0)), 0.0
    for part in torch.split(torch.arange(rows, device=slopes.device), max(1, _AT_ONCE // max(width, 1))):
        found = called("The student, row by row,", each, parameters, _some(inputs, part), slopes[part])
        for name, gradients in found.items():
            sums[name] += gradients.sum(0, dtype=torch.float64)
            squares += float(torch.linalg.vector_norm(gradients, dtype=torch.float64)) ** 2
    size = sum(float((total / rows).square().sum()) for total in sums.values())
    return max(squares - rows * size, 0.0) / (rows - 1), size


def _alone(row: Any) -> Any:
    """A row as a batch of one."""
    return _each(row, lambda tensor: tensor.unsqueeze(0))


def _some(inputs: Any, positions: Tensor) -> Any:
    return _each(inputs, lambda tensor: tensor[positions])


def _each(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Mapping):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_each(item, change) for item in value)
    return change(value) if isinstance(value, Tensor) else value
