"""The short human summaries that commands end with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from limbeck.errors import MissingExtra
from limbeck.evidence.facts import facts_of_run
from limbeck.files import write_json
from limbeck.report.page import write_page
from limbeck.training.run import Run


def show_run(run: Run) -> None:
    """Write the facts and the page of a run, and print its scores and where they are."""
    facts = facts_of_run(run)
    write_json(run.path / "facts.json", facts)
    student, kept = facts["summary"]["student"], facts["summary"]["kept"]
    print(f"{student['parameters']:,} parameters, weights of epoch {kept['epoch']} (chosen by: {kept['chosen_by']})")
    Console().print(_scores(facts["summary"]))
    say_where(run.path, facts)


def say_where(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the page, where the extra for it is installed, and print where student and page are."""
    try:
        page: Path | None = write_page(facts, folder / "report.html")
    except MissingExtra as error:
        page = None
        print(error)
    print(f"run:     {folder}")
    if (folder / "student").is_dir():
        print(f"student: {folder / 'student'}")
    if page is not None:
        print(f"page:    {page}")


def _scores(summary: Mapping[str, Any]) -> Table:
    student, teacher = summary["student"], summary["teacher"] or {}
    table = Table()
    rows = {name: student[name] for name in ("train", "validation", "test") if name in student}
    columns = {
        "student wrong": {name: _wrong(found) for name, found in rows.items()},
        "teacher wrong": {name: _wrong(teacher.get(name, {})) for name in rows},
        "agree": {name: f"{found['agreement']:.2%}" if "agreement" in found else "" for name, found in rows.items()},
    }
    filled = {title: column for title, column in columns.items() if any(column.values())}
    table.add_column("rows")
    for title in filled:
        table.add_column(title, justify="right")
    for name, found in rows.items():
        table.add_row(f"{name}, {found['rows']:,.0f}", *(column[name] for column in filled.values()))
    return table


def _wrong(scored: Mapping[str, float]) -> str:
    return f"{scored['errors']:,.0f} ({1 - scored['accuracy']:.2%})" if "errors" in scored else ""


def show_trial(facts: Mapping[str, Any], folder: Path) -> None:
    """Print the table of a trial, the paired difference, and where the page is."""
    table = Table(title=f"Errors on {facts['rows']['test']:,} test rows")
    for name in ("", "errors (mean ± sd)", "runs", "parameters", "one row takes"):
        table.add_column(name, justify="left" if not name else "right")
    for row in facts["table"]:
        spread = "" if row["errors_sd"] is None else f" ± {row['errors_sd']:.2f}"
        microseconds = f"{row['seconds_per_row'] * 1e6:,.0f} µs"
        table.add_row(
            row["who"], f"{row['errors_mean']:.2f}{spread}", str(row["runs"]), f"{row['parameters']:,}", microseconds
        )
    Console().print(table)
    print(_verdict(facts["difference"]))
    say_where(folder, facts)


def _verdict(difference: Mapping[str, Any]) -> str:
    low, high = difference["interval"]
    mean, seeds = difference["mean"], difference["seeds"]
    found = f"{mean:+.2f} errors fewer" if mean >= 0 else f"{-mean:.2f} errors more"
    meanings = {"positive": "the teaching helped", "negative": "the teaching did harm"}
    meaning = meanings.get(difference["verdict"], "no difference that shows")
    return (
        f"Distilled against labels alone, paired over {seeds} seeds: {found.lstrip('+')} "
        f"({difference['level']:.0%} interval {low:+.2f} to {high:+.2f}, p = {difference['p_value']:.4f}): {meaning}."
    )
