"""Floor 3. `Distillation`: the whole description of a run, its hash, and its way to JSON and back."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from limbeck._checks import check_positive
from limbeck.data.splits import Splits
from limbeck.errors import ArgumentError, NotImportable, SpecificationError
from limbeck.knowledge import Mean
from limbeck.models import fingerprint
from limbeck.objective import Objective, Term
from limbeck.references import code_hash, describe, load, reference_of, source_hash
from limbeck.types import Augment, Prepare, Teacher, TransferSet

Json: TypeAlias = None | bool | int | float | str | list[Any] | dict[str, Any]
"""What a JSON file can hold."""

StudentFactory: TypeAlias = Callable[[], nn.Module]
"""Builds a student whose weights are drawn from torch's generator."""

OptimizerFactory: TypeAlias = Callable[[Iterable[nn.Parameter]], Optimizer]
"""From the student's parameters to an optimiser."""

ScheduleFactory: TypeAlias = Callable[[Optimizer, int], LRScheduler]
"""From the optimiser and the number of all steps to a learning-rate schedule."""

Data: TypeAlias = Splits | TransferSet
"""Rows to learn from, or those with rows to validate and to test on."""

DataSource: TypeAlias = Data | Callable[[], Data]
"""Rows, or what loads them."""

TeacherSource: TypeAlias = (
    "nn.Module | Teacher | Distillation | EnsembleOf | Path | str | Callable[[], nn.Module | Teacher]"
)
"""Whatever may be called a teacher; a path or a string is the folder of a finished run or of recorded targets."""

Precision: TypeAlias = Literal["float32", "bfloat16", "auto"]
"""The arithmetic of forward passes."""


@final
@dataclass(frozen=True, kw_only=True)
class EnsembleOf:
    """An ensemble that is described, not built: its members may have to be trained first.

    Raises: SpecificationError without members.
    """

    members: "Sequence[TeacherSource]"
    """Modules, runs, specifications to be trained once, or factories."""
    mean: Mean = "arithmetic"
    """Which mean of the members' distributions."""
    weights: Sequence[float] | None = None
    """One per member, not negative; equal when None."""
    stacked: bool = False
    """Whether members of one architecture run as a single vectorised call."""

    def __post_init__(self) -> None:
        if not self.members:
            raise SpecificationError("EnsembleOf: there must be at least one member.")


