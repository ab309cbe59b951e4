"""What `limbeck distill --controls`, `limbeck demo` and `limbeck compare` share: facts, page and what they print."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from limbeck.cli.show import say, say_where
from limbeck.evidence.campaign import facts_of_comparison, summary_of_comparison
from limbeck.evidence.comparison import DISTILLED, Comparison
from limbeck.files import write_json, write_text
from limbeck.training.card import card_with_verdict
from limbeck.training.run import Run


def show_comparison(comparison: Comparison) -> dict[str, Any]:
    """Write facts, summary and page of a comparison, print its table and its verdicts, and return the facts."""
    facts = facts_of_comparison(comparison)
    folder = comparison.folder
    write_json(folder / "facts.json", facts)
    write_json(folder / "summary.json", summary_of_comparison(facts))
    Console().print(_table(facts))
    say(facts["verdict"]["sentence"], facts["replace"]["sentence"])
    if facts["explained"] is not None:
        say(facts["explained"]["sentence"])
    for name, why in facts["left_out"].items():
        say(f"Left out: {name}. {why}")
    say_where(folder, facts)
    best = best_student(comparison)
    card = best.path / "student" / "README.md"
    if card.is_file():
        write_text(card, card_with_verdict(card.read_text(encoding="utf-8"), facts["verdict"], facts["replace"]))
    print(f"student: {best.path / 'student'} (of the distilled, the best on validation rows)")
    return facts


def best_student(comparison: Comparison) -> Run:
    """The distilled student with the fewest errors on validation rows: test rows have no say in what is shipped."""
    runs = comparison.arms[DISTILLED].runs

    def merit(run: Run) -> tuple[float, float]:
        found = run.summary["student"].get("validation") or run.summary["student"]["train"]
        return found["errors"], found["nll"]

    return min(runs.values(), key=merit)


def _table(facts: dict[str, Any]) -> Table:
    table = Table(title=f"Wrong of {facts['rows']['test']:,} test rows in %, {len(facts['seeds'])} paired seeds")
    table.add_column("")
    table.add_column("mean ± sd", justify="right", no_wrap=True)
    table.add_column("distilled is better by", justify="right", no_wrap=True)
    teacher = facts["teacher"]
    if teacher is not None:
        table.add_row(_who(teacher["title"], teacher["parameters"]), f"{teacher['mean']:.2f}", "")
        table.add_section()
    for number, arm in enumerate(facts["arms"]):
        contrast = facts["controls"].get(arm["name"])
        named = _who(arm["title"], arm["parameters"]) if arm["name"] == DISTILLED else Text(arm["title"])
        table.add_row(named, f"{arm['mean']:.2f} ± {arm['sd']:.2f}", "" if contrast is None else _points(contrast))
        kinds = [other["kind"] for other in facts["arms"][number : number + 2]]
        if len(set(kinds)) > 1:
            table.add_section()
    return table


def _who(title: str, parameters: int | None) -> Text:
    return Text(title if parameters is None else f"{title} ({parameters:,} parameters)")


def _points(contrast: dict[str, Any]) -> str:
    low, high = contrast["interval"]
    bounds = "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
    return f"{contrast['mean']:+.2f}{bounds}"
