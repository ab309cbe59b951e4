"""Every member of an ensemble: as many times the bytes, and every temperature can be asked for.

Shape legend, this file:  B rows, M members, C classes or labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor

from limbeck._checks import check_weights
from limbeck.errors import ArgumentError, MismatchError
from limbeck.keyed import Keys
from limbeck.knowledge import MIXTURES, Mean, MixtureKnowledge
from limbeck.targets.encodings.narrow import Precision, check_precision, narrowed, rounding_error
from limbeck.targets.encodings.recorded import check_whole
from limbeck.targets.layout import DTYPES, Field, Layout
from limbeck.types import Head, Knowledge


@final
@dataclass(frozen=True)
class Members:
    """All logits of every member, mixed when they are asked for.

    Error: that of `DenseLogits` for each member. No log-probability of the mixture changes by more than the one that
    changes most among the members' (arithmetic), or by more than their mean bound and its normalisation (geometric).

    Raises: ArgumentError for a mean, weights or dtype that cannot be.
    """

    name: ClassVar[str] = "members"
    temperatures: ClassVar[None] = None

    members: int
    """How many."""
    mean: Mean
    """Which mean of their distributions is the ensemble's."""
    weights: tuple[float, ...]
    """One a member, not negative."""
    dtype: Precision = "float32"
    """In which type."""

    def __post_init__(self) -> None:
        check_whole("Members", members=self.members)
        check_weights("Members", self.weights, self.members)
        check_precision("Members", self.dtype)
        if self.mean not in MIXTURES:
            raise ArgumentError(f"Members: mean must be one of {', '.join(MIXTURES)}. Got {self.mean!r}.")

    def layout(self, classes: int) -> Layout:
        """`logits`, (M, C)."""
        return Layout([Field("logits", DTYPES[self.dtype], (self.members, classes))])

    def encode(self, knowledge: Knowledge, keys: Keys) -> dict[str, Tensor]:
        """Return every member's logits. Raises: MismatchError for what is not this ensemble."""
        if not isinstance(knowledge, MixtureKnowledge):
            raise MismatchError("Only an ensemble has members to record; of one network, record dense targets.")
        told = (len(knowledge.logits_MBC), knowledge.mean, tuple(knowledge.weights))
        if told != (self.members, self.mean, self.weights):
            raise MismatchError(
                f"The recording is of {self.members} members ({self.mean} mean, weights {list(self.weights)}), and the "
                f"ensemble has {told[0]} ({told[1]} mean, weights {list(told[2])}); record it into a folder of its own."
            )
        return {"logits": narrowed(knowledge.logits_MBC.transpose(0, 1), self.dtype, knowledge.head)}

    def decode(
        self, fields: Mapping[str, Tensor], head: Head, classes: int, features: Mapping[str, Tensor]
    ) -> Knowledge:
        """Return the ensemble's knowledge, in float32."""
        return MixtureKnowledge(fields["logits"].float().transpose(0, 1), self.mean, self.weights, head, features)

    def log_prob_error(self, log_probs: Tensor, temperature: float = 1.0) -> Tensor:
        """Bound on |log p'_c - log p_c| of one member of a softmax head, p at a temperature.  (..., C) -> (..., C)."""
        return rounding_error(log_probs, self.dtype, temperature)

    def as_json(self) -> dict[str, Any]:
        """Return its name and settings."""
        return {
            "name": self.name,
            "members": self.members,
            "mean": self.mean,
            "weights": list(self.weights),
            "dtype": self.dtype,
        }
