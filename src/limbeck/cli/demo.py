"""`limbeck demo`: ten small networks teach a much smaller one, on real digits, and the teaching is put to the proof."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from limbeck.campaigns.campaign import run_campaign
from limbeck.campaigns.means import Means
from limbeck.cli.campaigns import show_comparison
from limbeck.cli.flags import parsed
from limbeck.errors import SpecificationError
from limbeck.evidence.comparison import PLAN
from limbeck.evidence.statistics import MOST_EXACT_SEEDS
from limbeck.training.resolve import resolve_data
from limbeck.training.run import claim
from limbeck_recipes.digits import campaign


@dataclass(frozen=True)
class Demo:
    """An ensemble of small networks teaches a much smaller one on scikit-learn's digits.

    Beside it the same student learns without its teacher in every way that a user would try, each with the same number
    of settings tried on validation rows; and with one thing of the teaching replaced at a time. All of them are run
    with the same seeds and scored once on the test rows.
    """

    out: Path = Path("runs/demo")
    """Where everything goes: summary.json, facts.json, report.html, and every run."""
    resume: bool = False
    """Go on with what stands in --out; finished runs are not run again."""
    overwrite: bool = False
    """Delete the demo that stands in --out first."""
    rows: int = 256
    """Training rows that the student sees, of 1,197."""
    members: int = 10
    """Networks in the ensemble, each trained on all 1,197 rows."""
    hidden: int = 16
    """Width of the student's two hidden layers; the members have 128."""
    seeds: int = 8
    """Paired seeds, 2 to 20; an exact test at the 5 % level needs 6."""
    trials: int = 16
    """Settings tried on validation rows, for the distilled student and for each of its rivals."""
    parallel: int | None = None
    """How many processes train at once, at most; one per core unless given."""
    engine: Literal["auto", "stacked", "apart"] = "auto"
    """Whether runs of one architecture share a stacked model; auto takes what a quick trial finds quicker."""

    def __post_init__(self) -> None:
        limits = {
            "rows": (1, 1197),
            "members": (1, None),
            "hidden": (1, None),
            "seeds": (2, MOST_EXACT_SEEDS),
            "trials": (0, None),
            "parallel": (1, None),
        }
        for name, (least, most) in limits.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= (value if most is None else most):
                bound = f"at least {least}" if most is None else f"{least} to {most:,}"
                raise SpecificationError(f"--{name} must be a whole number, {bound}. Got {value}.")


def run(words: Sequence[str]) -> None:
    """Run the demo and print its table and its verdicts."""
    demo = parsed(Demo, words, "limbeck demo")
    plan = campaign(rows=demo.rows, hidden=demo.hidden, members=demo.members, seeds=demo.seeds, trials=demo.trials)
    resolve_data(plan.distilled)  # what is missing is said before anything is written
    claim(demo.out, resume=demo.resume, overwrite=demo.overwrite, mark=PLAN)
    origin = {"command": shlex.join(["limbeck", "demo", *words]), "title": f"{demo.members} networks teach one"}
    means = Means(parallel=demo.parallel, engine=demo.engine)
    show_comparison(run_campaign(plan, demo.out, means, origin=origin))
