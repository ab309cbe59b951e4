"""The pieces of `encodings.py`: teacher, recorded answers and students, each kept in a folder when it is finished.

Shape legend, this file:  N rows, C classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import joblib
import torch
from encoding_students import Replayed, Setting, Splits, record_logits, train_student
from shakespeare import Recurrent, read_streams, rows_of, sampled_positions, train_member
from torch import Tensor

from limbeck.data import TensorSet
from limbeck.data.loader import Loader
from limbeck.data.prepare import plain_features
from limbeck.files import read_json, read_tensors, write_json, write_tensors
from limbeck.functional import forward_kl, soft_cross_entropy
from limbeck.objective import Divergence, HardLabels, Objective, SoftTargets
from limbeck.targets.encoding import Encoding
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.encodings.lowrank import fit_low_rank
from limbeck.targets.encodings.narrow import Precision
from limbeck.targets.encodings.sampled import SampledTargets
from limbeck.targets.encodings.topk import TopKLogProbs
from limbeck.targets.manifest import MANIFEST
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.types import Teacher

MEMBERS = (0, 1)
"""Seeds of the teacher's networks."""
ROWS = 60_000
"""Positions of the training text that the student is taught on."""
ROWS_SEED = 0
CALIBRATION_ROWS = 4096
"""Rows that a low-rank basis is fitted to, about as many as a recording takes."""
HARD = 0.1
"""The weight of the labels beside soft targets."""


@final
@dataclass(frozen=True)
class Form:
    """An encoding before it is fitted to answers."""

    family: Literal["dense", "top-k", "low-rank", "sampled"]
    size: int | Precision
    """The type of dense logits, the classes of top-k, the rank, or the draws."""

    @property
    def key(self) -> str:
        """For files and records."""
        return f"{self.family}-{self.size}"

    @property
    def name(self) -> str:
        """For people."""
        match self.family:
            case "dense":
                return f"dense, {self.size}"
            case "top-k":
                return f"top-k, k = {self.size}"
            case "low-rank":
                return f"low-rank, int8, rank {self.size}"
            case "sampled":
                return f"sampled, {self.size} draws"

    def encoding(self, temperature: float, sample_NC: Callable[[], Tensor]) -> Encoding:
        """The encoding at a temperature; a basis is fitted to a sample of the teacher's logits."""
        match self.family:
            case "dense":
                return DenseLogits(self.size)
            case "top-k":
                return TopKLogProbs(self.size, (temperature,), tempered=True)
            case "low-rank":
                return fit_low_rank(sample_NC(), self.size)
            case "sampled":
                return SampledTargets(self.size, (temperature,))

    def divergence(self) -> Divergence:
        """What a student is taught by: of samples, only a cross-entropy can be told; its gradient is that of the KL."""
        return soft_cross_entropy if self.family == "sampled" else forward_kl


class Lesson(NamedTuple):
    """What a student is taught with."""

    temperature: float | None
    """Of the soft targets; None for labels alone."""
    form: Form | None = None
    """In which the targets are encoded; None for the logits as they are."""
    hard: float = HARD
    """The weight of the labels beside soft targets, whose weight is the rest of 1."""

    @property
    def name(self) -> str:
        """Of its files."""
        if self.temperature is None:
            return "alone"
        return f"{self.targets}{'' if self.hard == HARD else f'-hard-{self.hard:g}'}"

    @property
    def targets(self) -> str:
        """Of the store with its targets."""
        return f"{'logits' if self.form is None else self.form.key}-T-{self.temperature:g}"


