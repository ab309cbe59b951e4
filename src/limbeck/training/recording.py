"""`record(spec, out) -> Targets`: run a specification's teacher once over its rows, and keep what it answered.

Shape legend, this file:  B rows of a batch, V views, W bytes of a row.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias, final

import torch
from torch import Tensor

from limbeck.data.content import row_fingerprints
from limbeck.data.loader import Loader
from limbeck.data.order import private_generator
from limbeck.data.splits import Splits
from limbeck.data.views import require_deterministic
from limbeck.errors import ArgumentError, Interrupted, MismatchError, SpecificationError
from limbeck.keyed import row_keys
from limbeck.knowledge import MixtureKnowledge, is_tempered, shown_logits, width_of
from limbeck.objective import SoftTargets
from limbeck.specification import Distillation
from limbeck.targets.encoding import Encoding
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.encodings.lowrank import fit_low_rank
from limbeck.targets.encodings.members import Members
from limbeck.targets.encodings.sampled import SampledTargets
from limbeck.targets.encodings.topk import TopKLogProbs
from limbeck.targets.store import Targets
from limbeck.targets.writer import PartPlan, Plan, Recording, Shard, default_shard_rows
from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.distill import room_beside
from limbeck.training.interrupt import StopRequest, stop_on_ctrl_c
from limbeck.training.place import Place, find_place
from limbeck.training.progress import Silent, Watcher
from limbeck.training.progress import watcher as default_watcher
from limbeck.training.randomness import seeded
from limbeck.training.recorded import is_recorded, teacher_identity, transform_of
from limbeck.training.resolve import load_splits
from limbeck.types import Batch, Knowledge, Teacher, TransferSet

EncodingName: TypeAlias = Literal["dense", "members", "top-k", "low-rank", "sampled"]
"""The forms that a teacher's answers can be stored in."""

CALIBRATION_ROWS = 4096
"""Rows, drawn by a fixed seed, on whose answers the basis of a low-rank encoding is fitted."""


@final
@dataclass(frozen=True, kw_only=True)
class Form:
    """In which form answers are stored. Raises: ArgumentError for a temperature that is not positive."""

    encoding: EncodingName = "dense"
    """dense: every logit; members: every logit of every member of an ensemble; top-k: the likeliest classes and the
    weight of the rest; low-rank: int8 coefficients in a basis; sampled: classes drawn from the distribution."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Of the logits of dense and members."""
    temperatures: tuple[float, ...] = ()
    """At which the answers can be asked for, where the encoding does not answer every temperature; 1 and those of the
    objective unless given."""
    k: int = 16
    """Classes that top-k tells apart."""
    rank: int = 32
    """Coefficients of low-rank."""
    draws: int = 32
    """Classes that sampled draws for each row."""

    def __post_init__(self) -> None:
        for temperature in self.temperatures:
            if not temperature > 0:
                raise ArgumentError(f"Form: temperatures must be positive. Got {temperature}.")


def record(
    spec: Distillation,
    out: Path | str,
    *,
    form: Form | None = None,
    batch_size: int = 512,
    shard_rows: int | None = None,
    features: tuple[str, ...] = (),
    resume: bool = False,
    share: tuple[int, int] | None = None,
    watcher: Watcher | None = None,
    parallel: int | None = None,
) -> Targets | None:
    """Ask a specification's teacher about every row of its data and keep the answers in the folder `out`.

    All splits that the data bring are recorded, the training rows in every view. A batch is `batch_size` rows with
    consecutive ids in one view, so that neither the number of processes nor a stop changes a bit of what is written.
    Under `accelerate launch` each process writes its own shards; processes that know nothing of one another each take
    a `share`, and the last of them to finish makes the store whole.

    Args:
        spec: the same specification that a student is then taught by; its student is not built.
        out: a folder, new or empty.
        form: in which form the answers are stored; every logit in float32 if None.
        batch_size: rows that the teacher answers at once.
        shard_rows: rows of a shard, what a stop loses at most; None for about eight shards a part.
        features: names of the teacher's submodules whose outputs are kept too.
        resume: go on with a recording that was stopped.
        share: (number, of how many): write only the shards that fall to this process, numbered from 0.
        watcher: is told how far it has come.
        parallel: how many members of an ensemble that must first be trained are trained at once.

    Returns: the store; None where other shares are still missing.

    Raises: a LimbeckError with one sentence for whatever the user can mend; Interrupted on Ctrl-C, with all whole
    shards kept.
    """
    out = Path(out)
    watcher = watcher or default_watcher()
    place = find_place(spec.device, spec.precision)
    number, of = (place.rank, place.ranks) if share is None else share
    if not 0 <= number < of:
        raise ArgumentError(f"record: share must be (number, of how many), numbered from 0. Got {share}.")
    with place.together(), seeded(spec.seed), torch.no_grad():
        splits = load_splits(spec)
        teacher = _teacher(spec, splits, out, features, place, watcher, parallel)
        source = _Source(spec, splits, teacher, place, batch_size)
        recording = Recording(out, source.plan(form or Form(), shard_rows), resume=resume or share is not None)
        with stop_on_ctrl_c() as stop:
            shards = list(recording.missing(number, of))
            source.write(recording, shards, watcher if place.leads else Silent(), stop)
        place.wait()  # all have written their shards: the last look finds them
        whole = recording.finish()
        place.wait()
    return Targets.open(out) if whole else None


