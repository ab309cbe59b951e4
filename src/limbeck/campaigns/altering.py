"""How soft targets are altered: pure functions that give logits for logits or labels, and which row takes from which.

Shape legend, this file:  N rows of the data, B rows of a batch, C classes.
"""

import math

import torch
from torch import Tensor

from limbeck._checks import check_label_per_row, check_labels
from limbeck.errors import ArgumentError
from limbeck.functional.labels import edit_labels, smooth_labels
from limbeck.keyed import Keys, row_keys, uniforms

_ORDER, _OTHERS = 0x5047, 0x0D4B
"""Streams of random numbers, apart from those that augment rows or sample targets under the same key."""


def top_class(logits_BC: Tensor) -> Tensor:
    """The class with the largest logit; of several, the first, on every machine.  (..., C) -> (...) int64.

    >>> top_class(torch.tensor([[1.0, 3.0, 3.0]]))
    tensor([1])
    """
    classes = torch.arange(logits_BC.shape[-1], device=logits_BC.device)
    largest = logits_BC == logits_BC.amax(-1, keepdim=True)
    return torch.where(largest, classes, logits_BC.shape[-1]).amin(-1)


def permute_others(logits_BC: Tensor, keys: Keys) -> Tensor:
    """Deal the logits of all classes but the likeliest to those classes anew, row by row.  (B, C), (B,) -> (B, C).

    What is left is how sure the teacher is of its choice; what is lost is which classes it finds alike. The order is
    uniform among all, drawn by the row's key; it may be the one that was there.
    Reference: Furlanello et al., Born-Again Neural Networks, ICML 2018, section 3.1 (dark knowledge with permuted
    predictions).

    >>> logits = torch.tensor([[5.0, 1.0, 2.0]])
    >>> permute_others(logits, row_keys(0, 0, torch.tensor([4]))).sort().values
    tensor([[1., 2., 5.]])
    """
    count = logits_BC.shape[-1]
    top = torch.zeros_like(logits_BC, dtype=torch.bool).scatter(-1, top_class(logits_BC).unsqueeze(-1), True)
    drawn = uniforms(keys, count, stream=_OTHERS)
    classes = torch.arange(count).expand_as(logits_BC)
    # The likeliest class comes last in both orders, and so is given its own logit.
    to = classes.masked_fill(top, count).argsort(dim=-1, stable=True)
    of = drawn.masked_fill(top, 1.0).argsort(dim=-1, stable=True)
    return torch.empty_like(logits_BC).scatter(-1, to, logits_BC.gather(-1, of))


def exchange_labels(logits_BC: Tensor, labels_B: Tensor) -> Tensor:
    """Exchange the logits of the likeliest class and of the label, where these are two.  (B, C), (B,) -> (B, C).

    Raises: ArgumentError if labels lack the shape of logits without the last axis, are no integers, or leave [0, C).
    Reference: Wen, Lai & Qian, Preparing Lessons: Improve Knowledge Distillation with Better Supervision, 2019
    (probability shift).

    >>> exchange_labels(torch.tensor([[5.0, 1.0, 2.0]]), torch.tensor([2]))
    tensor([[2., 1., 5.]])
    """
    check_label_per_row("exchange_labels", labels_B, logits_BC)
    check_labels("exchange_labels", labels_B, logits_BC.shape[-1])
    top, own = top_class(logits_BC).unsqueeze(-1), labels_B.long().unsqueeze(-1)
    moved = logits_BC.scatter(-1, own, logits_BC.gather(-1, top))
    return moved.scatter(-1, top, logits_BC.gather(-1, own))


def edited_logits(logits_BC: Tensor, labels_B: Tensor, *, temperature: float, weight: float) -> Tensor:
    """Logits of `edit_labels`: softmax(. / T) = weight · onehot(label) + (1 - weight) p_T.  (B, C), (B,) -> (B, C)."""
    probs = edit_labels(logits_BC.double(), labels_B, temperature=temperature, weight=weight)
    return (temperature * probs.log()).float()


