"""The errors over one number of a specification: the mean with its band, every seed, and the student alone."""

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.evidence.words import counted, percent, points
from limbeck.report.figures.drawing import (
    PALETTE,
    Figure,
    Table,
    Trace,
    axis,
    dots,
    dotted_line,
    drawn_line,
    faint,
    figure,
    ring,
)
from limbeck.report.sweep_words import difference_in_words, interval_in_words, scored_on, value_in_words
from limbeck.report.words import listing, setting

Facts = Mapping[str, Any]
Points = Sequence[Mapping[str, Any]]

DECADE = 10.0
"""A logarithmic axis is drawn where the largest value is at least so many times the smallest."""


def sweep_figure(facts: Facts) -> Figure:
    """Draw the errors over the values."""
    over, told, alone = facts["over"], facts["points"], facts["alone"]
    places = _places([point["value"] for point in told])
    title, words = setting(over), [value_in_words(over, point["value"]) for point in told]
    low, high, top = _span([*told, *alone])
    level = percent(facts["level"])
    return figure(
        f"Errors over the {title}",
        alt=f"Share of {scored_on(facts)} wrong at the {title} {listing(words)}, mean over the seeds with its {level} "
        "interval, and every seed.",
        caption=_caption(facts, level),
        traces=[
            *_alone_traces(facts, places, top),
            *_curve(told, places, PALETTE["taught"], "student as specified", over, top),
            *_ring(facts, places),
        ],
        layout={
            "xaxis": {**_across(title, told, places, words), "showgrid": False},
            "yaxis": {**axis(f"{scored_on(facts)} wrong, %"), "range": [low, high]},
        },
        height=400,
    )


def _places(values: Sequence[float]) -> dict[float, float]:
    """Where values stand: at themselves, or side by side where 0 is among numbers that span a decade."""
    above = [value for value in values if value > 0]
    apart = min(values) == 0 and len(above) > 1 and max(above) >= DECADE * min(above)
    return {value: float(place) if apart else value for place, value in enumerate(values)}


def _across(title: str, told: Points, places: Mapping[float, float], words: Sequence[str]) -> dict[str, Any]:
    at = [places[point["value"]] for point in told]
    ticks = {"tickvals": at, "ticktext": list(words)}
    if at != [point["value"] for point in told]:
        return {**axis(f"{title} (not to scale)"), **ticks}
    if at[0] > 0 and at[-1] >= DECADE * at[0]:
        return {**axis(f"{title} (log scale)"), "type": "log", **ticks}
    return {**axis(title), **ticks}


def _span(told: Points) -> tuple[float, float, float]:
    """Bottom and top of the axis, and the level of what failed: all seeds are seen, and bands of few seeds are cut."""
    errors = [error for point in told for error in point["errors"] if error is not None] or [0.0, 1.0]
    ends = [end for point in told if point["interval"] is not None for end in point["interval"]]
    least, most = min(errors), max(errors)
    spread = (most - least) or most or 1.0
    low = max(0.0, min([least, *ends]), least - 0.5 * spread)
    high = min(100.0, max([most, *ends]), most + 0.5 * spread)
    failed = any(point["failed"] for point in told)
    air = 0.06 * (high - low or 1.0)
    level = high + air
    return low - air, level + air * (1 if failed else 0), level


def _curve(told: Points, places: Mapping[float, float], colour: str, name: str, over: str, top: float) -> list[Trace]:
    """A band, a line through the means, a dot for each seed, and crosses at the top for what failed."""
    whole = [point for point in told if point["mean"] is not None]
    at = [places[point["value"]] for point in whole]
    hover = [f"{name}<br>{_said(over, point)}" for point in whole]
    line = drawn_line(at, [point["mean"] for point in whole], colour, name=name, mode="lines+markers", size=9)
    line |= {"hovertext": hover, "hoverinfo": "text"}
    return [
        *_bands(whole, at, colour),
        _seeds(told, places, colour, name, over),
        line,
        *_crosses(told, places, colour, name, over, top),
    ]


def _bands(whole: Points, at: Sequence[float], colour: str) -> list[Trace]:
    ends = [(place, point["interval"]) for place, point in zip(at, whole, strict=True) if point["interval"] is not None]
    if len(ends) < 2:
        return []
    return [_band([place for place, _ in ends], [end for _, end in ends], colour)]


def _band(at: Sequence[float], ends: Sequence[Sequence[float]], colour: str) -> Trace:
    """One closed outline, within what errors can be."""
    high, low = ([min(100.0, max(0.0, end[side])) for end in ends] for side in (1, 0))
    outline = drawn_line([*at, *reversed(at)], [*high, *reversed(low)], colour, width=0, hoverinfo="skip")
    return {**outline, "fill": "toself", "fillcolor": faint(colour)}


