"""What all figures are drawn with: traces, axes, colours, and the frame, built with Plotly and handed on as JSON.

Text and axes take the colours of the page's light or dark scheme from its style sheet; the traces keep one colour for
each arm in both, chosen to be told apart by colour-blind eyes and on paper.
"""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any, NamedTuple, TypeAlias

Trace: TypeAlias = dict[str, Any]

PALETTE = {"taught": "#d9622b", "alone": "#7d8793", "ensemble": "#2b7bba", "member": "#7fb2dc"}
TERM_COLOURS = ("#2a9d7f", "#b65fa0", "#c9930a", "#5b7fd1")
DASHES = ("solid", "dash", "dot", "dashdot")
FAINT = "rgba(128, 136, 148, 0.22)"
CLEAR = "rgba(0, 0, 0, 0)"
NEUTRAL = "#7d8793"


class Table(NamedTuple):
    """The numbers of a figure, for those who would rather read them."""

    headers: list[str]
    rows: list[list[str]]


class Figure(NamedTuple):
    """One figure of a page."""

    title: str
    alt: str
    caption: str
    json: str
    height: int
    table: Table | None = None
    group: str = ""
    """Figures of one group show and hide the same arms."""


def drawn_line(xs: Sequence[Any], ys: Sequence[Any], colour: str, **more: Any) -> Trace:
    """A line; `size` is that of its markers, `width` its own."""
    size, width = more.pop("size", 9), more.pop("width", 2)
    trace = {"type": "scatter", "x": list(xs), "y": list(ys), "mode": "lines"}
    look = {"line": {"color": colour, "width": width}, "marker": {"color": colour, "size": size}}
    return trace | look | {"showlegend": "name" in more} | more


def dotted_line(xs: Sequence[float], ys: Sequence[float], colour: str, **more: Any) -> Trace:
    """A dotted level, which says nothing when pointed at."""
    line = drawn_line(xs, ys, colour, hoverinfo="skip", **more)
    return {**line, "line": {**line["line"], "dash": "dot"}}


def dots(xs: Sequence[float], ys: Sequence[float], colour: str, hover: Sequence[str], *, size: int = 8) -> Trace:
    """Markers, each with its own words when pointed at."""
    trace = {"type": "scatter", "x": list(xs), "y": list(ys), "mode": "markers", "showlegend": False}
    return trace | {"marker": {"color": colour, "size": size}, "hovertext": list(hover), "hoverinfo": "text"}


def mode_of(values: Sequence[Any]) -> str:
    """A single value has no line: it is a marker."""
    return "lines" if len(values) > 1 else "markers"


def dashed_line(epochs: Sequence[float], values: Sequence[float | None], colour: str, label: str, place: int) -> Trace:
    """The line number `place` of several, by its dashes."""
    line = drawn_line(epochs, values, colour, name=label, mode=mode_of(values))
    return {**line, "line": {**line["line"], "dash": DASHES[place % len(DASHES)]}}


def faint(colour: str) -> str:
    """A colour, #rrggbb, for the band behind a line of it."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.15)"


def ring(x: float, y: float, colour: str) -> Trace:
    """A ring around what was chosen."""
    dot = dots([x], [y], CLEAR, [], size=16)
    return dot | {"marker": {**dot["marker"], "line": {"color": colour, "width": 2}}, "hoverinfo": "skip"}


def axis(title: str) -> dict[str, Any]:
    """An axis in the page's manner."""
    grid = {"gridcolor": FAINT, "zeroline": False, "linecolor": FAINT, "ticks": ""}
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "automargin": True,
        "fixedrange": True,
        **grid,
    }


def loss_axis(title: str, traces: Sequence[Trace]) -> dict[str, Any]:
    """A logarithmic axis where every value is above 0 and a decade or more is spanned."""
    values = [value for trace in traces for value in trace["y"] if value is not None]
    if values and min(values) > 0 and max(values) > 10 * min(values):
        decades = range(floor(log10(min(values))), ceil(log10(max(values))) + 1)
        ticks = {"tickvals": [10.0**power for power in decades], "ticktext": [f"{10.0**power:g}" for power in decades]}
        return {**axis(f"{title} (log scale)"), "type": "log", **ticks}
    return axis(title)


_FACTORS = {1: (1, 2, 5), 2: (1, 3), 3: (1, 3)}
"""Round numbers of a logarithmic axis within each decade, by the decades that it spans; of more, the decades alone."""


def log_axis(title: str, values: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with round numbers where values above 0 span a factor of four or more; else a plain one."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    if low <= 0 or high < 4 * low:
        return axis(title)
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    factors = _FACTORS.get(len(decades) - 1, (1,))
    ticks = [factor * 10.0**power for power in decades for factor in factors]
    air = 0.06 * log10(high / low)
    return {
        **axis(f"{title} (log scale)"),
        "type": "log",
        "range": [log10(low) - air, log10(high) + air],
        "tickvals": ticks,
        "ticktext": [f"{tick:g}" for tick in ticks],
    }


def plain(text: str) -> str:
    """A user's name as a label: Plotly reads tags in labels, so they are taken for text."""
    return escape(text, quote=False)


def figure(
    title: str,
    *,
    alt: str,
    caption: str,
    traces: Sequence[Trace],
    layout: Mapping[str, Any],
    height: int,
    table: Table | None = None,
    group: str = "",
) -> Figure:
    """Frame traces as a figure of the page."""
    import plotly.graph_objects as go

    look = {
        "template": None,
        "height": height,
        "margin": {"l": 10, "r": 14, "t": 34 if any(trace["showlegend"] for trace in traces) else 14, "b": 10},
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', sans-serif", "size": 13, "color": NEUTRAL},
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "#23282e", "bordercolor": "#23282e", "font": {"color": "#ffffff"}, "align": "left"},
        "hovermode": "closest",
        "dragmode": False,
    }
    drawn = go.Figure(data=list(traces), layout={**look, **layout}).to_json()
    return Figure(title=title, alt=alt, caption=caption, json=drawn, height=height, table=table, group=group)
