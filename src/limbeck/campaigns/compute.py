"""Floating-point operations of training, counted on the modules as they are built and on real rows.

A multiplication and an addition are two operations. Counted is what torch counts: matrix products, convolutions and
attention; not activations, normalisation, the loss or the optimiser, which are a small part of all but tiny networks.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from limbeck.campaigns.arms import Arm, views_seen
from limbeck.data.loader import Loader
from limbeck.data.prepare import plain_features
from limbeck.data.splits import Splits
from limbeck.errors import LimbeckError
from limbeck.models import caller_of, logits_of
from limbeck.references import called, what_was_raised
from limbeck.specification import Distillation, EnsembleOf, TeacherSource, from_json
from limbeck.targets.open import is_store
from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher, prepare_of
from limbeck.training.randomness import seeded
from limbeck.training.resolve import resolve_data, teacher_of
from limbeck.training.run import Run
from limbeck.types import ModelInput, Prepare

ROWS = 8
"""Rows on which operations are counted; they are in proportion to the rows."""


class NotCounted(Exception):
    """Why operations are not known, in words without a capital or a full stop."""


@final
@dataclass(frozen=True, kw_only=True)
class Compute:
    """What training takes, in floating-point operations."""

    step: float
    """Of the student, forward and backward, for one row."""
    answer: float | None
    """Of the teacher's forward pass for one row; 0 without a teacher, None where it is not known."""
    rows: int
    """That are trained on."""
    epochs: int
    """Passes over them."""
    answers: int
    """How often the teacher answers each row: once for each recorded view, or once an epoch where it is live."""
    why: str | None = None
    """Why the teacher's are not known; None where they are."""

    @property
    def epoch(self) -> float:
        """Of the student alone, for one pass over the rows."""
        return self.rows * self.step

    @property
    def student(self) -> float:
        """Of the student alone, for the whole of its training."""
        return self.epochs * self.epoch

    @property
    def teaching(self) -> float | None:
        """Of all the teacher's answers; None where they are not known."""
        return None if self.answer is None else self.answers * self.rows * self.answer

    @property
    def total(self) -> float | None:
        """Of student and answers together, the teacher's own training not included; None where it is not known."""
        return None if self.teaching is None else self.student + self.teaching


def forward_flops(module: nn.Module, inputs: ModelInput) -> int:
    """Count the operations of a forward pass without gradients, in eval mode; the module's mode is put back.

    Raises: NotCounted where the pass fails, or torch counts nothing in it.
    """
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            return _counted(module, inputs, backward=False)
    finally:
        for part, mode in modes.items():
            part.training = mode


def step_flops(module: nn.Module, inputs: ModelInput) -> int:
    """Count the operations of a forward pass in train mode and of its backward pass.

    Gradients are left on the parameters, and running statistics change: it is meant for a module of its own.
    Raises: NotCounted where a pass fails, or torch counts nothing in it.

    >>> step_flops(nn.Linear(3, 5), torch.zeros(2, 3))  # 2 · 2 · 15 forward, and as many for the weights' gradient
    120
    """
    return _counted(module.train(), inputs, backward=True)


def _counted(module: nn.Module, inputs: ModelInput, *, backward: bool) -> int:
    counter = FlopCounterMode(display=False)
    name = type(module).__name__
    try:
        with counter:
            logits = logits_of(caller_of(module)(inputs))
            if backward and logits.requires_grad:
                logits.sum().backward()  # type: ignore[no-untyped-call]
    except Exception as error:
        raise NotCounted(f"the operations of {name} cannot be counted: it raised {what_was_raised(error)}") from error
    if not counter.get_total_flops():
        raise NotCounted(f"torch counts no operations in {name}")
    return int(counter.get_total_flops())


def compute_of(spec: Distillation, splits: Splits | None = None) -> Compute:
    """Count what training a specification's student takes, and its teacher's answers where the specification names one.

    Where targets are recorded, the teacher answered each of their views once; of a live one, every row in every epoch.

    Args:
        spec: with its teacher beside the recorded targets, for the teacher to be known.
        splits: the specification's data, where they are loaded already.

    Raises: NotCounted where the student's operations cannot be counted; the errors of loading the data.
    """
    splits = resolve_data(spec) if splits is None else splits
    with seeded(spec.seed):
        module = called("The student's factory", spec.student)
    step = _per_row(splits, module, prepare_of(module, spec.prepare, plain_features), backward=True)
    answer, why = _answer(spec, splits)
    recorded = spec.targets is not None
    return Compute(
        step=step,
        answer=answer,
        rows=len(splits.train),
        epochs=spec.epochs,
        answers=(views_seen(spec) or 1) if recorded else spec.epochs,
        why=why,
    )


