"""What the page of a sweep says: the curve over one number, what it shows, and what it does not."""

from collections.abc import Mapping
from typing import Any

from limbeck.evidence.words import counted
from limbeck.report.figures.sweep import numbers, sweep_figure
from limbeck.report.sweep_words import cautions, findings, headline, scored_on, value_in_words
from limbeck.report.words import listing, setting

Facts = Mapping[str, Any]

SECTIONS = (
    ("curve", "The errors, value by value"),
    ("numbers", "The numbers"),
    ("limits", "What this does not say"),
    ("provenance", "How this was made"),
)
"""Every section in its place: its anchor and its title."""


def sweep_content(facts: Facts) -> dict[str, Any]:
    """Return what the template `sweep.html` asks for."""
    origin = facts.get("origin") or {}
    name = origin.get("specification")
    return {
        "title": f"{name}, over the {setting(facts['over'])}" if name else f"A sweep over the {setting(facts['over'])}",
        "headline": headline(facts),
        "findings": findings(facts),
        "cautions": cautions(facts),
        "command": origin.get("command") or "",
        "curve": sweep_figure(facts),
        "numbers": numbers(facts),
        "provenance": _provenance(facts),
        "sections": SECTIONS,
        "drawn": True,
    }


def _provenance(facts: Facts) -> list[tuple[str, str]]:
    """Values, seeds, rows and time, as pairs of a heading and its words."""
    values = listing([value_in_words(facts["over"], point["value"]) for point in facts["points"]])
    own = value_in_words(facts["over"], facts["own"])
    time = str((facts.get("provenance") or {}).get("time") or "")
    told = [
        ("Swept", f"{setting(facts['over'])} at {values}; the specification’s own is {own}. All else is as it says."),
        ("Seeds", f"{listing(list(map(str, facts['seeds'])))}, the same at every value."),
        ("Rows", _rows(facts)),
        ("Finished", time.replace("T", " ").replace("+00:00", " UTC")),
    ]
    return [(name, said) for name, said in told if said]


def _rows(facts: Facts) -> str:
    said = f"Errors were counted on the {scored_on(facts)}"
    said += (
        f"; ledgers tell of {counted(facts['scorings'], 'scoring')} of test rows."
        if facts["score"] == "test"
        else ", and no run had the test rows."
    )
    if facts["over"] != "rows":
        return said
    return (
        f"{said} The rows of a smaller share are among those of a larger, the same at every seed; the other rows, the "
        "teacher and its answers stay those of all."
    )
