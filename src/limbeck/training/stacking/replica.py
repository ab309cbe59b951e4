"""One run within a stack: what it is made of, what it has left so far, and how it becomes a run's folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from torch import Tensor

from limbeck.data.loader import Loader
from limbeck.references import called
from limbeck.specification import Distillation, Json
from limbeck.training import randomness
from limbeck.training.checkpoint import Checkpoint
from limbeck.training.distill import Materials, begin
from limbeck.training.evaluate import Predictions
from limbeck.training.harvest import Answering, harvest
from limbeck.training.interrupt import StopRequest
from limbeck.training.loop import Fit
from limbeck.training.place import Place
from limbeck.training.progress import Silent
from limbeck.training.records import Records
from limbeck.training.stacking.stack import load_replica, set_generator
from limbeck.training.state import load_optimizer_state, weights_of
from limbeck.types import Teacher


@final
@dataclass(kw_only=True, eq=False)
class Replica:
    """One run within a stack."""

    spec: Distillation
    out: Path
    materials: Materials
    """Its own student, and the rows and teachers that it shares with others."""
    generators: Mapping[str, Any]
    """The states of all generators of random numbers after the student was built."""
    records: list[dict[str, Any]] = field(default_factory=list)
    """What metrics.jsonl will hold."""
    best: Checkpoint | None = None
    """The best moment on the validation rows so far; its weights are the stack's to keep."""
    kept: list[Checkpoint] = field(default_factory=list)
    """Moments that were asked for (`keep_every`)."""
    broken: bool = False
    """Whether its loss is no longer finite."""

    @property
    def teacher(self) -> Teacher | None:
        """Who answers the training rows."""
        return self.materials.teacher


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Ending:
    """A replica's state when it has come to its end."""

    step: int
    epoch: int
    began: float
    """When the stack began to train, in seconds since the epoch of the clock."""
    rate: float
    """The learning rate of its last step."""
    last: Mapping[str, Tensor]
    """Parameters and buffers of the stack now, (R, …) each."""
    best: Mapping[str, Tensor] | None
    """The same at each replica's best moment; None without validation rows."""
    replica: int
    """Which of the R it is."""
    optimizer: Mapping[str, Any]
    """Its optimiser's state dict."""
    generator: Tensor
    """The state of its generator on the device."""


def write_run(
    own: Replica,
    ending: Ending,
    *,
    place: Place,
    train: Loader,
    validation: Loader | None,
    taught: Predictions | None,
    answer: Answering,
    origin: Json,
) -> None:
    """Leave what a run of its own would have left: checkpoints to resume from, records, answers, scores, a summary.

    The global generators are set to the run's own, which a checkpoint holds.
    """
    student = own.materials.student
    fit = Fit(
        spec=own.spec,
        place=place,
        student=student,
        wrapped=student,
        optimizer=called("The optimiser's factory", own.spec.optimizer, student.parameters()),
        scheduler=None,
        loss=own.materials.loss,
        teachers=own.materials.teachers,
        train=train,
        validation=validation,
        taught_validation=taught,
        probe=None,
        records=Records(own.out / "metrics.jsonl"),
        watcher=Silent(),
        checkpoints=own.out / "checkpoints",
        stop=StopRequest(),
    )
    begin(fit, own.materials, own.out, origin, overwrite=False)
    # As old as if it had been written before the first step, so that from here to the summary is the time it took.
    os.utime(own.out / "spec.json", (ending.began, ending.began))
    fit.records.extend(own.records)
    for moment in own.kept:
        moment.save(fit.checkpoints, "kept")
    fit.step, fit.epoch, fit.rate = ending.step, ending.epoch, ending.rate
    if own.best is not None:
        assert ending.best is not None  # where one replica has validation rows, all have
        fit.best = moment_of(own, ending.best, ending.replica, own.best)
    load_replica(student, ending.last, ending.replica)
    load_optimizer_state(student, fit.optimizer, ending.optimizer)
    randomness.restore(own.generators)
    set_generator(place.device, ending.generator)
    fit.save()
    harvest(fit, own.materials.splits, own.materials.classes, own.out, answer)


def moment_of(own: Replica, stacked: Mapping[str, Tensor], replica: int, like: Checkpoint) -> Checkpoint:
    """Return a moment with one replica's weights, as its student's state dict names them."""
    student = own.materials.student
    load_replica(student, stacked, replica)
    weights = {name: tensor.clone() for name, tensor in weights_of(student, sharded=False).items()}
    return Checkpoint(step=like.step, epoch=like.epoch, rate=like.rate, weights=weights, scores=like.scores)
