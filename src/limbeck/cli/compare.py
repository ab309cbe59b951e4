"""`limbeck compare RUN RUN …`: what the teaching was worth, and whether the student can replace the teacher."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from limbeck.cli.campaigns import show_comparison
from limbeck.cli.flags import parsed
from limbeck.errors import SpecificationError
from limbeck.evidence.comparison import PLAN, of_campaign, of_runs
from limbeck.evidence.question import Question
from limbeck.training.run import Run


def compare(
    runs: Annotated[tuple[Path, ...], tyro.conf.Positional],
    worth: float | None = None,
    within: float | None = None,
    out: Path = Path("runs/comparison"),
) -> None:
    """Judge a campaign again from its records, or runs that were made one by one.

    Of runs, name those of one distilled student and of the same student on labels alone, at the same seeds.

    Args:
        runs: the folder of a campaign, or the folders of runs.
        worth: the smallest difference worth having, in percentage points of the error rate.
        within: by how many percentage points more errors than the teacher's the student may be told to replace it.
        out: where facts and page of a comparison of runs go; those of a campaign go into its folder.
    """
    campaigns = [path for path in runs if (path / PLAN).is_file()]
    if campaigns and len(runs) > 1:
        raise SpecificationError(f"{campaigns[0]} is a campaign, which is judged by itself; name it alone.")
    if campaigns:
        if worth is not None or within is not None:
            raise SpecificationError(
                f"What {campaigns[0]} asks was fixed before its test rows were scored, and stands in its {PLAN}; leave "
                "--worth and --within out."
            )
        show_comparison(of_campaign(campaigns[0]))
        return
    question = Question(worth=worth, within=within)
    comparison = of_runs([Run.open(path) for path in runs], question, out)
    out.mkdir(parents=True, exist_ok=True)
    show_comparison(comparison)


def run(words: Sequence[str]) -> None:
    """Judge, and print the verdicts and where the page is."""
    if not words:
        raise SpecificationError(
            "Name a campaign, as in limbeck compare runs/NAME, or the runs of a student distilled and alone."
        )
    parsed(compare, words, "limbeck compare")
