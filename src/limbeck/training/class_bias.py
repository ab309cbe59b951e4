"""A finished model with a bias added to its logits: in the layer that makes them where it has one, else around it.

Shape legend, this file:  B rows of a batch, C classes.
"""

import copy
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from limbeck.errors import ArgumentError, MismatchError
from limbeck.models import caller_of, logits_of
from limbeck.types import ModelInput

_CARRIED = ("classes", "prepare", "config")
"""What a module may tell of itself beside its answers, and a module around it tells too."""


@final
class ClassBias(nn.Module):
    """A module around another that adds a bias to its logits and returns nothing else: (B, C).

    It is called as the inner module is, and tells its `classes`, `prepare` and `config` where it has them. The bias is
    a buffer: it is kept in the state dict, and no optimiser moves it.

    Args:
        module: returns logits (B, C) in any of the forms that `limbeck.models.logits_of` reads.
        bias: (C,), in nats.

    Raises: ArgumentError where the bias is not (C,) finite floats; when called, MismatchError for logits of another
    number of classes.
    """

    bias: Tensor
    """(C,), in nats."""

    def __init__(self, module: nn.Module, bias: Tensor) -> None:
        super().__init__()
        _check_bias("ClassBias", bias)
        self.module = module
        self.register_buffer("bias", bias.detach().clone())
        self.training = module.training  # of this one alone: what is in it stays as it is

    def __getattr__(self, name: str) -> Any:
        return getattr(self.module, name) if name in _CARRIED else super().__getattr__(name)

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        """Call the inner module and return its logits with the bias added."""
        # Keywords alone may have been one mapping, which the inner module takes as a single argument.
        output = self.module(*args, **kwargs) if args and kwargs else caller_of(self.module)(args or kwargs)
        logits = logits_of(output)
        _check_width(logits, self.bias)
        return logits + self.bias


def with_class_bias(model: nn.Module, bias: Tensor, *, example: ModelInput | None = None) -> nn.Module:
    """Return a copy of a model whose logits are those of the model, with a bias added.

    The bias is added to the bias of the linear or convolutional layer that makes the logits, so that the copy has the
    same class, size and names of weights, if the model's answers to `example` show that there is one: whatever is added
    there, to within rounding, is added to the logits. Otherwise the copy stands in a `ClassBias`: for a last layer
    without a bias, logits that are changed after it, or no example.

    Args:
        model: returns logits (B, C) in any of the forms that `limbeck.models.logits_of` reads; it is left as it is.
        bias: (C,), in nats: added to the logits at T = 1.
        example: some rows as the model takes them, on its device; a few are enough, and different ones tell more.

    Raises: ArgumentError where the bias is not (C,) finite floats; MismatchError where the model's logits are of
    another number of classes, or cannot be found: here with an example, and without one when the copy is called.

    >>> student = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    >>> moved = with_class_bias(student, torch.tensor([0.0, 3.5]), example=torch.randn(5, 2))
    >>> (moved[2].bias - student[2].bias).tolist()
    [0.0, 3.5]
    """
    _check_bias("with_class_bias", bias)
    found = copy.deepcopy(model)
    layer = None if example is None else layer_of_logits(model, example)
    if layer is None:
        anywhere: Tensor = next(model.parameters(), bias)
        return ClassBias(found, bias.to(anywhere.device))
    inside = found.get_submodule(layer)
    _check_width(inside.get_parameter("bias"), bias)
    _add(inside, bias)
    return found


def layer_of_logits(model: nn.Module, example: ModelInput) -> str | None:
    """Find the layer whose own bias is a bias of the logits: its dotted name; None where the answers show none.

    Args: as of `with_class_bias`. The model is asked in eval mode and left as it is.

    Raises: MismatchError where no logits can be found in what the model returned.
    """
    trial = copy.deepcopy(model).eval()
    before = _logits(trial, example)
    if not before.numel():
        return None  # no rows, no evidence
    layers = [(name, layer) for name, layer in trial.named_modules() if _has_bias(layer, before.shape[-1])]
    return next((name for name, layer in reversed(layers) if _makes(trial, layer, example, before)), None)


def _has_bias(layer: nn.Module, classes: int) -> bool:
    own = layer.bias if isinstance(layer, nn.Linear | _ConvNd) else None
    return isinstance(own, nn.Parameter) and own.shape == (classes,)


def _makes(trial: nn.Module, layer: nn.Module, example: ModelInput, before: Tensor) -> bool:
    """Whether a number for each class and its opposite, added in the layer, move the logits by just that.

    The numbers are distinct, and as large as the logits: what clips, mixes or rescales them is seen.
    """
    own = layer.get_parameter("bias")
    kept = own.detach().clone()
    size = max(1.0, float(before.abs().max()), float(kept.abs().max()))
    shift = size * (1 + torch.arange(len(own), device=before.device) / len(own)).to(before.dtype)
    within = 64 * torch.finfo(before.dtype).eps * size
    gaps = []
    for moved in (shift, -shift):
        _add(layer, moved)
        gaps.append((_logits(trial, example) - moved - before).abs().max())
        with torch.no_grad():
            own.copy_(kept)
    return all(bool(gap <= within) for gap in gaps)


def _add(layer: nn.Module, bias: Tensor) -> None:
    own = layer.get_parameter("bias")
    with torch.no_grad():
        own.add_(bias.to(own))


@torch.no_grad()
def _logits(model: nn.Module, example: ModelInput) -> Tensor:
    return logits_of(caller_of(model)(example))


def _check_bias(caller: str, bias: Tensor) -> None:
    if bias.dim() != 1 or not bias.is_floating_point() or not bias.isfinite().all():
        raise ArgumentError(f"{caller}: the bias must be finite floats (C,). Got {tuple(bias.shape)} {bias.dtype}.")


def _check_width(logits: Tensor, bias: Tensor) -> None:
    if logits.shape[-1:] != bias.shape:
        raise MismatchError(
            f"The model has logits of {logits.shape[-1]} classes, and the bias is for {len(bias)}; give one number for "
            "each class."
        )
