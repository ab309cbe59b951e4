"""Figures from facts, built with Plotly and handed on as JSON that the page draws.

Text and axes take the colours of the page's light or dark scheme from its style sheet; the traces keep one colour for
each arm in both, chosen to be told apart by colour-blind eyes and on paper.
"""

from collections.abc import Mapping, Sequence
from html import escape
from itertools import combinations
from math import ceil, floor, log10
from typing import Any, NamedTuple, TypeAlias

from limbeck.report.words import amount, average, count, rate

Trace: TypeAlias = dict[str, Any]

PALETTE = {"taught": "#d9622b", "alone": "#7d8793", "ensemble": "#2b7bba", "member": "#7fb2dc"}
TERM_COLOURS = ("#2a9d7f", "#b65fa0", "#c9930a", "#5b7fd1")
DASHES = ("solid", "dash", "dot", "dashdot")
ARM_NAMES = {"taught": "distilled", "alone": "labels alone"}
FAINT = "rgba(128, 136, 148, 0.22)"
SEED_LINE = "rgba(128, 136, 148, 0.6)"
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


def paired_seeds(facts: Mapping[str, Any]) -> Figure:
    """Draw every seed as a line from labels alone to distilled, beside the level of the teachers."""
    alone, taught, seeds = facts["errors"]["alone"], facts["errors"]["taught"], facts["seeds"]
    teachers = _teachers(facts)
    places = {"alone": len(teachers), "taught": len(teachers) + 1}
    names = [*(name for name, _, _ in teachers), "labels<br>alone", "distilled"]
    colours = [*(colour for _, _, colour in teachers), PALETTE["alone"], PALETTE["taught"]]
    means = [row["errors_mean"] for row in facts["table"]]
    traces: list[Trace] = [
        _line([places["alone"], places["taught"]], pair, SEED_LINE, hoverinfo="skip", width=1.3)
        for pair in zip(alone, taught, strict=True)
    ]
    if teachers:
        level = [means[len(teachers) - 1]] * 2
        traces.append(_dotted([len(teachers) - 1, len(names) - 0.4], level, PALETTE["ensemble"], width=1.2))
    for place, (name, found, colour) in enumerate(teachers):
        plain = name.replace("<br>", " ")
        traces.append(_dots(_fan(place, len(found)), found, colour, [f"{plain}: {amount(value)}" for value in found]))
    for arm, found in (("alone", alone), ("taught", taught)):
        hover = [f"seed {seed}, {ARM_NAMES[arm]}: {amount(value)}" for seed, value in zip(seeds, found, strict=True)]
        traces.append(_dots([places[arm]] * len(found), found, PALETTE[arm], hover))
    traces += [
        _mean_bar(place, mean, colours[place], on_left=place == places["alone"]) for place, mean in enumerate(means)
    ]
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "tickangle": 0, "showgrid": False}
    return _figure(
        "Errors, seed by seed",
        alt=f"Errors on the test rows of {len(seeds)} students on labels alone and distilled, seed by seed, beside "
        "the errors of their teachers.",
        caption="Each grey line is one seed: the same initial weights and the same order of rows, on labels alone and "
        "distilled. A line that falls is a seed that the teaching helped. Short bars are means; the dotted line is the "
        "level of the whole teacher.",
        traces=traces,
        layout={
            "xaxis": {**_axis(""), **ticks, "range": [-0.6, len(names) - 0.2]},
            "yaxis": {**_axis(f"errors on {_rows(facts, 'test')}"), "rangemode": "tozero"},
        },
        height=400,
        table=Table(
            ["seed", "errors, labels alone", "errors, distilled", "fewer"],
            [[str(seed), amount(a), amount(t), amount(a - t)] for seed, a, t in zip(seeds, alone, taught, strict=True)],
        ),
    )


