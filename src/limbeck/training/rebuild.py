"""A finished run's student, built again from the specification and loaded with the weights it left."""

import warnings
from pathlib import Path
from typing import Any

from torch import nn

from limbeck.errors import NotImportable, RunError
from limbeck.files import read_tensors
from limbeck.references import source_hash
from limbeck.specification import StudentFactory, from_json
from limbeck.training.run import Run
from limbeck.training.state import load_weights


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
    run = run if isinstance(run, Run) else Run.open(_folder_of_run(Path(run)))
    if not run.finished:
        raise RunError(f"The run {run.path} has not finished; go on with --resume.")
    encoded = run.spec["specification"]["fields"]["student"]
    factory = _named_factory(encoded, run.path) if student is None else student
    if student is None:
        _warn_of_changes(encoded, factory, run.path)
    module: nn.Module = factory()
    load_weights(module, read_tensors(run.weights), run.weights)
    return module.eval()


def _folder_of_run(path: Path) -> Path:
    return path.parent if path.name == "student" and not (path / "spec.json").is_file() else path


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
