"""From what a specification names to what a run uses: splits with a validation part, a teacher that answers."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, cast

from filelock import FileLock
from torch import nn

from limbeck.data.prepare import plain_features
from limbeck.data.splits import Splits, hold_out
from limbeck.errors import DataError, RunError, SpecificationError, StoreError
from limbeck.references import called
from limbeck.specification import (
    Distillation,
    EnsembleOf,
    Json,
    TeacherSource,
    from_json,
    require_importable,
    to_json,
)
from limbeck.targets.open import is_store, open_targets
from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher, prepare_of
from limbeck.training.place import Place
from limbeck.training.progress import Watcher
from limbeck.training.rebuild import load_student
from limbeck.training.recorded import recorded_teacher
from limbeck.training.run import Run
from limbeck.training.runner import Backend, run_all
from limbeck.training.surroundings import rows_of
from limbeck.types import Prepare, Teacher


def resolve_data(spec: Distillation) -> Splits:
    """Load the data and hold out validation rows where the specification asks for them and the data bring none.

    Raises: DataError for an empty set, or labels that a hard term needs and the rows lack.
    """
    splits = load_splits(spec)
    if spec.goal.needs_labels and not splits.train.labelled:
        hard = ", ".join(name for name, (_, term) in spec.goal.terms.items() if term.needs_labels)
        raise DataError(
            f"The training rows have no labels, which the term {hard!r} needs; use soft terms alone or name the label "
            "column."
        )
    if spec.validation is None:
        return replace(splits, validation=None)
    if splits.validation is not None and not splits.validation.labelled and not spec.goal.needs_teacher:
        raise DataError(
            "The validation rows have no labels, and there is no teacher to agree with; give labelled ones, or "
            "validation=None to keep the last checkpoint."
        )
    if splits.validation is None:
        train, validation = hold_out(splits.train, spec.validation, spec.split_seed)
        return replace(splits, train=train, validation=validation)
    return splits


def load_splits(spec: Distillation) -> Splits:
    """Load the data as they are, nothing held out. Raises: SpecificationError, or DataError where there are no rows."""
    source = spec.data
    found: Any = called("The data's factory", source) if callable(source) else source
    splits = found if isinstance(found, Splits) else Splits(train=found)
    if not hasattr(splits.train, "rows"):
        raise SpecificationError(
            f"`data` must be a transfer set, Splits or a factory of either; it gave an object of type "
            f"{type(splits.train).__name__}."
        )
    if not len(splits.train):
        raise DataError("The training split has no rows.")
    return splits


class Trainer(Protocol):
    """Trains a specification into a folder: `distill` itself, handed down so that this file need not import it."""

    def __call__(self, spec: Distillation, out: Path, *, resume: bool, watcher: Watcher) -> Run:
        """Train and return the run."""


@dataclass(frozen=True, kw_only=True)
class TeacherRoom:
    """Where teachers that must first be trained are kept and how they are made."""

    folder: Path
    """Each trained teacher has a folder here, named by its specification's hash, reused by every command."""
    train: Trainer
    train_apart: Callable[[Json, str], str]
    """Trains an encoded specification in a process of its own into this folder; importable."""
    place: Place
    watcher: Watcher
    parallel: int | None = None
    """How many members of an ensemble are trained at once, at most; None for one per core."""
    backend: Backend = "loky"
    """Who trains them: processes of this machine, or a Ray cluster."""

    def teacher_of(self, spec: Distillation, splits: Splits) -> Teacher | None:
        """Return the teacher of a specification: its recorded targets where it names some, else its live teacher."""
        if spec.targets is not None:
            return recorded_teacher(spec, splits, self.watcher.say)
        return None if spec.teacher is None else self.resolve(spec.teacher, spec, splits)

    def resolve(self, source: TeacherSource, spec: Distillation, splits: Splits) -> Teacher:
        """Turn what a specification calls its teacher into one that answers. Raises: SpecificationError otherwise."""
        if isinstance(source, EnsembleOf):
            self.train_members(source)
            members = [self.resolve(member, spec, splits) for member in source.members]
            return Ensemble(members, mean=source.mean, weights=source.weights, stacked=source.stacked)
        if isinstance(source, Distillation):
            return teacher_of(self.trained(source))
        if isinstance(source, str | Path):
            if is_store(source):
                return recorded_teacher(replace(spec, teacher=None, targets=source), splits, self.watcher.say)
            return teacher_of(Run.open(source))
        if isinstance(source, nn.Module):
            return self._frozen(source, spec, splits)
        if hasattr(source, "prepares") and hasattr(source, "fingerprint"):
            return cast(Teacher, source)
        if not callable(source):
            raise SpecificationError(
                f"An object of type {type(source).__name__} cannot be a teacher; give a module, a run or a factory."
            )
        return self.resolve(called("The teacher's factory", source), spec, splits)

    def trained(self, spec: Distillation) -> Run:
        """Train a teacher's specification, or find it trained before; a half-trained one is gone on with."""
        _require_rebuildable(spec)
        run = Run(self.folder / spec.hash[:16])
        self.folder.mkdir(parents=True, exist_ok=True)
        # Two commands do not train one teacher into one folder at once; the second finds it trained.
        with FileLock(run.path.with_suffix(".lock")) if self.place.leads else nullcontext():
            if not any(self.place.agreed(self.place.leads and run.finished)):
                self.watcher.say(f"Training a teacher into {run.path}")
                self.train(spec, run.path, resume=True, watcher=self.watcher)
            else:
                require_same_rows(spec, run)
        return run

    def train_members(self, ensemble: EnsembleOf) -> None:
        """Train the members that have yet to be trained, side by side; each is found again by its hash.

        Raises: NotImportable for a member that another process could not rebuild, unless `parallel` is 1 on this
            machine.
        """
        described = [member for member in ensemble.members if isinstance(member, Distillation)]
        missing = [member for member in described if not Run(self.folder / member.hash[:16]).finished]
        here = self.backend == "loky" and (self.parallel == 1 or len(missing) < 2)
        if self.place.ranks > 1 or here or not missing:
            for member in described:
                self.trained(member)
            return
        tasks = [{"encoded": require_importable(member), "folder": str(self.folder)} for member in missing]
        what = "training the ensemble"
        run_all(self.train_apart, tasks, watcher=self.watcher, what=what, parallel=self.parallel, backend=self.backend)

    @staticmethod
    def _frozen(module: nn.Module, spec: Distillation, splits: Splits) -> Teacher:
        prepare = prepare_of(module, spec.teacher_prepare, plain_features)
        return FrozenTeacher(module, prepare=prepare, head=splits.train.head, classes=_own_classes(module))


