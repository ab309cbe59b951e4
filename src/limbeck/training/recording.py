"""`record(spec, out) -> Targets`: run a specification's teacher once over its rows, and keep what it answered.

Shape legend, this file:  B rows of a batch, V views, W bytes of a row.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from limbeck.data.content import row_fingerprints
from limbeck.data.loader import Loader
from limbeck.data.order import private_generator
from limbeck.data.splits import Splits
from limbeck.data.views import require_deterministic
from limbeck.errors import ArgumentError, Interrupted, MismatchError, SpecificationError
from limbeck.keyed import row_keys
from limbeck.knowledge import shown_logits, width_of
from limbeck.specification import Distillation, EnsembleOf, Json, TeacherSource
from limbeck.targets.store import Targets
from limbeck.targets.writer import PartPlan, Plan, Recording, Shard, default_shard_rows, refuse_occupied
from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.answers import asked, naming_rows, require_one_a_row
from limbeck.training.distill import check_teacher, room_beside
from limbeck.training.forms import Form, encoding_for
from limbeck.training.interrupt import StopRequest, stop_on_ctrl_c
from limbeck.training.pace import Pace
from limbeck.training.place import Place, find_place
from limbeck.training.progress import Silent, Watcher
from limbeck.training.progress import watcher as default_watcher
from limbeck.training.randomness import seeded
from limbeck.training.recorded import is_recorded, teacher_identity, trained_on, transform_of, weights_of
from limbeck.training.resolve import TeacherRoom, load_splits
from limbeck.training.runner import Backend
from limbeck.types import Batch, Knowledge, Teacher, TransferSet

CALIBRATION_ROWS = 4096
"""Rows, drawn by a fixed seed, on whose answers the basis of a low-rank encoding is fitted."""


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
    backend: Backend = "loky",
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
        backend: who trains them: loky for processes of this machine, ray for the Ray cluster that is running.

    Returns: the store; None where other shares are still missing.

    Raises: a LimbeckError with one sentence for whatever the user can mend; Interrupted on Ctrl-C, with all whole
    shards kept.
    """
    out = Path(out)
    watcher = watcher or default_watcher()
    place = find_place(spec.device, spec.precision)
    told = watcher if place.leads else Silent()
    number, of = (place.rank, place.ranks) if share is None else share
    if not 0 <= number < of:
        raise ArgumentError(f"record: share must be (number, of how many), numbered from 0. Got {share}.")
    resume = resume or share is not None
    refuse_occupied(out, resume=resume)  # before a teacher is trained for hours
    with place.together(), seeded(spec.seed):
        splits = load_splits(spec)
        room = room_beside(out, place, watcher, parallel, backend)
        teacher = _teacher(spec, splits, room, features)
        check_teacher(splits, teacher)
        source = _Source(spec, splits, teacher, place, batch_size, trained_on(spec.teacher, room.folder))
        recording = Recording(out, source.plan(form or Form(), shard_rows), resume=resume)
        with stop_on_ctrl_c() as stop:
            shards = recording.missing(number, of)
            source.write(recording, shards, len(recording.plan.shards[number::of]), told, stop)
        place.wait()  # all have written their shards: the last look finds them
        whole = recording.finish()
        place.wait()
    return Targets.open(out) if whole else None


def _teacher(spec: Distillation, splits: Splits, room: TeacherRoom, features: tuple[str, ...]) -> Teacher:
    if spec.teacher is None:
        raise SpecificationError("There is no teacher to record: the specification names none.")
    teacher = room.resolve(spec.teacher, spec, splits)
    if is_recorded(teacher):
        raise SpecificationError("The teacher is a recorded one already; there is nothing to record.")
    _require_as_trained(spec.teacher, teacher)
    if features:
        if not isinstance(teacher, FrozenTeacher):
            raise SpecificationError(
                f"Features can be recorded of a single network only; the teacher is an object of type "
                f"{type(teacher).__name__}."
            )
        teacher = teacher.with_features(features)
    return teacher.to(room.place.device)


def _require_as_trained(source: "TeacherSource", teacher: Teacher) -> None:
    """Refuse a run's network that is built otherwise now: what it answers would be the targets of no run."""
    if isinstance(source, EnsembleOf) and isinstance(teacher, Ensemble):
        for own, member in zip(source.members, teacher.members, strict=True):
            _require_as_trained(own, member)
        return
    trained = weights_of(source)
    if trained is not None and trained != teacher.fingerprint:
        raise MismatchError(
            f"The network of the run {source} is built otherwise now than when it was trained: its weights fit, its "
            "layers or their settings are others; put the source back, or train it again."
        )


