"""Logits in 32 or 16 bits, and what the rounding costs.

Shape legend, this file:  ... any leading axes, C classes or labels.
"""

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from limbeck.errors import ArgumentError
from limbeck.targets.layout import DTYPES
from limbeck.types import Head

Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]
"""In which floating-point type logits are stored."""

PRECISIONS: tuple[Precision, ...] = ("float32", "float16", "bfloat16")

# Half a unit in the last place, relative; and absolute for the numbers near zero that float16 has fewer bits for.
_RELATIVE = {"float32": 0.0, "float16": 2.0**-11, "bfloat16": 2.0**-8}
_SUBNORMAL = {"float32": 0.0, "float16": 2.0**-24, "bfloat16": 0.0}


def narrowed(logits: Tensor, precision: Precision, head: Head) -> Tensor:
    """Return logits on the CPU as they are stored.  (..., C) -> (..., C).

    In 32 bits: the bits as they are. In 16 bits, for a softmax head: less the row's largest logit, since the error is
    in proportion to the number, and so smallest where the probability is largest. A logit of -inf rules a class out.
    Raises: ArgumentError for NaN and inf, a row of -inf alone, and numbers beyond the range of float16.
    """
    wide = logits.detach().float().cpu()
    largest = wide.amax(-1, keepdim=True)
    _require_numbers(wide, largest, head)
    if precision == "float32":
        return wide
    shifted = wide - largest if head == "softmax" else wide
    narrow = shifted.to(DTYPES[precision])
    if shifted.numel() and not _within(shifted, precision):
        _require_range(shifted, narrow, precision, head)
    return narrow


def rounding_error(log_probs: Tensor, precision: Precision, temperature: float = 1.0) -> Tensor:
    """Bound on |change of log p_c| by `narrowed`, for p at a temperature, a softmax head.  (..., C) -> (..., C).

    1.01 u (|log p_c| + log C) + 2^-24 / T for float16, with u = 2^-11; in bfloat16 u = 2^-8, and no second summand.

    Let x be the logits less the largest, and d_c the change of x_c / T: |d_c| <= u |x_c| / T <= u |log p_c|, as
    log p_c = x_c / T - log Z and Z >= 1. The change of log Z is log E_p[exp d], between E_p[d] and E_p'[d] (Jensen,
    both ways), so at most u times the larger entropy of the two, and an entropy is at most log C. Hence also
    KL(p || p') <= 2.02 u log C. The factor 1.01 covers what is of second order in u.
    """
    relative = 1.01 * _RELATIVE[precision]
    return relative * (log_probs.abs() + math.log(log_probs.shape[-1])) + _SUBNORMAL[precision] / temperature


def check_precision(caller: str, dtype: str) -> None:
    """Refuse a type that logits are not stored in."""
    if dtype not in PRECISIONS:
        raise ArgumentError(f"{caller}: dtype must be one of {', '.join(PRECISIONS)}. Got {dtype!r}.")


def _require_numbers(logits: Tensor, largest: Tensor, head: Head) -> None:
    # One comparison finds NaN and inf, which `amax` hands on. Of a softmax head somebody must be left.
    if bool((largest.abs() < torch.inf).all() if head == "softmax" else (largest < torch.inf).all()):
        return
    if logits.isnan().any() or logits.isposinf().any():
        kind = "NaN" if logits.isnan().any() else "inf"
        raise ArgumentError(f"A logit of the teacher is {kind}, which nothing can be learnt from; has it diverged?")
    raise ArgumentError("All logits of a row are -inf: the teacher rules out every class, which is no distribution.")


def _within(values: Tensor, precision: Precision) -> bool:
    limit = torch.finfo(DTYPES[precision]).max
    low, high = values.aminmax()
    return bool(low >= -limit) and bool(high <= limit)


def _require_range(values: Tensor, narrow: Tensor, precision: Precision, head: Head) -> None:
    lost = narrow.isinf() != values.isinf()
    if lost.any():
        less = " less the largest of its row" if head == "softmax" else ""
        wider = "bfloat16 or float32" if precision == "float16" else "float32"
        raise ArgumentError(
            f"A logit{less}, {float(values[lost][0]):g}, is beyond the range of {precision}; record in {wider}."
        )
