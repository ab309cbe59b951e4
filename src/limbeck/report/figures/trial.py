"""The figures of a trial: every seed with and without the teaching, and the grid of rates."""

from collections.abc import Mapping
from typing import Any

from limbeck.report.figures.drawing import (
    DASHES,
    NEUTRAL,
    PALETTE,
    SEED_LINE,
    Figure,
    Table,
    Trace,
    axis,
    dots,
    dotted_line,
    drawn_line,
    figure,
    plain,
    ring,
)
from limbeck.report.figures.terms import term_curve, terms_figure
from limbeck.report.words import amount, average, count, rate

ARM_NAMES = {"taught": "distilled", "alone": "labels alone"}


def paired_seeds(facts: Mapping[str, Any]) -> Figure:
    """Draw every seed as a line from labels alone to distilled, beside the level of the teachers."""
    alone, taught, seeds = facts["errors"]["alone"], facts["errors"]["taught"], facts["seeds"]
    teachers = _teachers(facts)
    places = {"alone": len(teachers), "taught": len(teachers) + 1}
    names = [*(name for name, _, _ in teachers), "labels<br>alone", "distilled"]
    colours = [*(colour for _, _, colour in teachers), PALETTE["alone"], PALETTE["taught"]]
    means = [row["errors_mean"] for row in facts["table"]]
    traces: list[Trace] = [
        drawn_line([places["alone"], places["taught"]], pair, SEED_LINE, hoverinfo="skip", width=1.3)
        for pair in zip(alone, taught, strict=True)
    ]
    if teachers:
        level = [means[len(teachers) - 1]] * 2
        traces.append(dotted_line([len(teachers) - 1, len(names) - 0.4], level, PALETTE["ensemble"], width=1.2))
    for place, (name, found, colour) in enumerate(teachers):
        plain = name.replace("<br>", " ")
        traces.append(dots(_fan(place, len(found)), found, colour, [f"{plain}: {amount(value)}" for value in found]))
    for arm, found in (("alone", alone), ("taught", taught)):
        hover = [f"seed {seed}, {ARM_NAMES[arm]}: {amount(value)}" for seed, value in zip(seeds, found, strict=True)]
        traces.append(dots([places[arm]] * len(found), found, PALETTE[arm], hover))
    traces += [
        _mean_bar(place, mean, colours[place], on_left=place == places["alone"]) for place, mean in enumerate(means)
    ]
    ticks = {"tickvals": list(range(len(names))), "ticktext": names, "tickangle": 0, "showgrid": False}
    return figure(
        "Errors, seed by seed",
        alt=f"Errors on the test rows of {len(seeds)} students on labels alone and distilled, seed by seed, beside "
        "the errors of their teachers.",
        caption="Each grey line is one seed: the same initial weights and the same order of rows, on labels alone and "
        "distilled. A line that falls is a seed that the teaching helped. Short bars are means; the dotted line is the "
        "level of the whole teacher.",
        traces=traces,
        layout={
            "xaxis": {**axis(""), **ticks, "range": [-0.6, len(names) - 0.2]},
            "yaxis": {**axis(f"errors on {_rows(facts, 'test')}"), "rangemode": "tozero"},
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
        **dots(
            [1], [mean], colour, [f"mean {average(mean)} fewer, interval {average(low)} to {average(high)}"], size=11
        ),
        "error_y": {"type": "data", **reach, "thickness": 2.5, "width": 7, "color": colour},
    }
    ticks = {"tickvals": [0, 1], "ticktext": ["each<br>seed", "mean and<br>interval"], "tickangle": 0}
    zero = {"zeroline": True, "zerolinewidth": 1.5, "zerolinecolor": NEUTRAL, "rangemode": "tozero"}
    return figure(
        "The difference, seed by seed",
        alt=f"Errors fewer when distilled: mean {average(mean)}, interval from {average(low)} to {average(high)}.",
        caption=f"How far each line falls, and the mean with its {difference['level']:.0%} interval. The teaching "
        "helped if the whole interval lies above 0.",
        traces=[dots(_fan(0, len(each)), each, NEUTRAL, hover), interval],
        layout={
            "xaxis": {**axis(""), **ticks, "range": [-0.75, 1.75], "showgrid": False},
            "yaxis": {**axis("errors fewer when distilled"), **zero},
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
    bar = drawn_line([place - 0.3, place + 0.3], [mean, mean], colour, hoverinfo="skip", width=3)
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
        line = drawn_line(xs, ys, PALETTE[arm], name=ARM_NAMES[arm], mode="lines+markers", size=7)
        traces.append({**line, "hovertext": hover, "hoverinfo": "text"})
        chosen = [(x, y) for x, y in points if arm in choices and x == float(f"{choices[arm]:g}")]
        traces += [ring(x, y, PALETTE[arm]) for x, y in chosen]
    layout = {
        "xaxis": {**axis("learning rate (log scale)"), "type": "log", "showgrid": False}
        | {"tickvals": rates, "ticktext": [rate(value) for value in rates]},
        "yaxis": {**axis(f"mean errors on {_rows(facts, 'validation')}"), "rangemode": "tozero"},
    }
    return figure(
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


def arm_terms(curves: Mapping[str, Mapping[str, Any]], first: str) -> Figure | None:
    """Draw the mean of each loss term over the epochs, colour for the arm and dashes for the term."""
    order = list(dict.fromkeys(name for row in curves.values() for name in row.get("terms", {}) if name != "loss"))
    traces = [
        term_curve(row, name, PALETTE[arm], f"{ARM_NAMES[arm]}: {plain(name)}", DASHES[order.index(name) % len(DASHES)])
        for arm, row in curves.items()
        for name in row.get("terms", {})
        if name != "loss"
    ]
    caption = (
        f"The mean of each term on the training rows between two records, before its weight{first}. "
        "The same term in both arms has the same dashes."
    )
    return terms_figure(traces, caption)