@final
@dataclass(frozen=True, kw_only=True)
class Distillation:
    """The whole description of a run.

    Factories are called after seeding. Raises: ArgumentError for a number out of its range.
    """

    data: DataSource
    """A transfer set, its splits, or an importable factory of either."""
    student: StudentFactory
    """Importable factory of the student, an `nn.Module` that returns logits (B, C)."""
    objective: Objective | Term
    """What is asked of the student: `0.9 * SoftTargets(temperature=4.0) + 0.1 * HardLabels()`."""
    teacher: "TeacherSource | None" = None
    """A module or its factory, a `Teacher`, a finished run's folder, an `EnsembleOf`, or a `Distillation` of its own,
    which is trained once into a folder keyed by its hash; None for training on labels alone."""
    targets: Path | str | None = None
    """Recorded or imported soft targets, a store's folder or address, or a file of predictions: they stand in for the
    teacher, which is then not run; where one is named too, the targets must be its own."""
    optimizer: OptimizerFactory = partial(torch.optim.Adam, lr=1e-3)
    """From the student's parameters to an optimiser."""
    schedule: ScheduleFactory | None = None
    """From the optimiser and the total number of steps to a learning-rate schedule, stepped once an optimiser step."""
    prepare: Prepare | None = None
    """From raw rows to the student's input; None for the student's own method `prepare`, else plain features."""
    teacher_prepare: Prepare | None = None
    """The same for a teacher given as a module or its factory."""
    augment: Augment | None = None
    """Makes other views of the training rows, before any `prepare`, so that teacher and student see the same; a
    function of each row's key alone: `Shift(2)`, `Compose((RandomCrop(4), HorizontalFlip()))`. None for raw rows."""
    views: int | None = None
    """How many views the student cycles through, one an epoch, the raw row being the first; None for as many as were
    recorded, or a new one each epoch."""
    view_seed: int = 0
    """Of the augmented views, apart from `seed` so that repeated seeds see the same views."""
    epochs: int = 10
    """Passes over the training rows, >= 1."""
    batch_size: int = 128
    """Rows per optimiser step, over all micro-batches and processes, >= 1."""
    microbatches: int = 1
    """Into how many parts a batch is split to save memory, >= 1; the step is the same for any split,
    but for layers that look at the whole batch (BatchNorm) or draw numbers (dropout)."""
    clip_norm: float | None = None
    """Largest L2 norm of the whole gradient; None for no clipping."""
    max_norm: float | None = None
    """Largest L2 norm of the weights that come in to a hidden unit: longer ones are scaled down after each step. It
    holds for all linear and convolutional layers (transposed ones aside) but the last with as many units as there are
    classes, which makes the logits; None for no constraint."""
    precision: Precision = "float32"
    """Arithmetic of the forward passes; auto takes bfloat16 where the hardware computes in it, else float32."""
    validation: float | None = 0.1
    """Share of the training rows held out, stratified and seeded, where the data bring no validation split; None for
    none: then the last checkpoint is kept, not the best."""
    seed: int = 0
    """Of initialisation, order and dropout."""
    split_seed: int = 0
    """Of the validation split, apart from `seed` so that repeated seeds share one split."""
    device: str | None = None
    """cpu, cuda, mps, …; None for the best there is."""
    workers: int = 0
    """Processes that read and prepare rows; 0 for none but this one."""
    log_every: int = 50
    """Optimiser steps between two records in metrics.jsonl, >= 1."""
    probe_rows: int = 64
    """Rows on which each term's gradient is measured once an epoch; 0 for never."""
    checkpoint_seconds: float = 60.0
    """Least time between two checkpoints; 0 for one each epoch. Ctrl-C and the end always save."""
    keep_every: int | None = None
    """Keep the checkpoint of every n-th epoch for good, besides the last and the best."""
    track: Sequence[str] = ()
    """Trackers of Accelerate to log to, such as tensorboard."""

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "microbatches", "log_every"):
            check_whole("Distillation", 1, **{name: getattr(self, name)})
        for name in ("workers", "probe_rows", "seed", "split_seed", "view_seed"):
            check_whole("Distillation", 0, **{name: getattr(self, name)})
        self._check_optional()
        if self.augment is not None and not callable(self.augment):
            raise ArgumentError(
                f"Distillation: augment must be a function of columns and keys, or None. Got {self.augment!r}."
            )
        if self.views is not None and self.augment is None:
            raise SpecificationError(
                "Distillation: views are made by an augmentation; give `augment`, or leave `views` out."
            )
        if not 0 <= self.checkpoint_seconds < math.inf:
            raise ArgumentError(
                f"Distillation: checkpoint_seconds must be finite and not negative. Got {self.checkpoint_seconds}."
            )
        if self.validation is not None and not 0 < self.validation < 1:
            raise ArgumentError(f"Distillation: validation must lie in (0, 1) or be None. Got {self.validation}.")
        if self.precision not in ("float32", "bfloat16", "auto"):
            raise ArgumentError(f"Distillation: precision must be float32, bfloat16 or auto. Got {self.precision!r}.")
        if not self.goal.asks_something:
            raise ArgumentError("Distillation: at least one term of the objective must have a weight above zero.")
        if self.goal.needs_teacher and self.teacher is None and self.targets is None:
            raise SpecificationError(
                "Distillation: the objective has soft terms, which need a teacher; give one, or recorded targets."
            )

    def _check_optional(self) -> None:
        for name in ("keep_every", "views"):
            if getattr(self, name) is not None:
                check_whole("Distillation", 1, **{name: getattr(self, name)})
        for name in ("clip_norm", "max_norm"):
            if getattr(self, name) is not None:
                check_positive("Distillation", **{name: getattr(self, name)})

    @property
    def goal(self) -> Objective:
        """The objective, a single term included."""
        return self.objective if isinstance(self.objective, Objective) else Objective(self.objective.as_parts())

    @property
    def hash(self) -> str:
        """SHA-256 of what was asked for and of the source that it names: not of where it runs, nor of what is logged.

        The rows themselves are compared apart, by their fingerprints, when a finished run is met again.
        """
        return hash_of(to_json(self))


def hash_of(encoded: Json) -> str:
    """SHA-256 of what an encoded specification asks for: its `hash`."""
    return hashlib.sha256(json.dumps(identity(encoded), sort_keys=True).encode()).hexdigest()


WITHOUT_EFFECT = ("device", "workers", "log_every", "probe_rows", "checkpoint_seconds", "keep_every", "track")
"""Fields that change where and how a run is watched, not what comes out of it."""


_SINCE: Mapping[str, Json] = {"max_norm": None}
"""Fields that came later, with the values that change nothing: what was recorded before keeps its hash."""


