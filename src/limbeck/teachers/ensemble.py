"""Several teachers as one: the mean of their distributions, arithmetic or geometric.

Shape legend, this file:  M members, B rows of a batch, C classes or labels.
"""

import copy
import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Self, final

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from limbeck._checks import check_weights
from limbeck.errors import MismatchError
from limbeck.knowledge import MIXTURES, Mean, MixtureKnowledge
from limbeck.models import architecture, arranger_of, logits_of
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.types import Batch, Head, Knowledge, ModelInput, Teacher


@final
class Ensemble:
    """Any teachers as one teacher.

    Args:
        members: at least one teacher; all with one head and, where they know their classes, the same in the same order.
        mean: of the members' distributions.
        weights: one per member, not negative, not all zero; equal when None.
        stacked: run frozen modules of one architecture and one `prepare` as a single vectorised call. Equal up to
            rounding, for modules that differ in nothing but parameters and buffers. It is meant for members so small
            that calling them one by one costs more than their arithmetic; measure before you turn it on.

    Raises: MismatchError for members that disagree or cannot be stacked; ArgumentError for weights that cannot be used.
    """

    def __init__(
        self,
        members: Sequence[Teacher],
        *,
        mean: Mean = "arithmetic",
        weights: Sequence[float] | None = None,
        stacked: bool = False,
    ) -> None:
        if mean not in MIXTURES:
            raise MismatchError(f"Ensemble: mean must be one of {', '.join(MIXTURES)}. Got {mean!r}.")
        self.members = tuple(members)
        self.head, self.classes = _common_answers(self.members)
        self.mean: Mean = mean
        equal = [1.0] * len(self.members)
        self.weights = check_weights("Ensemble", equal if weights is None else weights, len(self.members))
        self.prepares = tuple(dict.fromkeys(prepare for member in self.members for prepare in member.prepares))
        self._stack = Stack(_frozen(self.members)) if stacked else None

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of the members' fingerprints, the mean and the weights."""
        total = sum(self.weights)
        shares = (weight / total for weight in self.weights)
        parts = [f"{member.fingerprint}:{share:.17g}" for member, share in zip(self.members, shares, strict=True)]
        return hashlib.sha256("\n".join((self.mean, *parts)).encode()).hexdigest()

    @torch.no_grad()
    def __call__(self, batch: Batch) -> MixtureKnowledge:
        """Answer a batch with every member's logits (M, B, C)."""
        if self._stack is not None:
            logits_MBC = self._stack(batch.inputs[self.prepares[0]])
        else:
            logits_MBC = _stacked([_single_logits(member(batch)) for member in self.members])
        return MixtureKnowledge(logits_MBC, self.mean, self.weights, self.head)

    def to(self, device: torch.device) -> Self:
        """Move every member to a device; returns itself."""
        for member in self.members:
            member.to(device)
        if self._stack is not None:
            self._stack.to(device)
        return self


@final
class Stack:
    """Modules of one architecture, their weights stacked along a new first axis and called through `vmap`.

    Raises: MismatchError for modules of different architectures.
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        if len({architecture(module) for module in modules}) != 1:
            raise MismatchError("Ensemble: stacked members must have one architecture; leave `stacked` off for others.")
        parameters, buffers = stack_module_state(list(modules))
        self._state = {name: tensor.detach() for name, tensor in {**parameters, **buffers}.items()}
        self._skeleton = copy.deepcopy(modules[0]).to("meta")
        self._arrange = arranger_of(modules[0])

    def __call__(self, inputs: ModelInput) -> Tensor:
        """All members' logits (M, B, C) on one input."""
        args, kwargs = self._arrange(inputs)

        def one(state: dict[str, Tensor]) -> Tensor:
            return logits_of(functional_call(self._skeleton, state, args, kwargs))

        logits_MBC: Tensor = torch.vmap(one)(self._state)
        return logits_MBC.float() if logits_MBC.dtype in (torch.bfloat16, torch.float16) else logits_MBC

    def to(self, device: torch.device) -> None:
        """Move the stacked weights to a device."""
        self._state = {name: tensor.to(device) for name, tensor in self._state.items()}


def _frozen(members: Sequence[Teacher]) -> list[nn.Module]:
    modules = [member.module for member in members if isinstance(member, FrozenTeacher)]
    if len(modules) < len(members) or len({member.prepares for member in members}) > 1:
        raise MismatchError("Ensemble: stacked members must be frozen modules with one and the same `prepare`.")
    return modules


def _common_answers(members: Sequence[Teacher]) -> tuple[Head, tuple[str, ...] | None]:
    if not members:
        raise MismatchError("Ensemble: there must be at least one member.")
    heads = {member.head for member in members}
    if len(heads) > 1:
        raise MismatchError("Ensemble: some members have a softmax head and some a sigmoid head; all must have one.")
    named = {member.classes for member in members if member.classes is not None}
    if len(named) > 1:
        first, second, *_ = sorted(named)
        raise MismatchError(f"Ensemble: members disagree on the classes or their order: {first} against {second}.")
    return heads.pop(), named.pop() if named else None


def _single_logits(knowledge: Knowledge) -> Tensor:
    logits = getattr(knowledge, "logits", None)
    if isinstance(logits, Tensor):
        return logits
    raise MismatchError(
        f"Ensemble: a member must reveal the logits of one network, and one answers with a {type(knowledge).__name__}; "
        "of an ensemble within an ensemble, give the members and their weights."
    )


def _stacked(logits: Sequence[Tensor]) -> Tensor:
    counts = [member.shape[-1] for member in logits]
    if len(set(counts)) > 1:
        raise MismatchError(f"Ensemble: members must have the same classes. Numbers of classes: {counts}.")
    return torch.stack(list(logits))
