"""How the many runs of a campaign or a search are executed, and the answers of their teacher, recorded once."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import final

from limbeck.campaigns.engine import Engine
from limbeck.campaigns.many import run_specifications
from limbeck.campaigns.search import Execute
from limbeck.specification import Distillation, EnsembleOf
from limbeck.targets.open import is_store
from limbeck.teachers.ensemble import Ensemble
from limbeck.training.forms import Form
from limbeck.training.progress import Watcher
from limbeck.training.progress import watcher as default_watcher
from limbeck.training.recorded import recorded_teacher
from limbeck.training.recording import record
from limbeck.training.resolve import resolve_data
from limbeck.training.run import Run
from limbeck.training.runner import Backend


@final
@dataclass(frozen=True, kw_only=True)
class Means:
    """How the runs of a campaign are executed; none of it changes a number but by rounding."""

    watcher: Watcher = field(default_factory=default_watcher)
    """Is told how far it has come; a bar on a terminal and plain lines elsewhere unless given."""
    parallel: int | None = None
    """How many processes at most; None for one per core."""
    backend: Backend = "loky"
    """Local processes, or a Ray cluster."""
    engine: Engine = "auto"
    """Stacked in one process, apart, or whichever a quick trial finds quicker."""


def executor(folder: Path, means: Means) -> Execute:
    """Return what runs named specifications into a folder, by whatever means a campaign has."""

    def execute(specs: Mapping[str, Distillation], what: str) -> Mapping[str, Run]:
        return run_specifications(
            specs,
            folder,
            watcher=means.watcher,
            what=what,
            parallel=means.parallel,
            backend=means.backend,
            engine=means.engine,
        )

    return execute


def with_recorded_targets(spec: Distillation, folder: Path, means: Means) -> Distillation:
    """Return the specification with its teacher's answers as a store: its own, or one that is recorded into `folder`.

    The members of an ensemble are kept apart, so that every temperature can be answered exactly. An objective without
    soft terms needs none.
    Raises: MismatchError for targets of another teacher than the specification names.
    """
    if not spec.goal.needs_teacher:
        return spec
    if spec.targets is None and isinstance(spec.teacher, str | Path) and is_store(spec.teacher):
        return replace(spec, targets=spec.teacher, teacher=None)
    if spec.targets is None:
        if not is_store(folder):
            means.watcher.say(f"Recording the teacher's answers into {folder}")
            _record(spec, folder, means)
        spec = replace(spec, targets=folder)
    if spec.teacher is not None:
        recorded_teacher(spec, resolve_data(spec))
    return spec


def _record(spec: Distillation, folder: Path, means: Means) -> None:
    form = Form(encoding="members") if isinstance(spec.teacher, EnsembleOf | Ensemble) else Form()
    record(
        spec,
        folder,
        form=form,
        resume=folder.exists(),
        watcher=means.watcher,
        parallel=means.parallel,
        backend=means.backend,
    )
