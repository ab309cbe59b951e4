"""The likeliest classes, and the weight of all others together.

Shape legend, this file:  B rows, T recorded temperatures, C classes, K classes that are told apart.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from limbeck.errors import ArgumentError, MismatchError
from limbeck.keyed import Keys
from limbeck.knowledge import is_tempered
from limbeck.targets.encodings.recorded import (
    RecordedKnowledge,
    check_temperatures,
    check_whole,
    checked_ids,
    id_dtype,
    require_softmax,
    softmax_at,
)
from limbeck.targets.layout import Field, Layout
from limbeck.types import Answer, Head, Knowledge, TopK

_WHAT = "Top-k targets"


@final
@dataclass(frozen=True)
class TopKLogProbs:
    """K log-probabilities in float16, their ids in the smallest integer that fits, and the log of the tail's weight.

    The K classes are the likeliest at the lowest temperature. Where the answers at all temperatures are one row of
    logits, divided (`tempered`), log-probabilities l at the lowest temperature T0 are enough for all: on the K classes
    log p_T is l T0 / T and a constant, which follows from the tail's weight t at T, since they sum to 1 - t. So each
    further temperature costs two bytes. Otherwise log-probabilities are stored for each.

    Error, on the K + 1 events that are told apart: KL(p || p') is at most `kl_error`, and at T0 (or where not tempered)
    sum p |log p' - log p| <= 2^-11 H(p) + 2^-25 before normalisation: float16 rounds a number by 2^-11 of itself.

    Raises: ArgumentError for a k below 1, or temperatures that are not positive, ascending and distinct.
    """

    name: ClassVar[str] = "top-k"

    k: int
    """How many classes are told apart, in [1, C]."""
    temperatures: tuple[float, ...]
    """Those that can be asked for."""
    tempered: bool
    """Whether one row of log-probabilities serves all temperatures: of one network, or of a geometric mean."""

    def __post_init__(self) -> None:
        check_whole("TopKLogProbs", k=self.k)
        check_temperatures("TopKLogProbs", self.temperatures)

    def layout(self, classes: int) -> Layout:
        """`log_probs` (K,) or (T, K), `tail_log_probs` (T,), `ids` (K,). Raises: ArgumentError for k above C."""
        if self.k > classes:
            raise ArgumentError(f"TopKLogProbs: k must be at most the number of classes, {classes}. Got {self.k}.")
        count = len(self.temperatures)
        return Layout(
            [
                Field("log_probs", torch.float16, (self.k,) if self.tempered else (count, self.k)),
                Field("tail_log_probs", torch.float16, (count,)),
                Field("ids", id_dtype(classes), (self.k,)),
            ]
        )

    def encode(self, knowledge: Knowledge, keys: Keys) -> dict[str, Tensor]:
        """Return ids and log-probabilities. Raises: MismatchError for a sigmoid head, or one row for a mixture."""
        if self.tempered and not is_tempered(knowledge):
            raise MismatchError(
                "An arithmetic mixture has other log-probabilities at every temperature; record it with tempered=False."
            )
        log_probs_TBC = [self._log_probs(knowledge, temperature) for temperature in self.temperatures]
        _require_distributions(log_probs_TBC[0])
        kept, ids = log_probs_TBC[0].topk(self.k)
        # Summed over the others: 1 - sum over the kept would lose a small tail to rounding.
        tails = [log_probs.scatter(-1, ids, -torch.inf).logsumexp(-1) for log_probs in log_probs_TBC]
        if not self.tempered:
            kept = torch.stack([log_probs.gather(-1, ids) for log_probs in log_probs_TBC], 1)
        return {
            "log_probs": kept.half().cpu(),
            "tail_log_probs": torch.stack(tails, 1).half().cpu(),
            "ids": ids.to(id_dtype(log_probs_TBC[0].shape[-1])).cpu(),
        }

    def decode(
        self, fields: Mapping[str, Tensor], head: Head, classes: int, features: Mapping[str, Tensor]
    ) -> Knowledge:
        """Return top-k answers. Raises: StoreError for ids that are no classes; MismatchError for a sigmoid head."""
        require_softmax(head, _WHAT)
        ids, log_probs = checked_ids(fields["ids"], classes), fields["log_probs"].float()
        tails = fields["tail_log_probs"].float()

        def answer(number: int) -> Answer:
            own = self._retempered(log_probs, tails[:, number], number) if self.tempered else log_probs[:, number]
            return TopK(ids, own, tails[:, number], classes)

        return RecordedKnowledge(self.temperatures, answer, features)

    def kl_error(self) -> float:
        """Bound on KL(p || p') of the K + 1 events that are told apart, in nats, at each of `temperatures`.

        1.01 · 2^-10 (log(K + 1) + 1) + 2^-20. With d the change of the log-probabilities before they are normalised,
        KL(p || p') <= E_p |d| + E_p' |d|, and |d_c| <= u |log p_c| with u = 2^-11, so that it is at most the sum of the
        two entropies, times u. At a temperature above T0 that holds within the K classes (scaled by T0 / T, |l| is at
        most |log p_T|), and telling them from the tail adds at most u (t |log t| + 1 - t) < 1.14 u. The summand 2^-20
        covers numbers near zero, where float16 is 2^-25 wide of the mark, and float32's own rounding.
        """
        return 1.01 * 2.0**-10 * (math.log(self.k + 1) + 1) + 2.0**-20

    def as_json(self) -> dict[str, Any]:
        """Return its name and settings."""
        return {"name": self.name, "k": self.k, "temperatures": list(self.temperatures), "tempered": self.tempered}

    def _log_probs(self, knowledge: Knowledge, temperature: float) -> Tensor:
        logits = softmax_at(knowledge, temperature, _WHAT)
        self.layout(logits.shape[-1])
        return (logits if temperature == 1 else logits / temperature).log_softmax(-1)

    def _retempered(self, log_probs_BK: Tensor, tail_log_prob_B: Tensor, number: int) -> Tensor:
        lowest, temperature = self.temperatures[0], self.temperatures[number]
        if temperature == lowest:
            return log_probs_BK
        scaled = log_probs_BK * (lowest / temperature)
        # log(1 - t) by expm1: of a tail that is all but everything, 1 - exp(log t) would leave nothing.
        together = (-tail_log_prob_B.expm1()).log()
        return scaled.log_softmax(-1) + together.unsqueeze(-1)


def _require_distributions(log_probs: Tensor) -> None:
    if log_probs.isnan().any():
        raise ArgumentError(
            "A logit of the teacher is NaN or inf, or all of a row are -inf, which nothing can be learnt from; has it "
            "diverged?"
        )
