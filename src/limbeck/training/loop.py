"""The one visible loop.

Batches come in an order that is a function of seed and epoch; the teacher answers; the objective sums over rows; the
sum is divided once by the rows of the whole step; the optimiser steps. What happens between two steps (records,
checkpoints, Ctrl-C) is called from here and lives in the files beside this one.
"""

import copy
import math
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from limbeck.data.loader import Loader
from limbeck.errors import Interrupted, NonFiniteLoss
from limbeck.models import CallModel, caller_of
from limbeck.objective import Loss, ObjectiveValue
from limbeck.references import called
from limbeck.specification import Distillation
from limbeck.training import randomness
from limbeck.training.checkpoint import Checkpoint, optimizer_from_files, optimizer_to_files
from limbeck.training.evaluate import Predictions, merit, predict_student, scores
from limbeck.training.interrupt import StopRequest
from limbeck.training.max_norm import project
from limbeck.training.place import Place
from limbeck.training.probe import GradientProbe
from limbeck.training.progress import Watcher
from limbeck.training.records import Meter, Records
from limbeck.training.state import load_optimizer_state, load_weights, optimizer_state, weights_of
from limbeck.types import Batch, Teacher


@final
@dataclass(kw_only=True, eq=False)
class Fit:
    """Everything that a training run holds in memory: the student and its surroundings, and how far it has come."""

    spec: Distillation
    place: Place
    student: nn.Module
    """The bare student: its weights are saved, its gradients probed."""
    wrapped: nn.Module
    """What is called and clipped: the student itself, or DDP's wrapper of it."""
    optimizer: Optimizer
    scheduler: LRScheduler | None
    loss: Loss
    teachers: Mapping[str, Teacher]
    """Who answers for the rows of train, validation and test; recorded targets may lack some of them."""
    train: Loader
    validation: Loader | None
    taught_validation: Predictions | None
    """The teacher's answers to the validation rows, taken once."""
    probe: GradientProbe | None
    records: Records
    watcher: Watcher
    checkpoints: Path
    stop: StopRequest
    constrained: Sequence[Tensor] = ()
    """The hidden weights that `max_norm` is about, where there is one."""

    step: int = 0
    """Optimiser steps taken."""
    epoch: int = 0
    """Epochs completed."""
    rate: float = field(init=False)
    """The learning rate of the first parameter group in the last step; before any, that of the first."""
    best: Checkpoint | None = None
    """The best moment on the validation rows so far."""
    meter: Meter = field(default_factory=Meter)
    teacher: Teacher | None = field(init=False)
    """Who answers the training rows."""
    call: CallModel = field(init=False)
    guard: "FiniteGuard" = field(init=False)
    _saved_at: float = field(default_factory=time.monotonic)
    _saved_step: int = -1
    _saved_best: int = -1

    def __post_init__(self) -> None:
        self.call = caller_of(self.wrapped, inside=self.student)
        self.teacher = self.teachers.get("train")
        self.guard = FiniteGuard(self.place.device)
        self.rate = self._first_rate()

    def run(self) -> None:
        """Train to the specification's number of epochs. Raises: NonFiniteLoss, Interrupted; both leave checkpoints."""
        total = self.spec.epochs * self.train.steps_per_epoch
        self.watcher.start("training", total)
        try:
            if self.step == 0:
                self._record_probe()
            while self.epoch < self.spec.epochs:
                self._run_epoch()
                self._end_epoch()
            self.save()
        finally:
            self.watcher.end()

    def _run_epoch(self) -> None:
        self.wrapped.train()
        done = self.step - self.epoch * self.train.steps_per_epoch
        batches = self.train.epoch(
            self.spec.seed,
            self.epoch,
            start=done,
            rank=self.place.rank,
            ranks=self.place.ranks,
            microbatches=self.spec.microbatches,
        )
        for rows in self._rows_of_steps(done):
            self.take_step(islice(batches, self.spec.microbatches), rows)
            if self.step % self.spec.log_every == 0:
                self._record_terms()
            if self.step % self.train.steps_per_epoch:  # the end of an epoch is saved after its records
                self._save_if_due()

    def _rows_of_steps(self, done: int) -> Iterator[int]:
        """The rows of each step still to come in this epoch, over all processes: what its loss is divided by."""
        size, count = self.train.batch_size, len(self.train.rows)
        return (min(size, count - first) for first in range(done * size, count, size))

    def take_step(self, parts: Iterator[Batch], rows: int) -> None:
        """Take one optimiser step along the gradient of a batch in parts, which has so many rows over all processes."""
        self.optimizer.zero_grad(set_to_none=True)
        for index, part in enumerate(parts, start=1):
            if not len(part) and self.place.ranks == 1:
                continue  # among several processes each must take part in the exchange of gradients
            batch = part.to(self.place.device)
            with self.place.holding_back(self.wrapped, last=index == self.spec.microbatches):
                where = f"at step {self.step} on a batch of {len(batch)}"
                value = called(f"The student or the teacher, {where},", self._evaluate, batch)
                self.guard.look(value, batch.ids, self.step)
                # DDP averages gradients over its ranks; the factor turns that mean of sums into a sum.
                (value.total * (self.place.ranks / rows)).backward()  # type: ignore[no-untyped-call]
            self.meter.add(value.sums, len(batch))
        if self.spec.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.wrapped.parameters(), self.spec.clip_norm)
        self.rate = self._first_rate()
        self.optimizer.step()
        if self.spec.max_norm is not None:
            project(self.constrained, self.spec.max_norm)
        if self.scheduler is not None:
            self.scheduler.step()
        self.step += 1

    def _evaluate(self, batch: Batch) -> ObjectiveValue:
        with self.place.arithmetic():
            knowledge = None if self.teacher is None else self.teacher(batch)
            return self.loss(self.call, batch, knowledge, self.step)

    def _first_rate(self) -> float:
        return float(self.optimizer.param_groups[0]["lr"])

    def _save_if_due(self, due: bool = False) -> None:
        """Save when it is time or Ctrl-C was pressed, in all processes at the same step. Raises: Interrupted."""
        late = time.monotonic() - self._saved_at >= self.spec.checkpoint_seconds > 0
        due, stop = self.place.agreed(due or late, self.stop.made)
        if due or stop:
            self.save()
        if stop:
            raise Interrupted(f"Stopped at step {self.step}, after the state was saved in {self.checkpoints}.")

    def _end_epoch(self) -> None:
        self.epoch += 1
        self.guard.settle()
        self._record_terms()
        if self.validation is not None:
            self._validate(self.validation)
        self._record_probe()
        if self.spec.keep_every and self.epoch % self.spec.keep_every == 0:
            now = self._moment(None)
            if self.place.leads:
                now.save(self.checkpoints, "kept")
        self._save_if_due(due=not self.spec.checkpoint_seconds)

    def _validate(self, rows: Loader) -> None:
        answers = predict_student(
            self.call, self.wrapped, self.loss.prepare, self.loss.head, rows.sequential(), self.place
        )
        found = scores(answers, self.taught_validation, self.loss.head)
        self._record(validation=found)
        if self.best is None or self.best.scores is None or merit(found) < merit(dict(self.best.scores)):
            self.best = copy.deepcopy(self._moment(found))
        self.watcher.advance(self.step, _newest(found))

    def _record_terms(self) -> None:
        names = tuple(self.loss.objective.terms)
        *sums, rows = self.place.sum_over_ranks(self.meter.tensors(names)).tolist()
        self.meter.clear()
        if not rows:
            return
        means = {name: total / rows for name, total in zip(names, sums, strict=True)}
        weighted = self.loss.objective.weighted(means, self.step)
        self._record(rate=self.rate, loss=weighted, terms=means)
        self.watcher.advance(self.step, "")

    def _record_probe(self) -> None:
        if self.probe is not None:
            self._record(gradients=self.probe.measure(self.student, self.step))

    def _record(self, **found: Any) -> None:
        self.records.append({"step": self.step, "epoch": self.step / self.train.steps_per_epoch, **found})

    def save(self) -> None:
        """Write the last checkpoint and, if it is new, the best. A loss that is not finite is found before."""
        if self.step == self._saved_step:
            return
        self.guard.settle()
        sums = self.place.sum_over_ranks(self.meter.tensors(tuple(self.loss.objective.terms)))
        now = self._resumable(sums)  # by all processes: under FSDP each holds a part
        if self.place.leads:
            # The last carries the best within it: one rename, so that no kill can part the two.
            now.save(self.checkpoints, "last")
            if self.best is not None and self.best.step != self._saved_best:
                self.best.save(self.checkpoints, "best")
                self._saved_best = self.best.step
        self.place.wait()
        self._saved_at, self._saved_step = time.monotonic(), self.step

    def _moment(self, found: Mapping[str, float] | None) -> Checkpoint:
        weights = weights_of(self.student, sharded=self.place.sharded)
        return Checkpoint(step=self.step, epoch=self.epoch, rate=self.rate, weights=weights, scores=found)

    def _resumable(self, sums: Tensor) -> Checkpoint:
        generators, generators_rest = randomness.to_files(randomness.capture())
        moments, groups = optimizer_to_files(optimizer_state(self.student, self.optimizer, sharded=self.place.sharded))
        best, best_rest = _best_to_files(self.best)
        tensors = {**moments, **generators, **best, "meter": sums}
        state = {"optimizer": groups, "random": generators_rest, "best": best_rest}
        return replace(self._moment(None), tensors=tensors, state=state)

    def take_up(self, last: Checkpoint) -> None:
        """Go back to a saved moment: weights, optimiser, schedule, generators, sums; records are cut back to it."""
        assert last.tensors is not None and last.state is not None  # every checkpoint of kind "last" has them
        sharded = self.place.sharded
        load_weights(self.student, last.weights, self.checkpoints, sharded=sharded)
        self._replay_schedule(last.step)
        moments = optimizer_from_files(last.tensors, last.state["optimizer"])
        load_optimizer_state(self.student, self.optimizer, moments, sharded=sharded)
        randomness.restore(randomness.from_files(last.tensors, last.state["random"]))
        if self.place.leads:  # the sums are those of all processes
            self.meter.restore(tuple(self.loss.objective.terms), last.tensors["meter"])
        self.step, self.epoch, self.rate, self._saved_step = last.step, last.epoch, last.rate, last.step
        self.best = _best_from_files(last.tensors, last.state["best"])
        self.records.cut_back(last.step)

    def _replay_schedule(self, steps: int) -> None:
        """Bring a fresh schedule to where it was: it depends on the steps alone, and nothing of it need be stored."""
        if self.scheduler is None:
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimiser has not stepped yet
            for _ in range(steps):
                self.scheduler.step()


