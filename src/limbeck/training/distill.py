"""`distill(spec, out) -> Run`: from a specification to a directory that a person can look at."""

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from limbeck.data.kept import memory_for_views
from limbeck.data.loader import Loader
from limbeck.data.order import mixed_seed
from limbeck.data.prepare import plain_features
from limbeck.data.splits import Splits
from limbeck.data.views import require_deterministic
from limbeck.errors import LimbeckError, MismatchError, ResumeError, SpecificationError
from limbeck.files import sweep, write_json
from limbeck.knowledge import shown_logits, width_of
from limbeck.models import caller_of, knowledge_of
from limbeck.objective import Loss
from limbeck.references import called, what_was_raised
from limbeck.specification import Distillation, EnsembleOf, Json, from_json, identity, to_json
from limbeck.teachers.frozen import prepare_of
from limbeck.training.checkpoint import newest
from limbeck.training.evaluate import Predictions, predict_teacher
from limbeck.training.harvest import harvest
from limbeck.training.interrupt import StopRequest, stop_on_ctrl_c
from limbeck.training.loop import Fit
from limbeck.training.max_norm import hidden_weights
from limbeck.training.place import Place, find_place
from limbeck.training.probe import GradientProbe
from limbeck.training.progress import Silent, Watcher
from limbeck.training.progress import watcher as default_watcher
from limbeck.training.randomness import seeded, sow
from limbeck.training.recorded import by_split, is_recorded, views_of
from limbeck.training.records import Records
from limbeck.training.resolve import TeacherRoom, require_same_rows, resolve_data
from limbeck.training.run import Run, claim
from limbeck.training.runner import Backend, cores
from limbeck.training.surroundings import surroundings
from limbeck.training.tracking import require_trackers, tracker
from limbeck.types import Batch, Knowledge, LogitKnowledge, Teacher, TransferSet


def distill(
    spec: Distillation,
    out: Path | str,
    *,
    resume: bool = False,
    overwrite: bool = False,
    watcher: Watcher | None = None,
    parallel: int | None = None,
    backend: Backend = "loky",
    origin: Json = None,
) -> Run:
    """Train a specification's student into the folder `out` and return the run.

    A teacher that must first be trained goes into `teachers/HASH` beside `out`, unless it is there already. Nothing is
    written to `out`, or deleted there, before data, teacher and student have been found to fit together.

    Args:
        spec: the whole description of the run.
        out: a folder, new or empty.
        resume: go on from the last checkpoint in `out`; a finished run is returned as it is, and a folder without a
            checkpoint is begun anew. Only the number of epochs may be raised, and what does not change the student.
        overwrite: delete the run that stands in `out` first.
        watcher: is told how far it has come; None for a bar on a terminal and plain lines elsewhere.
        parallel: how many members of an ensemble are trained at once, at most; None for one per core.
        backend: who trains them: loky for processes of this machine, ray for the Ray cluster that is running.
        origin: how the specification was asked for (a command's words), kept in spec.json as it is.

    Raises: a LimbeckError with one sentence for whatever the user can mend; Interrupted on Ctrl-C, after saving.
    """
    out = Path(out)
    watcher = watcher or default_watcher()
    place = find_place(spec.device, spec.precision)
    resume = resume and not overwrite
    with place.together():
        claim(out, resume=resume or overwrite, overwrite=False)  # what stands there stays until everything fits
        place.wait()
        if resume and (out / "spec.json").is_file():
            done = finished(spec, out)
            if done is not None:
                return done
        with seeded(spec.seed):
            materials = gather(spec, teachers_beside(out), place, watcher, parallel, backend)
            with stop_on_ctrl_c() as stop:
                fit = prepare_fit(spec, materials, out, place, watcher if place.leads else Silent(), stop)
                begin(fit, materials, out, origin, overwrite=overwrite)
                fit.run()
            harvest(fit, materials.splits, materials.classes, out)
        place.wait()  # no process reads a run that the leading one is still writing
    return Run(out)


