"""A fair fight: every arm is tuned by as many trials and the same rule, on validation rows."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any, TypeAlias, final

from limbeck.campaigns.settings import Settings, applied
from limbeck.campaigns.space import Space, check_space, space_to_json
from limbeck.campaigns.studies import WORST, ArmStudy, Tried, beating, opened
from limbeck.data.splits import without_test
from limbeck.errors import ArgumentError, DataError, NonFiniteLoss, SpecificationError
from limbeck.specification import Distillation, Json, check_whole
from limbeck.training.progress import Watcher
from limbeck.training.run import Run

Execute: TypeAlias = Callable[[Mapping[str, Distillation], str], Mapping[str, Run]]
"""Runs named specifications, described by a phrase for people, and returns their runs by name; what is finished is not
run again."""

ROUNDS = 4
"""In how many batches the trials of an arm are proposed, unless told: later ones learn from those before."""
LEAST_FOR_IMPORTANCE = 8
"""Trials below which no importance of settings is told."""
WAIT_SECONDS = 2.0
"""Between two looks at trials that other machines run."""


@final
@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search found for one arm."""

    settings: Settings
    """The settings with the lowest mean validation error; of equal ones, those with the fewest nats, then the first."""
    spec: Distillation
    """The arm's specification at these settings, test rows included."""
    value: float
    """The mean validation error at these settings, in points: the best of many, so it flatters."""
    trials: Sequence[Tried]
    """All that was tried, in order; the first are the specification's own settings."""
    space: Space
    """Where it looked."""
    importance: Mapping[str, float] | None
    """The share of the variance of the error that each setting explains; None where too few trials can tell."""
    seeds: Sequence[int]
    """The seeds that chose. A campaign that chooses once, by one block of seeds, and then judges at many others says
    "at these settings": how much another choice would have changed is not in its interval. To have it there, search
    once for each block of seeds that is judged."""

    def as_json(self) -> dict[str, Json]:
        """Encode as a part of the section `search` of a campaign's facts."""
        return {
            "trials": [trial.as_json() for trial in self.trials],
            "chosen": dict(self.settings),
            "space": space_to_json(self.space),
            "importance": None if self.importance is None else dict(self.importance),
            "validation": self.value,
            "seeds": list(self.seeds),
        }