def _best_to_files(best: Checkpoint | None) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    if best is None:
        return {}, None
    weights = {f"best.{name}": tensor for name, tensor in best.weights.items()}
    return weights, {"step": best.step, "epoch": best.epoch, "rate": best.rate, "scores": best.scores}


def _best_from_files(tensors: Mapping[str, Tensor], rest: Mapping[str, Any] | None) -> Checkpoint | None:
    if rest is None:
        return None
    weights = {name.removeprefix("best."): tensor for name, tensor in tensors.items() if name.startswith("best.")}
    return Checkpoint(weights=weights, **rest)


@final
class FiniteGuard:
    """Stops a run whose loss is NaN or infinite, naming the term, the step and the rows.

    On the CPU each loss is looked at before its gradient is taken. On an accelerator a look waits for the device, so
    the loss looked at is the one before, while the device is busy with the next; `settle` looks at the last.
    """

    def __init__(self, device: torch.device) -> None:
        self._lags = device.type != "cpu"
        self._waiting: tuple[ObjectiveValue, Tensor, int] | None = None

    def look(self, value: ObjectiveValue, ids: Tensor, step: int) -> None:
        """Look at a micro-batch's loss, or at the one before. Raises: NonFiniteLoss."""
        self.settle()
        self._waiting = (value, ids, step)
        if not self._lags:
            self.settle()

    def settle(self) -> None:
        """Look at what has not been looked at. Raises: NonFiniteLoss."""
        if self._waiting is None:
            return
        (value, ids, step), self._waiting = self._waiting, None
        if not math.isfinite(value.total.item()):
            raise NonFiniteLoss(_what_broke(value, ids, step))


def _what_broke(value: ObjectiveValue, ids: Tensor, step: int) -> str:
    for name, values in value.values.items():
        broken = ~torch.isfinite(values.detach()).cpu()
        if broken.any():
            rows = ids[broken].tolist()
            shown = ", ".join(map(str, rows[:8])) + (f" and {len(rows) - 8} more" if len(rows) > 8 else "")
            kind = "NaN" if torch.isnan(values.detach()).any() else "infinite"
            return (
                f"Term {name!r} became {kind} at step {step} on row ids {shown}; training has stopped. "
                "Lower the learning rate, clip the gradient (clip_norm), or look at those rows."
            )
    return f"The sum of the terms became infinite at step {step}; training has stopped. Lower the terms' weights."


def _newest(found: Mapping[str, float]) -> str:
    if "errors" in found:
        return f"validation: {found['errors']:.0f} of {found['rows']:.0f} wrong, nll {found['nll']:.4f}"
    return f"validation: {found['agreement']:.1%} agree with the teacher, kl {found['kl']:.4f}"
