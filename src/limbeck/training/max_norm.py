"""The max-norm constraint: no hidden unit's incoming weights grow beyond a length.

    w <- w · min(1, limit / |w|)    for the incoming weights w of each hidden unit, after each optimiser step

Reference: Hinton et al., Improving neural networks by preventing co-adaptation of feature detectors, 2012, appendix
A.1, where |w|² <= 15; Srivastava et al., Dropout, JMLR 2014, section 5.1, where |w| <= 3 or 4.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from limbeck.errors import SpecificationError

_LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def hidden_weights(student: nn.Module, classes: int) -> dict[str, nn.Parameter]:
    """The trained weights of a student's hidden linear and convolutional layers, by name: each (units, …).

    The papers leave the layer that makes the logits free. It is taken to be the last one, in the order in which layers
    are registered, with as many units as there are classes; where none has (the logits are made by an embedding's
    weights, say), all are hidden. What a layer shares with the one that makes the logits is left free too. Transposed
    convolutions (dim 0 of their weights is not the unit), embeddings, recurrent layers, attention's packed
    projections, biases and norms are not constrained, and neither is what is not trained.

    Args:
        student: of which the layers are.
        classes: the number of its logits.

    Raises: SpecificationError for a student with nothing to constrain, or whose hidden weights are made anew out of
        others in each call (`weight_norm`, `spectral_norm`), where scaling them would change nothing.
    """
    layers = {name: module for name, module in student.named_modules() if isinstance(module, _LAYERS)}
    free = next((name for name in reversed(layers) if layers[name].weight.shape[0] == classes), None)
    hidden = {name: layer for name, layer in layers.items() if name != free}
    for name, layer in hidden.items():
        if not isinstance(layer.weight, nn.Parameter):
            raise SpecificationError(
                f"max_norm cannot constrain the student's layer {name!r}: its weights are computed from others in each "
                "call (weight_norm, spectral_norm or the like). Leave one of the two out."
            )
    # Parameters are compared by identity: one that two layers share is constrained once.
    wanted = {layer.weight for layer in hidden.values()} - ({layers[free].weight} if free is not None else set())
    found = {name: weight for name, weight in student.named_parameters() if weight in wanted and weight.requires_grad}
    if not found:
        raise SpecificationError(
            f"max_norm constrains hidden linear and convolutional layers, and the student {type(student).__name__} "
            "trains none; leave max_norm out."
        )
    return found


@torch.no_grad()
def project(weights: Iterable[Tensor], limit: float | Tensor) -> None:
    """Scale down, in place, the incoming weights of each unit that are longer than `limit`, to that length.

    All others keep their bits; those that were scaled have the length `limit` but for rounding. Of sharded weights
    each process scales its own units: they lie whole in one process.

    Args:
        weights: each (units, …); of a stack (R, units, …).
        limit: a number; for a stack one for each replica, (R,), inf for none.
    """
    replicas = limit.ndim if isinstance(limit, Tensor) else 0
    for weight in weights:
        own = weight.to_local() if isinstance(weight, DTensor) else weight
        norms = torch.linalg.vector_norm(own, dim=tuple(range(replicas + 1, own.ndim)), keepdim=True)
        most = limit.to(norms.dtype).view(-1, *[1] * (own.ndim - 1)) if isinstance(limit, Tensor) else limit
        longer = norms > most
        # On the CPU most steps need no second pass; on an accelerator to look would be to wait for it.
        if own.device.type != "cpu" or longer.any():
            own.mul_(torch.where(longer, norms.reciprocal() * most, 1.0))
