"""A finished run's student, built again from the specification and loaded with the weights it left."""

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.errors import NotImportable, RunError
from limbeck.files import read_tensors
from limbeck.references import source_hash
from limbeck.specification import Distillation, StudentFactory, from_json
from limbeck.training.run import Run
from limbeck.training.state import load_weights

_KEPT = ("data", "student", "objective", "prepare", "validation", "seed", "split_seed")
"""The fields of a specification that say which rows and which student; the others may hold what has no name."""


class SourceChanged(UserWarning):
    """The code that builds a run's student is no longer what it was when the run was trained."""


def load_student(run: Run | Path | str, *, student: StudentFactory | None = None) -> nn.Module:
    """Build a finished run's student and load its weights, in eval mode, on the CPU.

    Args:
        run: the run, its folder, or the folder `student` in it, which the commands name.
        student: builds the module; None for the factory that the specification names.

    Warns: SourceChanged where the factory's source, or that of what it builds in the same file, has changed since.
    Raises: RunError where there is no finished run or the weights do not fit; NotImportable where the specification
    holds a factory without a name (pass `student`); SpecificationError where its file or name is gone.
    """
    run = opened(run)
    encoded = run.spec["specification"]["fields"]["student"]
    factory = _named_factory(encoded, run.path) if student is None else student
    if student is None:
        _warn_of_changes(encoded, factory, run.path)
    module: nn.Module = factory()
    load_weights(module, read_tensors(run.weights), run.weights)
    return module.eval()


def specification_of(run: Run) -> Distillation:
    """The part of a run's specification that says which rows and which student. Raises: LimbeckError."""
    encoded: Any = run.spec["specification"]
    fields = {name: part for name, part in encoded["fields"].items() if name in _KEPT}
    # A record with soft terms must name somebody to ask; nobody is asked here.
    found = from_json({**encoded, "fields": {**fields, "teacher": None, "targets": str(run.path)}})
    assert isinstance(found, Distillation)
    return found


def opened(run: Run | Path | str) -> Run:
    """A finished run: itself, that of a folder, or of the folder `student` in it. Raises: RunError where it is none."""
    if not isinstance(run, Run):
        path = Path(run)
        return Run.open(path.parent if path.name == "student" and not (path / "spec.json").is_file() else path)
    if not run.finished:
        raise RunError(f"The run {run.path} has not finished; go on with --resume.")
    return run


def _named_factory(encoded: dict[str, Any], where: Path) -> Any:
    try:
        return from_json(encoded)
    except NotImportable as error:
        raise NotImportable(
            f"The student of the run {where} has no name to be found by, so its factory must be given: "
            f"load_student(run, student=…). {error}"
        ) from error


def _warn_of_changes(encoded: dict[str, Any], factory: Any, where: Path) -> None:
    while "$partial" in encoded:
        encoded, factory = encoded["$partial"], factory.func
    if encoded.get("source") != source_hash(factory):
        warnings.warn(
            f"The source of {encoded.get('$ref', 'the student')} has changed since the run {where} was trained.",
            SourceChanged,
            stacklevel=3,
        )
