"""Floor 1. Knowledge beyond one network's logits: mixtures, and what can be shown of partial answers.

Shape legend, this file:  M members, B rows of a batch, C classes or labels.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor

from limbeck.errors import MismatchError
from limbeck.functional.mixtures import arithmetic_mixture, geometric_mixture
from limbeck.types import Answer, Dense, Head, Knowledge, LogitKnowledge, Sampled

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


def shown_logits(knowledge: Knowledge, temperature: float = 1.0) -> Tensor | None:
    """Logits (B, C) by which a teacher is scored or shown at a temperature: softmax(logits / T) is what it says.

    Of a top-k answer the tail is spread evenly over the classes that are not told apart: a guess that is good enough
    to look at, and changes no first choice. None where nothing can be shown: samples, or a temperature that was not
    recorded.
    """
    try:
        answer = knowledge.at(temperature)
    except MismatchError:
        return None
    if isinstance(answer, Dense):
        return answer.logits
    if isinstance(answer, Sampled):
        return None
    others = max(answer.classes - answer.ids.shape[-1], 1)
    spread = (
        (answer.tail_log_prob.float() - math.log(others)).unsqueeze(-1).expand(*answer.ids.shape[:-1], answer.classes)
    )
    return temperature * spread.scatter(-1, answer.ids, answer.log_probs.float())


def width_of(answer: Answer) -> int:
    """The number of classes that an answer is about."""
    return answer.logits.shape[-1] if isinstance(answer, Dense) else answer.classes
