"""Logits of probabilities, and what becomes of a probability of zero.

A zero has no logarithm, and at T > 1, where the small probabilities speak, it would say "never". No source means that:
a zero of a forest is less than one tree's worth, a zero of a softmax in half precision less than its smallest number.
The rule, for a file as a whole:

    zeros become f = min(half of the smallest positive probability, 0.01 / C); then each row is divided by its sum.

Half of the smallest positive value is the middle of what a zero can mean; the second bound keeps all zeros of a row
together below 0.01. A row with z zeros is divided by 1 + z f, so that at T = 1

    KL(given || floored) = log(1 + z f) <= log 1.01 < 0.01 nats,

and the total variation, z f / (1 + z f), is below 0.01 too. At T > 1 a zero weighs f^(1/T) before the division: that it
is more than nothing there is the purpose of the floor.

Shape legend, this file:  N rows, C classes or labels.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from limbeck.types import Head

_ROWS = 65_536
"""Rows that are widened to float64 at a time."""

_MOST = 0.01
"""What all zeros of a row may weigh together."""


class Floored(NamedTuple):
    """Probabilities as logits."""

    logits: Tensor
    """(N, C) float32: log p for a softmax head, log p - log(1 - p) for a sigmoid head."""
    zeros: int
    """How many probabilities were zero (for a sigmoid head, zero or one)."""
    floor: float
    """What became of each of them, before its row was divided by its sum."""


def floor_of(probs: Tensor, head: Head) -> float:
    """Return the floor that the rule gives.  (N, C) in [0, 1] -> a number in (0, 0.01 / C].

    >>> floor_of(torch.tensor([[1.0, 0.0], [0.999, 0.001]], dtype=torch.float64), "softmax")  # half of 0.001
    0.0005
    >>> floor_of(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), "softmax")  # 0.01 / C
    0.005
    """
    outcomes = probs.shape[1] if head == "softmax" else 2
    smallest = math.inf
    for start in range(0, len(probs), _ROWS):
        block = probs[start : start + _ROWS].to(torch.float64)
        values = block if head == "softmax" else torch.minimum(block, 1 - block)
        positive = values[values > 0]
        if len(positive):
            smallest = min(smallest, float(positive.min()))
    # Half of the smallest double is zero, which would be no floor.
    return max(min(smallest / 2, _MOST / outcomes), torch.finfo(torch.float64).tiny)


def logits_of_probs(probs: Tensor, head: Head, floor: float | None = None) -> Floored:
    """Take logarithms of probabilities, zeros raised to a floor first.  (N, C) in [0, 1] -> (N, C) float32.

    Rows of a softmax head are divided by their sums. For a sigmoid head every label is two probabilities, p and 1 - p.
    """
    floor = floor_of(probs, head) if floor is None else floor
    logits = torch.empty(probs.shape, dtype=torch.float32)
    zeros = 0
    for start in range(0, len(probs), _ROWS):
        rows = logits[start : start + _ROWS]
        wide = probs[start : start + _ROWS].to(torch.float64)
        if head == "softmax":
            zeros += int((wide == 0).sum())
            raised = wide.masked_fill(wide == 0, floor)
            rows.copy_(raised.log() - raised.sum(1, keepdim=True).log())
        else:
            zeros += int(((wide == 0) | (wide == 1)).sum())
            yes, no = (part.masked_fill(part == 0, floor) for part in (wide, 1 - wide))
            rows.copy_(yes.log() - no.log())  # dividing both by their sum would change nothing
    return Floored(logits, zeros, floor)
