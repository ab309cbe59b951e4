"""The wording of argument errors: one sentence each, owned by this file and matched by tests."""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from limbeck.errors import ArgumentError


def check_same_shape(caller: str, **named: Tensor) -> None:
    """Refuse tensors that should have one shape and do not."""
    first, *others = named.values()
    if any(tensor.shape != first.shape for tensor in others):
        got = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in named.items())
        raise ArgumentError(f"{caller}: {' and '.join(named)} must have the same shape. Got {got}.")


def check_positive(caller: str, **named: float) -> None:
    """Refuse a number that is zero, negative, infinite or NaN."""
    for name, value in named.items():
        if not (value > 0 and math.isfinite(value)):
            raise ArgumentError(f"{caller}: {name} must be a positive finite number. Got {value}.")


def check_not_negative(caller: str, **named: float) -> None:
    """Refuse a number that is below zero, infinite or NaN."""
    for name, value in named.items():
        if not (value >= 0 and math.isfinite(value)):
            raise ArgumentError(f"{caller}: {name} must be finite and not negative. Got {value}.")


def check_fraction(caller: str, **named: float) -> None:
    """Refuse a number outside [0, 1], or NaN."""
    for name, value in named.items():
        if not 0 <= value <= 1:
            raise ArgumentError(f"{caller}: {name} must lie in [0, 1]. Got {value}.")


def check_labels(caller: str, labels: Tensor, classes: int) -> None:
    """Refuse class indices that are not integers in [0, classes)."""
    check_label_type(caller, labels)
    # On an accelerator the look at the values would wait for the device at every step; the gather kernel asserts there.
    if labels.numel() and labels.device.type == "cpu":
        low, high = (int(bound) for bound in labels.aminmax())
        if low < 0 or high >= classes:
            wrong = low if low < 0 else high
            raise ArgumentError(f"{caller}: labels must lie in [0, {classes}). Got {wrong}.")


def check_weights(caller: str, weights: Iterable[float], count: int) -> tuple[float, ...]:
    """Return the weights as floats; refuse a wrong count, a negative or NaN weight, or weights that are all zero."""
    values = tuple(float(weight) for weight in weights)
    if len(values) != count:
        raise ArgumentError(f"{caller}: there must be one weight for each of {count}. Got {len(values)} weights.")
    if not all(value >= 0 and math.isfinite(value) for value in values):
        raise ArgumentError(f"{caller}: weights must be finite and not negative. Got {list(values)}.")
    if not any(values):
        raise ArgumentError(f"{caller}: at least one weight must be above zero. Got {list(values)}.")
    return values


def check_label_type(caller: str, labels: Tensor) -> None:
    """Refuse labels of a type that cannot be a class index."""
    if labels.dtype.is_floating_point or labels.dtype.is_complex or labels.dtype == torch.bool:
        raise ArgumentError(f"{caller}: labels must be integer class indices. Got dtype {labels.dtype}.")


def check_label_per_row(caller: str, labels: Tensor, logits: Tensor) -> None:
    """Refuse labels that are not one integer for each row of logits (..., C); their values are not looked at."""
    if labels.shape != logits.shape[:-1]:
        got = f"labels {tuple(labels.shape)}, logits {tuple(logits.shape)}"
        raise ArgumentError(f"{caller}: labels must have the shape of logits without their last axis. Got {got}.")
    check_label_type(caller, labels)


def check_probs(caller: str, **named: Tensor) -> None:
    """Refuse probabilities that are not floating-point numbers in [0, 1]: logits, log_probs, or class indices."""
    for name, probs in named.items():
        if not probs.dtype.is_floating_point:
            raise ArgumentError(f"{caller}: {name} must be floating-point probabilities. Got dtype {probs.dtype}.")
        # As in check_labels: on an accelerator the look would wait for the device at every step.
        if probs.numel() and probs.device.type == "cpu":
            low, high = (float(bound) for bound in probs.detach().aminmax())
            if not (low >= 0 and high <= 1):
                raise ArgumentError(f"{caller}: {name} must lie in [0, 1]. Got values from {low:g} to {high:g}.")