@final
class _Source:
    """What there is to record: the rows of every split, in every view, and who answers."""

    def __init__(
        self,
        spec: Distillation,
        splits: Splits,
        teacher: Teacher,
        place: Place,
        batch_size: int,
        learnt_from: list[Json] | None,
    ) -> None:
        self.spec, self.teacher, self.place, self.batch_size = spec, teacher, place, batch_size
        self.learnt_from = learnt_from
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
        encoding = encoding_for(form, knowledge, self.spec, self._sample)
        self.shown = (encoding.temperatures or (1.0,))[0]
        width = width_of(knowledge.at(self.shown))
        self.width, self.encoding, self.layout = width, encoding, encoding.layout(width)
        kept = {name: (tensor.dtype, tuple(tensor.shape[1:])) for name, tensor in knowledge.features.items()}
        self.row_bytes = self.layout.nbytes + sum(_nbytes(dtype, shape) for dtype, shape in kept.values())
        parts = {}
        for name, rows in self.parts.items():
            views = self.views if name == "train" else 1
            size = shard_rows or default_shard_rows(len(rows), self.row_bytes * views, self.batch_size)
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
                **({} if self.learnt_from is None else {"trained_on": self.learnt_from}),
            },
            transform=transform_of(self.spec),
            marks=(),
            batch_size=self.batch_size,
            features=kept,
            parts=parts,
        )

    def _sample(self, temperature: float) -> Tensor:
        """Logits of some training rows, (N, C), drawn by a fixed seed."""
        rows = len(self.order["train"])
        chosen = torch.randperm(rows, generator=private_generator(0, "low-rank"))[:CALIBRATION_ROWS].sort().values
        said = (self._ask("train", part) for part in torch.split(self.order["train"][chosen], self.batch_size))
        logits = [shown_logits(knowledge, temperature) for knowledge in said]
        return torch.cat([part for part in logits if part is not None])

    def _ask(self, name: str, positions: Tensor) -> Knowledge:
        batch = next(self.loaders[name].sequential(positions, batch_size=len(positions)))
        knowledge = self._answer(batch)
        require_one_a_row(knowledge, batch, 1.0)
        return knowledge

    def _answer(self, batch: Batch) -> Knowledge:
        with self.place.arithmetic(), torch.no_grad():
            return asked(self.teacher, batch, self.place.device)

    def write(
        self, recording: Recording, shards: Sequence[Shard], own: int, watcher: Watcher, stop: StopRequest
    ) -> None:
        """Record those of its `own` shards that are missing. Raises: Interrupted."""
        if len(shards) < own:
            watcher.say(f"{own - len(shards)} of {own} shards were recorded before.")
        if not shards:
            return
        pace = Pace(watcher, sum(shard.rows * shard.views for shard in shards), self.row_bytes)
        watcher.start("recording", pace.total)
        try:
            for shard in shards:
                self._write_shard(recording, shard, pace, stop)
        finally:
            watcher.end()

    def _write_shard(self, recording: Recording, shard: Shard, pace: Pace, stop: StopRequest) -> None:
        positions = self.order[shard.part][shard.first : shard.first + shard.rows]
        packed = torch.empty(shard.rows, shard.views, self.layout.nbytes, dtype=torch.uint8)
        features: dict[str, Tensor] = {}
        for view in range(shard.views):
            done = 0
            for batch in self.loaders[shard.part].sequential(positions, batch_size=self.batch_size, view=view):
                if stop.made:
                    raise Interrupted("Stopped; every whole shard is kept.")
                knowledge = self._answer(batch)
                require_one_a_row(knowledge, batch, self.shown, self.width)
                keys = row_keys(self.spec.view_seed, view, batch.ids)
                rows = slice(done, done + len(batch))
                with naming_rows(knowledge, batch, self.shown):
                    packed[rows, view] = self.layout.pack(self.encoding.encode(knowledge, keys))
                _keep(features, knowledge.features, packed.shape[:2], rows, view)
                done += len(batch)
                pace.advance(len(batch))
        recording.commit(shard, packed, features)


def _keep(kept: dict[str, Tensor], found: Mapping[str, Tensor], shape: torch.Size, rows: slice, view: int) -> None:
    for name, values in found.items():
        if name not in kept:
            kept[name] = torch.empty(*shape, *values.shape[1:], dtype=values.dtype)
        kept[name][rows, view] = values.cpu()


def _views(spec: Distillation) -> int:
    if spec.augment is None:
        return 1
    if spec.views is None:
        raise SpecificationError(
            "The rows are augmented anew in every epoch, and only so many views can be recorded: say how many with "
            "--views."
        )
    return spec.views


def _nbytes(dtype: torch.dtype, shape: tuple[int, ...]) -> int:
    return dtype.itemsize * torch.Size(shape).numel()