def finished(spec: Distillation, out: Path, splits: Splits | None = None) -> Run | None:
    """Return the run in `out` if it is finished and the specification's own; None if there is more to do.

    `splits` are the specification's data, where they are loaded already. Raises: ResumeError for a run of another
    specification, RunError for one of other rows or targets.
    """
    run = Run(out)
    if not (out / "spec.json").is_file():
        return None
    _check_same(spec, run)
    if not _is_done(spec, run):
        return None
    require_same_rows(spec, run, splits)
    return run


def teachers_beside(out: Path) -> Path:
    """Where teachers are trained: beside `out`, and beside one another if `out` is a teacher's own folder."""
    return out.parent if out.parent.name == "teachers" else out.parent / "teachers"


def train_teacher(
    spec: Distillation, folder: Path, *, watcher: Watcher, parallel: int | None = None, backend: Backend = "loky"
) -> None:
    """Train what a specification's teacher still lacks into `folder`, the members of an ensemble side by side.

    `distill` does the same by itself; a campaign of many runs does it once, before they all ask for the same teacher.
    """
    room = _room(folder, find_place("cpu", "float32"), watcher, parallel, backend)
    if isinstance(spec.teacher, EnsembleOf):
        room.train_members(spec.teacher)
    elif isinstance(spec.teacher, Distillation):
        room.trained(spec.teacher)


def train_apart(encoded: Json, folder: str) -> str:
    """Train an encoded specification into `folder/HASH` on the CPU, silently: one task of the runner."""
    spec = replace(from_json(encoded), device="cpu")
    room = _room(Path(folder), find_place("cpu", spec.precision), Silent(), None)
    return str(room.trained(spec).path)


def room_beside(
    out: Path, place: Place, watcher: Watcher, parallel: int | None, backend: Backend = "loky"
) -> TeacherRoom:
    """Return the room of teachers beside a run's or a recording's folder."""
    return _room(teachers_beside(out), place, watcher, parallel, backend)


def _room(folder: Path, place: Place, watcher: Watcher, parallel: int | None, backend: Backend = "loky") -> TeacherRoom:
    return TeacherRoom(
        folder=folder,
        train=distill,
        train_apart=train_apart,
        place=place,
        watcher=watcher,
        parallel=parallel,
        backend=backend,
    )


@dataclass(frozen=True, kw_only=True)
class Materials:
    """What a specification names, loaded and found to fit together."""

    splits: Splits
    student: nn.Module
    teachers: Mapping[str, Teacher]
    """Who answers for the rows of train, validation and test; recorded targets may lack the last two."""
    loss: Loss
    classes: tuple[str, ...] | None
    logits: int
    """How many the student answers with."""

    @property
    def teacher(self) -> Teacher | None:
        """Who answers for the training rows."""
        return self.teachers.get("train")


def gather(
    spec: Distillation,
    teachers_folder: Path,
    place: Place,
    watcher: Watcher,
    parallel: int | None,
    backend: Backend = "loky",
) -> Materials:
    """Load data, teacher and student, and check that they fit. Raises: MismatchError and the errors of loading."""
    require_trackers(spec.track)
    splits = rows_for(spec)
    room = _room(teachers_folder, place, watcher, parallel, backend)
    return with_student(spec, splits, teachers_for(spec, splits, room), place)


def rows_for(spec: Distillation) -> Splits:
    """Load the data, and look whether they can be augmented as the specification asks. Raises: as `gather` does."""
    splits = resolve_data(spec)
    if spec.augment is not None:
        require_deterministic(spec.augment, splits.train, spec.view_seed)
    return splits


def teachers_for(spec: Distillation, splits: Splits, room: TeacherRoom) -> dict[str, Teacher]:
    """Find or train who answers for the rows of each split; nobody where no term asks. Raises: as `gather` does."""
    if not spec.goal.needs_teacher:
        return {}
    found = by_split(room.teacher_of(spec, splits), splits, spec, room.watcher)
    return {name: own.to(room.place.device) for name, own in found.items()}


