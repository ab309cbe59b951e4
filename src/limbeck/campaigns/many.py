"""Many specifications into many folders, side by side; what is finished is not run again."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from limbeck.specification import Distillation, Json, from_json, require_importable
from limbeck.training.distill import distill
from limbeck.training.progress import Silent, Watcher
from limbeck.training.run import Run
from limbeck.training.runner import run_all


def run_specifications(
    specs: Mapping[str, Distillation],
    folder: Path,
    *,
    watcher: Watcher,
    what: str,
    parallel: int | None = None,
) -> dict[str, Run]:
    """Run each specification into `folder/NAME` on the CPU and return the runs by name.

    A finished run of the same specification is taken as it is; a half-finished one is gone on with. Teachers that
    must be trained are shared, in `folder/teachers`.
    Raises: NotImportable for a specification that another process could not rebuild; what a run raises; Interrupted.
    """
    tasks = [{"encoded": require_importable(spec), "out": str(folder / name)} for name, spec in specs.items()]
    paths = run_all(_run_apart, tasks, watcher=watcher, what=what, parallel=parallel)
    return {name: Run(Path(path)) for name, path in zip(specs, paths, strict=True)}


def _run_apart(encoded: Json, out: str) -> str:
    spec: Distillation = replace(from_json(encoded), device="cpu")
    return str(distill(spec, out, resume=True, watcher=Silent(), parallel=1).path)