def paired_differences(facts: Mapping[str, Any]) -> Figure:
    """Draw each seed's difference, and the mean of them with its interval, against 0."""
    pairs = zip(facts["errors"]["alone"], facts["errors"]["taught"], strict=True)
    each = [alone - taught for alone, taught in pairs]
    difference, colour = facts["difference"], PALETTE["taught"]
    mean, (low, high) = difference["mean"], difference["interval"]
    hover = [f"seed {seed}: {amount(value)} fewer" for seed, value in zip(facts["seeds"], each, strict=True)]
    reach = {"symmetric": False, "array": [high - mean], "arrayminus": [mean - low]}
    interval = {
        **_dots(
            [1], [mean], colour, [f"mean {average(mean)} fewer, interval {average(low)} to {average(high)}"], size=11
        ),
        "error_y": {"type": "data", **reach, "thickness": 2.5, "width": 7, "color": colour},
    }
    ticks = {"tickvals": [0, 1], "ticktext": ["each<br>seed", "mean and<br>interval"], "tickangle": 0}
    zero = {"zeroline": True, "zerolinewidth": 1.5, "zerolinecolor": NEUTRAL, "rangemode": "tozero"}
    return _figure(
        "The difference, seed by seed",
        alt=f"Errors fewer when distilled: mean {average(mean)}, interval from {average(low)} to {average(high)}.",
        caption=f"How far each line falls, and the mean with its {difference['level']:.0%} interval. The teaching "
        "helped if the whole interval lies above 0.",
        traces=[_dots(_fan(0, len(each)), each, NEUTRAL, hover), interval],
        layout={
            "xaxis": {**_axis(""), **ticks, "range": [-0.75, 1.75], "showgrid": False},
            "yaxis": {**_axis("errors fewer when distilled"), **zero},
        },
        height=400,
    )


def _teachers(facts: Mapping[str, Any]) -> list[tuple[str, list[float], str]]:
    """Name, errors and colour of what the table lists above the two arms: the members one by one, then the whole."""
    found = []
    for place, row in enumerate(facts["table"][:-2]):
        single = row["runs"] > 1
        values = facts["errors"].get("members") or [row["errors_mean"]] if single else [row["errors_mean"]]
        name = f"{row['runs']} networks,<br>each" if single else "their<br>ensemble" if place else "teacher"
        found.append((name, values, PALETTE["member" if single else "ensemble"]))
    return found


def _fan(place: float, number: int) -> list[float]:
    """Places beside one another, so that equal values do not hide behind one dot."""
    width = min(0.5, 0.09 * (number - 1))
    return [place + width * (index / (number - 1) - 0.5) if number > 1 else place for index in range(number)]


def _mean_bar(place: float, mean: float, colour: str, *, on_left: bool) -> Trace:
    """A short bar with its number on the side where no line of a seed leaves."""
    text = f"<b>{average(mean)}</b>"
    bar = _line([place - 0.3, place + 0.3], [mean, mean], colour, hoverinfo="skip", width=3)
    where = {"text": [text, ""] if on_left else ["", text], "textposition": f"middle {'left' if on_left else 'right'}"}
    return bar | where | {"mode": "lines+text", "cliponaxis": False}


