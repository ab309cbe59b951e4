"""Training loops that do the same work: each trains a fresh student for one epoch and times that epoch alone.

The plainest loop that a person would write, and this project's. Loops of other libraries are in `rivals.py`.

Shape legend, this file:  N rows, B rows of a batch, D features, C classes.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeAlias, final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, kl_div, log_softmax
from torch.optim import Adam, Optimizer

from limbeck.data import TensorSet, plain_features
from limbeck.data.loader import Loader
from limbeck.data.order import private_generator
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation, Precision
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck.types import Dense, Teacher

TEMPERATURE = 4.0
SOFT, HARD = 0.9, 0.1
MEMBERS = 10
CLIP_NORM = 1.0

# fused=False: every loop steps with the same kernels, whatever torch would choose for it.
make_optimizer = partial(Adam, lr=1e-3, fused=False)


class Lap(NamedTuple):
    """One epoch."""

    seconds: float
    weights: Mapping[str, Tensor]
    """The student's, after the epoch."""


def network(widths: Sequence[int]) -> nn.Sequential:
    """A ReLU network of the given widths, from the inputs to the logits."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What every loop is given: the same rows in the same order, teacher, first weights and optimiser."""

    features: Tensor
    """(N, D) float32."""
    labels: Tensor
    """(N,) int64."""
    teacher_widths: Sequence[int]
    student_widths: Sequence[int]
    batch_size: int
    seed: int = 0

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return -(-len(self.features) // self.batch_size)

    @cached_property
    def teacher(self) -> nn.Module:
        """A network that has learnt nothing: arithmetic takes as long with any weights."""
        torch.manual_seed(self.seed + 1)
        return network(self.teacher_widths).eval().requires_grad_(False)

    @cached_property
    def members(self) -> Sequence[nn.Module]:
        """Networks like the teacher, with other weights."""
        torch.manual_seed(self.seed + 2)
        return [network(self.teacher_widths).eval().requires_grad_(False) for _ in range(MEMBERS)]

    @cached_property
    def teacher_logits(self) -> Tensor:
        """The teacher's answers to all rows, (N, C): the recorded teacher of the plainest loop."""
        return self._answers(FrozenTeacher(self.teacher, prepare=plain_features))

    @cached_property
    def ensemble(self) -> Ensemble:
        """The members as one teacher, with the arithmetic mean of their distributions."""
        return Ensemble([FrozenTeacher(member, prepare=plain_features) for member in self.members])

    @cached_property
    def ensemble_logits(self) -> Tensor:
        """The ensemble's answers to all rows at the temperature of the runs, (N, C)."""
        return self._answers(self.ensemble)

    def _answers(self, teacher: Teacher) -> Tensor:
        batches = Loader(TensorSet(self.features), teacher.prepares, batch_size=self.batch_size).sequential()
        answers = [teacher(batch).at(TEMPERATURE) for batch in batches]
        return torch.cat([answer.logits for answer in answers if isinstance(answer, Dense)])

    @cached_property
    def folder(self) -> "tempfile.TemporaryDirectory[str]":
        """Where the stores are, as long as the task lives."""
        return tempfile.TemporaryDirectory()

    @cached_property
    def store(self) -> Path:
        """The teacher's answers, recorded."""
        return self._recorded(self.specification, "teacher")

    @cached_property
    def ensemble_store(self) -> Path:
        """The ensemble's answers, recorded at temperature 1 and that of the runs."""
        return self._recorded(replace(self.specification, teacher=self.ensemble), "ensemble")

    def _recorded(self, spec: Distillation, name: str) -> Path:
        store = Path(self.folder.name) / name
        record(spec, store, watcher=Silent())
        return store

    def beginning(self) -> tuple[nn.Module, Optimizer]:
        """A fresh student and its optimiser."""
        torch.manual_seed(self.seed)
        student = network(self.student_widths)
        return student, make_optimizer(student.parameters())

    def order_generator(self) -> torch.Generator:
        """A generator whose first `torch.randperm` is the order of this project's first epoch."""
        return private_generator(self.seed, 0)

    @cached_property
    def specification(self) -> Distillation:
        """The same as a run of this project, without what the other loops do not do either."""
        return Distillation(
            data=TensorSet(self.features, labels=self.labels),
            student=partial(network, self.student_widths),
            teacher=FrozenTeacher(self.teacher, prepare=plain_features),
            objective=SOFT * SoftTargets(temperature=TEMPERATURE) + HARD * HardLabels(),
            optimizer=make_optimizer,
            epochs=1,
            batch_size=self.batch_size,
            seed=self.seed,
            device="cpu",
            validation=None,
            probe_rows=0,
            checkpoint_seconds=3600.0,
        )


Loop: TypeAlias = Callable[[Task], Lap]


def distillation_loss(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor) -> Tensor:
    """0.9 · T² KL(p_T || q_T) + 0.1 · cross-entropy, means over the rows.  (B, C), (B, C), (B,) -> ()."""
    soft = kl_div(
        log_softmax(student_logits / TEMPERATURE, -1),
        log_softmax(teacher_logits / TEMPERATURE, -1),
        log_target=True,
        reduction="batchmean",
    )
    return SOFT * TEMPERATURE**2 * soft + HARD * cross_entropy(student_logits, labels)


def lean(task: Task, *, recorded: str = "", half: bool = False, clip_norm: float | None = None) -> Lap:
    """The plainest loop: rows in memory, nothing checked, nothing recorded, nothing waited for.

    The answers of a `recorded` "teacher" or "ensemble" lie in memory too.
    """
    student, optimizer = task.beginning()
    generator = task.order_generator()
    teacher, teacher_logits = task.teacher, None
    if recorded:
        teacher_logits = task.ensemble_logits if recorded == "ensemble" else task.teacher_logits
    began = time.perf_counter()
    for chosen in torch.randperm(len(task.features), generator=generator).split(task.batch_size):
        inputs, labels = task.features.index_select(0, chosen), task.labels.index_select(0, chosen)
        with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
            with torch.no_grad():
                answers = teacher(inputs) if teacher_logits is None else teacher_logits.index_select(0, chosen)
            loss = distillation_loss(student(inputs), answers, labels)
        optimizer.zero_grad()
        loss.backward()
        if clip_norm is not None:
            nn.utils.clip_grad_norm_(student.parameters(), clip_norm)
        optimizer.step()
    return Lap(time.perf_counter() - began, student.state_dict())


def ours(
    task: Task, *, recorded: str = "", ensemble: bool = False, half: bool = False, clip_norm: float | None = None
) -> Lap:
    """This project's `distill`, timed by the watcher that a user could pass too.

    The teacher is live, or the ten networks of a live `ensemble`, or a store of the `recorded` "teacher" or "ensemble".
    """
    precision: Precision = "bfloat16" if half else "float32"
    stopwatch = Stopwatch()
    spec = replace(task.specification, precision=precision, clip_norm=clip_norm)
    if ensemble:
        spec = replace(spec, teacher=task.ensemble)
    if recorded:
        spec = replace(spec, teacher=None, targets=task.ensemble_store if recorded == "ensemble" else task.store)
    with tempfile.TemporaryDirectory() as folder:
        run = distill(spec, Path(folder) / "run", watcher=stopwatch)
        return Lap(stopwatch.seconds, load_file(run.weights))


@final
class Stopwatch:
    """Times a run's training: from its start to the record after its last step, before it is saved and scored."""

    def __init__(self) -> None:
        self.seconds = float("nan")
        self._began, self._total = 0.0, 0

    def start(self, what: str, total: int) -> None:
        """Begin to time."""
        self._began, self._total = time.perf_counter(), total

    def advance(self, done: int, note: str) -> None:
        """Stop at the last step."""
        if done == self._total:
            self.seconds = time.perf_counter() - self._began

    def say(self, line: str) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Do nothing: by now the run has been saved."""