def _answer(spec: Distillation, splits: Splits) -> tuple[float | None, str | None]:
    if not spec.goal.needs_teacher:
        return 0.0, None
    if spec.teacher is None:
        return None, "the targets were recorded elsewhere, and what the teacher took for them is not known"
    try:
        with seeded(spec.seed):
            return _answering(spec.teacher, spec, splits, {}), None
    except NotCounted as error:
        return None, str(error)


def _answering(source: TeacherSource, spec: Distillation, splits: Splits, known: dict[str, float]) -> float:
    """Operations of a forward pass for one row, of whatever a specification calls its teacher, trained or not."""
    if isinstance(source, EnsembleOf | Ensemble):
        return sum(_answering(member, spec, splits, known) for member in source.members)
    if isinstance(source, Distillation):
        key = _architecture(source)
        if key not in known:
            module: Any = called("The teacher's factory", source.student)
            known[key] = _per_row(splits, module, prepare_of(module, source.prepare, plain_features), backward=False)
        return known[key]
    if isinstance(source, str | Path):
        if is_store(source):
            raise NotCounted("the teacher is a store of recorded answers")
        return _answering(teacher_of(Run.open(source)), spec, splits, known)
    if isinstance(source, nn.Module):
        return _per_row(splits, source, prepare_of(source, spec.teacher_prepare, plain_features), backward=False)
    if isinstance(source, FrozenTeacher):
        return _per_row(splits, source.module, source.prepare, backward=False)
    if hasattr(source, "prepares") or not callable(source):
        raise NotCounted(f"the teacher is a {type(source).__name__}, whose operations are not known")
    return _answering(called("The teacher's factory", source), spec, splits, known)


def _architecture(spec: Distillation) -> str:
    """What members of an ensemble have in common that differ in their seeds alone."""
    return replace(spec, seed=0).hash


def _per_row(splits: Splits, module: nn.Module, prepare: Prepare, *, backward: bool) -> float:
    count = min(ROWS, len(splits.train))
    batch = next(Loader(splits.train, [prepare], batch_size=count).sequential())
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    counted = step_flops if backward else forward_flops
    return counted(module, batch.to(device).inputs[prepare]) / count


def training_flops(source: TeacherSource) -> float:
    """Count what training a teacher took: its epochs, over its rows, for every member of an ensemble.

    Of a teacher that was taught itself, its teacher's answers are counted, and not that one's training.

    Raises: NotCounted for a teacher that is no specification and no finished run of one.
    """
    return _training(source, {})


def _training(source: TeacherSource, known: dict[str, float]) -> float:
    if isinstance(source, EnsembleOf):
        return sum(_training(member, known) for member in source.members)
    if isinstance(source, str | Path) and not is_store(source):
        source = _specification(Run.open(source))
    if not isinstance(source, Distillation):
        raise NotCounted("what the teacher's training took is not known: it is neither a specification nor a run")
    key = _architecture(source)
    if key not in known:
        compute = compute_of(source)
        if compute.total is None:
            raise NotCounted(str(compute.why))
        known[key] = compute.total
    return known[key]


def _specification(run: Run) -> Distillation:
    try:
        found: Distillation = from_json(run.spec["specification"])
    except LimbeckError as error:
        raise NotCounted(f"the teacher's run {run.path} cannot be rebuilt: {error}") from error
    return found


def with_operations(arms: Mapping[str, Arm], taught: Distillation) -> dict[str, Arm]:
    """Note the operations of each arm's training, `flops`, where they can be counted.

    The teacher's answers count for every arm that learns from recorded targets; what made the teacher does not.

    Args:
        arms: by name, of one student and one set of rows.
        taught: the distilled student's specification with recorded targets and its teacher.
    """
    try:
        found = compute_of(taught)
    except NotCounted:
        return dict(arms)
    noted = {}
    for name, arm in arms.items():
        answers = found.teaching if arm.spec.targets is not None else 0.0
        flops = None if answers is None else arm.spec.epochs * found.epoch + answers
        noted[name] = replace(arm, notes={**arm.notes, "flops": flops})
    return noted
