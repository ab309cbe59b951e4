"""What was the teaching worth? One student, taught and alone, each at its own best rate, over paired seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, final

from limbeck.campaigns.many import run_specifications
from limbeck.data.splits import without_test
from limbeck.errors import ResumeError, SpecificationError
from limbeck.files import read_json, write_json
from limbeck.specification import Distillation, identity, to_json
from limbeck.training.distill import train_teacher
from limbeck.training.progress import Watcher
from limbeck.training.run import Run

PLAN = "campaign.json"
"""The file that holds a campaign's plan, choices and runs, and marks its folder."""


@final
@dataclass(frozen=True, kw_only=True)
class Trial:
    """The plan, fixed before a test row is scored.

    Raises: SpecificationError where the arms differ in more than teacher, objective and optimiser, or an optimiser's
    rate cannot be set because it is no `partial`.
    """

    taught: Distillation
    """The student with its teacher."""
    alone: Distillation
    """The same student on labels alone."""
    rates: Sequence[float]
    """The grid of learning rates; each arm's own is chosen from it on the validation rows."""
    selection_seeds: Sequence[int]
    """Seeds of the runs that choose the rates; none of them is among `seeds`."""
    seeds: Sequence[int]
    """Seeds of the runs that are scored on the test rows, the same in both arms."""

    def __post_init__(self) -> None:
        may_differ = ("teacher", "targets", "objective", "optimizer")
        differ = [
            name
            for name in Distillation.__dataclass_fields__
            if name not in may_differ and to_json(getattr(self.taught, name)) != to_json(getattr(self.alone, name))
        ]
        if differ:
            raise SpecificationError(f"Trial: the arms must be alike but for their teaching; {differ[0]!r} differs.")
        if self.taught.targets is not None and self.taught.augment is not None and self.taught.views is None:
            raise SpecificationError(
                "Trial: recorded targets are of so many views, and the student on labels alone would see a new one "
                "each epoch; give both the same number of views."
            )
        for name, spec in self.arms.items():
            if not isinstance(spec.optimizer, partial):
                raise SpecificationError(
                    f"Trial: the optimiser of {name!r} must be a functools.partial, to set its rate."
                )
            if spec.validation is None:
                raise SpecificationError(
                    "Trial: rates are chosen on validation rows, which validation=None leaves out."
                )
        if set(self.seeds) & set(self.selection_seeds):
            raise SpecificationError("Trial: a seed that helped to choose a rate cannot also judge it.")

    @property
    def arms(self) -> dict[str, Distillation]:
        """The two specifications by name."""
        return {"taught": self.taught, "alone": self.alone}


@final
@dataclass(frozen=True, kw_only=True)
class TrialRuns:
    """What a trial left behind."""

    choices: Mapping[str, float]
    """The rate chosen for each arm."""
    grid: Mapping[str, Mapping[float, float]]
    """Mean validation errors over the selection seeds, by arm and rate."""
    runs: Mapping[str, Mapping[int, Run]]
    """The scored runs, by arm and seed."""


def run_trial(trial: Trial, out: Path, *, watcher: Watcher, parallel: int | None = None) -> TrialRuns:
    """Choose each arm's rate on validation rows, write the choice down, then run and score every seed of both arms.

    Runs that choose a rate never see the test rows. `campaign.json` holds plan, grid and choice before the first test
    row is scored, and the runs afterwards. What is finished is not run again.

    Raises: ResumeError where `out` holds a campaign of other specifications; what a run raises; Interrupted.
    """
    folder = out / "runs"
    _check_same_arms(trial, out)
    if not (out / PLAN).is_file():
        _write(out, trial, {}, {}, scored=None)
    train_teacher(trial.taught, folder / "teachers", watcher=watcher, parallel=parallel)
    found = run_specifications(
        {
            f"rate-{rate:g}-{name}-{seed}": replace(with_rate(_blind(spec), rate), seed=seed)
            for name, spec in trial.arms.items()
            for rate in trial.rates
            for seed in trial.selection_seeds
        },
        folder,
        watcher=watcher,
        what="choosing the learning rates on validation rows",
        parallel=parallel,
    )
    grid = {name: {rate: _mean_errors(found, name, rate, trial) for rate in trial.rates} for name in trial.arms}
    choices = {name: min(row, key=row.__getitem__) for name, row in grid.items()}
    _write(out, trial, grid, choices, scored=None)
    runs = _run_seeds(trial, choices, folder, watcher, parallel)
    _write(out, trial, grid, choices, scored=runs)
    return TrialRuns(choices=choices, grid=grid, runs=runs)


def _check_same_arms(trial: Trial, out: Path) -> None:
    if (out / PLAN).is_file():
        before = read_json(out / PLAN)
        now = {name: to_json(spec) for name, spec in trial.arms.items()}
        fixed = {name: list(getattr(trial, name)) for name in ("rates", "selection_seeds", "seeds")}
        # More seeds after the test rows were scored would be a plan made with the result in sight.
        if identity(before["arms"]) != identity(now) or any(before[name] != fixed[name] for name in fixed):
            raise ResumeError(
                f"The campaign {out} was begun with other settings; go on with those, or choose another --out."
            )


def _run_seeds(
    trial: Trial, choices: Mapping[str, float], folder: Path, watcher: Watcher, parallel: int | None
) -> dict[str, dict[int, Run]]:
    specs = {
        f"{name}-{seed}": replace(with_rate(spec, choices[name]), seed=seed)
        for name, spec in trial.arms.items()
        for seed in trial.seeds
    }
    found = run_specifications(specs, folder, watcher=watcher, what="training the students", parallel=parallel)
    return {name: {seed: found[f"{name}-{seed}"] for seed in trial.seeds} for name in trial.arms}


def _mean_errors(found: Mapping[str, Run], name: str, rate: float, trial: Trial) -> float:
    runs = (found[f"rate-{rate:g}-{name}-{seed}"] for seed in trial.selection_seeds)
    return float(mean(run.summary["student"]["validation"]["errors"] for run in runs))


def with_rate(spec: Distillation, rate: float) -> Distillation:
    """Set the learning rate of a specification whose optimiser is a `partial`. Raises: SpecificationError otherwise."""
    if not isinstance(spec.optimizer, partial):
        raise SpecificationError("The optimiser must be a functools.partial for its rate to be set.")
    keywords = {**spec.optimizer.keywords, "lr": rate}
    return replace(spec, optimizer=partial(spec.optimizer.func, *spec.optimizer.args, **keywords))


def _blind(spec: Distillation) -> Distillation:
    return replace(spec, data=partial(without_test, spec.data))


def _write(
    out: Path,
    trial: Trial,
    grid: Mapping[str, Mapping[float, float]],
    choices: Mapping[str, float],
    scored: Mapping[str, Mapping[int, Run]] | None,
) -> None:
    record: dict[str, Any] = {
        "question": "What was the teaching worth?",
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "arms": {name: to_json(spec) for name, spec in trial.arms.items()},
        "rates": list(trial.rates),
        "selection_seeds": list(trial.selection_seeds),
        "seeds": list(trial.seeds),
        "validation_errors": {
            name: {f"{rate:g}": errors for rate, errors in row.items()} for name, row in grid.items()
        },
        "chosen_rates": dict(choices),
        "runs": scored
        and {name: {str(seed): run.path.name for seed, run in row.items()} for name, row in scored.items()},
    }
    write_json(out / PLAN, record)
