"""Tensors in, tensors out: losses, divergences, mixtures and scores, one value per row, unreduced.

Everything here is a pure function: no modules, no files, no hidden randomness. Student and teacher are given as logits
of one shape (..., C) unless a name says `probs` or `log_probs`. Half-precision inputs are computed and returned in
float32; float64 stays. Adding a constant to all logits of a row changes nothing, except in `binary_cross_entropy`: the
logits of independent labels are not relative to each other.
"""

from limbeck.functional.calibration import fitted_temperature
from limbeck.functional.class_bias import bias_for_prior
from limbeck.functional.divergences import (
    forward_kl,
    jensen_shannon,
    reverse_kl,
    soft_cross_entropy,
    total_variation,
)
from limbeck.functional.hinton import hinton_kd
from limbeck.functional.labels import (
    binary_cross_entropy,
    cross_entropy,
    cross_entropy_with_probs,
    edit_labels,
    smooth_labels,
    smoothed_cross_entropy,
)
from limbeck.functional.matching import logit_matching
from limbeck.functional.mixtures import arithmetic_mixture, disagreement, geometric_mixture
from limbeck.functional.partial import coarsened, sampled_cross_entropy
from limbeck.functional.quality import accuracy, agreement, brier, expected_calibration_error, nll
from limbeck.functional.similarity import linear_cka
from limbeck.functional.softmax import entropy, log_softmax_at, softmax_at
from limbeck.functional.sums import Summed, masked_sum, summed

__all__ = [
    "Summed",
    "accuracy",
    "agreement",
    "arithmetic_mixture",
    "bias_for_prior",
    "binary_cross_entropy",
    "brier",
    "coarsened",
    "cross_entropy",
    "cross_entropy_with_probs",
    "disagreement",
    "edit_labels",
    "entropy",
    "expected_calibration_error",
    "fitted_temperature",
    "forward_kl",
    "geometric_mixture",
    "hinton_kd",
    "jensen_shannon",
    "linear_cka",
    "log_softmax_at",
    "logit_matching",
    "masked_sum",
    "nll",
    "reverse_kl",
    "sampled_cross_entropy",
    "smooth_labels",
    "smoothed_cross_entropy",
    "soft_cross_entropy",
    "softmax_at",
    "summed",
    "total_variation",
]
