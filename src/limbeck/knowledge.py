"""Floor 1. What more than one network reveals: a mixture, told at which temperature to mix.

Shape legend, this file:  M members, B rows of a batch, C classes or labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from limbeck.functional.mixtures import arithmetic_mixture, geometric_mixture
from limbeck.types import Dense, Head, Knowledge, LogitKnowledge

Mean: TypeAlias = Literal["arithmetic", "geometric"]
"""Which mean of the members' distributions is the ensemble's (Hinton et al. 2015, section 1, name both)."""

MIXTURES = {"arithmetic": arithmetic_mixture, "geometric": geometric_mixture}
"""The function of each mean: members' logits (M, B, C) and a temperature -> logits (B, C)."""


@dataclass(frozen=True, slots=True, eq=False)
class MixtureKnowledge:
    """What an ensemble reveals: every member's logits, mixed at the temperature that is asked for."""

    logits_MBC: Tensor
    """Every member's logits."""
    mean: Mean
    """Which mean of the members' distributions."""
    weights: tuple[float, ...]
    """One weight a member, not negative; normalised when mixing."""
    head: Head = "softmax"
    """How the logits become probabilities."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Always empty: features belong to members, and members differ."""

    def at(self, temperature: float) -> Dense:
        """Mix at a temperature: softmax(logits / T) of what is returned is the mean of all softmax(z_m / T)."""
        mixture = MIXTURES[self.mean]
        if self.head == "softmax":
            return Dense(mixture(self.logits_MBC, temperature=temperature, weights=self.weights))
        # A label is a distribution over {yes, no}: mix those, and take log-odds again.
        yes_no = mixture(
            Dense(self.logits_MBC, "sigmoid").as_categorical(), temperature=temperature, weights=self.weights
        )
        return Dense(yes_no[..., 0] - yes_no[..., 1], "sigmoid")


def is_tempered(knowledge: Knowledge) -> bool:
    """Whether the answers at all temperatures are one row of logits, divided: one network, or a geometric mean."""
    if isinstance(knowledge, MixtureKnowledge):
        return knowledge.mean == "geometric"
    return isinstance(knowledge, LogitKnowledge)
