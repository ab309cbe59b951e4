"""One question, many runs: the teacher recorded once, every rival tuned alike, every ablation, over paired seeds."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import monotonic

from limbeck.campaigns.ablations import ablations
from limbeck.campaigns.arms import ALONE, DISTILLED, Arm
from limbeck.campaigns.compute import with_operations
from limbeck.campaigns.ground import only_one, steady_rows
from limbeck.campaigns.means import Means, executor, with_recorded_targets
from limbeck.campaigns.plan import Campaign, Record, arm_to_json
from limbeck.campaigns.rivals import rivals
from limbeck.campaigns.search import Found, search
from limbeck.campaigns.settings import applied
from limbeck.campaigns.space import Space, default_space
from limbeck.campaigns.teacher import describe_teacher
from limbeck.data.splits import Splits
from limbeck.errors import DataError, NonFiniteLoss, SpecificationError
from limbeck.evidence.comparison import PLAN, Comparison, of_campaign
from limbeck.evidence.exposure import exposure
from limbeck.specification import Distillation, Json, require_importable
from limbeck.training.progress import Once
from limbeck.training.resolve import resolve_data
from limbeck.training.run import Run

TARGETS = "targets"
"""Where a campaign keeps the answers of its teacher, below its folder."""


def run_campaign(campaign: Campaign, out: Path | str, means: Means | None = None, *, origin: Json = None) -> Comparison:
    """Run what is still to do of a campaign into its folder, and return what its evidence is read from.

    In this order: the teacher's answers are recorded; settings of the distilled student and of every rival are searched
    on validation rows, by runs that have no test rows; they are written down; only then is every arm run at every seed
    and scored. `campaign.json` says at any time which run answers which arm and seed. What is finished is not run
    again.

    Args:
        campaign: the plan.
        out: its folder, new or holding the same campaign.
        means: processes, engine and backend; what suits this machine if None.
        origin: how it was asked for (a command's words), kept as it is.

    Raises: ResumeError where `out` holds another campaign; what a run raises; Interrupted.
    """
    began, shown = monotonic(), Path(out)
    out = shown.resolve()  # runs name their targets by path, and somebody may go on from another folder
    means = means or Means()
    means = replace(means, watcher=Once(means.watcher))
    splits = resolve_data(campaign.distilled)
    if splits.test is None or not splits.test.labelled:
        raise DataError("A campaign judges on labelled test rows, and the data bring none; give a test split.")
    if splits.validation is None or not splits.validation.labelled:
        raise DataError("A campaign chooses settings on labelled validation rows, and the data bring none.")
    require_importable(replace(campaign.distilled, teacher=None, targets=out / TARGETS))
    rows = steady_rows(campaign.distilled, splits)
    with only_one(out, PLAN, "campaign"):
        state = Record(campaign, out, rows, origin=origin)
        if not (state.finished(campaign.seeds) and state.whole(out)):
            _run_to_the_end(campaign, splits, state, out, means, began)
    return of_campaign(shown)


def _run_to_the_end(campaign: Campaign, splits: Splits, state: Record, out: Path, means: Means, began: float) -> None:
    """Do what is still to do, and write down each part of it."""
    taught = with_recorded_targets(campaign.distilled, out / TARGETS, means)
    arms, found, left_out = _tuned(campaign, taught, out, means)
    explained = ablations(arms[DISTILLED].spec, out / "altered", campaign.ablations, watcher=means.watcher)
    arms.update({arm.name: arm for arm in explained.arms})
    arms = with_operations(arms, replace(taught, teacher=campaign.distilled.teacher))
    told = [arm_to_json(arm, found[name].settings if name in found else {}) for name, arm in arms.items()]
    left_out = {**left_out, **explained.left_out}
    state.write(
        arms=told,
        search={name: one.as_json() for name, one in found.items()} or None,
        left_out=left_out,
        saw=exposure(campaign.distilled, splits),
    )
    runs, broken = _scored(campaign, arms, out, means)
    state.write(arms=[arm for arm in told if arm["name"] in runs], left_out={**left_out, **broken})
    spent = state.state.get("seconds", 0.0) + monotonic() - began
    state.write(
        runs={name: {str(seed): run.path.name for seed, run in row.items()} for name, row in runs.items()},
        seconds=spent,
        means={"backend": means.backend, "engine": means.engine, "parallel": means.parallel},
    )
    state.write(teacher=describe_teacher(campaign.distilled, taught, out / TARGETS, _first(runs), means.watcher))
    state.finish(campaign.seeds)


def _untuned(title: str) -> str:
    """The title of an arm that is judged at the settings given."""
    return title.removesuffix(", tuned")


def _tuned(
    campaign: Campaign, taught: Distillation, out: Path, means: Means
) -> tuple[dict[str, Arm], dict[str, Found], Mapping[str, str]]:
    """The distilled student and its rivals at the settings that validation rows chose for each, by equal search."""
    space = campaign.space
    if space is None and campaign.trials:
        space = default_space(taught)
    distilled = Arm(
        name=DISTILLED,
        kind="distilled",
        title="student, distilled",
        about="The student with its teacher, at the settings that validation rows chose.",
        spec=replace(taught, teacher=None),
        space=space,
        notes={},
    )
    names = (ALONE, *(name for name in campaign.rivals if name != ALONE))
    others = rivals(taught, out / "altered", names, cap=campaign.cap, watcher=means.watcher)
    arms = {arm.name: arm for arm in (distilled, *(_as_widely(arm, campaign.space) for arm in others.arms))}
    if ALONE not in arms:
        raise SpecificationError(
            f"The student cannot be trained alone, so nothing can be judged. {others.left_out[ALONE]}"
        )
    if not campaign.trials:
        return {name: replace(arm, title=_untuned(arm.title)) for name, arm in arms.items()}, {}, others.left_out
    found = search(
        {name: (arm.spec, arm.space) for name, arm in arms.items() if arm.space is not None},
        trials=campaign.trials,
        seeds=campaign.selection_seeds,
        execute=executor(out / "trials", means),
        storage=out / "search.db",
        watcher=means.watcher,
    )
    tuned = {
        name: replace(arm, spec=applied(arm.spec, found[name].settings)) if name in found else arm
        for name, arm in arms.items()
    }
    return tuned, dict(found), others.left_out


def _as_widely(arm: Arm, asked: Space | None) -> Arm:
    """Let a rival look for what every optimiser has as widely as the distilled student was told to."""
    if asked is None or arm.space is None:
        return arm
    shared = {name: asked[name] for name in ("rate", "weight_decay") if name in asked and name in arm.space}
    return replace(arm, space={**arm.space, **shared})


def _scored(
    campaign: Campaign, arms: Mapping[str, Arm], out: Path, means: Means
) -> tuple[dict[str, dict[int, Run]], dict[str, str]]:
    """Run every arm at every seed; returns the runs, and why an arm has none: a loss of it broke at some seed.

    Raises: NonFiniteLoss where this is the distilled student or the student alone, without whom nothing is judged.
    """
    execute = executor(out / "runs", means)
    specs = {
        name: {f"{name}-{seed}": replace(arm.spec, seed=seed) for seed in campaign.seeds} for name, arm in arms.items()
    }
    what = f"training {len(arms)} arms at {len(campaign.seeds)} seeds"
    broken: dict[str, str] = {}
    found: dict[str, Run] = {}
    try:
        found.update(execute({run: spec for row in specs.values() for run, spec in row.items()}, what))
    except NonFiniteLoss:  # whose? what is finished is not run again
        for name, row in specs.items():
            try:
                found.update(execute(row, f"training {name}"))
            except NonFiniteLoss as error:
                if name in (DISTILLED, ALONE):
                    raise NonFiniteLoss(f"The campaign cannot be judged without {name!r}. {error}") from error
                broken[name] = f"It did not train at every seed. {error}"
    runs = {name: {seed: found[f"{name}-{seed}"] for seed in campaign.seeds} for name in arms if name not in broken}
    return runs, broken


def _first(runs: Mapping[str, Mapping[int, Run]]) -> Run:
    return next(iter(runs[DISTILLED].values()))
