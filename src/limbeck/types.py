"""The vocabulary: what travels between data, teachers, objectives and the loop.

Shape legend, this file:  B rows of a batch, C classes (softmax head) or labels (sigmoid head).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, Self, TypeAlias

import numpy as np
import torch
from torch import Tensor

Head: TypeAlias = Literal["softmax", "sigmoid"]
"""How logits become probabilities: one class of C (softmax), or C independent yes/no labels (sigmoid)."""

Columns: TypeAlias = Mapping[str, Tensor | Sequence[Any]]
"""Raw rows by column: a tensor whose first axis is the rows, or a sequence (strings, images of several sizes)."""

ModelInput: TypeAlias = Tensor | Mapping[str, Any] | tuple[Any, ...]
"""What a module is called with: one tensor, keyword arguments, or positional arguments."""

Prepare: TypeAlias = Callable[[Columns], ModelInput]
"""From a batch of raw rows to one model's input. Each model brings its own; models that share one share its work."""

Augment: TypeAlias = Callable[[Columns, "np.ndarray[Any, np.dtype[np.uint64]]"], Columns]
"""From a batch of raw rows, and a key for each (`keyed.Keys`, (B,)), to the same rows, seen otherwise: before any
model's `prepare`, so that teacher and student see the same. What becomes of a row is a function of the row and its key
alone, whatever rows stand beside it; column names and dtypes stay."""


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Raw rows of a transfer set, before any model's `prepare`."""

    columns: Columns
    """The raw features by column name."""
    labels: Tensor | None
    """(B,) int64 class indices, (B, C) float multi-hot for a sigmoid head, or None."""
    ids: Tensor
    """(B,) int64: each row's number in the dataset that it came from."""

    def __len__(self) -> int:
        return self.ids.shape[0]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What travels from the data to every model."""

    inputs: Mapping[Prepare, ModelInput]
    """One prepared input for each distinct `prepare` among the models."""
    labels: Tensor | None
    """(B,) int64, (B, C) float for a sigmoid head, or None."""
    ids: Tensor
    """(B,) int64, always on the CPU: ids are names, not numbers to compute with."""
    view: int = 0
    """Which augmented view of the rows this is; 0 is the raw rows. View v of a row is a function of (seed of the views,
    v, id) alone, so that a teacher asked weeks ago has seen the same."""

    def __len__(self) -> int:
        return self.ids.shape[0]

    def to(self, device: torch.device) -> Self:
        """Move inputs and labels to a device."""
        if device.type == "cpu":
            return self
        return type(self)(
            inputs={prepare: _moved(value, device) for prepare, value in self.inputs.items()},
            labels=None if self.labels is None else self.labels.to(device, non_blocking=True),
            ids=self.ids,
            view=self.view,
        )


def _moved(value: Any, device: torch.device) -> Any:
    if isinstance(value, Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, Mapping):
        return {key: _moved(item, device) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_moved(item, device) for item in value)
    return value


class TransferSet(Protocol):
    """The rows that a student learns from, labelled or not."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of the classes in the order of the label indices; None where nothing names or counts them."""

    @property
    def head(self) -> Head:
        """softmax where a row has one class, sigmoid where it has any number of labels."""

    @property
    def labelled(self) -> bool:
        """Whether rows carry labels."""

    @property
    def ids(self) -> Tensor:
        """(N,) int64: each row's number in the dataset that it came from."""

    @property
    def labels(self) -> Tensor | None:
        """(N,) int64 or (N, C) float labels of all rows, without reading the features; None where unlabelled."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the content: rows, labels, ids and class names."""

    def __len__(self) -> int: ...

    def rows(self, positions: Tensor) -> Rows:
        """Read the rows at the given positions (not ids), (B,) int64 in [0, N)."""

    def subset(self, positions: Tensor) -> "TransferSet":
        """Return the rows at the given positions as a transfer set of its own, with the ids that they have here."""


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """A full distribution per row at the T asked for: softmax(logits / T), or sigmoid(logits / T) per label."""

    logits: Tensor
    """(B, C), unnormalised."""
    head: Head = "softmax"
    """How the logits become probabilities."""

    def as_categorical(self) -> Tensor:
        """Logits of ordinary softmax distributions: (B, C), or (B, C, 2) for a sigmoid head.

        sigmoid(z / T) = softmax([z, 0] / T)[0], so that every divergence of the core serves both heads: a sigmoid head
        is C distributions over {yes, no}, and its divergence is the sum over the labels.
        """
        if self.head == "softmax":
            return self.logits
        return torch.stack((self.logits, torch.zeros_like(self.logits)), dim=-1)


@dataclass(frozen=True, slots=True, eq=False)
class TopK:
    """The likeliest classes of a distribution at the T asked for, and the weight of all others together."""

    ids: Tensor
    """(B, K) int64: the classes that are told apart, distinct in each row, in [0, C)."""
    log_probs: Tensor
    """(B, K), their log-probabilities; with the tail they sum to 1 up to the precision of what was stored."""
    tail_log_prob: Tensor
    """(B,), the log of what the other C - K classes have together; -inf where there is nothing left."""
    classes: int
    """C."""


@dataclass(frozen=True, slots=True, eq=False)
class Sampled:
    """Classes drawn from a distribution at the T asked for: an unbiased, noisy picture of it."""

    ids: Tensor
    """(B, K) int64, in [0, C); a class that was drawn twice may come twice."""
    weights: Tensor
    """(B, K), not negative, summing to 1 in each row; the expected weight of a class is its probability."""
    classes: int
    """C."""


Answer: TypeAlias = Dense | TopK | Sampled
"""A distribution per row, whole or in part."""


class Knowledge(Protocol):
    """What a model reveals on a batch."""

    @property
    def features(self) -> Mapping[str, Tensor]:
        """Captured inner activations by the name of the submodule; empty unless asked for."""

    def at(self, temperature: float) -> Answer:
        """Answer at a temperature: a mixture's distribution depends on it *before* mixing, so it must be told.

        Raises: MismatchError where it was recorded at other temperatures only.
        """


@dataclass(frozen=True, slots=True, eq=False)
class LogitKnowledge:
    """The knowledge of one network: the same logits at every temperature."""

    logits: Tensor
    """(B, C), unnormalised."""
    head: Head = "softmax"
    """How the logits become probabilities."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Captured inner activations by the name of the submodule."""

    def at(self, temperature: float) -> Dense:
        """Return the logits; softmax(logits / T) is the network's distribution at T."""
        return Dense(self.logits, self.head)


class Teacher(Protocol):
    """What can answer a batch."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what determines the answers: architecture and weights, or recorded content."""

    @property
    def head(self) -> Head:
        """How its logits become probabilities."""

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of its classes, in order; None where it does not know them."""

    @property
    def prepares(self) -> tuple[Prepare, ...]:
        """The `prepare` functions whose outputs it reads from a batch; empty for a recorded teacher."""

    def __call__(self, batch: Batch) -> Knowledge:
        """Answer a batch, without gradients."""

    def to(self, device: torch.device) -> Self:
        """Move to a device; returns itself."""