FORMS = (
    *(Form("dense", dtype) for dtype in ("float32", "float16", "bfloat16")),
    *(Form("top-k", k) for k in (4, 8, 15, 30, 60)),
    *(Form("low-rank", rank) for rank in (14, 30, 62, 126)),
    *(Form("sampled", draws) for draws in (8, 16, 32, 64)),
)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """The pieces of the measurement, each made when it is first asked for and kept in `work`."""

    data: Path
    work: Path
    parallel: int

    @cached_property
    def streams(self) -> dict[str, Tensor]:
        """The tokens of each split."""
        return read_streams(self.data, self.work)

    @cached_property
    def train(self) -> TensorSet:
        """The student's rows."""
        return rows_of(self.streams["train"], sampled_positions(self.streams["train"], ROWS, ROWS_SEED))

    def rows(self, split: str) -> TensorSet:
        """The student's rows, or all of another split."""
        return self.train if split == "train" else rows_of(self.streams[split])

    @cached_property
    def teacher(self) -> Teacher:
        """The ensemble; members that are not there yet are trained side by side."""
        missing = [seed for seed in MEMBERS if not self._member(seed).is_file()]
        if missing:
            joblib.Parallel(n_jobs=self.parallel)(
                joblib.delayed(train_and_keep)(self.streams["train"], seed, self._member(seed)) for seed in missing
            )
        members = []
        for seed in MEMBERS:
            member = Recurrent()
            member.load_state_dict(read_tensors(self._member(seed)))
            members.append(FrozenTeacher(member, prepare=plain_features))
        return Ensemble(members, mean="geometric")

    def _member(self, seed: int) -> Path:
        return self.work / f"member-{seed}.safetensors"

    def logits(self, split: str) -> Tensor:
        """The teacher's answers to the rows of a split.  -> (N, C)."""
        path = self.work / f"logits-{split}.safetensors"
        if not path.is_file():
            write_tensors(path, {"logits": answered(self.teacher, self.rows(split))})
        return read_tensors(path)["logits"]

    def sample(self) -> Tensor:
        """Answers to fit a basis to: every few of the student's rows.  -> (about CALIBRATION_ROWS, C)."""
        return self.logits("train")[:: ROWS // CALIBRATION_ROWS]

    def student_file(self, lesson: Lesson, setting: Setting, seed: int, *, judged: bool) -> Path:
        """The scores of a run; the weights lie beside them."""
        name = f"{lesson.name}-rate-{setting.rate:g}-epochs-{setting.epochs}-dropout-{setting.dropout:g}-seed-{seed}"
        return self.work / ("judged" if judged else "chosen") / f"{name}.json"

    def students(self, lessons: "Sequence[tuple[Lesson, Setting, int]]", *, judged: bool) -> list[dict[str, Any]]:
        """Scores of students, each trained unless it has been; judged ones on the test rows too."""
        files = [self.student_file(*lesson, judged=judged) for lesson in lessons]
        missing = [(lesson, file) for lesson, file in zip(lessons, files, strict=True) if not file.is_file()]
        if missing:
            self.logits("train")
            joblib.Parallel(n_jobs=self.parallel)(
                joblib.delayed(teach_and_keep)(replace(self), *lesson, file, judged=judged) for lesson, file in missing
            )
        return [read_json(file) for file in files]


def train_and_keep(stream: Tensor, seed: int, path: Path) -> None:
    """Train a member of the teacher into a file."""
    torch.set_num_threads(1)
    write_tensors(path, train_member(stream, seed).state_dict())


def answered(teacher: Teacher, rows: TensorSet) -> Tensor:
    """A teacher's logits on all rows.  -> (N, C)."""
    batches = Loader(rows, teacher.prepares, batch_size=512).sequential()
    return torch.cat([teacher(batch).at(1.0).logits for batch in batches])


def teach_and_keep(bench: Bench, lesson: Lesson, setting: Setting, seed: int, path: Path, *, judged: bool) -> None:
    """Train a student and keep its weights and scores."""
    torch.set_num_threads(1)
    splits = Splits(train=bench.train, validation=bench.rows("validation"), test=bench.rows("test") if judged else None)
    teacher, objective = teaching(bench, lesson)
    student, scores = train_student(splits, teacher, objective, setting, seed)
    write_tensors(path.with_suffix(".safetensors"), student.state_dict())
    write_json(path, scores)
    print(path.stem, scores, flush=True)


def teaching(bench: Bench, lesson: Lesson) -> tuple[Teacher | None, Objective]:
    """The teacher of a lesson, and what is asked of the student."""
    if lesson.temperature is None:
        return None, 1.0 * HardLabels()
    divergence = forward_kl if lesson.form is None else lesson.form.divergence()
    soft = SoftTargets(temperature=lesson.temperature, divergence=divergence)
    return _taught_by(bench, lesson), (1 - lesson.hard) * soft + lesson.hard * HardLabels()


def _taught_by(bench: Bench, lesson: Lesson) -> Teacher:
    assert lesson.temperature is not None  # a lesson without one has no teacher
    if lesson.form is None:
        return Replayed(bench.train.ids, bench.logits("train"))
    store = bench.work / "stores" / lesson.targets
    if not (store / MANIFEST).is_file():
        record_logits(bench.train, bench.logits("train"), lesson.form.encoding(lesson.temperature, bench.sample), store)
    return RecordedTeacher(Targets.open(store))
