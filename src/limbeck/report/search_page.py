"""What the page of a search says: what was chosen, how to train it, what was tried, and what was left out."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.evidence.search_facts import gained
from limbeck.evidence.words import counted, points
from limbeck.report.campaign.search import search
from limbeck.report.figures.drawing import PALETTE, Figure, Table, axis, dots, drawn_line, figure, log_axis, ring
from limbeck.report.words import decimal, listing, number, setting

Facts = Mapping[str, Any]

SECTIONS = (
    ("chosen", "What was chosen"),
    ("search", "What was tried"),
    ("ladder", "The temperature, raised step by step"),
    ("left_out", "What was left out"),
    ("provenance", "How this was made"),
)
"""Every section in its place: its anchor and its title."""


class Chosen(NamedTuple):
    """What the search is for."""

    settings: list[tuple[str, str]]
    """Name and value of each."""
    command: str
    """It trains the student at these settings."""


def search_content(facts: Facts) -> dict[str, Any]:
    """Return what the template `search.html` asks for."""
    titles = {arm["name"]: arm.get("title") or arm["name"] for arm in facts.get("arms") or []}
    parts: dict[str, Any] = {
        "chosen": _chosen(facts),
        "search": search(facts),
        "ladder": ladder(facts["temperature"]) if facts.get("temperature") else None,
        "left_out": [(titles.get(name, name), why) for name, why in (facts.get("left_out") or {}).items()],
        "provenance": _provenance(facts),
    }
    return {
        "title": facts["title"],
        "headline": headline(facts),
        "command": (facts.get("provenance") or {}).get("command") or "",
        "lede": "The best of many trials flatters: these errors chose, so they cannot judge. Only runs at other seeds, "
        "scored on test rows, do.",
        "sections": [(name, title) for name, title in SECTIONS if parts[name]],
        "drawn": bool(parts["ladder"] or (parts["search"] and parts["search"].figures)),
        **parts,
    }


def headline(facts: Facts) -> str:
    """State what the search came to for the student that it is about."""
    if facts.get("temperature"):
        raised = facts["temperature"]
        best = next(rung for rung in raised["curve"] if rung["temperature"] == raised["chosen"])
        wrong = f"{points(best['validation'])}\u00a0%"
        return f"Temperature {number(raised['chosen'])} pays best: {wrong} of the validation rows wrong."
    told = (facts.get("search") or {}).get(_first(facts))
    if not told or not told["trials"]:
        return "The search has not finished."
    if all("failed" in trial for trial in told["trials"]):
        return "No setting that was tried has a student: every loss became NaN or infinite."
    found, tried = gained(told["trials"]), counted(len(told["trials"]), "setting")
    if "failed" in told["trials"][0]:
        return f"Of {tried} tried the best leaves {points(found['best'])}\u00a0% of the validation rows wrong."
    if found["best"] == found["own"]:
        wrong = f"{points(found['own'])}\u00a0% of the validation rows wrong"
        return f"None of {tried} tried beats the specification’s own: {wrong}."
    ends = f"from {points(found['own'])} to {points(found['best'])}\u00a0%"
    return f"The best of {tried} tried takes the errors on the validation rows {ends}."


def _first(facts: Facts) -> str:
    """The student that the search is about stands first."""
    return next(iter(facts.get("search") or {}), "")


def _chosen(facts: Facts) -> Chosen | None:
    """The settings of the student that the search is about, and the command; None before the search is done."""
    if facts.get("temperature"):
        found: Facts = {"temperature": facts["temperature"]["chosen"]}
    else:
        found = ((facts.get("search") or {}).get(_first(facts)) or {}).get("chosen") or {}
    told = [(setting(name), number(value)) for name, value in found.items()]
    return Chosen(told, facts.get("train") or "") if told or facts.get("train") else None


def ladder(raised: Facts) -> Figure:
    """Draw the validation errors over the temperatures that were climbed, the chosen one ringed."""
    curve = raised["curve"]
    temperatures = [rung["temperature"] for rung in curve]
    errors = [rung["validation"] for rung in curve]
    hover = [f"T = {number(rung['temperature'])}: {points(rung['validation'])} %" for rung in curve]
    line = drawn_line(temperatures, errors, PALETTE["taught"], hoverinfo="skip")
    rings = [ring(*pair, PALETTE["taught"]) for pair in zip(temperatures, errors, strict=True)]
    chosen = rings[temperatures.index(raised["chosen"])]
    left = [number(temperature) for temperature in raised.get("left") or []]
    stopped = (
        f" It had stopped paying, so {listing(left)} {'was' if len(left) == 1 else 'were'} not tried." if left else ""
    )
    ticks = {"tickvals": temperatures, "ticktext": [number(temperature) for temperature in temperatures]}
    across = log_axis("temperature", temperatures)
    return figure(
        "Errors on the validation rows, rung by rung",
        alt=f"Validation error at the temperatures {listing([number(value) for value in temperatures])}; "
        f"{number(raised['chosen'])} was chosen.",
        caption="All else stays as the specification says; the chosen temperature is ringed. Of equal errors the fewer "
        f"nats decide.{stopped}",
        traces=[line, dots(temperatures, errors, PALETTE["taught"], hover, size=9), chosen],
        layout={"xaxis": {**across, **ticks, "showgrid": False}, "yaxis": axis("validation rows wrong, %")},
        height=340,
        table=Table(
            ["temperature", "validation rows wrong, %", "nats per row at T = 1"],
            [[number(rung["temperature"]), points(rung["validation"]), _nats(rung["nll"])] for rung in curve],
        ),
    )


def _nats(value: float | None) -> str:
    return "not finite" if value is None else decimal(value)


def _provenance(facts: Facts) -> list[tuple[str, str]]:
    """Seeds, rows and time, as pairs of a heading and its words."""
    found = facts.get("provenance") or {}
    seeds = list(map(str, facts.get("selection_seeds") or []))
    chose = "their mean chose. They judge" if len(seeds) > 1 else "its error chose. It judges"
    told = [
        ("Seeds", f"{listing(seeds)} trained each setting; {chose} nothing." if seeds else ""),
        ("Rows", "Settings were chosen on the validation rows; no run of the search had the test rows."),
        ("Finished", str(found.get("time") or "").replace("T", " ").replace("+00:00", " UTC")),
    ]
    return [(name, said) for name, said in told if said]
