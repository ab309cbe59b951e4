"""A sweep: one number of a specification at several values, all at the same seeds; the teacher is asked once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from limbeck.campaigns.arms import ALONE
from limbeck.campaigns.ground import only_one, steady_rows
from limbeck.campaigns.means import Means, executor, with_recorded_targets
from limbeck.campaigns.rivals import rivals
from limbeck.campaigns.search import Execute
from limbeck.campaigns.settings import setting_named
from limbeck.campaigns.sweep_plan import (
    FOLLOWED,
    SweepPlan,
    check_sweep,
    in_name,
    require_same_sweep,
    steps_of,
)
from limbeck.data.splits import Splits
from limbeck.errors import NonFiniteLoss, ResumeError
from limbeck.evidence.sweep import Fixed, Point, Score, Sweep, errors_of
from limbeck.evidence.sweep_facts import SWEEP, facts_of_sweep, provenance, sweep_of
from limbeck.files import read_json, write_json
from limbeck.specification import Distillation, Json
from limbeck.training.progress import Once
from limbeck.training.run import Run

SEEDS = tuple(range(1000, 1006))
"""Six, away from those that judge: a value that they chose is judged at others."""


def run_sweep(
    spec: Distillation,
    over: str,
    values: Sequence[float],
    *,
    seeds: Sequence[int] = SEEDS,
    out: Path | str,
    score: Score = "validation",
    fixed: Fixed = "steps",
    means: Means | None = None,
    origin: Mapping[str, Json] | None = None,
) -> Sweep:
    """Train a specification at several values of one number, all else being equal, and return what came of each.

    The teacher's answers are recorded into `out/targets`, once; every value is run at every seed, and beside it the
    student alone at the same seeds, where there are soft terms: for as many epochs, at its own settings as given, not
    tuned. A sweep over `rows` or `epochs` changes them in the student alone too; beside any other it stands once.

    `sweep.json` is written as it goes. What is finished is not run again, so that a sweep that was killed goes on, and
    so does one that is asked for more values or seeds. A value at which a loss becomes NaN or infinite is kept as
    failed.

    Args:
        spec: the specification; its own seed is not used.
        over: the number's name, of `limbeck.campaigns.settings.SETTINGS`: temperature, rate, rows, …
        values: at least two. Those of `rows` are shares of the training rows, in (0, 1]: the rows of a smaller share
            are among those of a larger, at every seed; validation and test rows, teacher and targets stay those of all.
        seeds: the same at every value.
        out: its folder, new or holding the same sweep.
        score: the rows that errors are counted on. Runs that are scored on validation rows have no test rows; those on
            test rows score them once each, and their ledgers say so.
        fixed: of a sweep over `rows`, what stays equal: the optimiser's steps, by more epochs over fewer rows, to the
            nearest epoch; or the epochs.
        means: processes, engine and backend; what suits this machine if None.
        origin: how it was asked for (a command's words), kept as it is.

    Raises: before anything is trained, SpecificationError, ArgumentError, MismatchError or DataError for what cannot be
        swept; ResumeError where `out` holds another sweep; what a run raises, but for NonFiniteLoss; Interrupted.
    """
    shown = Path(out)
    out = shown.resolve()  # runs name their targets by path, and somebody may go on from another folder
    means = means or Means()
    means = replace(means, watcher=Once(means.watcher))
    plan = SweepPlan(spec=spec, over=over, values=values, seeds=seeds, score=score, fixed=fixed)
    splits = check_sweep(plan)
    rows = steady_rows(plan.base, splits)
    with only_one(out, SWEEP, "sweep"):
        state = _taken_up(plan, plan.as_json(rows), out, origin)
        if not state["finished"]:
            write_json(out / SWEEP, state)
            state |= _run(plan, splits, state["failed"], out, means)
            write_json(out / SWEEP, state)
    return sweep_of(state, shown)


def _taken_up(plan: SweepPlan, told: dict[str, Json], out: Path, origin: Mapping[str, Json] | None) -> dict[str, Any]:
    """Read the record that stands in the folder, or begin one. Raises: ResumeError where it is of another sweep."""
    begun = {
        "kind": "sweep",
        "finished": False,
        "folder": str(out),
        "origin": dict(origin or {}),
        "plan": told,
        "failed": {},
    }
    if not (out / SWEEP).is_file():
        return begun
    before = read_json(out / SWEEP)
    if not isinstance(before, dict) or not isinstance(before.get("plan"), dict):
        raise ResumeError(f"{out / SWEEP} is damaged: a sweep's has a plan.")
    require_same_sweep(before["plan"], told, out)
    if before["finished"] and all(before["plan"][name] == told[name] for name in ("values", "seeds")):
        return before
    if before["folder"] != str(out):
        raise ResumeError(
            f"The sweep {out} was begun in {before['folder']}, and its runs name what lies there; move it back to go "
            "on."
        )
    return {**begun, "failed": before["failed"]}


def _run(plan: SweepPlan, splits: Splits, failed: Mapping[str, str], out: Path, means: Means) -> dict[str, Any]:
    """Run what is still to do, and return what the record is to say."""
    taught = with_recorded_targets(plan.base, out / "targets", means)
    alone, why_not = _alone(plan, taught, out, means)
    rows = len(splits.train)
    own = setting_named(plan.over).own(plan.spec)
    arms = [_Arm(plan, replace(taught, teacher=None), value, rows) for value in plan.values]
    beside = [_Arm(plan, alone, value, rows, ALONE) for value in plan.values] if alone is not None else []
    if alone is not None and plan.over not in FOLLOWED:
        beside = [_Arm(plan, alone, None, rows, ALONE)]
    specs = {name: spec for arm in (*arms, *beside) for name, spec in arm.specs.items() if name not in failed}
    what = f"training at {len(arms)} values of {plan.over}, at {len(plan.seeds)} seeds"
    runs, broken = _executed(executor(out / "runs", means), specs, what)
    broken = {**failed, **broken}
    found = Sweep(
        folder=out,
        over=plan.over,
        own=own,
        seeds=tuple(plan.seeds),
        score=plan.score,
        fixed=plan.fixed if plan.over == "rows" else None,
        points=tuple(arm.point(own, runs, broken) for arm in arms),
        alone=tuple(arm.point(own, runs, broken) for arm in beside),
        why_not_alone=why_not,
    )
    return {"finished": True, "failed": broken, **facts_of_sweep(found), "provenance": provenance()}


def _alone(plan: SweepPlan, taught: Distillation, out: Path, means: Means) -> tuple[Distillation | None, str | None]:
    """The student on labels alone, and why there is none where soft terms would ask for one beside them."""
    if not taught.goal.needs_teacher:
        return None, None
    found = rivals(taught, out / "altered", (ALONE,), watcher=means.watcher)
    return next((arm.spec for arm in found.arms), None), found.left_out.get(ALONE)


@final
@dataclass(frozen=True)
class _Arm:
    """The runs at one value."""

    plan: SweepPlan
    base: Distillation
    value: float | None
    """None leaves `base` as it is."""
    rows: int
    """All training rows."""
    prefix: str = ""

    @property
    def names(self) -> dict[int, str]:
        """The runs by seed."""
        place = "" if self.value is None else f"{self.plan.over}-{in_name(self.value)}"
        return {seed: "-".join(filter(None, (self.prefix, place, str(seed)))) for seed in self.plan.seeds}

    @property
    def spec(self) -> Distillation:
        """At this value, whatever the seed."""
        return self.base if self.value is None else self.plan.at(self.base, self.value, self.rows)

    @property
    def specs(self) -> dict[str, Distillation]:
        """By the runs' names."""
        seen = self.plan.seen(self.spec)
        return {name: replace(seen, seed=seed) for seed, name in self.names.items()}

    def point(self, own: float, runs: Mapping[str, Run], broken: Mapping[str, str]) -> Point:
        """What came of it; `own` is the specification's own value."""
        rows = self.rows if self.value is None else self.plan.trained_on(self.value, self.rows)
        return Point(
            value=own if self.value is None else self.value,
            errors=errors_of([runs.get(name) for name in self.names.values()], self.plan.score),
            failed={seed: broken[name] for seed, name in self.names.items() if name in broken},
            rows=rows,
            epochs=self.spec.epochs,
            steps=steps_of(self.spec, rows),
        )


def _executed(execute: Execute, specs: Mapping[str, Distillation], what: str) -> tuple[dict[str, Run], dict[str, str]]:
    """Run all; where a loss is not finite, find out whose by halves: what is finished is not run again."""
    try:
        return dict(execute(specs, what)) if specs else {}, {}
    except NonFiniteLoss as error:
        names = list(specs)
        if len(names) == 1:
            return {}, {names[0]: str(error)}
        middle = len(names) // 2
        parts = [{name: specs[name] for name in half} for half in (names[:middle], names[middle:])]
        (runs, broken), (others, also) = (_executed(execute, part, what) for part in parts)
        return {**runs, **others}, {**broken, **also}
