"""The loop of a stack: one step for all replicas, each on its own batch, with its own objective, rate and noise.

The numbers are those of `training/loop.py`, but for rounding: replicas share no parameter, so that the gradient of the
sum of their losses holds each one's own.

Shape legend, this file:  R replicas, N training rows, B rows of a batch, C classes.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from limbeck.data.loader import Loader
from limbeck.data.order import epoch_order
from limbeck.errors import CannotStack, Interrupted
from limbeck.specification import Json
from limbeck.training.checkpoint import Checkpoint
from limbeck.training.distill import probed
from limbeck.training.evaluate import Predictions, merit, scores_of_many
from limbeck.training.interrupt import StopRequest
from limbeck.training.max_norm import hidden_weights, project
from limbeck.training.place import Place
from limbeck.training.progress import Watcher
from limbeck.training.recorded import views_of
from limbeck.training.stacking.checks import check_prepares, check_same_as_alone
from limbeck.training.stacking.goals import Goals, StackedMeter, means
from limbeck.training.stacking.probe import StackedProbe
from limbeck.training.stacking.reasons import as_reason, encoded
from limbeck.training.stacking.replica import Ending, Replica, moment_of, write_run
from limbeck.training.stacking.rows import ViewRows, rows_of_view, taken
from limbeck.training.stacking.scoring import Scoring
from limbeck.training.stacking.stack import Noise, Stack
from limbeck.training.stacking.steppers import Stepper, clip, grouped
from limbeck.types import TransferSet


@final
class StackedFit:
    """Everything that the training of a stack holds in memory.

    Args:
        replicas: at least one; they may share a stack (`why_not_stacked`) and are of one architecture.
        place: where it computes.
        watcher: is told how far it has come.
        stop: is looked at between two steps.
        origin: how the runs were asked for.

    Raises: CannotStack where networks or rows turn out not to fit together; nothing is written yet.
    """

    def __init__(
        self, replicas: Sequence[Replica], *, place: Place, watcher: Watcher, stop: StopRequest, origin: Json = None
    ) -> None:
        if place.device.type not in ("cpu", "cuda"):
            raise CannotStack(f"how numbers are drawn on the device {place.device.type} is not known")
        self._place, self._watcher, self._stop, self._origin = place, watcher, stop, origin
        groups = grouped([_settings(own) for own in replicas])
        self.replicas = [replicas[number] for group in groups for number in group]
        first = self.replicas[0]
        self._spec, self._splits, self._loss = first.spec, first.materials.splits, first.materials.loss
        self._train = self._loader(first, self._splits.train)
        self._check_views()
        self.rows = rows_of_view(self._train, self._loss.prepare, 0, place.device)
        self._view = 0
        self._scoring = Scoring(self._spec, self._splits, self._loss, place)
        with as_reason():
            self.stack = Stack([own.materials.student for own in self.replicas])
        self._noise = Noise(
            first.materials.student, [_own_generator(own, place) for own in self.replicas], place.device
        )
        self._check()
        self._steppers = self._made_steppers(groups)
        self._meter = StackedMeter()
        self.step, self.epoch = 0, 0
        self._began = time.time()
        self._best = None if self._splits.validation is None else self.stack.snapshot()
        if self._splits.validation is not None:
            for own in self.replicas:
                self._scoring.taught(own.materials.teachers.get("validation"), "validation")
        self._arrange()

    def _loader(self, own: Replica, rows: TransferSet) -> Loader:
        spec = own.spec
        return Loader(
            rows,
            (own.materials.loss.prepare,),
            batch_size=spec.batch_size,
            workers=spec.workers,
            augment=spec.augment,
            view_seed=spec.view_seed,
            views=views_of(own.teacher, spec),
        )

    def _check_views(self) -> None:
        if len({views_of(own.teacher, own.spec) for own in self.replicas}) > 1:
            raise CannotStack("they cycle through different numbers of views")

    def _made_steppers(self, groups: Sequence[Sequence[int]]) -> list[Stepper]:
        made, at = [], 0
        for group in groups:
            spec = self.replicas[at].spec
            steps = spec.epochs * self._train.steps_per_epoch
            made.append(Stepper(spec, self.stack, at, at + len(group), steps))
            at += len(group)
        return made

    def _arrange(self) -> None:
        """Put together what depends on which replicas are in the stack."""
        first = self.replicas[0].materials
        objectives = [own.spec.goal for own in self.replicas]
        teachers = [own.teacher for own in self.replicas]
        self._goals = Goals(objectives, teachers, self._loss.head)
        self._goals.look_at(self.rows)
        self._finite = torch.ones(len(self.replicas), dtype=torch.bool, device=self._place.device)
        self._largest = self._limits([own.spec.clip_norm for own in self.replicas])
        self._longest = self._limits([own.spec.max_norm for own in self.replicas])
        self._hidden: Sequence[str] = ()
        if self._longest is not None:
            with as_reason():
                self._hidden = list(hidden_weights(first.student, first.logits))
        self._probe = None
        if self._spec.probe_rows:
            self._probe = StackedProbe(self._probed_rows(), objectives, teachers, self._loss.head)

    def _limits(self, own: Sequence[float | None]) -> Tensor | None:
        """Each replica's own limit, (R,), inf for none; None where none has one."""
        if all(limit is None for limit in own):
            return None
        limits = [math.inf if limit is None else limit for limit in own]
        return torch.tensor(limits, dtype=torch.float64, device=self._place.device)

    def _probed_rows(self) -> ViewRows:
        positions = probed(self._spec, len(self._train.rows))
        batch = next(self._train.sequential(positions, batch_size=self._spec.probe_rows)).to(self._place.device)
        return ViewRows(inputs=batch.inputs[self._loss.prepare], labels=batch.labels, ids=batch.ids, view=0)

    def _check(self) -> None:
        prepares = [own.materials.loss.prepare for own in self.replicas]
        loaders = {
            prepare: self._loader(own, self._splits.train) for prepare, own in zip(prepares, self.replicas, strict=True)
        }
        order = epoch_order(len(self.rows), self._spec.seed, 0)
        check_prepares(loaders, self.rows, order, self._train.batch_size)
        chosen = self._order(0)[:, : self._train.batch_size]
        states, buffers = list(self._noise.states), {name: one.clone() for name, one in self.stack.buffers.items()}
        with as_reason(), torch.no_grad():
            logits = self._logits(chosen)
        after, self.stack.buffers, self._noise.states = self.stack.buffers, buffers, states
        inputs = [taken(self.rows.inputs, own) for own in chosen]
        check_same_as_alone(logits, after, [own.materials.student for own in self.replicas], inputs, self._noise)

    def run(self) -> list[Replica]:
        """Train every replica to the end of its epochs, leave its run, and return those whose loss broke.

        Raises: CannotStack where a step fails, as it may do alone; Interrupted on Ctrl-C: what is finished stays.
        """
        broken: list[Replica] = []
        count, steps = len(self.replicas), self._train.steps_per_epoch
        self._watcher.start(
            f"training {count} students as one stack", steps * max(own.spec.epochs for own in self.replicas)
        )
        try:
            self._record_probe()
            while self.replicas:
                self._run_epoch()
                self._end_epoch()
                broken += self._finish()
        finally:
            self._watcher.end()
        return broken

    def _order(self, epoch: int) -> Tensor:
        """Each replica's order of an epoch's rows, (R, N)."""
        count = len(self._train.rows)
        orders = {seed: epoch_order(count, seed, epoch) for seed in {own.spec.seed for own in self.replicas}}
        return torch.stack([orders[own.spec.seed] for own in self.replicas]).to(self._place.device)

    def _run_epoch(self) -> None:
        self._show(self._train.view_at(self.epoch))
        for chosen in torch.split(self._order(self.epoch), self._train.batch_size, dim=1):
            with as_reason():
                self.take_step(chosen)
            if self.step % self._spec.log_every == 0:
                self._record_terms()
            if self._stop.made:
                raise Interrupted(
                    f"Stopped at step {self.step} of a stack of {len(self.replicas)} runs, which are begun anew when "
                    "they are asked for again; what was finished is kept."
                )

    def _show(self, view: int) -> None:
        if view != self._view:
            self.rows, self._view = rows_of_view(self._train, self._loss.prepare, view, self._place.device), view
            self._goals.look_at(self.rows)

    def take_step(self, chosen: Tensor) -> None:
        """Take one optimiser step of every replica on the rows at its positions, (R, B)."""
        value = self._goals(self._logits(chosen), chosen, self.step)
        self._finite &= value.totals.detach().isfinite()
        leaves = self.stack.leaves
        mean = value.totals.sum() * (1 / chosen.shape[1])
        found: Sequence[Tensor | None] = torch.autograd.grad(mean, list(leaves.values()), allow_unused=True)
        gradients = {name: part for name, part in zip(leaves, found, strict=True) if part is not None}
        if self._largest is not None:
            gradients = clip(gradients, self._largest)
        for stepper in self._steppers:
            stepper.step(gradients)
        if self._longest is not None:
            project((self.stack.parameters[name] for name in self._hidden), self._longest)
        self._meter.add(value.sums, chosen.shape[1])
        self.step += 1

    def _logits(self, chosen: Tensor) -> Tensor:
        noise = self._noise.draw(chosen.shape[1], lambda: taken(self.rows.inputs, chosen[0]))
        inputs = taken(self.rows.inputs, chosen.reshape(-1), tuple(chosen.shape))
        return self.stack(inputs, training=True, noise=noise)

    def timed_steps(self, most: int, seconds: float) -> float:
        """Take a few steps and return the seconds of the quickest; for a trial, after which the stack is of no use."""
        quickest, until = math.inf, time.perf_counter() + seconds
        size = min(self._train.batch_size, len(self.rows))
        whole = self._order(0)[:, : len(self.rows) // size * size]  # a smaller last batch would be quicker
        for chosen in torch.split(whole, size, dim=1)[:most]:
            began = time.perf_counter()
            with as_reason():
                self.take_step(chosen)
            if self._place.device.type == "cuda":
                torch.cuda.synchronize()
            now = time.perf_counter()
            quickest = min(quickest, now - began)
            if now > until:
                break
        return quickest

    def _end_epoch(self) -> None:
        self.epoch += 1
        for own, finite in zip(self.replicas, self._finite.tolist(), strict=True):
            own.broken = own.broken or not finite
        self._record_terms()
        if self._splits.validation is not None:
            self._validate()
        self._record_probe()
        for number, own in enumerate(self.replicas):
            if own.spec.keep_every and self.epoch % own.spec.keep_every == 0:
                weights = {**self.stack.parameters, **self.stack.buffers}
                own.kept.append(moment_of(own, weights, number, self._now(number)))

    def _rate(self, number: int) -> float:
        return next(stepper.rate for stepper in self._steppers if stepper.first <= number < stepper.last)

    def _now(self, number: int) -> Checkpoint:
        return Checkpoint(step=self.step, epoch=self.epoch, rate=self._rate(number), weights={})

    def _record(self, own: Replica, **found: Any) -> None:
        own.records.append({"step": self.step, "epoch": self.step / self._train.steps_per_epoch, **found})

    def _record_terms(self) -> None:
        sums, rows = self._meter.take()
        if not rows:
            return
        for number, own in enumerate(self.replicas):
            found = means(self._goals.sums_of(sums, number), rows)
            loss = own.spec.goal.weighted(found, self.step)
            self._record(own, rate=self._rate(number), loss=loss, terms=found)
        self._watcher.advance(self.step, "")

    def _record_probe(self) -> None:
        if self._probe is not None:
            with as_reason():
                measured = self._probe.measure(self.stack, self.step)
            for own, found in zip(self.replicas, measured, strict=True):
                self._record(own, gradients=found)

    def _validate(self) -> None:
        with as_reason():
            logits = self._scoring.answers(self.stack, "validation")
        labels = self._scoring.rows("validation").labels
        found: dict[int, dict[str, float]] = {}
        for group in grouped([str(id(own.teacher)) for own in self.replicas]):
            taught = self._scoring.taught(self.replicas[group[0]].materials.teachers.get("validation"), "validation")
            scored = scores_of_many(logits[group], labels, taught, self._loss.head)
            found.update(zip(group, scored, strict=True))
        better = []
        for number, own in enumerate(self.replicas):
            self._record(own, validation=found[number])
            best = None if own.best is None or own.best.scores is None else merit(dict(own.best.scores))
            if best is None or merit(found[number]) < best:
                own.best = replace(self._now(number), scores=found[number])
                better.append(number)
        assert self._best is not None  # there are validation rows
        for name, tensor in {**self.stack.parameters, **self.stack.buffers}.items():
            self._best[name][better] = tensor.detach()[better]
        self._watcher.advance(self.step, _newest(list(found.values())))

    def _finish(self) -> list[Replica]:
        """Leave the runs of those that have come to their end, drop them, and return those of them that broke."""
        over = [number for number, own in enumerate(self.replicas) if own.spec.epochs == self.epoch]
        if all(own.broken for own in self.replicas):
            over = list(range(len(self.replicas)))
        if not over:
            return []
        last = self.stack.snapshot()
        kept = last if self._best is None else self._best
        answers: dict[str, Tensor] = {}
        for number in over:
            if not self.replicas[number].broken:
                self._write(number, self.replicas[number], last, kept, answers)
        broken = [self.replicas[number] for number in over if self.replicas[number].broken]
        self._drop(over)
        return broken

    def _write(
        self,
        number: int,
        own: Replica,
        last: Mapping[str, Tensor],
        kept: Mapping[str, Tensor],
        cache: dict[str, Tensor],
    ) -> None:
        def answer(name: str, rows: TransferSet) -> tuple[Predictions, Predictions | None]:
            if name not in cache:
                cache[name] = self._scoring.answers(self.stack, name, kept)
            held = self._scoring.rows(name)
            ours = Predictions(ids=held.ids, logits=cache[name][number].contiguous(), labels=held.labels)
            return ours, self._scoring.taught(own.materials.teachers.get(name), name)

        stepper = next(one for one in self._steppers if one.first <= number < one.last)
        validation = self._splits.validation
        ending = Ending(
            step=self.step,
            epoch=self.epoch,
            began=self._began,
            rate=stepper.rate,
            last=last,
            best=self._best,
            replica=number,
            optimizer=stepper.state_of(number),
            generator=self._noise.states[number],
        )
        write_run(
            own,
            ending,
            place=self._place,
            train=self._train,
            validation=None if validation is None else self._scoring.rows("validation").loader,
            taught=None if validation is None else answer("validation", validation)[1],
            answer=answer,
            origin=self._origin,
        )

    def _drop(self, over: Sequence[int]) -> None:
        """Go on without some replicas: all of an optimiser, or none."""
        left = [number for number in range(len(self.replicas)) if number not in set(over)]
        self.replicas = [self.replicas[number] for number in left]
        if not left:
            return
        index = torch.tensor(left, device=self._place.device)
        self.stack.keep(index)
        self._noise.keep(index)
        if self._best is not None:
            self._best = {name: tensor[index] for name, tensor in self._best.items()}
        self._steppers = [stepper for stepper in self._steppers if stepper.first in left]
        at = 0
        for stepper in self._steppers:
            stepper.move(self.stack, at)
            at = stepper.last
        self._arrange()


def _settings(own: Replica) -> str:
    """What replicas of one optimiser have in common."""
    spec = own.spec
    return "\n".join(encoded(part) for part in (spec.optimizer, spec.schedule, spec.epochs))


def _own_generator(own: Replica, place: Place) -> Tensor:
    if place.device.type != "cuda":
        state: Tensor = own.generators["torch"]
    else:
        state = own.generators["devices"][place.device.index or 0]
    return state


def _newest(found: Sequence[Mapping[str, float]]) -> str:
    if "errors" in found[0]:
        wrong = [one["errors"] for one in found]
        spread = f"{min(wrong):.0f}" if min(wrong) == max(wrong) else f"{min(wrong):.0f} to {max(wrong):.0f}"
        return f"validation: {spread} of {found[0]['rows']:.0f} wrong"
    agreed = [one["agreement"] for one in found]
    return f"validation: {min(agreed):.1%} to {max(agreed):.1%} agree with the teacher"