def _teacher(
    spec: Distillation,
    splits: Splits,
    out: Path,
    features: tuple[str, ...],
    place: Place,
    watcher: Watcher,
    parallel: int | None,
) -> Teacher:
    if spec.teacher is None:
        raise SpecificationError("There is no teacher to record: the specification names none.")
    room = room_beside(out, place, watcher, parallel)
    teacher = room.resolve(spec.teacher, spec, splits)
    if is_recorded(teacher):
        raise SpecificationError("The teacher is a recorded one already; there is nothing to record.")
    if features:
        if not isinstance(teacher, FrozenTeacher):
            raise SpecificationError(
                f"Features can be recorded of a single network only; the teacher is an object of type "
                f"{type(teacher).__name__}."
            )
        teacher = teacher.with_features(features)
    return teacher.to(place.device)


@final
class _Source:
    """What there is to record: the rows of every split, in every view, and who answers."""

    def __init__(self, spec: Distillation, splits: Splits, teacher: Teacher, place: Place, batch_size: int) -> None:
        self.spec, self.teacher, self.place, self.batch_size = spec, teacher, place, batch_size
        named = {"train": splits.train, "validation": splits.validation, "test": splits.test}
        self.parts: dict[str, TransferSet] = {name: rows for name, rows in named.items() if rows is not None}
        self.order = {name: rows.ids.argsort() for name, rows in self.parts.items()}
        self.views = _views(spec)
        if spec.augment is not None:
            require_deterministic(spec.augment, splits.train, spec.view_seed)
        self.loaders = {
            name: Loader(
                rows,
                teacher.prepares,
                batch_size=batch_size,
                workers=spec.workers,
                augment=spec.augment,
                view_seed=spec.view_seed,
                views=self.views,
            )
            for name, rows in self.parts.items()
        }

    def plan(self, form: Form, shard_rows: int | None) -> Plan:
        """Ask the teacher about a few rows, and describe the store before anything is written."""
        knowledge = self._ask("train", self.order["train"][:2])
        encoding = self._encoding(form, knowledge)
        shown = knowledge.at((encoding.temperatures or (1.0,))[0])
        width = width_of(shown)
        self.width, self.encoding, self.layout = width, encoding, encoding.layout(width)
        kept = {name: (tensor.dtype, tuple(tensor.shape[1:])) for name, tensor in knowledge.features.items()}
        row_bytes = self.layout.nbytes + sum(_nbytes(dtype, shape) for dtype, shape in kept.values())
        parts = {}
        for name, rows in self.parts.items():
            views = self.views if name == "train" else 1
            size = shard_rows or default_shard_rows(len(rows), row_bytes * views, self.batch_size)
            size = -(-size // self.batch_size) * self.batch_size  # a batch never stands in two shards
            order = self.order[name]
            parts[name] = PartPlan(rows.ids[order], row_fingerprints(rows)[order], views, size)
        return Plan(
            head=self.teacher.head,
            classes=self.teacher.classes or self.parts["train"].classes,
            width=width,
            encoding=encoding,
            teacher={
                "fingerprint": self.teacher.fingerprint,
                "specification": teacher_identity(self.spec),
                "kind": "ensemble" if isinstance(self.teacher, Ensemble) else "network",
                "precision": "bfloat16" if self.place.half else "float32",
            },
            transform=transform_of(self.spec),
            marks=(),
            batch_size=self.batch_size,
            features=kept,
            parts=parts,
        )

    def _encoding(self, form: Form, knowledge: Knowledge) -> Encoding:
        tempered = is_tempered(knowledge)
        if form.encoding == "dense" and tempered:
            return DenseLogits(dtype=form.dtype, temperatures=None)
        if form.encoding == "members":
            return _members(form, knowledge)
        if form.encoding == "low-rank":
            return self._low_rank(form, tempered)
        temperatures = tuple(sorted(set(form.temperatures or {1.0, *_asked(self.spec)})))
        if form.encoding == "dense":
            return DenseLogits(dtype=form.dtype, temperatures=temperatures)
        if form.encoding == "top-k":
            return TopKLogProbs(k=form.k, temperatures=temperatures, tempered=tempered)
        return SampledTargets(draws=form.draws, temperatures=temperatures, seed=self.spec.view_seed)

    def _low_rank(self, form: Form, tempered: bool) -> Encoding:
        temperatures = None if tempered else form.temperatures or tuple(sorted(_asked(self.spec)))
        if temperatures is not None and len(temperatures) != 1:
            raise SpecificationError(
                "An arithmetic ensemble's answers can be recorded with low-rank at one temperature only; give it with "
                "--temperatures."
            )
        rows = len(self.order["train"])
        chosen = torch.randperm(rows, generator=private_generator(0, "low-rank"))[:CALIBRATION_ROWS].sort().values
        asked = (self._ask("train", part) for part in torch.split(self.order["train"][chosen], self.batch_size))
        logits = [shown_logits(knowledge, (temperatures or (1.0,))[0]) for knowledge in asked]
        return fit_low_rank(
            torch.cat([part for part in logits if part is not None]), form.rank, temperatures, head=self.teacher.head
        )

    def _ask(self, name: str, positions: Tensor) -> Knowledge:
        return self._answer(next(self.loaders[name].sequential(positions, batch_size=len(positions))))

    def _answer(self, batch: Batch) -> Knowledge:
        with self.place.arithmetic():
            return self.teacher(batch.to(self.place.device))

    def write(self, recording: Recording, shards: Sequence[Shard], watcher: Watcher, stop: StopRequest) -> None:
        """Record shards. Raises: Interrupted."""
        pace = _Pace(watcher, sum(shard.rows * shard.views for shard in shards), self.layout.nbytes)
        watcher.start("recording", pace.total)
        try:
            for shard in shards:
                self._write_shard(recording, shard, pace, stop)
        finally:
            watcher.end()

    def _write_shard(self, recording: Recording, shard: Shard, pace: "_Pace", stop: StopRequest) -> None:
        positions = self.order[shard.part][shard.first : shard.first + shard.rows]
        packed = torch.empty(shard.rows, shard.views, self.layout.nbytes, dtype=torch.uint8)
        features: dict[str, Tensor] = {}
        for view in range(shard.views):
            done = 0
            for batch in self.loaders[shard.part].sequential(positions, batch_size=self.batch_size, view=view):
                if stop.made:
                    raise Interrupted("Stopped; every whole shard is kept.")
                knowledge = self._answer(batch)
                keys = row_keys(self.spec.view_seed, view, batch.ids)
                rows = slice(done, done + len(batch))
                packed[rows, view] = self.layout.pack(self.encoding.encode(knowledge, keys))
                _keep(features, knowledge.features, packed.shape[:2], rows, view)
                done += len(batch)
                pace.advance(len(batch))
        recording.commit(shard, packed, features)


def _members(form: Form, knowledge: Knowledge) -> Members:
    if not isinstance(knowledge, MixtureKnowledge):
        raise MismatchError("Only an ensemble has members to record; the teacher is a single network.")
    members = len(knowledge.logits_MBC)
    return Members(members=members, mean=knowledge.mean, weights=knowledge.weights, dtype=form.dtype)


def _keep(kept: dict[str, Tensor], found: Mapping[str, Tensor], shape: torch.Size, rows: slice, view: int) -> None:
    for name, values in found.items():
        if name not in kept:
            kept[name] = torch.empty(*shape, *values.shape[1:], dtype=values.dtype)
        kept[name][rows, view] = values.cpu()


@final
class _Pace:
    """Tells how fast it goes, how long it will take and how much it will be."""

    def __init__(self, watcher: Watcher, total: int, row_bytes: int) -> None:
        self.total, self._watcher, self._row_bytes = total, watcher, row_bytes
        self._done, self._began = 0, time.monotonic()

    def advance(self, rows: int) -> None:
        """Tell of so many rows more."""
        self._done += rows
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        left = (self.total - self._done) / rate
        written, whole = self._done * self._row_bytes, self.total * self._row_bytes
        self._watcher.advance(
            self._done, f"{rate:,.0f} rows/s, {_duration(left)} left, {in_bytes(written)} of {in_bytes(whole)}"
        )


def in_bytes(count: float) -> str:
    """Write a number of bytes for people.

    >>> in_bytes(512), in_bytes(2_400_000)
    ('512 B', '2.4 MB')
    """
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _views(spec: Distillation) -> int:
    if spec.augment is None:
        return 1
    if spec.views is None:
        raise SpecificationError(
            "The rows are augmented anew in every epoch, and only so many views can be recorded: say how many with "
            "--views."
        )
    return spec.views


def _asked(spec: Distillation) -> set[float]:
    """The temperatures that the objective's soft terms ask for. Raises: SpecificationError for one that changes."""
    found = set()
    for name, (_, term) in spec.goal.terms.items():
        if not isinstance(term, SoftTargets):
            continue
        if callable(term.temperature):
            raise SpecificationError(
                f"The temperature of the term {name!r} changes with the step, and this teacher's answers can be "
                "recorded at given temperatures only; give them with --temperatures, or record every member."
            )
        found.add(float(term.temperature))
    return found


def _nbytes(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    return dtype.itemsize * torch.Size(shape).numel()