def with_student(spec: Distillation, splits: Splits, teachers: Mapping[str, Teacher], place: Place) -> Materials:
    """Build the student after seeding, and check that it fits rows and teachers. Raises: as `gather` does."""
    sow(spec.seed)  # a teacher's factory may have drawn numbers; the student must not depend on it
    student = _built(spec).to(place.device)
    prepare = prepare_of(student, spec.prepare, plain_features)
    loss = Loss(spec.goal, prepare, splits.train.head)
    steps = spec.epochs * -(-len(splits.train) // spec.batch_size)
    classes, logits = _check_fit(splits, student, teachers.get("train"), loss, place, steps)
    return Materials(splits=splits, student=student, teachers=teachers, loss=loss, classes=classes, logits=logits)


def _built(spec: Distillation) -> nn.Module:
    student = called("The student's factory", spec.student)
    if not isinstance(student, nn.Module):
        raise SpecificationError(
            f"The student's factory must return an nn.Module. It returned an object of type {type(student).__name__}."
        )
    return student


@torch.no_grad()
def _check_fit(
    splits: Splits, student: nn.Module, teacher: Teacher | None, loss: Loss, place: Place, steps: int
) -> tuple[tuple[str, ...] | None, int]:
    """Compare heads, class names and the numbers of logits on two rows. Returns the names, and the number."""
    named = splits.train.classes
    prepares = (loss.prepare, *(() if teacher is None else teacher.prepares))
    batch = next(Loader(splits.train, prepares, batch_size=2).sequential()).to(place.device)
    training = student.training
    with _asking("student", batch):
        logits = knowledge_of(caller_of(student.eval()), batch.inputs[loss.prepare]).logits
    student.train(training)
    counts = {"the student": _count(logits, batch, "student")}
    if named is not None:
        counts["the data"] = len(named)
    if teacher is not None:
        check_teacher(splits, teacher)
        with _asking("teacher", batch):
            knowledge = teacher(batch)
            counts["the teacher"] = _width(knowledge, batch)
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{who} {count}" for who, count in counts.items())
        raise MismatchError(f"Teacher, student and data must have the same classes. Numbers of classes: {got}.")
    if teacher is not None and is_recorded(teacher):
        for step in sorted({0, min(1, steps - 1), steps // 2, steps - 1}):  # may it be asked this at all, and later?
            loss.objective(LogitKnowledge(logits, loss.head), knowledge, batch.labels, step)
    return named or (None if teacher is None else teacher.classes), logits.shape[1]


@contextmanager
def _asking(who: str, batch: Batch) -> Iterator[None]:
    """Say which of the two models could not answer. Raises: MismatchError."""
    try:
        yield
    except LimbeckError as error:
        raise MismatchError(f"The {who} cannot be used: {error}") from error
    except Exception as error:
        raise MismatchError(
            f"The {who} cannot be called on what its `prepare` made of {len(batch)} rows of the data: it raised "
            f"{what_was_raised(error)}."
        ) from error


def _width(knowledge: Knowledge, batch: Batch) -> int:
    """The number of classes that a teacher's answers are about, at T = 1 or at any other that it answers."""
    shown = shown_logits(knowledge)
    if shown is not None:
        return _count(shown, batch, "teacher")
    return width_of(knowledge.at(next(iter(getattr(knowledge, "temperatures", None) or (1.0,)))))


def _count(logits: Tensor, batch: Batch, who: str) -> int:
    if logits.ndim != 2 or logits.shape[0] != len(batch):
        raise MismatchError(
            f"The {who} must return logits of shape (rows, classes). Got {tuple(logits.shape)} for {len(batch)} rows."
        )
    return logits.shape[1]


def check_teacher(splits: Splits, teacher: Teacher) -> None:
    """Compare heads, and the names and the order of the classes. Raises: MismatchError."""
    ours, theirs = splits.train.classes, teacher.classes
    if teacher.head != splits.train.head:
        raise MismatchError(f"The teacher has a {teacher.head} head, and the data have a {splits.train.head} head.")
    if ours is None or theirs is None or ours == theirs:
        return
    if sorted(ours) == sorted(theirs):
        place = next(index for index, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
        raise MismatchError(
            f"Teacher and data have the same classes in another order: class {place} is {theirs[place]!r} for the "
            f"teacher and {ours[place]!r} in the data."
        )
    unknown, missing = sorted(set(theirs) - set(ours)), sorted(set(ours) - set(theirs))
    apart = f"only the data have {missing[0]!r}" if missing else f"only the teacher has {unknown[0]!r}"
    raise MismatchError(
        f"Teacher and data must have the same classes. The teacher has {len(theirs)} and the data {len(ours)}; {apart}."
    )


def prepare_fit(
    spec: Distillation, materials: Materials, out: Path, place: Place, watcher: Watcher, stop: StopRequest
) -> Fit:
    """Put together everything that the loop holds; nothing is written yet."""
    teacher = materials.teacher
    prepares = (materials.loss.prepare, *(() if teacher is None else teacher.prepares))
    taught = materials.teachers.get("validation")

    def loader(rows: TransferSet, **views: Any) -> Loader:
        return Loader(rows, prepares, batch_size=spec.batch_size, workers=spec.workers, **views)

    views = views_of(teacher, spec)
    keep = memory_for_views(cores()) if views is not None and views < spec.epochs else 0
    train = loader(materials.splits.train, augment=spec.augment, view_seed=spec.view_seed, views=views, keep=keep)
    validation = None if materials.splits.validation is None else loader(materials.splits.validation)
    wrapped = place.spread(materials.student)
    hidden = {} if spec.max_norm is None else hidden_weights(materials.student, materials.logits)
    optimizer = called("The optimiser's factory", spec.optimizer, materials.student.parameters())
    check_steps_alone("optimiser", optimizer)
    steps = spec.epochs * train.steps_per_epoch
    scheduler = None if spec.schedule is None else called("The schedule's factory", spec.schedule, optimizer, steps)
    if scheduler is not None:
        check_steps_alone("schedule", scheduler)
    return Fit(
        spec=spec,
        place=place,
        student=materials.student,
        wrapped=wrapped,
        optimizer=optimizer,
        scheduler=scheduler,
        loss=materials.loss,
        teachers=materials.teachers,
        train=train,
        validation=validation,
        taught_validation=taught_answers(taught, validation, place),
        probe=_probe(spec, train, materials, place),
        records=Records(out / "metrics.jsonl" if place.leads else None),
        watcher=watcher,
        checkpoints=out / "checkpoints",
        stop=stop,
        constrained=tuple(hidden.values()),
    )


def check_steps_alone(what: str, made: Any) -> None:
    """Refuse what wants to be told the loss at each step (LBFGS, ReduceLROnPlateau), and what takes no steps at all."""
    try:
        inspect.signature(made.step).bind()
    except (AttributeError, TypeError) as error:
        raise SpecificationError(
            f"The {what}'s factory gave a {type(made).__name__}, which cannot be stepped without arguments: {error}."
        ) from error


def taught_answers(teacher: Teacher | None, rows: Loader | None, place: Place) -> Predictions | None:
    """The teacher's answers to the validation rows; None where it has none. Raises: MismatchError if nothing has."""
    if rows is None:
        return None
    answers = None if teacher is None else predict_teacher(teacher, rows.sequential(), place)
    if answers is None and not rows.rows.labelled:
        raise MismatchError(
            "The validation rows have no labels, and the teacher has no answers to them at T = 1, so nothing can be "
            "compared there; record them too, or use validation=None to keep the last checkpoint."
        )
    return answers


def _probe(spec: Distillation, train: Loader, materials: Materials, place: Place) -> GradientProbe | None:
    if not spec.probe_rows or not place.leads or place.ranks > 1:
        return None
    positions = probed(spec, len(train.rows))
    batch = next(train.sequential(positions, batch_size=spec.probe_rows)).to(place.device)
    knowledge = None if materials.teacher is None else materials.teacher(batch)
    return GradientProbe(materials.loss, batch, knowledge)


def probed(spec: Distillation, rows: int) -> Tensor:
    """The positions of the training rows on which gradients are measured, (probe_rows,) int64 or fewer."""
    generator = torch.Generator().manual_seed(mixed_seed(spec.split_seed, "probe"))
    return torch.randperm(rows, generator=generator)[: spec.probe_rows]


def begin(fit: Fit, materials: Materials, out: Path, origin: Json, *, overwrite: bool) -> None:
    """Write the specification, and go back to the last checkpoint where there is one."""
    last = None if overwrite else newest(fit.checkpoints, "last")
    fit.place.wait()  # all have looked before anything changes
    if fit.place.leads:
        now = surroundings(fit.spec, materials.splits, materials.teacher, materials.classes, fit.place, origin)
        if last is not None:
            _check_same_materials(now, Run(out))
        claim(out, resume=True, overwrite=overwrite)
        out.mkdir(parents=True, exist_ok=True)
        sweep(fit.checkpoints)
        (out / "summary.json").unlink(missing_ok=True)  # with more epochs to go, the run is no longer finished
        write_json(out / "spec.json", now)
        fit.records.listener = tracker(fit.spec.track, out)
    if last is None:
        fit.records.cut_back(-1)
    else:
        fit.take_up(last)
        fit.watcher.say(f"Going on from step {last.step} in {out}")
    if fit.place.ranks > 1:  # each process drops other units out
        torch.manual_seed(mixed_seed(fit.spec.seed, "rank", fit.place.rank, fit.step))


def _check_same(spec: Distillation, run: Run) -> None:
    """Refuse to resume under another specification. Raises: ResumeError that names the first field that differs."""
    # What targets hold is compared apart: they may have been moved.
    moved = spec.targets is not None and run.spec["specification"]["fields"].get("targets") is not None
    left_out = ("epochs", "targets") if moved else ("epochs",)
    before = identity(run.spec["specification"], leave_out=left_out)
    now = identity(to_json(spec), leave_out=left_out)
    if before == now:
        _check_epochs(spec, run.spec["specification"]["fields"]["epochs"])
        return
    assert isinstance(before, dict) and isinstance(now, dict)  # an encoded record
    fields = {**now["fields"], **before["fields"]}  # a field without effect is left out of either
    names = [name for name in fields if now["fields"].get(name) != before["fields"].get(name)]
    raise ResumeError(
        f"The run {run.path} was begun with another specification; what differs is: {', '.join(names)}. Resume it with "
        "the specification that it was begun with, or choose another --out."
    )


def _check_same_materials(now: dict[str, Any], run: Run) -> None:
    """Refuse to resume on other rows or with another teacher than before. Raises: ResumeError."""
    before = run.spec
    for key, name in (("data", "set of rows"), ("teacher", "teacher")):
        if now[key] != before[key]:
            raise ResumeError(
                f"The run {run.path} was begun with another {name} than the specification now leads to; choose another "
                "--out."
            )


def _check_epochs(spec: Distillation, before: int) -> None:
    if spec.epochs < before:
        raise ResumeError(f"A resume may raise the number of epochs, not lower it: {before} before, now {spec.epochs}.")
    if spec.epochs > before and spec.schedule is not None:
        raise ResumeError(
            f"The learning-rate schedule was laid out for {before} epochs and cannot be stretched to {spec.epochs}."
        )


def _is_done(spec: Distillation, run: Run) -> bool:
    return run.finished and bool(run.spec["specification"]["fields"]["epochs"] == spec.epochs)
