"""Every class's logit: the encoding that changes nothing, or rounds to 16 bits.

Shape legend, this file:  B rows, T recorded temperatures, C classes or labels.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from limbeck.errors import MismatchError
from limbeck.keyed import Keys
from limbeck.knowledge import is_tempered
from limbeck.targets.encodings.narrow import Precision, check_precision, narrowed, rounding_error
from limbeck.targets.encodings.recorded import RecordedKnowledge, check_temperatures, dense_at
from limbeck.targets.layout import DTYPES, Field, Layout
from limbeck.types import Dense, Head, Knowledge, LogitKnowledge


@final
@dataclass(frozen=True)
class DenseLogits:
    """All logits of a row, in 32 or 16 bits.

    Error: none in float32, where the stored bits are the bits produced. In 16 bits `log_prob_error`; KL(p || p') is at
    most 2.02 · 2^-11 · log C nats in float16, and eight times that in bfloat16, whose range is that of float32.

    Raises: ArgumentError for another dtype, or temperatures that are not positive, ascending and distinct.
    """

    name: ClassVar[str] = "dense"

    dtype: Precision = "float32"
    """In which type."""
    temperatures: tuple[float, ...] | None = None
    """None: one row of logits that answers every temperature. Otherwise logits for each of these: an arithmetic mixture
    has other ones at every temperature."""

    def __post_init__(self) -> None:
        check_precision("DenseLogits", self.dtype)
        if self.temperatures is not None:
            check_temperatures("DenseLogits", self.temperatures)

    def layout(self, classes: int) -> Layout:
        """`logits`, (C,) or (T, C)."""
        shape = (classes,) if self.temperatures is None else (len(self.temperatures), classes)
        return Layout([Field("logits", DTYPES[self.dtype], shape)])

    def encode(self, knowledge: Knowledge, keys: Keys) -> dict[str, Tensor]:
        """Return the logits. Raises: MismatchError for an arithmetic mixture where no temperatures are named."""
        if self.temperatures is None:
            if not is_tempered(knowledge):
                raise MismatchError(
                    "An arithmetic mixture has other logits at every temperature; name those to record with "
                    "--temperatures, or record every member with --encoding members."
                )
            answer = dense_at(knowledge, 1.0)
            return {"logits": narrowed(answer.logits, self.dtype, answer.head)}
        answers = [dense_at(knowledge, temperature) for temperature in self.temperatures]
        logits_BTC = torch.stack([answer.logits for answer in answers], 1)
        return {"logits": narrowed(logits_BTC, self.dtype, answers[0].head)}

    def decode(
        self, fields: Mapping[str, Tensor], head: Head, classes: int, features: Mapping[str, Tensor]
    ) -> Knowledge:
        """Return the logits in float32, to be asked at every temperature or at the recorded ones."""
        logits = fields["logits"].float()
        if self.temperatures is None:
            return LogitKnowledge(logits, head, features)
        return RecordedKnowledge(self.temperatures, lambda number: Dense(logits[:, number], head), features)

    def log_prob_error(self, log_probs: Tensor, temperature: float = 1.0) -> Tensor:
        """Bound on |log p'_c - log p_c| of a softmax head, p at a temperature.  (..., C) -> (..., C)."""
        return rounding_error(log_probs, self.dtype, temperature)

    def as_json(self) -> dict[str, Any]:
        """Return its name and settings."""
        temperatures = None if self.temperatures is None else list(self.temperatures)
        return {"name": self.name, "dtype": self.dtype, "temperatures": temperatures}
