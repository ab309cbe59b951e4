"""The max-norm constraint: no hidden unit's incoming weights grow beyond a length.

    w <- w · min(1, limit / |w|)    for the incoming weights w of each hidden unit, after each optimiser step

Reference: Hinton et al., Improving neural networks by preventing co-adaptation of feature detectors, 2012, appendix
A.1; Srivastava et al., Dropout, JMLR 2014, section 5.1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def constrained(student: nn.Module) -> tuple[Tensor, ...]:
    """The weights of a student's hidden linear and convolutional layers: of all that it registers but the last.

    The last makes the logits in nearly every network, and the papers leave it free. Transposed convolutions,
    embeddings, recurrent layers, biases and norms are left alone.
    """
    layers = [module for module in student.modules() if isinstance(module, _LAYERS)]
    return tuple(layer.weight for layer in layers[:-1])


@torch.no_grad()
def project(weights: Sequence[Tensor], limit: float) -> None:
    """Scale down, in place, the incoming weights of each unit that are longer than `limit`.  each (units, ...)."""
    for weight in weights:
        norms = torch.linalg.vector_norm(weight.flatten(1), dim=1)
        if bool((norms > limit).any()):  # most steps need no second pass over the weights
            scales = (limit / norms).clamp_(max=1.0)
            weight.mul_(scales.view(-1, *[1] * (weight.ndim - 1)))
