"""Every public function of limbeck.functional with what kind it is, what it promises, and arguments to call it with.

A new function that is not entered here fails in test_loss_contract.py.
"""

import inspect
from dataclasses import dataclass, field

import torch
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from limbeck import functional as lf

PUBLIC = {name: getattr(lf, name) for name in lf.__all__}
FUNCTIONS = {function for function in PUBLIC.values() if inspect.isfunction(function)}

# Kinds: what goes in and what comes out.
PAIR_LOSSES = {
    lf.soft_cross_entropy,
    lf.forward_kl,
    lf.reverse_kl,
    lf.jensen_shannon,
    lf.total_variation,
    lf.hinton_kd,
    lf.logit_matching,
}
LABEL_LOSSES = {lf.cross_entropy, lf.smoothed_cross_entropy, lf.cross_entropy_with_probs, lf.binary_cross_entropy}
PARTIAL = {lf.coarsened, lf.sampled_cross_entropy}
SOFT_TARGETS = {lf.smooth_labels, lf.edit_labels}
DISTRIBUTIONS = {lf.softmax_at, lf.log_softmax_at, lf.entropy}
MIXTURES = {lf.arithmetic_mixture, lf.geometric_mixture, lf.disagreement}
SCORES = {lf.agreement, lf.accuracy, lf.nll, lf.brier, lf.expected_calibration_error, lf.fitted_temperature}
SIMILARITIES = {lf.linear_cka}
CORRECTIONS = {lf.bias_for_prior}
REDUCTIONS = {lf.summed, lf.masked_sum}
KINDS = [
    PAIR_LOSSES,
    LABEL_LOSSES,
    PARTIAL,
    SOFT_TARGETS,
    DISTRIBUTIONS,
    MIXTURES,
    SCORES,
    SIMILARITIES,
    CORRECTIONS,
    REDUCTIONS,
]

# Promises: each pair of sets divides the losses that it speaks of.
ZERO_AT_EQUALITY = {
    lf.forward_kl,
    lf.reverse_kl,
    lf.jensen_shannon,
    lf.total_variation,
    lf.hinton_kd,
    lf.logit_matching,
}
NOT_ZERO_AT_EQUALITY = {lf.soft_cross_entropy}
SYMMETRIC = {lf.jensen_shannon, lf.total_variation, lf.logit_matching}
NOT_SYMMETRIC = {lf.soft_cross_entropy, lf.forward_kl, lf.reverse_kl, lf.hinton_kd}
IGNORES_A_CONSTANT = (PAIR_LOSSES | LABEL_LOSSES) - {lf.binary_cross_entropy}
FEELS_A_CONSTANT = {lf.binary_cross_entropy}
IGNORES_RULED_OUT_CLASSES = {
    lf.soft_cross_entropy,
    lf.forward_kl,
    lf.reverse_kl,
    lf.jensen_shannon,
    lf.total_variation,
    lf.hinton_kd,
    lf.cross_entropy,
    lf.cross_entropy_with_probs,
}
NEEDS_FINITE_LOGITS = {lf.logit_matching, lf.smoothed_cross_entropy, lf.binary_cross_entropy}
INFINITE_WHERE_ONLY_THE_TEACHER_RULES_OUT = {lf.reverse_kl}

PROPERTY = settings(deadline=None, max_examples=30)


def name_of(function):
    return function.__name__


def by_name(functions):
    return sorted(functions, key=name_of)


def random_logits(*shape, seed=0, dtype=torch.float64):
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def random_labels(*shape, classes, seed=0):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def logits_strategy(*shape, bound=30.0):
    """Float64 tensors of the shape, in [-bound, bound]."""
    return arrays.arrays("float64", shape, elements=st.floats(-bound, bound)).map(torch.from_numpy)


@dataclass(frozen=True)
class Loss:
    """A loss in the one form f(logits, target), whatever its target is."""

    function: object
    options: dict = field(default_factory=dict)

    def __call__(self, logits, target):
        return self.function(logits, target, **self.options)

    @property
    def takes_indices(self):
        return self.function in {lf.cross_entropy, lf.smoothed_cross_entropy}

    @property
    def takes_teacher(self):
        return self.function in PAIR_LOSSES

    def target(self, *shape, seed=1, dtype=torch.float64):
        """A target for logits of the shape."""
        if self.takes_indices:
            return random_labels(*shape[:-1], classes=shape[-1], seed=seed)
        logits = random_logits(*shape, seed=seed, dtype=dtype)
        if self.takes_teacher:
            return logits
        return logits.sigmoid() if self.function is lf.binary_cross_entropy else logits.softmax(-1)


OPTIONS = {lf.hinton_kd: {"temperature": 3.0}, lf.smoothed_cross_entropy: {"smoothing": 0.2}}
LOSSES = [Loss(function, OPTIONS.get(function, {})) for function in by_name(PAIR_LOSSES | LABEL_LOSSES)]
TEMPERED_LOSSES = [
    Loss(function, {"temperature": 2.5})
    for function in by_name(PAIR_LOSSES)
    if "temperature" in inspect.signature(function).parameters
]


def losses(functions):
    return [loss for loss in LOSSES if loss.function in functions]


def id_of(loss):
    return name_of(loss.function)


_LOGITS, _TEACHER, _LABELS = random_logits(5, 7), random_logits(5, 7, seed=1), random_labels(5, classes=7)
_AT_2 = {"temperature": 2.0}
_IDS, _WEIGHTS = torch.tensor([[2, 0], [1, 6], [3, 4], [0, 5], [6, 2]]), torch.full((5, 2), 0.5, dtype=torch.float64)
EXAMPLES = {
    **{loss.function: ((_LOGITS, loss.target(5, 7)), loss.options) for loss in LOSSES},
    **dict.fromkeys(DISTRIBUTIONS, ((_LOGITS,), _AT_2)),
    **dict.fromkeys(MIXTURES, ((random_logits(3, 5, 7),), {**_AT_2, "weights": [1.0, 2.0, 0.0]})),
    **dict.fromkeys(SCORES - {lf.agreement}, ((_LOGITS, _LABELS), {})),
    lf.coarsened: ((_LOGITS, _IDS, _WEIGHTS.log() - 0.5, _WEIGHTS[:, 0].log()), _AT_2),
    lf.sampled_cross_entropy: ((_LOGITS, _IDS, _WEIGHTS), _AT_2),
    lf.agreement: ((_LOGITS, _TEACHER), {}),
    lf.linear_cka: ((_LOGITS, _TEACHER), {}),
    lf.bias_for_prior: ((_LOGITS, _TEACHER[0].softmax(-1)), {"classes": [2, 3]}),
    lf.smooth_labels: ((_LABELS,), {"classes": 7, "smoothing": 0.1}),
    lf.edit_labels: ((_LOGITS, _LABELS), {**_AT_2, "weight": 0.3}),
    lf.summed: ((_LOGITS,), {}),
    lf.masked_sum: ((_LOGITS, _LOGITS > 0), {}),
}
"""Arguments that each function accepts."""
