"""The optimisers of a stack: one for all replicas with the same settings, on views of the stacked parameters.

Shape legend, this file:  R replicas of the stack, G of them with the same settings, one after the other.
"""

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from limbeck.references import called
from limbeck.specification import Distillation
from limbeck.training.distill import check_steps_alone
from limbeck.training.stacking.stack import Stack


@final
class Stepper:
    """One optimiser and one schedule for the replicas `first` to `last` - 1.

    The user's own factory makes the optimiser, of parameters that are views: what it changes in place is the stack's.
    """

    def __init__(self, spec: Distillation, stack: Stack, first: int, last: int, steps: int) -> None:
        self.first, self.last = first, last
        self._names = list(stack.parameters)
        self._views = [
            nn.Parameter(tensor.detach()[first:last], tensor.requires_grad) for tensor in stack.parameters.values()
        ]
        self.optimizer = called("The optimiser's factory", spec.optimizer, self._views)
        check_steps_alone("optimiser", self.optimizer)
        self.scheduler = (
            None if spec.schedule is None else called("The schedule's factory", spec.schedule, self.optimizer, steps)
        )
        if self.scheduler is not None:
            check_steps_alone("schedule", self.scheduler)
        self.rate = self._first_rate()

    def _first_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, gradients: Mapping[str, Tensor]) -> None:
        """Take one step along the stack's gradients, (R, …) each; what is not among them is left alone."""
        for name, view in zip(self._names, self._views, strict=True):
            whole = gradients.get(name)
            # Laid out as the parameter: fused optimisers walk through both alike, and vmap may give a transposed view.
            view.grad = None if whole is None else whole[self.first : self.last].contiguous()
        self.rate = self._first_rate()
        self.optimizer.step()
        if self.scheduler is not None:
            self.scheduler.step()

    def move(self, stack: Stack, first: int) -> None:
        """Take views of other stacked parameters, which hold the same replicas from `first` on."""
        self.first, self.last = first, first + self.last - self.first
        for name, view in zip(self._names, self._views, strict=True):
            view.grad = None
            view.data = stack.parameters[name].detach()[self.first : self.last]

    def state_of(self, replica: int) -> dict[str, Any]:
        """The optimiser's state dict as one replica's own optimiser would have it."""
        whole = self.optimizer.state_dict()
        index = replica - self.first
        state = {
            number: {name: self._share(value, number, index) for name, value in entries.items()}
            for number, entries in whole["state"].items()
        }
        return {"state": state, "param_groups": whole["param_groups"]}

    def _share(self, value: Any, number: int, index: int) -> Any:
        if not isinstance(value, Tensor):
            return value
        stacked = value.shape == self._views[number].shape
        return value[index].clone() if stacked else value.clone()


def clip(gradients: Mapping[str, Tensor], largest: Tensor) -> dict[str, Tensor]:
    """Scale each replica's gradients so that their L2 norm is at most its own `largest`, (R,); inf for no clipping.

    As `torch.nn.utils.clip_grad_norm_` does for one.
    """
    norms = torch.stack([torch.linalg.vector_norm(part.flatten(1), dim=1) for part in gradients.values()])
    norm = torch.linalg.vector_norm(norms, dim=0)
    factor = (largest.to(norm.dtype) / (norm + 1e-6)).clamp(max=1.0)
    factor = torch.where(largest.isinf(), 1.0, factor)  # inf / inf, where a finite gradient's norm overflows
    return {name: part * factor.view(-1, *(1,) * (part.ndim - 1)) for name, part in gradients.items()}


def grouped(keys: Sequence[str]) -> list[list[int]]:
    """Group positions by equal keys, in the order in which the keys come first."""
    found: dict[str, list[int]] = {}
    for position, key in enumerate(keys):
        found.setdefault(key, []).append(position)
    return list(found.values())