def check_whole(caller: str, least: int, **named: Any) -> None:
    """Refuse a count that is not an integer of at least `least`."""
    for name, value in named.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ArgumentError(f"{caller}: {name} must be a whole number of at least {least}. Got {value!r}.")


def identity(encoded: Json, *, leave_out: Sequence[str] = ()) -> Json:
    """Reduce an encoded specification to what determines the student: fields without effect and folders left out.

    `leave_out` names further fields of the outermost specification.
    """
    if isinstance(encoded, list):
        return [identity(item) for item in encoded]
    if not isinstance(encoded, dict):
        return encoded
    kept = {key: _without_folder(item) if key in ("$ref", "$record") else item for key, item in encoded.items()}
    if kept.get("$record") == reference_of(Distillation):
        dropped = {*WITHOUT_EFFECT, *leave_out}
        dropped |= {name for name, without in _SINCE.items() if encoded["fields"].get(name) == without}
        kept["fields"] = {name: part for name, part in encoded["fields"].items() if name not in dropped}
    return {key: identity(item) for key, item in kept.items()}


def _without_folder(reference: str) -> str:
    home, _, qualname = reference.rpartition(":")
    return f"{Path(home).name}:{qualname}"


def to_json(value: Any) -> Json:
    """Encode a specification, or any part of one.

    Functions and classes become references with the hash of their source; records and partials their parts. What has
    no importable name is described and marked as opaque, and a live module, teacher or transfer set is marked by its
    fingerprint: such a record can be compared, not rebuilt.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, np.generic):
        return to_json(value.item())
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, torch.dtype):
        return {"$ref": str(value).replace(".", ":"), "source": None}
    if isinstance(value, partial):
        keywords = {key: to_json(item) for key, item in value.keywords.items()}
        return {"$partial": to_json(value.func), "args": [to_json(item) for item in value.args], "kwargs": keywords}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return _record(type(value), value._asdict())
    if is_dataclass(value) and not isinstance(value, type) and not _has_fingerprint(value):
        return _record(type(value), {field.name: getattr(value, field.name) for field in fields(value)})
    if isinstance(value, Mapping):
        return {"$mapping": [[to_json(key), to_json(item)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return _live(value)


def _has_fingerprint(value: Any) -> bool:
    return not isinstance(value, type) and hasattr(value, "fingerprint")


def _record(kind: type, parts: Mapping[str, Any]) -> Json:
    encoded = {name: to_json(part) for name, part in parts.items()}
    return {"$record": reference_of(kind), "source": source_hash(kind), "fields": encoded}


def _live(value: Any) -> Json:
    if isinstance(value, nn.Module):
        return {"$content": type(value).__qualname__, "fingerprint": fingerprint(value)}
    if _has_fingerprint(value):
        return {"$content": type(value).__qualname__, "fingerprint": value.fingerprint}
    if isinstance(value, Tensor):
        raise NotImportable("A specification cannot hold a bare tensor; wrap it in a TensorSet or a factory.")
    try:
        return {"$ref": reference_of(value), "source": source_hash(value)}
    except NotImportable as error:
        return {"$opaque": describe(value), "code": code_hash(value), "why": str(error)}


def from_json(encoded: Json) -> Any:
    """Rebuild what `to_json` encoded.

    Raises: NotImportable for parts that were opaque or live; SpecificationError for references that are gone.
    """
    if isinstance(encoded, list):
        return tuple(from_json(item) for item in encoded)
    if not isinstance(encoded, dict):
        return encoded
    if "$ref" in encoded:
        return load(encoded["$ref"])
    if "$partial" in encoded:
        keywords = {key: from_json(item) for key, item in encoded["kwargs"].items()}
        return partial(from_json(encoded["$partial"]), *(from_json(item) for item in encoded["args"]), **keywords)
    if "$record" in encoded:
        return load(encoded["$record"])(**{name: from_json(part) for name, part in encoded["fields"].items()})
    if "$mapping" in encoded:
        return {from_json(key): from_json(item) for key, item in encoded["$mapping"]}
    if "$opaque" in encoded:
        raise NotImportable(encoded["why"])
    raise NotImportable(
        f"A live {encoded.get('$content', 'object')} cannot be rebuilt from a record; give an importable factory."
    )


def require_importable(spec: Distillation) -> Json:
    """Encode a specification for another process. Raises: NotImportable, naming the first part without a name."""
    encoded = to_json(spec)
    from_json(encoded)
    return encoded
