"""Logits as a few int8 coefficients in a basis that all rows share.

Shape legend, this file:  N rows to fit on, B rows of a batch, C classes or labels, R components, L likeliest classes.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from limbeck.errors import ArgumentError, MismatchError, StoreError
from limbeck.keyed import Keys
from limbeck.knowledge import is_tempered
from limbeck.targets.encodings.recorded import RecordedKnowledge, check_temperatures, check_whole, dense_at
from limbeck.targets.layout import Field, Layout
from limbeck.types import Dense, Head, Knowledge, LogitKnowledge

_STEPS = 126.9
"""The largest coefficient of a row in steps: below 127 by more than float16 rounds the scale by."""

_SHARE = 0.8
"""Share of the weight of an error that follows the teacher's probability of the class; the rest is even over classes.

Measured on a language model of 1,000 classes, rank 62: even weights leave ten times the KL at T = 1 and a hundred times
the squared error of the probabilities; at T = 4 a tenth less KL, but more than twice the squared error. A share of 0.95
halves the squared error at T = 1 once more, and adds a third to the KL at T = 4."""

_LIKELIEST = 64
"""The classes, at least, whose weight follows their own probability; more gain little, and cost in proportion."""

_CHUNK_ROWS = 1024


@final
@dataclass(frozen=True, eq=False)
class LowRank:
    """logits ≈ mean + (scale · coefficients) @ basis: R int8 numbers and a float16 scale a row.

    Error: of a logit, up to a constant of the row (for a softmax head), at most |what the basis cannot express| and
    scale / 2 · sum_r |basis_rc| for the rounding: `logit_error`. Of probabilities: KL(p || p') <= (range of the error
    of the logits)² / 8 T² (Hoeffding's lemma), for every T.

    Raises: ArgumentError for a basis that is not (R, C) beside a mean (C,), or for more than one temperature.
    """

    name: ClassVar[str] = "low-rank"

    basis_RC: Tensor
    """Directions in the space of logits, scaled so that coefficients are of one size; float32."""
    mean_C: Tensor
    """What all rows have in common; float32."""
    temperatures: tuple[float, ...] | None = None
    """None: tempered knowledge, which is answered at every temperature; one: an arithmetic mixture's."""

    def __post_init__(self) -> None:
        if self.basis_RC.ndim != 2 or self.mean_C.shape != self.basis_RC.shape[1:]:
            got = f"{tuple(self.basis_RC.shape)} and {tuple(self.mean_C.shape)}"
            raise ArgumentError(f"LowRank: the basis must be (R, C) and the mean (C,). Got {got}.")
        if self.temperatures is not None:
            check_temperatures("LowRank", self.temperatures)
            if len(self.temperatures) > 1:
                raise ArgumentError(
                    "LowRank: a mixture that differs at every temperature can be recorded at one only. "
                    f"Got {list(self.temperatures)}."
                )

    @property
    def rank(self) -> int:
        """R."""
        return self.basis_RC.shape[0]

    def layout(self, classes: int) -> Layout:
        """`scale` (), `coefficients` (R,). Raises: ArgumentError where the basis is of another number of classes."""
        self._check_classes(classes)
        return Layout([Field("scale", torch.float16, ()), Field("coefficients", torch.int8, (self.rank,))])

    def encode(self, knowledge: Knowledge, keys: Keys) -> dict[str, Tensor]:
        """Return scales and coefficients. Raises: MismatchError, ArgumentError for logits that are not finite."""
        answer = self._answer(knowledge)
        scale_B, coefficients_BR = _quantised(self._coefficients(answer))
        return {"scale": scale_B.cpu(), "coefficients": coefficients_BR.cpu()}

    def decode(
        self, fields: Mapping[str, Tensor], head: Head, classes: int, features: Mapping[str, Tensor]
    ) -> Knowledge:
        """Return the logits, to be asked at every temperature or at the recorded one."""
        if classes != self.mean_C.shape[0]:
            raise StoreError(
                f"The basis is of {self.mean_C.shape[0]} classes, and the store of {classes}: it is damaged."
            )
        scaled_BR = fields["coefficients"].float() * fields["scale"].float().unsqueeze(-1)
        device = scaled_BR.device
        with torch.autocast(device.type, enabled=False):  # a student's half precision is not the teacher's
            logits = torch.addmm(self.mean_C.to(device), scaled_BR, self.basis_RC.to(device))
        if self.temperatures is None:
            return LogitKnowledge(logits, head, features)
        return RecordedKnowledge(self.temperatures, lambda _: Dense(logits, head), features)

    def logit_error(self, knowledge: Knowledge) -> Tensor:
        """Bound on the error of each logit of these rows, up to a constant of the row.  -> (B, C) float64."""
        answer = self._answer(knowledge)
        exact_BR = self._coefficients(answer)
        basis_RC, target_BC = self._double(exact_BR.device, answer.logits)
        residual_BC = target_BC - exact_BR @ basis_RC
        if answer.head == "softmax":
            residual_BC = residual_BC - residual_BC.mean(-1, keepdim=True)
        scale_B, _ = _quantised(exact_BR)
        return residual_BC.abs() + scale_B.double().unsqueeze(-1) / 2 * basis_RC.abs().sum(0)

    def side(self) -> dict[str, Tensor]:
        """Return what is stored once beside the rows."""
        return {"basis": self.basis_RC, "mean": self.mean_C}

    def as_json(self) -> dict[str, Any]:
        """Return its name and settings."""
        temperatures = None if self.temperatures is None else list(self.temperatures)
        return {"name": self.name, "rank": self.rank, "temperatures": temperatures}

    def _check_classes(self, classes: int) -> None:
        if classes != self.mean_C.shape[0]:
            raise ArgumentError(f"LowRank: the basis is of {self.mean_C.shape[0]} classes, and the rows of {classes}.")

    def _answer(self, knowledge: Knowledge) -> Dense:
        if self.temperatures is None and not is_tempered(knowledge):
            raise MismatchError(
                "An arithmetic mixture has other logits at every temperature; fit the low-rank basis with the one "
                "temperature to record, or record every member."
            )
        answer = dense_at(knowledge, 1.0 if self.temperatures is None else self.temperatures[0])
        self._check_classes(answer.logits.shape[-1])
        _require_finite(answer.logits)
        return answer

    def _double(self, device: torch.device, logits: Tensor) -> tuple[Tensor, Tensor]:
        return self.basis_RC.to(device).double(), logits.detach().double() - self.mean_C.to(device).double()

    def _coefficients(self, answer: Dense) -> Tensor:
        """The coefficients (B, R) that lie nearest, where it matters, before they are rounded."""
        basis_RC, target_BC = self._double(answer.logits.device, answer.logits)
        if answer.head == "sigmoid":
            solution: Tensor = torch.linalg.solve(basis_RC @ basis_RC.T, basis_RC @ target_BC.T)
            return solution.T
        temperature = 1.0 if self.temperatures is None else self.temperatures[0]
        probs_BC = (answer.logits.detach().double() / temperature).softmax(-1)
        return _weighted_fit(basis_RC, target_BC, probs_BC)


def fit_low_rank(
    logits_NC: Tensor, rank: int, temperatures: tuple[float, ...] | None = None, *, head: Head = "softmax"
) -> LowRank:
    """Fit a basis to a sample of logits: their mean and principal components.  (N, C) -> LowRank.

    Rows of a softmax head are centred first, as a constant says nothing there. Deterministic for one machine: the
    covariance and its eigenvectors in float64, each vector signed so that its largest entry is positive.

    Raises: ArgumentError for a rank outside [1, C], no rows, or logits that are not finite.
    """
    check_whole("fit_low_rank", rank=rank)
    rows, classes = logits_NC.shape
    if rank > classes or not rows:
        raise ArgumentError(
            f"fit_low_rank: there must be at least one row, and at most as many components as classes. "
            f"Got {rows} rows, {classes} classes, rank {rank}."
        )
    _require_finite(logits_NC)
    mean_C, covariance_CC = _moments(logits_NC, head)
    values_C, vectors_CC = torch.linalg.eigh(covariance_CC)
    spread_R = values_C.flip(0)[:rank].clamp_min(0).sqrt()
    vectors_RC = vectors_CC.flip(1)[:, :rank].T
    largest_R = vectors_RC.gather(1, vectors_RC.abs().argmax(1, keepdim=True))
    # A row's coefficients share one step. Directions scaled by their own spread would share it evenly, but the large
    # would be rounded coarsely; not scaled at all, the small would vanish. The root of the spread is between.
    scale_R = (spread_R / spread_R[0].clamp_min(1e-30)).clamp_min(1e-6).sqrt()
    basis_RC = vectors_RC * (largest_R.sign() * scale_R.unsqueeze(1))
    return LowRank(basis_RC.float().contiguous(), mean_C.float(), temperatures)


def _moments(logits_NC: Tensor, head: Head) -> tuple[Tensor, Tensor]:
    """Mean (C,) and covariance (C, C) in float64, a few rows at a time."""
    chunks = torch.split(logits_NC.detach().cpu(), _CHUNK_ROWS)
    mean_C = torch.stack([_centred(chunk, head).sum(0) for chunk in chunks]).sum(0) / len(logits_NC)
    covariance_CC = torch.zeros(len(mean_C), len(mean_C), dtype=torch.float64)
    for chunk in chunks:
        difference = _centred(chunk, head) - mean_C
        covariance_CC.addmm_(difference.T, difference)
    return mean_C, covariance_CC / len(logits_NC)


def _centred(logits: Tensor, head: Head) -> Tensor:
    wide = logits.double()
    return wide - wide.mean(-1, keepdim=True) if head == "softmax" else wide


def _weighted_fit(basis_RC: Tensor, target_BC: Tensor, probs_BC: Tensor) -> Tensor:
    """argmin_a sum_c w_c (target_c - (a @ basis)_c - a constant)², w_c = share · p_c + (1 - share) / C.  -> (B, R).

    KL(p || p') is half the variance of the error under p, to second order: an error matters where p is. But weights
    of p alone would leave the others, who have their say at higher temperatures, to chance. Of p, the likeliest
    classes do: then the system of a row is a fixed matrix and L outer products, not C.
    """
    rank, classes = basis_RC.shape
    rows_CS = torch.cat((basis_RC.T, basis_RC.new_ones(classes, 1)), 1)  # S = R + 1: the constant is one more direction
    even = (1 - _SHARE) / classes
    likely_BL, ids_BL = probs_BC.topk(min(classes, max(_LIKELIEST, rank)))
    chosen_BLS = rows_CS[ids_BL]
    weighted_BSL = (_SHARE * likely_BL.unsqueeze(-1) * chosen_BLS).mT
    matrix_BSS = even * (rows_CS.T @ rows_CS) + weighted_BSL @ chosen_BLS
    right_BS = even * (target_BC @ rows_CS) + (weighted_BSL @ target_BC.gather(1, ids_BL).unsqueeze(-1)).squeeze(-1)
    # A hair of ridge: directions without any spread may be dependent on the constant.
    ridge_S = 1e-9 * matrix_BSS.diagonal(dim1=-2, dim2=-1).mean(-1, keepdim=True).expand(-1, rank + 1)
    solution: Tensor = torch.linalg.solve(matrix_BSS + torch.diag_embed(ridge_S), right_BS)
    return solution[:, :rank]


def _quantised(coefficients_BR: Tensor) -> tuple[Tensor, Tensor]:
    """A scale for each row, float16, and coefficients in units of it, int8.  -> (B,), (B, R)."""
    # No scale below float16's normal numbers: it would be rounded by more than they are.
    scale_B = (coefficients_BR.abs().amax(-1) / _STEPS).half().clamp_min(torch.finfo(torch.float16).tiny)
    if scale_B.isinf().any():
        raise ArgumentError("LowRank: a row lies too far from those that the basis was fitted on; fit it on more rows.")
    return scale_B, (coefficients_BR / scale_B.double().unsqueeze(-1)).round().to(torch.int8)


def _require_finite(logits: Tensor) -> None:
    if logits.numel() and not math.isfinite(float(logits.detach().abs().amax())):
        raise ArgumentError(
            "LowRank: a logit is infinite or NaN, and no basis expresses that; record in another encoding."
        )
