"""Whether models are as often right as they are sure: reliability diagrams, scores before and after scaling."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.report.campaign.looks import look_of, looks
from limbeck.report.figures.drawing import NEUTRAL, Figure, Table, axis, drawn_line, figure
from limbeck.report.words import amount, decimal, rate

Facts = Mapping[str, Any]

_SCORES = (("ece", "calibration error"), ("nll", "log loss, nats"), ("brier", "Brier score"))


_AS_THEY_ANSWER = (
    "How often an answer was right, over how sure the model was of it; larger marks hold more rows. On the thin "
    "diagonal one may believe the number; below it the model is too sure of itself, above it too modest."
)
_DIVIDED = (
    "The same test rows after the logits of each model were divided by its one temperature, fitted on the validation "
    "rows. What still strays from the diagonal is no matter of one number."
)


class Scores(NamedTuple):
    """One model's line of the table."""

    who: str
    colour: str
    temperature: str
    cells: list[str]
    """Before and after, score by score; empty where nothing could be fitted."""


class Calibration(NamedTuple):
    """What the section shows."""

    figures: list[Figure]
    headings: list[str]
    scores: list[Scores]


def calibration(facts: Facts) -> Calibration | None:
    """Lay out the calibration of teacher and students; None where there is none."""
    found = facts.get("calibration")
    if not found:
        return None
    known = looks(facts)
    lines = [
        Scores(
            who=look_of(known, who).title,
            colour=look_of(known, who).colour,
            temperature="" if told.get("temperature") is None else f"{told['temperature']:.2f}",
            cells=[
                "" if (told.get(when) or {}).get(key) is None else decimal(told[when][key])
                for key, _ in _SCORES
                for when in ("before", "after")
            ],
        )
        for who, told in found.items()
    ]
    drawn = [
        figure
        for figure in (
            _reliability(facts, "reliability", "As they answer", _AS_THEY_ANSWER),
            _reliability(facts, "reliability_after", "After one temperature", _DIVIDED),
        )
        if figure is not None
    ]
    return Calibration(figures=drawn, headings=[name for _, name in _SCORES], scores=lines)


def _reliability(facts: Facts, key: str, title: str, caption: str) -> Figure | None:
    known = looks(facts)
    found = {who: told[key] for who, told in facts["calibration"].items() if told.get(key)}
    if not found:
        return None
    traces = [drawn_line([0, 1], [0, 1], NEUTRAL, width=1, hoverinfo="skip")]
    rows = []
    for who, told in found.items():
        look = look_of(known, who)
        bins = [
            (sure, right, number)
            for sure, right, number in zip(told["confidence"], told["accuracy"], told["rows"], strict=True)
            if number and right is not None
        ]
        most = max((number for _, _, number in bins), default=1)
        line = drawn_line([b[0] for b in bins], [b[1] for b in bins], look.colour, name=look.name, mode="lines+markers")
        sizes = [5 + 11 * (number / most) ** 0.5 for _, _, number in bins]
        line |= {
            "line": {**line["line"], "dash": look.dash},
            "marker": {"color": look.colour, "size": sizes, "symbol": look.symbol, "line": {"width": 0}},
            "hovertext": [f"{who}: {sure:.0%} sure, {right:.0%} right, {amount(n)} rows" for sure, right, n in bins],
            "hoverinfo": "text",
        }
        traces.append(line)
        rows += [[look.title, rate(round(sure, 3)), rate(round(right, 3)), amount(n)] for sure, right, n in bins]
    unit = {"range": [-0.03, 1.03], "tickformat": ".0%", "dtick": 0.25}
    return figure(
        title,
        alt=f"Reliability diagram, {title[0].lower()}{title[1:]}: share of right answers over the probability that was "
        "given, in fifteen bins, for " + ", ".join(found) + ".",
        caption=caption,
        traces=traces,
        layout={"xaxis": {**axis("how sure"), **unit}, "yaxis": {**axis("how often right"), **unit}},
        height=400,
        table=Table(["who", "how sure", "how often right", "rows"], rows),
    )
