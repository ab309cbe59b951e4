"""What the losses share: half types, zero times infinity, and looking up a label.

Shape legend, this file:  ... any leading axes, C classes.
"""

import torch
from torch import Tensor
from torch.nn.functional import nll_loss

from limbeck._checks import check_label_per_row, check_labels

NO_LABEL = torch.iinfo(torch.int64).min
"""What `nll_loss` is told to ignore: nothing. Its own choice of -100 would pass for a label on an accelerator."""


def widened(logits: Tensor) -> Tensor:
    """Return float64 as it is and every other type as float32: eight bits of mantissa cannot hold a divergence."""
    return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()


def tempered_log_softmax(logits: Tensor, temperature: float) -> Tensor:
    """log softmax(logits / temperature), in float32 or float64.  (..., C) -> (..., C)."""
    wide = widened(logits)
    return (wide if temperature == 1 else wide / temperature).log_softmax(-1)


def expectation(probs: Tensor, values: Tensor) -> Tensor:
    """Mean of `values` under `probs`, where 0 · inf = 0.  (..., C), (..., C) -> (...).

    A class of probability zero has a log-probability of -inf, and differences of two such are NaN. Masking the product
    would repair the value but not the gradient (0 · NaN is NaN again), so the values are masked before they are used.
    A NaN under a probability that is not zero stays: a model that has diverged must be seen.
    """
    return (probs * values.masked_fill(probs == 0, 0.0)).sum(-1)


def surprise(caller: str, log_probs: Tensor, labels: Tensor) -> Tensor:
    """- log_probs[label].  (..., C), (...) -> (...).  Raises ArgumentError in the name of the caller."""
    check_label_per_row(caller, labels, log_probs)
    classes_second = log_probs if log_probs.dim() < 3 else log_probs.movedim(-1, 1)
    try:
        return nll_loss(classes_second, labels.long(), ignore_index=NO_LABEL, reduction="none")
    except (IndexError, RuntimeError):
        # The kernel looks at each label anyway: the values are only gone through again to name the wrong one.
        check_labels(caller, labels, log_probs.shape[-1])
        raise
