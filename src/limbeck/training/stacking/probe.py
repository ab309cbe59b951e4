"""How the terms pull, for all replicas of a stack: what `GradientProbe` measures for one.

Shape legend, this file:  R replicas, B probed rows, W weights of one student.
"""

from collections.abc import Sequence
from itertools import combinations
from typing import Any, final

import torch
from torch import Tensor

from limbeck.objective import Objective
from limbeck.training.stacking.goals import Goals
from limbeck.training.stacking.rows import ViewRows
from limbeck.training.stacking.stack import Stack
from limbeck.types import Head, Teacher


@final
class StackedProbe:
    """Measures weighted mean gradients of all terms of all replicas on the same rows, in eval mode."""

    def __init__(
        self, rows: ViewRows, objectives: Sequence[Objective], teachers: Sequence[Teacher | None], head: Head
    ) -> None:
        self._rows, self._objectives = rows, list(objectives)
        self._goals = Goals(objectives, teachers, head)
        self._goals.look_at(rows)
        self._positions = torch.arange(len(rows)).expand(len(self._objectives), -1)

    def measure(self, stack: Stack, step: int) -> list[dict[str, Any]]:
        """Return for each replica what `GradientProbe.measure` returns."""
        logits = stack(self._rows.inputs, training=False, shared=True)
        positions = self._positions.to(logits.device)
        leaves = list(stack.leaves.values())
        # Replicas do not touch one another: the gradient of the sum over all of them holds each one's own.
        gradients = [
            self._flat(place.sum() / len(self._rows), leaves) for place in self._goals.by_place(logits, positions, step)
        ]
        norms = [part.norm(dim=1).tolist() for part in gradients]
        pairs = combinations(range(len(gradients)), 2)
        dots = {(a, b): (gradients[a] * gradients[b]).sum(1).tolist() for a, b in pairs}
        return [self._record(replica, norms, dots) for replica in range(len(self._objectives))]

    def _flat(self, value: Tensor, leaves: Sequence[Tensor]) -> Tensor:
        parts: Sequence[Tensor | None] = torch.autograd.grad(value, leaves, retain_graph=True, allow_unused=True)
        flat = [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, parts, strict=True)]
        return torch.cat([part.flatten(1) for part in flat], dim=1)

    def _record(
        self, replica: int, norms: Sequence[Sequence[float]], dots: dict[tuple[int, int], list[float]]
    ) -> dict[str, Any]:
        names = list(self._objectives[replica].terms)
        return {
            "norms": {name: norms[place][replica] for place, name in enumerate(names)},
            "dots": {f"{names[a]}·{names[b]}": found[replica] for (a, b), found in dots.items() if b < len(names)},
        }
