"""`limbeck demo`: ten small networks teach a much smaller one, on real digits, with a verdict on the teaching."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck.campaigns.members import rows_of_teacher, score_teachers, seconds_per_row, sizes, trained_members
from limbeck.campaigns.trial import PLAN, run_trial
from limbeck.cli.flags import parsed
from limbeck.cli.show import show_trial
from limbeck.errors import SpecificationError
from limbeck.evidence.statistics import MOST_EXACT_SEEDS
from limbeck.evidence.trial import facts_of_trial, summary_of_trial
from limbeck.files import write_json
from limbeck.training.progress import watcher
from limbeck.training.resolve import resolve_data
from limbeck.training.run import claim
from limbeck_recipes.digits import trial


@dataclass(frozen=True)
class Demo:
    """An ensemble of small networks teaches a much smaller one on scikit-learn's digits.

    Beside it the same student learns from the labels alone. Each arm's learning rate is chosen on validation rows from
    one grid; then both are run with the same seeds and scored once on the test rows.
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
    parallel: int | None = None
    """How many runs are trained at once, at most; one per core unless given."""

    def __post_init__(self) -> None:
        limits = {"rows": (1, 1197), "members": (1, None), "hidden": (1, None), "seeds": (2, MOST_EXACT_SEEDS)}
        for name, (least, most) in {**limits, "parallel": (1, None)}.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= (value if most is None else most):
                bound = f"at least {least}" if most is None else f"{least} to {most:,}"
                raise SpecificationError(f"--{name} must be a whole number, {bound}. Got {value}.")


def run(words: Sequence[str]) -> None:
    """Run the demo and print its table and its verdict."""
    demo = parsed(Demo, words, "limbeck demo")
    plan = trial(rows=demo.rows, hidden=demo.hidden, members=demo.members, seeds=demo.seeds)
    resolve_data(plan.taught)  # what is missing is said before anything is written
    claim(demo.out, resume=demo.resume, overwrite=demo.overwrite, mark=PLAN)
    runs = run_trial(plan, demo.out, watcher=watcher(), parallel=demo.parallel)
    members = trained_members(plan.taught, demo.out / "runs" / "teachers")
    facts = facts_of_trial(
        title=f"{demo.members} networks teach one",
        runs=runs.runs,
        grid=runs.grid,
        choices=runs.choices,
        teachers=score_teachers(plan.taught, members, folder=demo.out),
        teacher_rows=rows_of_teacher(plan.taught, demo.out / "runs" / "teachers"),
        sizes=sizes(members, runs),
        seconds=seconds_per_row(plan.taught, members, runs),
    )
    write_json(demo.out / "facts.json", facts)
    write_json(demo.out / "summary.json", summary_of_trial(facts))
    show_trial(facts, demo.out)
