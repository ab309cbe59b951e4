"""A specification from parts on the command line, for the user who has a model and a dataset and writes no program."""

from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.data.open import load as open_data
from limbeck.data.splits import Splits, hold_out
from limbeck.errors import SpecificationError
from limbeck.objective import HardLabels, Objective, SoftTargets
from limbeck.references import load
from limbeck.specification import Distillation, TeacherSource
from limbeck.targets.open import is_store
from limbeck.training.run import Run

TEMPERATURE, SOFT = 4.0, 0.9


def from_parts(
    *,
    data: str,
    student: str,
    teacher: str | None = None,
    targets: str | None = None,
    label: str | None = None,
    test: str = "0.15",
    temperature: float = TEMPERATURE,
    soft: float = SOFT,
) -> Distillation:
    """Distil a teacher that you have, or its predictions, into a student that you define, on data that you name.

    Args:
        data: a .parquet or .csv file, a folder in the Hugging Face layout, or an id of the hub.
        student: FILE.py:factory, a function that returns the student.
        teacher: FILE.py:object, a module or a function that returns one; or the folder of a finished run; without a
            teacher or targets the student learns from the labels alone.
        targets: the teacher's answers instead: a store that `limbeck record` or `limbeck targets import` made, or a
            file of predictions (.npz, .parquet, .csv, .jsonl).
        label: the label column; "label" unless given.
        test: a file of test rows, or the share of rows to hold out for testing where the data bring no test split.
        temperature: of the soft targets.
        soft: weight of the soft targets, in [0, 1]; the labels get the rest, and rows without labels need 1.
    """
    if not 0 <= soft <= 1:
        raise SpecificationError(f"--soft must lie in [0, 1]. Got {soft}.")
    taught = teacher is not None or targets is not None
    if not taught and (temperature, soft) != (TEMPERATURE, SOFT):
        raise SpecificationError(
            "--temperature and --soft are of the soft targets, which need a --teacher or its --targets."
        )
    return Distillation(
        data=partial(read, _whole(data, "--data"), label=label, test=_share_or_file(test)),
        student=_factory(student, "--student"),
        teacher=None if teacher is None else _teacher(teacher),
        targets=None if targets is None else _whole(targets, "--targets"),
        objective=_objective(taught, temperature, soft),
    )


def teacher_from_parts(
    *,
    data: str,
    teacher: str,
    label: str | None = None,
    test: str = "0.15",
    temperature: float = TEMPERATURE,
) -> Distillation:
    """Record a teacher that you have on data that you name.

    Args:
        data: a .parquet or .csv file, a folder in the Hugging Face layout, or an id of the hub.
        teacher: FILE.py:object, a module or a function that returns one; or the folder of a finished run.
        label: the label column; "label" unless given.
        test: a file of test rows, or the share of rows to hold out for testing where the data bring no test split.
        temperature: that the student will ask for: an arithmetic ensemble must be recorded at it.
    """
    return Distillation(
        data=partial(read, _whole(data, "--data"), label=label, test=_share_or_file(test)),
        student=nn.Identity,  # no student is built
        teacher=_teacher(teacher),
        objective=1.0 * SoftTargets(temperature=temperature),
    )


def read(source: str, *, label: str | None = None, test: float | str = 0.15, seed: int = 0) -> Splits:
    """Read data with a test split: its own, another file's rows, or a stratified and seeded share held out."""
    found = open_data(source, label=label)
    splits = found if isinstance(found, Splits) else Splits(train=found)
    if isinstance(test, str):
        other = open_data(test, label=label, classes=splits.train.classes)
        rows = other.test or other.train if isinstance(other, Splits) else other
        return Splits(train=splits.train, validation=splits.validation, test=rows)
    if splits.test is None and test > 0:
        train, held = hold_out(splits.train, test, seed)
        return Splits(train=train, validation=splits.validation, test=held)
    return splits


def _objective(taught: bool, temperature: float, soft: float) -> Objective:
    if not taught:
        return 1.0 * HardLabels()
    if soft == 1:
        return 1.0 * SoftTargets(temperature=temperature)
    return soft * SoftTargets(temperature=temperature) + (1 - soft) * HardLabels()


def _whole(source: str, flag: str) -> str:
    """Make a path absolute, so that a resume from another folder finds it; an id of the hub stays as it is."""
    if not source.strip():
        elsewhere = "an address" if flag == "--targets" else "an id of the hub"
        raise SpecificationError(f"{flag} must name a file, a folder or {elsewhere}. Got {source!r}.")
    path = Path(source).expanduser()
    return str(path.resolve()) if path.exists() else source


def _share_or_file(test: str) -> float | str:
    try:
        share = float(test)
    except ValueError:
        return _whole(test, "--test")
    if not 0 <= share < 1:
        raise SpecificationError(f"--test must be a file or a share in [0, 1). Got {test}.")
    return share


def _factory(reference: str, flag: str) -> Any:
    if ":" not in reference:
        raise SpecificationError(f"{flag} must name a function as FILE.py:factory. Got {reference!r}.")
    found = load(reference)
    if isinstance(found, nn.Module) or not callable(found):
        raise SpecificationError(
            f"{flag} must name a function or class that returns a new model. {reference} is an object of type "
            f"{type(found).__name__}; write a function that returns such a one."
        )
    return found


def _teacher(reference: str) -> TeacherSource:
    if Path(reference).is_dir() or is_store(reference):
        if not is_store(reference):
            Run.open(reference)  # refused before anything is written
        return _whole(reference, "--teacher")
    if ":" not in reference:
        raise SpecificationError(f"--teacher must be FILE.py:object or the folder of a run. Got {reference!r}.")
    found: TeacherSource = load(reference)
    return found
