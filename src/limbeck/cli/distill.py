"""`limbeck distill SPEC` and `limbeck distill --data … --teacher … --student …`."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck.campaigns.arms import ABLATIONS, RIVALS, chosen_names
from limbeck.campaigns.campaign import run_campaign
from limbeck.campaigns.engine import Engine
from limbeck.campaigns.means import Means
from limbeck.campaigns.plan import Campaign
from limbeck.cli.campaigns import show_comparison
from limbeck.cli.flags import check_counts
from limbeck.cli.parts import from_parts
from limbeck.cli.show import show_run
from limbeck.cli.specs import Asked, Command, asked_of, help_for
from limbeck.errors import SpecificationError
from limbeck.evidence.comparison import PLAN
from limbeck.evidence.question import Question
from limbeck.training.distill import distill
from limbeck.training.run import claim
from limbeck.training.runner import Backend

_USAGE = """usage: limbeck distill SPEC [flags]
       limbeck distill --data FOLDER|FILE|ID --student FILE.py:factory [--teacher FILE.py:object|RUN] [flags]
       limbeck distill --data FOLDER|FILE|ID --student FILE.py:factory --targets STORE|FILE [flags]
       limbeck distill SPEC --controls all --seeds 8 --worth 0.5 --within 0.5

SPEC is file.py:function, where the function returns a Distillation, or the name of a recipe: {recipes}.
"""


@dataclass(frozen=True)
class Common:
    """Flags of every run."""

    out: Path | None = None
    """Where everything goes; runs/NAME unless given, and runs/NAME-proof with --controls."""
    resume: bool = False
    """Go on with what stands in --out, from its last checkpoint; finished runs of a campaign are not run again."""
    overwrite: bool = False
    """Delete the run, or with --controls the campaign, that stands in --out first."""
    parallel: int | None = None
    """How many members of an ensemble, or runs of a campaign, are trained at once, at most; one per core unless
    given."""
    backend: Backend = "loky"
    """Who trains them: loky, processes of this machine; ray, the cluster of `ray start --head` or RAY_ADDRESS."""
    controls: tuple[str, ...] = ()
    """Put the teaching to the proof: all, none (the student alone only), or names of rivals and ablations. Every rival
    is tuned on validation rows like the distilled student, and all are run at the same seeds."""
    seeds: int = 8
    """With --controls: how many paired seeds, from 0 on; an exact test at the 5 % level needs 6."""
    trials: int = 12
    """With --controls: settings tried for the distilled student, and as many for each rival; 0 for those given."""
    worth: float | None = None
    """With --controls: the smallest difference worth having, in percentage points of the error rate."""
    within: float | None = None
    """With --controls: by how many points more errors than its teacher's the student may be told to replace it."""
    looks: int = 1
    """With --controls: how often the test rows will be looked at; a later look has more seeds."""
    cap: float = 10.0
    """With --controls: the compute-matched rival trains for at most so many times the distilled student's epochs."""
    engine: Engine = "auto"
    """With --controls: stacked (runs of one architecture share one model), apart, or what a quick trial finds
    quicker."""

    def __post_init__(self) -> None:
        check_counts(self, parallel=1, seeds=1, trials=0, looks=1)
        for name in ("worth", "within"):
            points = getattr(self, name)
            if points is not None and not 0 < points < 100:
                raise SpecificationError(
                    f"--{name} must be a number of percentage points above 0 and below 100. Got {points:g}."
                )
        if len(self.controls) > 1 and {"all", "none"} & set(self.controls):
            raise SpecificationError("--controls takes all, none, or names: all and none stand alone.")
        if not self.controls:
            self._refuse_without_controls()

    def _refuse_without_controls(self) -> None:
        for name in ("seeds", "trials", "worth", "within", "looks", "cap", "engine"):
            if getattr(self, name) != getattr(type(self), name):
                raise SpecificationError(
                    f"--{name} is a setting of --controls, which puts the teaching to the proof; add --controls all."
                )


COMMAND = Command(name="distill", common=Common, parts=from_parts, needs=("--data", "--student"), usage=_USAGE)


def run(words: Sequence[str]) -> None:
    """Train a student and print where it landed."""
    if any(word in ("-h", "--help") for word in words):
        print(help_for(COMMAND, [word for word in words if word not in ("-h", "--help")]))
        return
    asked = asked_of(COMMAND, words)
    origin = {"command": shlex.join(["limbeck", "distill", *words]), "specification": asked.name or "parts"}
    common = asked.common
    if common.controls:
        _prove(asked, origin)
        return
    if "--controls" in words:
        raise SpecificationError("--controls needs a word: all, none, or names of rivals and ablations.")
    finished = distill(
        asked.spec,
        folder_of(asked),
        resume=common.resume,
        overwrite=common.overwrite,
        parallel=common.parallel,
        backend=common.backend,
        origin=origin,
    )
    show_run(finished)


def _prove(asked: Asked[Common], origin: dict[str, str]) -> None:
    """Run the campaign that puts the teaching to the proof, and show its verdicts."""
    common, out = asked.common, folder_of(asked)
    names = chosen_names(common.controls[0] if len(common.controls) == 1 else common.controls)
    campaign = Campaign(
        distilled=asked.spec,
        question=Question(worth=common.worth, within=common.within, looks=common.looks),
        seeds=tuple(range(common.seeds)),
        trials=common.trials,
        rivals=tuple(name for name in names if name in RIVALS),
        ablations=tuple(name for name in names if name in ABLATIONS),
        cap=common.cap,
    )
    claim(out, resume=common.resume, overwrite=common.overwrite, mark=PLAN)
    means = Means(parallel=common.parallel, engine=common.engine, backend=common.backend)
    show_comparison(run_campaign(campaign, out, means, origin=origin))


def folder_of(asked: Asked[Common]) -> Path:
    """The run's folder: --out, or runs/ and the name of the SPEC's file or recipe; a campaign's stands beside it."""
    name = asked.stem("student")
    return asked.common.out or Path("runs") / (f"{name}-proof" if asked.common.controls else name)


def specification_of(words: Sequence[str]) -> Asked[Common]:
    """Read the words of `limbeck distill`. Raises: SpecificationError for whatever cannot be found, called or read."""
    return asked_of(COMMAND, words)
