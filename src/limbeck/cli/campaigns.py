"""What `limbeck distill --controls`, `limbeck demo` and `limbeck compare` share: facts, page and summary of a campaign."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from limbeck.cli.show import say_where
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
    print(facts["verdict"]["sentence"])
    print(facts["replace"]["sentence"])
    if facts["explained"] is not None:
        print(facts["explained"]["sentence"])
    for name, why in facts["left_out"].items():
        print(f"Left out: {name}. {why}")
    say_where(folder, facts)
    best = best_student(comparison)
    card = best.path / "student" / "README.md"
    if card.is_file():
        write_text(card, card_with_verdict(card.read_text(encoding="utf-8"), facts["verdict"], facts["replace"]))
    print(f"student: {best.path / 'student'} (of the distilled ones the best on the validation rows)")
    return facts


def best_student(comparison: Comparison) -> Run:
    """The distilled student with the fewest errors on the validation rows: the test rows have no say in what is shipped."""
    runs = comparison.arms[DISTILLED].runs

    def merit(run: Run) -> tuple[float, float]:
        found = run.summary["student"].get("validation") or run.summary["student"]["train"]
        return found["errors"], found["nll"]

    return min(runs.values(), key=merit)


def _table(facts: dict[str, Any]) -> Table:
    table = Table(title=f"Errors on {facts['rows']['test']:,} test rows, {len(facts['seeds'])} paired seeds")
    for name in ("", "errors (mean ± sd)", "parameters", "distilled is better by"):
        table.add_column(name, justify="left" if not name else "right")
    teacher = facts["teacher"]
    if teacher is not None:
        table.add_row(Text(teacher["title"]), f"{teacher['mean']:.2f} %", _count(teacher["parameters"]), "")
    for arm in facts["arms"]:
        contrast = (
            facts["verdict"] if arm["name"] == facts["verdict"]["against"] else facts["controls"].get(arm["name"])
        )
        table.add_row(
            Text(arm["title"] if arm["kind"] != "ablation" else f"  {arm['title']}"),
            f"{arm['mean']:.2f} ± {arm['sd']:.2f} %",
            _count(arm["parameters"]),
            "" if contrast is None or arm["name"] == DISTILLED else _points(contrast),
        )
    return table


def _points(contrast: dict[str, Any]) -> str:
    low, high = contrast["interval"]
    bounds = "" if low is None or high is None else f" [{low:+.2f}, {high:+.2f}]"
    return f"{contrast['mean']:+.2f}{bounds}"


def _count(value: int | None) -> str:
    return "" if value is None else f"{value:,}"