def one_hot_logits(classes_B: Tensor, count: int) -> Tensor:
    """Logits that rule out every class but one, at every temperature.  (B,) -> (B, C).

    >>> one_hot_logits(torch.tensor([1]), 3)
    tensor([[-inf, 0., -inf]])
    """
    ruled_out = torch.full((len(classes_B), count), -math.inf)
    return ruled_out.scatter(-1, classes_B.unsqueeze(-1), 0.0)


def smoothed_logits(labels_B: Tensor, count: int, *, temperature: float, smoothing: float) -> Tensor:
    """Logits of `smooth_labels`: softmax(. / T) is (1 - smoothing) onehot(label) + smoothing / C.  (B,) -> (B, C)."""
    return temperature * smooth_labels(labels_B, classes=count, smoothing=smoothing).log()


def smoothed_binary_logits(labels_BC: Tensor, *, temperature: float, smoothing: float) -> Tensor:
    """The same for yes or no: sigmoid(. / T) = y (1 - smoothing) + smoothing / 2.  (B, C) -> (B, C)."""
    return temperature * torch.logit(labels_BC.float() * (1 - smoothing) + smoothing / 2)


def smoothing_of_entropy(entropy: float, classes: int) -> float:
    """Return the smoothing at which smoothed labels have this entropy, by bisection.  nats -> [0, 1].

    The entropy of (1 - s) onehot + s / C rises with s from 0 to log C.
    Raises: ArgumentError for an entropy outside [0, log C], or fewer than two classes.

    >>> round(smoothing_of_entropy(math.log(4), 4), 6), smoothing_of_entropy(0.0, 4)
    (1.0, 0.0)
    """
    most = math.log(classes) if classes > 1 else 0.0
    # A mean of float32 entropies of uniform rows may pass log C by a rounding.
    if not 0 <= entropy <= most + 1e-5 or classes < 2:
        raise ArgumentError(
            f"smoothing_of_entropy: entropy must lie in [0, log C], and C be 2 or more. Got {entropy} and {classes}."
        )
    low, high = 0.0, 1.0
    while high - low > 1e-15:
        middle = (low + high) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if entropy_of_smoothing(middle, classes) < entropy else (low, middle)
    return low if entropy == 0 else high


def entropy_of_smoothing(smoothing: float, classes: int) -> float:
    """Entropy of (1 - smoothing) onehot + smoothing / C, in nats.

    >>> round(entropy_of_smoothing(1.0, 4), 4)  # log 4
    1.3863
    """
    other = smoothing / classes
    top = 1 - smoothing + other
    return -sum(times * value * math.log(value) for times, value in ((1, top), (classes - 1, other)) if value > 0)


def donors(groups_N: Tensor, ids_N: Tensor, *, seed: int) -> Tensor:
    """Give each row the position of another row of its group.  (N,) or (N, K), (N,) int64 -> (N,) int64.

    Each group is put into a random order, by the rows' ids and the seed, and every row takes from the next one, the
    last from the first: each row gives once and takes once. A row that is alone in its group has but itself.

    >>> donors(torch.tensor([0, 1, 0]), torch.tensor([7, 8, 9]), seed=0)
    tensor([2, 1, 0])
    """
    _, group_N = torch.unique(groups_N, dim=0, return_inverse=True)
    chance = uniforms(row_keys(seed, 0, ids_N), 1, stream=_ORDER).squeeze(-1)
    shuffled = chance.argsort(stable=True)
    order = shuffled[group_N[shuffled].argsort(stable=True)]
    sizes = torch.bincount(group_N)
    ends = sizes.cumsum(0)
    following = torch.arange(1, len(order) + 1)
    following[ends[sizes > 0] - 1] = (ends - sizes)[sizes > 0]
    return torch.empty_like(order).scatter(0, order, order[following])
