"""`limbeck sweep SPEC --over temperature=1,2,4,8,20`: how the errors depend on one number of a specification."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from limbeck.campaigns.engine import Engine
from limbeck.campaigns.means import Means
from limbeck.campaigns.settings import SETTINGS
from limbeck.campaigns.sweep import SEEDS, run_sweep
from limbeck.campaigns.sweep_plan import SweepPlan, check_sweep
from limbeck.cli.flags import check_counts
from limbeck.cli.parts import from_parts
from limbeck.cli.show import say, say_where
from limbeck.cli.specs import Command, asked_of, help_for
from limbeck.errors import SpecificationError
from limbeck.evidence.sweep import Fixed, Score
from limbeck.evidence.sweep_facts import SWEEP, read_sweep
from limbeck.report.figures.sweep import numbers
from limbeck.report.sweep_words import cautions, findings, headline, scored_on
from limbeck.report.words import setting
from limbeck.training.run import claim
from limbeck.training.runner import Backend

_USAGE = """usage: limbeck sweep SPEC --over NAME=VALUE,VALUE,… [flags]
       limbeck sweep --data FOLDER|FILE|ID --student FILE.py:factory --targets STORE|FILE --over NAME=VALUE,… [flags]

SPEC is the one that `limbeck distill` takes: file.py:function, or the name of a recipe: {recipes}. NAME is a number of
it: NAMES. The teacher is asked once, or not at all where --targets names what was recorded of it.
""".replace("NAMES", ", ".join(SETTINGS))


@dataclass(frozen=True)
class Common:
    """Flags of a sweep."""

    over: str = ""
    """The number and its values: temperature=1,2,4,8,20; of rows, shares of the training rows: rows=0.03,0.1,0.3,1."""
    out: Path | None = None
    """Where it goes: sweep.json, the targets, the runs; runs/NAME-over-NUMBER unless given."""
    seeds: int = len(SEEDS)
    """Trainings of each value, at the seeds 1000, 1001, …; they are away from those that judge."""
    score: Score = "validation"
    """The rows that errors are counted on; no run has the test rows unless these are they."""
    fixed: Fixed = "steps"
    """With --over rows=…: what stays equal; steps, by more epochs over fewer rows; or epochs."""
    resume: bool = False
    """Go on with the sweep that stands in --out, with as many values and seeds or more; finished runs are not run
    again."""
    overwrite: bool = False
    """Delete the sweep that stands in --out first."""
    parallel: int | None = None
    """How many runs are trained at once, at most; one per core unless given."""
    backend: Backend = "loky"
    """Who trains them: loky, processes of this machine; ray, the cluster of `ray start --head` or RAY_ADDRESS."""
    engine: Engine = "auto"
    """stacked: runs of one architecture share one model; apart; or what a quick trial finds quicker."""

    def __post_init__(self) -> None:
        check_counts(self, seeds=1, parallel=1)
        if self.over:  # the help of a SPEC is shown without
            over_of(self.over)


COMMAND = Command(name="sweep", common=Common, parts=from_parts, needs=("--data", "--student"), usage=_USAGE)


def over_of(text: str) -> tuple[str, tuple[float, ...]]:
    """Read `temperature=1,2,4`. Raises: SpecificationError for anything else.

    >>> over_of("temperature=1,2.5")
    ('temperature', (1.0, 2.5))
    """
    name, _, values = text.partition("=")
    try:
        return name.strip().replace("-", "_"), tuple(float(value) for value in values.split(","))
    except ValueError:
        got = f"Got {text}." if text else "There is none."
        raise SpecificationError(
            f"--over takes a number's name and its values, as in --over temperature=1,2,4,8,20. {got}"
        ) from None


def run(words: Sequence[str]) -> None:
    """Sweep, print what was found, and where it is."""
    if any(word in ("-h", "--help") for word in words):
        print(help_for(COMMAND, [word for word in words if word not in ("-h", "--help")]))
        return
    asked = asked_of(COMMAND, words)
    common = asked.common
    over, values = over_of(common.over)
    seeds = tuple(range(SEEDS[0], SEEDS[0] + common.seeds))
    out = common.out or Path("runs") / f"{asked.stem('student')}-over-{over.replace('_', '-')}"
    check_sweep(
        SweepPlan(spec=asked.spec, over=over, values=values, seeds=seeds, score=common.score, fixed=common.fixed)
    )
    claim(out, resume=common.resume, overwrite=common.overwrite, mark=SWEEP)
    run_sweep(
        asked.spec,
        over,
        values,
        seeds=seeds,
        out=out,
        score=common.score,
        fixed=common.fixed,
        means=Means(parallel=common.parallel, backend=common.backend, engine=common.engine),
        origin={"command": shlex.join(["limbeck", "sweep", *words]), "specification": asked.name or "the student"},
    )
    _show(out, read_sweep(out))


def _show(out: Path, facts: dict[str, Any]) -> None:
    found = numbers(facts)
    seeds = len(facts["seeds"])
    over = setting(facts["over"])
    table = Table(title=f"Wrong on the {scored_on(facts)} over the {over}, {seeds} seed{'s' if seeds > 1 else ''}")
    for place, name in enumerate(found.headers):
        table.add_column(name, justify="right" if place else "left")
    for row in found.rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    say(headline(facts), *findings(facts), *cautions(facts))
    say_where(out, facts)
