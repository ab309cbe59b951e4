"""How the arms learned: validation errors over the epochs, with a band over the seeds."""

from collections.abc import Mapping
from typing import Any

from limbeck.evidence.words import points
from limbeck.report.campaign.looks import Look, look_of, looks
from limbeck.report.figures.drawing import Figure, Table, Trace, axis, drawn_line, faint, figure, mode_of, plain

GROUP = "curves"
DIGITS = 3
"""Of a drawn percentage: long trainings of many arms would else fill the page with digits that nobody sees."""


def learning_curves(facts: Mapping[str, Any]) -> Figure | None:
    """Draw each arm's mean validation error with its band; None without curves."""
    curves = drawn_arms(facts)
    if not curves:
        return None
    known = looks(facts)
    traces = [trace for name, found in curves.items() for trace in _band(look_of(known, name), found)]
    where = (facts.get("rows") or {}).get("validation")
    rows = "validation rows" if where is None else f"{where:,} validation rows"
    return figure(
        "Errors on the validation rows, epoch by epoch",
        alt="Mean validation error of each arm over the epochs, with the range over the seeds: "
        + "; ".join(
            f"{look_of(known, name).title} ends at {points(found['mean'][-1])} %" for name, found in curves.items()
        )
        + ".",
        caption="Each line is a mean over the seeds, and its band reaches from the best seed to the worst. A wide band "
        "means that luck matters. Tick other arms to lay them over.",
        traces=traces,
        layout={
            "xaxis": {**axis("epochs"), "showgrid": False},
            "yaxis": {**axis(f"{rows} wrong, %"), "rangemode": "tozero"},
        },
        height=380,
        table=Table(
            ["arm", "after the first epoch", "lowest", "at the end", "range over seeds at the end"],
            [
                [
                    look_of(known, name).title,
                    points(found["mean"][0]),
                    points(min(found["mean"])),
                    points(found["mean"][-1]),
                    f"{points(found['low'][-1])} to {points(found['high'][-1])}",
                ]
                for name, found in curves.items()
            ],
        ),
        group=GROUP,
    )


def drawn_arms(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the curves of the arms that have any."""
    return {name: found for name, found in (facts.get("curves") or {}).items() if found and found["mean"]}


def _band(look: Look, found: Mapping[str, Any]) -> list[Trace]:
    """The band as one closed outline, then the line on top of it."""
    outline = drawn_line(
        [*found["epoch"], *reversed(found["epoch"])],
        [round(value, DIGITS) for value in (*found["high"], *reversed(found["low"]))],
        look.colour,
        width=0,
        hoverinfo="skip",
        meta=look.name,
        visible=look.shown,
    )
    means = [round(value, DIGITS) for value in found["mean"]]
    line = drawn_line(found["epoch"], means, look.colour, mode=mode_of(found["mean"]), visible=look.shown)
    line |= {"line": {**line["line"], "dash": look.dash}, "meta": look.name}
    line |= {"hovertemplate": f"{plain(look.title)}<br>epoch %{{x}}: %{{y:.2f}} %<extra></extra>"}
    return [{**outline, "fill": "toself", "fillcolor": faint(look.colour)}, line]