def _seeds(told: Points, places: Mapping[float, float], colour: str, name: str, over: str) -> Trace:
    found = [(point, error) for point in told for error in point["errors"] if error is not None]
    hover = [
        f"{name}<br>one seed at {value_in_words(over, point['value'])}: {points(error)} %" for point, error in found
    ]
    marks = dots([places[point["value"]] for point, _ in found], [error for _, error in found], colour, hover, size=6)
    marks["marker"] |= {"opacity": 0.45}
    return marks


def _crosses(told: Points, places: Mapping[float, float], colour: str, name: str, over: str, top: float) -> list[Trace]:
    lost = [point for point in told if point["failed"]]
    hover = [f"{name}<br>{_said(over, point)}" for point in lost]
    marks = dots([places[point["value"]] for point in lost], [top] * len(lost), colour, hover, size=10)
    marks["marker"] |= {"symbol": "x-thin", "line": {"color": colour, "width": 2}}
    return [marks] if lost else []


def _said(over: str, point: Mapping[str, Any]) -> str:
    at = f"at {value_in_words(over, point['value'])}"
    if point["mean"] is None:
        return f"{at}: failed at {len(point['failed'])} of {len(point['errors'])} seeds"
    return f"{at}: {points(point['mean'])} %{interval_in_words(point['interval'], ' ')}"


def _alone_traces(facts: Facts, places: Mapping[float, float], top: float) -> list[Trace]:
    """The student alone: a curve where it follows the values, else a level with a band."""
    alone, colour = facts["alone"], PALETTE["alone"]
    if facts["follows"]:
        return _curve(alone, places, colour, "student alone", facts["over"], top)
    if not alone or alone[0]["mean"] is None:
        return []
    ends = [min(places.values()), max(places.values())]
    level = dotted_line(ends, [alone[0]["mean"]] * 2, colour, name="student alone")
    interval = alone[0]["interval"]
    return [*([] if interval is None else [_band(ends, [interval] * 2, colour)]), level]


def _ring(facts: Facts, places: Mapping[float, float]) -> list[Trace]:
    best = next((point for point in facts["points"] if point["value"] == facts["best"]), None)
    return [] if best is None else [ring(places[best["value"]], best["mean"], PALETTE["taught"])]


def _caption(facts: Facts, level: str) -> str:
    told = [*facts["points"], *facts["alone"]]
    said = ["Each small dot is one seed, and the line goes through their means; the lowest is ringed."]
    if len(facts["seeds"]) > 1:
        said.append(f"The band is the {level} interval of the mean over seeds; it may be cut where seeds are few.")
    if any(point["mean"] is not None for point in facts["alone"]):
        said.append(f"Grey is the student alone{'' if facts['follows'] else ', a level'}.")
    if any(point["failed"] for point in told):
        said.append("A cross at the top is a value at which a loss became NaN or infinite.")
    return " ".join(said)


def numbers(facts: Facts) -> Table:
    """Lay out the numbers, as the page and the terminal show them: a line for each value, and one for a student alone.

    Where the student alone follows the values it stands beside each of them.
    """
    headers = [setting(facts["over"]), "wrong, %", f"{percent(facts['level'])} interval", "minus the best"]
    headers += ["alone, %", "alone minus taught"] if facts["follows"] else []
    beside: Sequence[Mapping[str, Any] | None] = facts["alone"] if facts["follows"] else [None] * len(facts["points"])
    rows = [
        [
            *_cells(facts, point, value_in_words(facts["over"], point["value"])),
            *([] if alone is None else [_wrong(facts, alone), difference_in_words(alone["difference"])]),
        ]
        for point, alone in zip(facts["points"], beside, strict=True)
    ]
    return Table(headers, rows if facts["follows"] else [*rows, *_last(facts)])


def _last(facts: Facts) -> list[list[str]]:
    return [_cells(facts, alone, "student alone") for alone in facts["alone"]]


def _cells(facts: Facts, point: Mapping[str, Any], name: str) -> list[str]:
    best = name != "student alone" and point["value"] == facts["best"]
    apart = "the best" if best else difference_in_words(point["difference"])
    return [name, _wrong(facts, point), interval_in_words(point["interval"]), apart]


def _wrong(facts: Facts, point: Mapping[str, Any]) -> str:
    if point["mean"] is None:
        return f"failed at {len(point['failed'])} of {counted(len(facts['seeds']), 'seed')}"
    return points(point["mean"]) + ("" if point["sd"] is None else f" ± {points(point['sd'])}")