def rate_grid(facts: Mapping[str, Any]) -> Figure | None:
    """Draw each arm's validation errors over the learning rates that were tried, the chosen ones ringed."""
    grid, choices = facts.get("grid") or {}, facts.get("choices") or {}
    if not grid or all(len(row) < 2 for row in grid.values()):
        return None
    traces: list[Trace] = []
    rates = sorted({float(value) for row in grid.values() for value in row})
    for arm, row in grid.items():
        points = sorted((float(value), errors) for value, errors in row.items())
        xs, ys = [x for x, _ in points], [y for _, y in points]
        hover = [f"{ARM_NAMES[arm]}, rate {rate(x)}: {amount(y)}" for x, y in points]
        line = _line(xs, ys, PALETTE[arm], name=ARM_NAMES[arm], mode="lines+markers", size=7)
        traces.append({**line, "hovertext": hover, "hoverinfo": "text"})
        chosen = [(x, y) for x, y in points if arm in choices and x == float(f"{choices[arm]:g}")]
        traces += [_ring(x, y, PALETTE[arm]) for x, y in chosen]
    layout = {
        "xaxis": {**_axis("learning rate (log scale)"), "type": "log", "showgrid": False}
        | {"tickvals": rates, "ticktext": [rate(value) for value in rates]},
        "yaxis": {**_axis(f"mean errors on {_rows(facts, 'validation')}"), "rangemode": "tozero"},
    }
    return _figure(
        "Each arm at its own best learning rate",
        alt="Validation errors of both arms over the learning rates of one grid; "
        + "; ".join(f"{ARM_NAMES[arm]} chose {rate(value)}" for arm, value in choices.items())
        + ".",
        caption="Both arms were offered the same rates and each was given the one with the fewest validation errors, "
        "ringed here. An arm left at the other's rate would make the comparison about the rate.",
        traces=traces,
        layout=layout,
        height=340,
        table=Table(
            ["learning rate", *(f"errors, {ARM_NAMES[arm]}" for arm in grid)],
            [[rate(x), *(amount(row[f"{x:g}"]) if f"{x:g}" in row else "" for row in grid.values())] for x in rates],
        ),
    )


def _rows(facts: Mapping[str, Any], split: str) -> str:
    rows = facts["rows"].get(split)
    return f"{split} rows" if rows is None else f"{count(rows)} {split} rows"


def validation_curves(
    curves: Mapping[str, Mapping[str, Any]],
    names: Mapping[str, str],
    *,
    first: str = "",
    teacher: Mapping[str, float] | None = None,
    kept: Mapping[str, Any] | None = None,
) -> Figure | None:
    """Draw validation errors over the epochs, a line for each arm; agreement with the teacher where labels are absent.

    Args:
        curves: by arm, as `evidence.facts.curves` returns them.
        names: what each arm is called.
        first: which run the curves are of, in the words of the caption; empty for the only one.
        teacher: its scores on the validation rows, drawn as a level.
        kept: the moment of the run whose weights were kept, ringed.
    """
    found = {arm: row["validation"] for arm, row in curves.items() if row.get("validation")}
    score = next((name for name in ("errors", "agreement") if any(name in row for row in found.values())), None)
    if score is None:
        return None
    traces = [
        _line(row["epoch"], row[score], PALETTE[arm], name=names[arm], mode=_mode(row[score]))
        for arm, row in found.items()
        if score in row
    ]
    if teacher is not None and score in teacher:
        ends = [row["epoch"][place] for row in found.values() for place in (0, -1)]
        level = [teacher[score]] * 2
        traces.append(_dotted([min(ends), max(ends)], level, PALETTE["ensemble"], name="teacher"))
    if kept is not None and kept.get("chosen_by") == "validation":
        traces += [_ring(*point, PALETTE[arm]) for arm, row in found.items() for point in _points(row, score, kept)]
    rows = next((row["rows"][0] for row in found.values() if row.get("rows")), None)
    where = "validation rows" if rows is None else f"{count(rows)} validation rows"
    errors = score == "errors"
    layout = {
        "xaxis": {**_axis("epochs"), "showgrid": False},
        "yaxis": {**_axis(f"errors on {where}"), "rangemode": "tozero"}
        if errors
        else {**_axis("same answer as the teacher"), "tickformat": ".0%"},
    }
    what = "Errors on the validation rows" if errors else "Share of validation rows answered as the teacher does"
    return _figure(
        "How it learned",
        alt=f"{what} over the epochs.",
        caption=f"{what} after each epoch{first}. The weights of the best epoch"
        f"{', ringed,' if kept else ''} are the ones that were kept.",
        traces=traces,
        layout=layout,
        height=340,
    )


