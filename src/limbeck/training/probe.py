"""How the terms pull: the gradient norm of each term and the dot product of each pair, on fixed rows.

A term whose gradient is a hundred times smaller than its neighbour's teaches nothing, whatever its weight says; a
negative dot product says that two terms pull apart.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, final

import torch
from torch import Tensor, nn

from limbeck.models import caller_of
from limbeck.objective import Loss
from limbeck.schedules import value_at
from limbeck.types import Batch, Knowledge


@final
class GradientProbe:
    """Measures weighted mean gradients of all terms on one fixed batch, in eval mode, without touching the student."""

    def __init__(self, loss: Loss, batch: Batch, knowledge: Knowledge | None) -> None:
        self._loss, self._batch, self._knowledge = loss, batch, knowledge

    def measure(self, student: nn.Module, step: int) -> dict[str, Any]:
        """Return `{"norms": {term: L2 norm}, "dots": {"term·term": dot product}}` of the weighted terms' gradients."""
        training = student.training
        student.eval()
        try:
            with torch.backends.cudnn.flags(enabled=False):  # cuDNN takes no gradients of an RNN in eval mode
                gradients = self._gradients(student, step)
        finally:
            student.train(training)
        norms = {name: float(gradient.norm()) for name, gradient in gradients.items()}
        dots = {f"{a}·{b}": float(gradients[a] @ gradients[b]) for a, b in combinations(gradients, 2)}
        return {"norms": norms, "dots": dots}

    def _gradients(self, student: nn.Module, step: int) -> dict[str, Tensor]:
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        value = self._loss(caller_of(student), self._batch, self._knowledge, step)
        found: dict[str, Tensor] = {}
        for name, (weight, _term) in self._loss.objective.terms.items():
            mean = value_at(weight, step) * value.values[name].mean()
            parts: Sequence[Tensor | None] = torch.autograd.grad(mean, parameters, retain_graph=True, allow_unused=True)
            flat = [torch.zeros_like(p) if g is None else g for p, g in zip(parameters, parts, strict=True)]
            found[name] = torch.cat([part.reshape(-1) for part in flat])
        return found