def search(
    arms: Mapping[str, tuple[Distillation, Space]],
    *,
    trials: int,
    seeds: Sequence[int],
    execute: Execute,
    storage: str | Path,
    watcher: Watcher,
    batch: int | None = None,
    name: str = "limbeck",
) -> dict[str, Found]:
    """Choose settings for every arm on its validation rows, by as many trials and the same rule for each.

    The first trial of an arm is the specification as it is given (or the nearest that its space allows), so that no arm
    is worse off for the search. The next are drawn at random, and later ones where earlier ones did well (Optuna's
    tree-structured Parzen estimator). No trial is pruned, and no run has the test rows. A student whose loss becomes
    NaN or infinite counts as wrong on every row. Trials and their results are kept in `storage`: what is done is not
    done again, and a search that was stopped goes on to the same trials.

    Args:
        arms: what may be changed of each specification, by name.
        trials: how many settings are tried for each arm, >= 1.
        seeds: each setting is trained with all of these; none of them may judge later.
        execute: runs specifications, several at a time.
        storage: a file of SQLite, or an address of a database that several machines share, as Optuna knows them:
            `postgresql://…`, `mysql://…`.
        watcher: is told how far it has come.
        batch: trials of an arm that are proposed and run together; a fourth of all if None.
        name: tells searches apart that share a database.

    Raises: MissingExtra without Optuna; ArgumentError for a number out of its range; SpecificationError or
        MismatchError for a space that a specification or its targets cannot take; ResumeError where `storage` holds a
        search of other specifications, targets, spaces or seeds; RunError where another process has its file; what a
        run raises; Interrupted.
    Reference: Bergstra et al., Algorithms for Hyper-Parameter Optimization, NeurIPS 2011.
    """
    check_whole("search", 1, trials=trials)
    if batch is not None:
        check_whole("search", 1, batch=batch)
    if not seeds or len(set(seeds)) < len(seeds):
        raise ArgumentError(f"search: seeds must be distinct, and at least one. Got {list(seeds)}.")
    for spec, space in arms.values():
        if spec.validation is None:
            raise SpecificationError("Settings are chosen on validation rows, which validation=None leaves out.")
        check_space(spec, space)
    with opened(storage) as database:
        studies = [
            ArmStudy(
                database,
                arm,
                spec,
                space,
                title=f"{name}: {arm}",
                seeds=seeds,
                trials=trials,
                batch=batch or -(-trials // ROUNDS),
            )
            for arm, (spec, space) in arms.items()
        ]
        _run_to_the_end(studies, seeds, execute, watcher)
        return {study.name: _found(study, seeds) for study in studies}


def _run_to_the_end(studies: Sequence[ArmStudy], seeds: Sequence[int], execute: Execute, watcher: Watcher) -> None:
    waited, left = False, list(studies)
    while left := [study for study in left if not study.finished]:
        taken = {study: trials for study in left if (trials := study.take())}
        if taken:
            with beating(taken):
                _run_batch(taken, seeds, execute)
            continue
        if not waited:
            watcher.say("Waiting for the last trials, which other machines run.")
            waited = True
        time.sleep(WAIT_SECONDS)


def _run_batch(taken: Mapping[ArmStudy, Sequence[Tried]], seeds: Sequence[int], execute: Execute) -> None:
    """Run the trials of all arms together, and tell what came of each."""
    studies = {(study.name, trial.number): study for study, trials in taken.items() for trial in trials}
    jobs = [_Job(study.name, study.spec, trial, seeds) for study, trials in taken.items() for trial in trials]
    last = max(job.trial.number for job in jobs) + 1
    what = f"trying settings of {'one arm' if len(taken) == 1 else f'{len(taken)} arms'}, up to the trial {last}"
    for job, found in _executed(jobs, execute, what):
        studies[job.arm, job.trial.number].tell(found, list(job.specs))


@final
@dataclass(frozen=True)
class _Job:
    """The runs of one trial."""

    arm: str
    spec: Distillation
    trial: Tried
    seeds: Sequence[int]

    @property
    def specs(self) -> dict[str, Distillation]:
        """The specifications of its runs by name: no test rows, and no probe that nobody looks at."""
        tried = applied(self.spec, self.trial.settings)
        blind = replace(tried, data=partial(without_test, tried.data), probe_rows=0)
        return {f"{self.arm}-{self.trial.number:03d}-{seed}": replace(blind, seed=seed) for seed in self.seeds}


def _executed(jobs: Sequence[_Job], execute: Execute, what: str) -> list[tuple[_Job, Tried]]:
    """Run all jobs; where a loss is not finite, find out whose by halves: what is finished is not run again."""
    try:
        runs = execute({name: spec for job in jobs for name, spec in job.specs.items()}, what)
    except NonFiniteLoss as error:
        if len(jobs) == 1:
            return [(jobs[0], replace(jobs[0].trial, validation=WORST, failed=str(error)))]
        half = len(jobs) // 2
        return [*_executed(jobs[:half], execute, what), *_executed(jobs[half:], execute, what)]
    return [(job, _scored(job.trial, [runs[name] for name in job.specs])) for job in jobs]


def _scored(trial: Tried, runs: Sequence[Run]) -> Tried:
    errors, nll = mean_validation(runs)
    return replace(trial, validation=errors, nll=nll)


def mean_validation(runs: Sequence[Run]) -> tuple[float, float]:
    """Mean error, in points, and mean nats per row on the validation rows, over runs.

    Raises: DataError where the validation rows have no labels.
    """
    found: list[Any] = [run.summary["student"].get("validation") or {} for run in runs]
    if not all("accuracy" in scores for scores in found):
        raise DataError("Settings are chosen by errors on validation rows, and the data's have no labels.")
    # To nine digits: means of equal counts of wrong rows are equal, in whatever order they are summed.
    return round(100.0 * mean(1 - scores["accuracy"] for scores in found), 9), mean(scores["nll"] for scores in found)


def _found(study: ArmStudy, seeds: Sequence[int]) -> Found:
    tried = study.told()
    best = min(tried, key=lambda trial: trial.merit)
    return Found(
        settings=best.settings,
        spec=applied(study.spec, best.settings),
        value=best.validation,
        trials=tried,
        space=study.space,
        importance=study.importance(LEAST_FOR_IMPORTANCE),
        seeds=tuple(seeds),
    )
