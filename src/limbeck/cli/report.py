"""`limbeck report FOLDER`: the page of a finished run, campaign, search or sweep, made again from its records."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from limbeck.cli.flags import parsed
from limbeck.errors import RunError, SpecificationError
from limbeck.evidence.comparison import PLAN
from limbeck.evidence.facts import facts_of_run
from limbeck.evidence.search_facts import SEARCH, read_search
from limbeck.evidence.sweep_facts import SWEEP, read_sweep
from limbeck.files import read_json, write_json
from limbeck.report.page import write_page
from limbeck.training.run import Run


def report(run: Annotated[Path, tyro.conf.Positional], out: Path | None = None) -> None:
    """Make the page of a finished run, campaign, search or sweep again.

    Args:
        run: its folder.
        out: where the page goes; report.html in that folder unless given.
    """
    if (run / PLAN).is_file():
        if not (run / "facts.json").is_file():
            raise RunError(f"The campaign {run} has not finished; go on with --resume.")
        facts = read_json(run / "facts.json")
    elif (run / SEARCH).is_file():
        facts = read_search(run)
    elif (run / SWEEP).is_file():
        facts = read_sweep(run)
    else:
        facts = facts_of_run(Run.open(run))
        write_json(run / "facts.json", facts)
    print(write_page(facts, out or run / "report.html"))


def run(words: Sequence[str]) -> None:
    """Make the page and print where it is."""
    if not words:
        raise SpecificationError("Name the folder of a run, as in: limbeck report runs/NAME.")
    parsed(report, words, "limbeck report")