def require_same_rows(spec: Distillation, run: Run, splits: Splits | None = None) -> None:
    """Refuse a finished run whose data or targets have changed since, though they are named as before.

    `splits` are the specification's data, where they are loaded already. Raises: RunError.
    """
    splits = resolve_data(spec) if splits is None else splits
    if rows_of(splits) != run.spec["data"]:
        raise RunError(
            f"The run {run.path} was trained on other rows than its specification now leads to; delete it to train it "
            "again, or put the data back."
        )
    _require_same_targets(spec, splits, run)


def _require_same_targets(spec: Distillation, splits: Splits, run: Run) -> None:
    source = spec.targets or (spec.teacher if isinstance(spec.teacher, str | Path) and is_store(spec.teacher) else None)
    if source is None or run.spec["teacher"] is None:
        return
    try:
        found = open_targets(source, classes=splits.train.classes, head=splits.train.head)
    except (StoreError, DataError):
        if str(source) in {run.spec["specification"]["fields"].get(name) for name in ("targets", "teacher")}:
            return  # they are gone; what was learnt from them is here
        raise
    if found.fingerprint != run.spec["teacher"]["fingerprint"]:
        raise RunError(
            f"The run {run.path} was taught by other targets than those that {source} holds now; delete it to train it "
            "again, or put the targets back."
        )


def _require_rebuildable(spec: Distillation) -> None:
    """Refuse, before hours are spent on it, a teacher that could not be built again from its run's folder."""
    for part in (spec.student, spec.prepare):
        from_json(to_json(part))


def teacher_of(run: Run) -> FrozenTeacher:
    """A finished run's student as a teacher."""
    module = load_student(run)
    prepare: Prepare | None = from_json(run.spec["specification"]["fields"]["prepare"])
    chosen = prepare_of(module, prepare, plain_features)
    return FrozenTeacher(module, prepare=chosen, head=run.spec["head"], classes=run.spec["classes"])


def _own_classes(module: nn.Module) -> tuple[str, ...] | None:
    """Class names that a module carries: an attribute `classes`, or a transformers configuration's `id2label`."""
    names = getattr(module, "classes", None)
    if names is None:
        labels = getattr(getattr(module, "config", None), "id2label", None)
        names = None if not labels else [labels[key] for key in sorted(labels)]
        # transformers invents LABEL_0, LABEL_1, … where nobody named the classes: those say nothing about the order.
        if names and all(name == f"LABEL_{index}" for index, name in enumerate(names)):
            return None
    return None if names is None else tuple(str(name) for name in names)