def _points(row: Mapping[str, Any], score: str, moment: Mapping[str, Any]) -> list[tuple[float, float]]:
    columns = zip(row["step"], row["epoch"], row[score], strict=True)
    return [(epoch, value) for step, epoch, value in columns if step == moment["step"]]


def arm_terms(curves: Mapping[str, Mapping[str, Any]], first: str) -> Figure | None:
    """Draw the mean of each loss term over the epochs, colour for the arm and dashes for the term."""
    order = list(dict.fromkeys(name for row in curves.values() for name in row.get("terms", {}) if name != "loss"))
    traces = [
        _curve(row, name, PALETTE[arm], f"{ARM_NAMES[arm]}: {_plain(name)}", DASHES[order.index(name) % len(DASHES)])
        for arm, row in curves.items()
        for name in row.get("terms", {})
        if name != "loss"
    ]
    caption = (
        f"The mean of each term on the training rows between two records, before its weight{first}. "
        "The same term in both arms has the same dashes."
    )
    return _terms(traces, caption)


def run_terms(curves: Mapping[str, Any]) -> Figure | None:
    """Draw the mean of each loss term, and the weighted sum of several, over the epochs of one run."""
    names = [name for name in curves.get("terms", {}) if name != "loss"]
    traces = [
        _curve(curves, name, TERM_COLOURS[place % len(TERM_COLOURS)], _plain(name), DASHES[place % len(DASHES)])
        for place, name in enumerate(names)
    ]
    if len(names) > 1 and "loss" in curves["terms"]:
        traces.append(_curve(curves, "loss", NEUTRAL, "weighted sum", "solid"))
    return _terms(
        traces, "The mean of each term of the objective on the training rows between two records, before its weight."
    )


def _terms(traces: list[Trace], caption: str) -> Figure | None:
    if not traces:
        return None
    return _figure(
        "What was minimised",
        alt="Mean of each loss term over the epochs, in nats.",
        caption=caption,
        traces=traces,
        layout={"xaxis": {**_axis("epochs"), "showgrid": False}, "yaxis": _loss_axis("nats per row", traces)},
        height=340,
    )


def gradient_norms(gradients: Mapping[str, Sequence[float]], terms: Sequence[str]) -> Figure | None:
    """Draw the gradient norm of each weighted term over the epochs."""
    traces = [
        _over(gradients["epoch"], gradients[name], TERM_COLOURS[place % len(TERM_COLOURS)], _plain(name), place)
        for place, name in enumerate(terms)
        if name in gradients
    ]
    if not traces:
        return None
    return _figure(
        "How hard each term pulls",
        alt="Gradient norm of each weighted term over the epochs.",
        caption="Norm of the gradient of each term, with its weight, on fixed training rows. A term that stays a "
        "hundred times below its neighbour teaches next to nothing, whatever its weight says.",
        traces=traces,
        layout={"xaxis": {**_axis("epochs"), "showgrid": False}, "yaxis": _loss_axis("gradient norm", traces)},
        height=320,
    )


def gradient_cosines(gradients: Mapping[str, Sequence[float]], terms: Sequence[str]) -> Figure | None:
    """Draw the cosine between the gradients of each pair of terms over the epochs."""
    pairs = [(a, b) for a, b in combinations(terms, 2) if f"{a}·{b}" in gradients]
    traces = [
        _over(gradients["epoch"], _cosines(gradients, a, b), TERM_COLOURS[-1 - place % 4], _plain(f"{a} · {b}"), place)
        for place, (a, b) in enumerate(pairs)
    ]
    if not traces:
        return None
    return _figure(
        "Whether they pull together",
        alt="Cosine between the gradients of each pair of terms over the epochs.",
        caption="Cosine of the angle between two terms' gradients: near 1 they ask for the same step, near 0 for "
        "unrelated ones, below 0 they undo one another.",
        traces=[{**trace, "showlegend": True} for trace in traces],
        layout={
            "xaxis": {**_axis("epochs"), "showgrid": False},
            "yaxis": {**_axis("cosine"), "range": [-1.05, 1.05], "zeroline": True, "zerolinecolor": NEUTRAL},
        },
        height=320,
    )


