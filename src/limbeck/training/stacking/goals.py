"""The objectives of all replicas of a stack at once: each distinct term is computed once, for all that have it.

Shape legend, this file:  R replicas of the stack, G of them that share a term, B rows of a batch, C classes, P = G · B.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from limbeck.objective import HardLabels, LogitMatching, Objective, SoftTargets, Term
from limbeck.schedules import Schedule, value_at
from limbeck.training.stacking.rows import HeldAnswers, ViewRows
from limbeck.types import Head, LogitKnowledge, Teacher


@final
@dataclass(eq=False)
class _Shared:
    """A term, and the replicas that ask for it with the same teacher."""

    term: Term
    teacher: Teacher | None
    row_by_row: bool
    objective: Objective
    """The term alone: it says which term cannot be computed, and refuses values that are not one a row."""
    members: list[int] = field(default_factory=list)
    weights: list[float | Schedule] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Which term of each member's objective this is, counted from 0."""


class _Evaluated(NamedTuple):
    """A shared term on one step's batches."""

    members: Tensor
    """(G,) int64."""
    sums: Tensor
    """(G,), over the rows, unweighted and differentiable."""
    weighted: Tensor
    """(G,), times the weights."""
    places: Sequence[int]


class StackedValue(NamedTuple):
    """What all objectives say of one step."""

    totals: Tensor
    """(R,), differentiable: the weighted sums over terms and rows of each replica."""
    sums: Sequence[Tensor]
    """For each shared term, (G,): sums over the rows, unweighted and detached."""


@final
class Goals:
    """The objectives of a stack's replicas.

    Args:
        objectives: one for each replica.
        teachers: who answers the training rows for each; None for none.
        head: how logits become probabilities.
    """

    def __init__(self, objectives: Sequence[Objective], teachers: Sequence[Teacher | None], head: Head) -> None:
        self._objectives, self._head, self._count = list(objectives), head, len(objectives)
        self._shared: list[_Shared] = []
        for replica, (objective, teacher) in enumerate(zip(objectives, teachers, strict=True)):
            for place, (weight, term) in enumerate(objective.parts):
                shared = self._find(term, teacher if term.needs_teacher else None)
                shared.members.append(replica)
                shared.weights.append(weight)
                shared.places.append(place)
        self._index = [torch.tensor(shared.members) for shared in self._shared]
        self._held: dict[int, HeldAnswers] = {}
        self._rows: ViewRows | None = None
        self._constants: dict[tuple[int, torch.device, torch.dtype], Tensor] = {}

    def _find(self, term: Term, teacher: Teacher | None) -> _Shared:
        row_by_row = is_row_by_row(term)
        for shared in self._shared:
            if row_by_row and shared.teacher is teacher and type(shared.term) is type(term) and shared.term == term:
                return shared
        self._shared.append(_Shared(term, teacher, row_by_row, Objective(term.as_parts())))
        return self._shared[-1]

    def look_at(self, rows: ViewRows) -> None:
        """Take other rows, those of another view, for the steps to come."""
        self._rows, self._held = rows, {}

    def __call__(self, logits: Tensor, positions: Tensor, step: int) -> StackedValue:
        """Evaluate at an optimiser's step: logits (R, B, C) of the rows at the positions (R, B)."""
        totals = logits.new_zeros(self._count)
        sums = []
        for number in range(len(self._shared)):
            found = self._evaluated(number, logits, positions, step)
            totals = totals.index_add(0, found.members, found.weighted.to(totals.dtype))
            sums.append(found.sums.detach())
        return StackedValue(totals, sums)

    def by_place(self, logits: Tensor, positions: Tensor, step: int) -> list[Tensor]:
        """Return for each place in the objectives the weighted sum of the terms that stand there, (R,)."""
        most = max(len(objective.parts) for objective in self._objectives)
        found = [logits.new_zeros(self._count) for _ in range(most)]
        for number in range(len(self._shared)):
            one = self._evaluated(number, logits, positions, step)
            for place in set(one.places):
                chosen = torch.tensor([index for index, own in enumerate(one.places) if own == place])
                chosen = chosen.to(logits.device)
                found[place] = found[place].index_add(0, one.members[chosen], one.weighted[chosen].to(logits.dtype))
        return found

    def _evaluated(self, number: int, logits: Tensor, positions: Tensor, step: int) -> _Evaluated:
        shared = self._shared[number]
        rows = positions.shape[1]
        members = self._index[number] = self._index[number].to(logits.device)
        everyone = len(shared.members) == self._count
        own = logits if everyone else logits.index_select(0, members)
        chosen = (positions if everyone else positions.index_select(0, members)).reshape(-1)
        values = self._values(shared, own.reshape(len(shared.members) * rows, -1), chosen, step)
        sums = values.view(len(shared.members), rows).sum(1)
        return _Evaluated(members, sums, self._weights(number, sums, step) * sums, shared.places)

    def _values(self, shared: _Shared, logits: Tensor, chosen: Tensor, step: int) -> Tensor:
        """One value for each row of each member, (P,)."""
        assert self._rows is not None  # `look_at` has been called
        labels = None if self._rows.labels is None else self._rows.labels.index_select(0, chosen)
        knowledge = None
        if shared.teacher is not None:
            held = self._held.setdefault(id(shared.teacher), HeldAnswers(shared.teacher, self._rows))
            again = shared.row_by_row and not callable(getattr(shared.term, "temperature", None))
            knowledge = held.of(chosen, hold=again)
        value = shared.objective(LogitKnowledge(logits, self._head), knowledge, labels, step)
        return value.values[shared.term.name]

    def _weights(self, number: int, like: Tensor, step: int) -> Tensor:
        weights = self._shared[number].weights
        key = (number, like.device, like.dtype)
        if any(callable(weight) for weight in weights):
            return like.new_tensor([value_at(weight, step) for weight in weights])
        if key not in self._constants:
            self._constants[key] = like.new_tensor(weights)
        return self._constants[key]

    def sums_of(self, sums: Sequence[Sequence[float]], replica: int) -> dict[str, float]:
        """Pick one replica's share of sums of all shared terms, by the names and in the order of its own terms."""
        own = {
            shared.term.name: sums[number][shared.members.index(replica)]
            for number, shared in enumerate(self._shared)
            if replica in shared.members
        }
        return {name: own[name] for name in self._objectives[replica].terms}


def is_row_by_row(term: Term) -> bool:
    """Whether a term's value for a row is known to depend on that row alone, so that replicas' rows can be mixed."""
    if isinstance(term, SoftTargets):
        divergence: Any = term.divergence
        while isinstance(divergence, partial):
            divergence = divergence.func
        return str(getattr(divergence, "__module__", "")).startswith("limbeck.functional")
    return isinstance(term, HardLabels | LogitMatching)


@final
class StackedMeter:
    """Sums of all shared terms since the last record, on the device."""

    def __init__(self) -> None:
        self._sums: list[Tensor] | None = None
        self.rows = 0

    def add(self, sums: Sequence[Tensor], rows: int) -> None:
        """Add one step's sums and its number of rows."""
        self._sums = list(sums) if self._sums is None else [a + b for a, b in zip(self._sums, sums, strict=True)]
        self.rows += rows

    def take(self) -> tuple[list[list[float]], int]:
        """Return the sums and the rows, and forget them."""
        sums, rows = [one.double().tolist() for one in self._sums or ()], self.rows
        self._sums, self.rows = None, 0
        return sums, rows


def means(sums: Mapping[str, float], rows: int) -> dict[str, float]:
    """Divide sums by rows."""
    return {name: total / rows for name, total in sums.items()}
