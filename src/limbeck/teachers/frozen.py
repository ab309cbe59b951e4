"""One network that answers without learning."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self, cast, final

import torch
from torch import nn

from limbeck.models import caller_of, captured, fingerprint, knowledge_of
from limbeck.types import Batch, Head, LogitKnowledge, Prepare


@final
class FrozenTeacher:
    """Any module as a teacher: in eval mode, without gradients, its features on request.

    Args:
        module: called on what `prepare` makes of a batch; returns logits (B, C) in any of the forms that
            `limbeck.models.logits_of` reads. It is put into eval mode and its parameters no longer require gradients.
        prepare: from raw rows to the module's input.
        head: how its logits become probabilities.
        classes: the names of its classes in order, to be compared with the student's; None where unknown.
        features: dotted names of submodules whose outputs travel with the knowledge.

    Raises: MismatchError for a feature name that the module lacks.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        prepare: Prepare,
        head: Head = "softmax",
        classes: Sequence[str] | None = None,
        features: Sequence[str] = (),
    ) -> None:
        self.module = module.eval().requires_grad_(False)
        self.prepare = prepare
        self.head: Head = head
        self.classes = None if classes is None else tuple(classes)
        self.prepares = (prepare,)
        self._names = tuple(features)
        self._call = caller_of(module)
        with captured(module, self._names):
            pass  # a wrong name is refused here, not at the first batch

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of architecture and weights."""
        return fingerprint(self.module)

    # no_grad, not inference_mode: what inference mode makes cannot be saved for the student's backward pass.
    @torch.no_grad()
    def __call__(self, batch: Batch) -> LogitKnowledge:
        """Answer a batch: logits (B, C), and the features asked for."""
        inputs = batch.inputs[self.prepare]
        if not self._names:
            return knowledge_of(self._call, inputs, self.head)
        with captured(self.module, self._names) as features:
            answer = knowledge_of(self._call, inputs, self.head)
        return LogitKnowledge(answer.logits, self.head, dict(features))

    def with_features(self, names: Sequence[str]) -> "FrozenTeacher":
        """Return the same teacher, whose knowledge brings the outputs of these submodules along."""
        return FrozenTeacher(self.module, prepare=self.prepare, head=self.head, classes=self.classes, features=names)

    def to(self, device: torch.device) -> Self:
        """Move the module to a device; returns itself."""
        self.module.to(device)
        return self


def prepare_of(module: nn.Module, given: Prepare | None, default: Prepare) -> Prepare:
    """Choose a model's `prepare`: the one given, else the module's own method `prepare`, else the default."""
    own: Any = getattr(module, "prepare", None)
    if given is not None:
        return given
    return cast(Prepare, own) if callable(own) else default