def _cosines(gradients: Mapping[str, Sequence[float]], a: str, b: str) -> list[float | None]:
    columns = zip(gradients[f"{a}·{b}"], gradients[a], gradients[b], strict=True)
    return [dot / (first * second) if first * second > 0 else None for dot, first, second in columns]


def _curve(curves: Mapping[str, Any], name: str, colour: str, label: str, dash: str) -> Trace:
    values = curves["terms"][name]
    line = _line(curves["epoch"][-len(values) :], values, colour, name=label, mode=_mode(values))
    return {**line, "line": {**line["line"], "dash": dash}}


def _over(epochs: Sequence[float], values: Sequence[float | None], colour: str, label: str, place: int) -> Trace:
    line = _line(epochs, values, colour, name=label, mode=_mode(values))
    return {**line, "line": {**line["line"], "dash": DASHES[place % len(DASHES)]}}


def _mode(values: Sequence[Any]) -> str:
    return "lines" if len(values) > 1 else "markers"


def _line(xs: Sequence[Any], ys: Sequence[Any], colour: str, **more: Any) -> Trace:
    size, width = more.pop("size", 9), more.pop("width", 2)
    trace = {"type": "scatter", "x": list(xs), "y": list(ys), "mode": "lines"}
    look = {"line": {"color": colour, "width": width}, "marker": {"color": colour, "size": size}}
    return trace | look | {"showlegend": "name" in more} | more


def _dotted(xs: Sequence[float], ys: Sequence[float], colour: str, **more: Any) -> Trace:
    line = _line(xs, ys, colour, hoverinfo="skip", **more)
    return {**line, "line": {**line["line"], "dash": "dot"}}


def _dots(xs: Sequence[float], ys: Sequence[float], colour: str, hover: Sequence[str], *, size: int = 8) -> Trace:
    trace = {"type": "scatter", "x": list(xs), "y": list(ys), "mode": "markers", "showlegend": False}
    return trace | {"marker": {"color": colour, "size": size}, "hovertext": list(hover), "hoverinfo": "text"}


def _ring(x: float, y: float, colour: str) -> Trace:
    dot = _dots([x], [y], CLEAR, [], size=16)
    return dot | {"marker": {**dot["marker"], "line": {"color": colour, "width": 2}}, "hoverinfo": "skip"}


def _axis(title: str) -> dict[str, Any]:
    grid = {"gridcolor": FAINT, "zeroline": False, "linecolor": FAINT, "ticks": ""}
    return {
        "title": {"text": title, "standoff": 10, "font": {"size": 13}},
        "automargin": True,
        "fixedrange": True,
        **grid,
    }


def _loss_axis(title: str, traces: Sequence[Trace]) -> dict[str, Any]:
    """A logarithmic axis where every value is above 0 and a decade or more is spanned."""
    values = [value for trace in traces for value in trace["y"] if value is not None]
    if values and min(values) > 0 and max(values) > 10 * min(values):
        decades = range(floor(log10(min(values))), ceil(log10(max(values))) + 1)
        ticks = {"tickvals": [10.0**power for power in decades], "ticktext": [f"{10.0**power:g}" for power in decades]}
        return {**_axis(f"{title} (log scale)"), "type": "log", **ticks}
    return _axis(title)


def _plain(text: str) -> str:
    """A user's name as a label: Plotly reads tags in labels, so they are taken for text."""
    return escape(text, quote=False)


def _figure(
    title: str,
    *,
    alt: str,
    caption: str,
    traces: Sequence[Trace],
    layout: Mapping[str, Any],
    height: int,
    table: Table | None = None,
) -> Figure:
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
    figure = go.Figure(data=list(traces), layout={**look, **layout})
    return Figure(title=title, alt=alt, caption=caption, json=figure.to_json(), height=height, table=table)
