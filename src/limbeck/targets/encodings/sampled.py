"""Classes drawn from the teacher's distribution: unbiased, and as small as one likes.

Shape legend, this file:  B rows, T recorded temperatures, C classes, D draws.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from limbeck.errors import ArgumentError
from limbeck.keyed import Keys, uniforms
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
from limbeck.types import Answer, Head, Knowledge, Sampled

_WHAT = "Sampled targets"
_STREAM = 0x5A3D1E
"""Keeps these draws apart from others that are made with the rows' keys."""


@final
@dataclass(frozen=True)
class SampledTargets:
    """The ids of `draws` classes, each of weight 1 / draws; a class that was drawn twice stands there twice.

    The expected weight of a class is its probability, so that a cross-entropy and its gradient are unbiased, as in
    Anshumann et al., Sparse Logit Sampling, ACL 2025, who draw independently and store counts. Here the draws are
    systematic (Madow & Madow 1944): one number u of the row's key, uniform in [0, 1), and the classes at (u + i) / D of
    the cumulative distribution, i = 0 ... D - 1. A class then comes floor(D p) or ceil(D p) times: its weight is off by
    less than 1 / D (`weight_error`) and has the variance f (1 - f) / D² with f the fraction of D p, where independent
    draws have p (1 - p) / D, which is never less.

    Raises: ArgumentError for draws below 1, or temperatures that are not positive, ascending and distinct.
    """

    name: ClassVar[str] = "sampled"

    draws: int
    """How many a row and temperature."""
    temperatures: tuple[float, ...]
    """Those that can be asked for."""
    seed: int = 0
    """Another seed draws anew, with the same keys; in [0, 2^63)."""

    def __post_init__(self) -> None:
        check_whole("SampledTargets", draws=self.draws)
        check_temperatures("SampledTargets", self.temperatures)
        check_whole("SampledTargets", least=0, seed=self.seed)

    def layout(self, classes: int) -> Layout:
        """`ids`, (T, D)."""
        return Layout([Field("ids", id_dtype(classes), (len(self.temperatures), self.draws))])

    def encode(self, knowledge: Knowledge, keys: Keys) -> dict[str, Tensor]:
        """Draw. Raises: MismatchError for a sigmoid head; ArgumentError for logits that are NaN."""
        offsets_BT = uniforms(keys, len(self.temperatures), stream=_STREAM ^ self.seed)
        drawn = []
        for number, temperature in enumerate(self.temperatures):
            probs = (softmax_at(knowledge, temperature, _WHAT) / temperature).softmax(-1).cpu()
            drawn.append(systematic_sample(probs, offsets_BT[:, number], self.draws).to(id_dtype(probs.shape[-1])))
        return {"ids": torch.stack(drawn, 1)}

    def decode(
        self, fields: Mapping[str, Tensor], head: Head, classes: int, features: Mapping[str, Tensor]
    ) -> Knowledge:
        """Return sampled answers. Raises: StoreError for ids that are no classes; MismatchError for a sigmoid head."""
        require_softmax(head, _WHAT)
        ids_BTD = checked_ids(fields["ids"], classes)
        weights = torch.full((1, 1), 1 / self.draws, device=ids_BTD.device).expand(len(ids_BTD), self.draws)

        def answer(number: int) -> Answer:
            return Sampled(ids_BTD[:, number], weights, classes)

        return RecordedKnowledge(self.temperatures, answer, features)

    def weight_error(self) -> float:
        """Bound on |weight of a class - its probability|: 1 / draws."""
        return 1 / self.draws

    def as_json(self) -> dict[str, Any]:
        """Return its name and settings."""
        return {"name": self.name, "draws": self.draws, "temperatures": list(self.temperatures), "seed": self.seed}


def systematic_sample(probs: Tensor, offsets: Tensor, draws: int) -> Tensor:
    """Classes at (u + i) / D of the cumulative distribution, ascending.  (B, C), (B,) in [0, 1) -> (B, D) int64.

    Raises: ArgumentError for probs that are NaN.
    """
    cumulative = probs.double().cumsum(-1)
    total = cumulative[:, -1:]
    if total.isnan().any():
        raise ArgumentError(
            "A logit of the teacher is NaN or inf, or all of a row are -inf, which nothing can be drawn from; has it "
            "diverged?"
        )
    points = (offsets.unsqueeze(-1) + torch.arange(draws, dtype=torch.float64)) / draws
    # Below 1 even after rounding, so that no class of probability zero is drawn at the end; the first whose cumulative
    # share is *above* the point, so that none is drawn at the beginning.
    return torch.searchsorted(cumulative / total, points.clamp_max(1 - 2.0**-53), right=True)
