"""Which specifications may share a stack, and in words why others may not; what is raised in one, as a reason."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn, optim
from torch.optim import Optimizer

from limbeck.errors import CannotStack, Interrupted, LimbeckError
from limbeck.references import what_was_raised
from limbeck.specification import Distillation, identity, to_json
from limbeck.targets.open import is_store
from limbeck.training.place import has_bfloat16

AGREED = (
    "data",
    "prepare",
    "augment",
    "views",
    "view_seed",
    "batch_size",
    "validation",
    "split_seed",
    "device",
    "log_every",
    "probe_rows",
)
"""Fields that all specifications of a stack have in common. Seeds, objectives, recorded targets, optimisers, schedules,
epochs, clipping and `max_norm` may differ, and student factories as far as what they build is of one architecture."""

ELEMENTWISE: tuple[type[Optimizer], ...] = (
    optim.ASGD,
    optim.Adadelta,
    optim.Adagrad,
    optim.Adam,
    optim.AdamW,
    optim.Adamax,
    optim.NAdam,
    optim.RAdam,
    optim.RMSprop,
    optim.Rprop,
    optim.SGD,
)
"""Optimisers that treat every number of a parameter alike, whatever its neighbours: a stack of parameters is one."""


def why_not_stacked(specs: Sequence[Distillation]) -> str | None:
    """Say what keeps specifications from sharing a stack, as far as they tell by themselves; None if nothing does.

    What only their data, targets or networks could tell, `distill_stacked` finds before it writes anything.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        return "several processes train each run together"
    for spec in specs:
        reason = _why_not(spec)
        if reason is not None:
            return reason
    for name in AGREED:
        if len({encoded(getattr(spec, name)) for spec in specs}) > 1:
            return f"they differ in {name!r}, which all runs of a stack have in common"
    return None


def _why_not(spec: Distillation) -> str | None:
    if spec.microbatches > 1:
        return "their batches are split into micro-batches"
    if spec.precision == "bfloat16" or (spec.precision == "auto" and _may_be_half()):
        return "their forward passes may be in bfloat16, and a stack's are in float32"
    if spec.track:
        return f"the trackers {', '.join(spec.track)} follow one run at a time"
    if spec.goal.needs_teacher and not _is_recorded(spec):
        return "their teacher is not recorded; `limbeck record` does that"
    return _why_not_optimizer(spec.optimizer)


def _may_be_half() -> bool:
    device = torch.accelerator.current_accelerator() or torch.device("cpu")
    return has_bfloat16(device)


def _is_recorded(spec: Distillation) -> bool:
    if spec.targets is not None:
        return True
    return isinstance(spec.teacher, str | Path) and is_store(spec.teacher)


def _why_not_optimizer(factory: Callable[..., Any]) -> str | None:
    kind, keywords = (factory.func, factory.keywords) if isinstance(factory, partial) else (factory, {})
    if isinstance(factory, partial) and factory.args:
        return "their optimiser is given arguments without names"
    if kind not in ELEMENTWISE:
        name = getattr(kind, "__qualname__", type(kind).__name__)
        return (
            f"their optimiser is made by {name}, which is none of torch.optim that treats every number alike "
            f"({', '.join(known.__name__ for known in ELEMENTWISE)}), or a partial of one"
        )
    if any(isinstance(value, nn.Module) for value in keywords.values()):
        return "their optimiser is given a module"
    return None


def encoded(value: Any) -> str:
    """Write a part of a specification: equal texts mean equal parts, and what has no name is equal to itself alone."""
    text = json.dumps(identity(to_json(value)), sort_keys=True)
    return f"{text}@{id(value)}" if '"$opaque"' in text else text


def stack_key(spec: Distillation) -> str:
    """What specifications of one stack have in common, as text."""
    return "\n".join(encoded(getattr(spec, name)) for name in AGREED)


@contextmanager
def as_reason() -> Iterator[None]:
    """Turn what a student, a teacher or a term raises in a stack into a reason to go on without one.

    Alone it raises the same, in a sentence that says at which step and on which batch; or it does not.
    """
    try:
        yield
    except (CannotStack, Interrupted):
        raise
    except LimbeckError as error:
        raise CannotStack(f"in a stack: {error}") from error
    except Exception as error:
        raise CannotStack(f"in a stack their students raise {what_was_raised(error)}") from error
