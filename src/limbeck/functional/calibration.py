"""How sure a finished model should have been: the one temperature that makes its probabilities fit the labels.

Shape legend, this file:  ... any leading axes, C classes.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from limbeck._checks import check_label_per_row, check_labels
from limbeck.errors import ArgumentError
from limbeck.functional._numerics import expectation, widened

COLDEST, HOTTEST = 0.05, 20.0
"""Between which temperatures are looked for: rows that are all right would ask for 0, rows that say nothing for inf."""


def fitted_temperature(logits: Tensor, labels: Tensor) -> Tensor:
    """The temperature at which softmax(logits / T) has the least mean `nll`.  (..., C), (...) -> ().

    Over 1/T the mean is convex, so that its slope, mean(E_q[z] - z[label]) with q = softmax(z / T), changes sign once;
    the root is found to ten digits. Range: [0.05, 20]; an end where the best lies beyond it (0.05 for rows that are all
    right by far), and 1 where no temperature makes a difference. A model is not fitted on the rows that it is scored
    on. Accuracy does not change: the order of the classes is that of the logits.
    Raises: ArgumentError for no rows, if labels lack the shape of logits without the last axis, are no integers, or
    leave [0, C).
    Reference: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, section 4.2.

    >>> import torch
    >>> sure = torch.tensor([[2.0, 0.0]] * 4)  # 88 % sure, and right three times of four
    >>> fitted_temperature(sure, torch.tensor([0, 0, 0, 1]))  # 2 / log 3: then it is 75 % sure
    tensor(1.8205)
    """
    check_label_per_row("fitted_temperature", labels, logits)
    check_labels("fitted_temperature", labels, logits.shape[-1])
    if not labels.numel():
        raise ArgumentError("fitted_temperature: there must be at least one row.")
    rows = logits.detach().double().flatten(0, -2) if logits.dim() > 1 else logits.detach().double().unsqueeze(0)
    said = rows.gather(-1, labels.reshape(-1, 1).long()).squeeze(-1)

    def slope(log_temperature: float) -> float:
        """d mean(nll) / d (1/T), which falls as T grows."""
        probs = (rows * math.exp(-log_temperature)).softmax(-1)
        return float((expectation(probs, rows) - said).mean())

    return torch.tensor(_where_zero(slope), dtype=widened(logits).dtype, device=logits.device)


def _where_zero(slope: Callable[[float], float]) -> float:
    low, high = math.log(COLDEST), math.log(HOTTEST)
    at_low, at_high = slope(low), slope(high)
    if at_low == at_high == 0:
        return 1.0
    if at_low <= 0:
        return COLDEST
    if at_high >= 0:
        return HOTTEST
    from scipy.optimize import brentq  # here, so that a loss function can be imported without SciPy's optimisers

    return math.exp(brentq(slope, low, high, xtol=1e-12))
