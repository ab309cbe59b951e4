"""The figures of docs/mnist.md as SVG, by matplotlib (the extra `bench`): equal numbers make equal bytes.

Every figure is a white card with its letters as paths, so that it reads alike on light and on dark pages and without
fonts.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator
from mnist_series import Series, digest

from limbeck.evidence.published import against_published

BLUE, ORANGE, GREEN, VIOLET, BROWN = "#0b6e99", "#c4501b", "#5b7f1e", "#7a4fa3", "#8a6d3b"
INK, FAINT, GRID, CLAIM = "#222222", "#5f5f5f", "#e3e3e3", "#f3ecd9"
STYLE = {
    "svg.fonttype": "path",
    "svg.hashsalt": "limbeck",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
}


def draw(name: str, data: Series) -> str:
    """The figure of that name from its data, as SVG that bears the digest of the data."""
    with mpl.rc_context({**mpl.rcParamsDefault, **STYLE, "backend": "svg"}):
        figure = DRAWN[name](data)
        buffer = io.StringIO()
        told = {"Date": None, "Creator": None, "Title": TITLES[name], "Description": f"data {digest(data)}"}
        figure.savefig(buffer, format="svg", facecolor="white", metadata=told)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines()) + "\n"


TITLES = {
    "rows": "Test errors of each row, with the paper's figures",
    "temperatures": "Test errors against the temperature",
    "objectives": "Test errors of each objective",
    "fewer-rows": "Test errors against the share of the training rows",
    "rates": "Test errors against the learning rate",
    "softened": "Digits, and what their teacher says of them at several temperatures",
    "sure": "Digits that their teacher is sure of, and the small probabilities that it gives to other classes",
}


def _figure(wide: float, high: float) -> Figure:
    figure = Figure(figsize=(wide, high))
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
    return figure


# Rows -----------------------------------------------------------------------------------------------------------------


def _rows(data: Series) -> Figure:
    """A line a row: a dot a seed, the mean with its interval, and the paper's figure."""
    figure = _figure(8, 1.3 + 0.36 * len(data))
    axes = figure.subplots()
    for place, found in enumerate(data.values()):
        _dots(axes, place, found["values"], found["interval"])
        if found["paper"] is not None:
            axes.plot(
                found["paper"], place - 0.29, marker="D", ms=5.5, mfc="white", mec=ORANGE, mew=1.6, ls="", zorder=5
            )
    _named(axes, list(data))
    axes.set_xlabel("errors of 10,000 test digits")
    axes.plot([], [], marker="D", ms=5.5, mfc="white", mec=ORANGE, mew=1.6, ls="", label="the paper")
    _key(axes)
    return figure


def _dots(axes: Axes, place: float, values: Sequence[float], interval: Sequence[float] | None) -> None:
    axes.plot(values, [place] * len(values), marker="o", ms=4.5, ls="", color=BLUE, alpha=0.45, mew=0, zorder=3)
    axes.plot(fmean(values), place, marker="|", ms=13, mew=2.2, color=BLUE, ls="", zorder=4)
    if interval is not None:
        axes.plot(interval, [place] * 2, color=BLUE, lw=2, solid_capstyle="butt", zorder=4)


def _named(axes: Axes, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)
    axes.grid(visible=False, axis="y")


def _key(axes: Axes) -> None:
    axes.plot([], [], marker="o", ms=4.5, ls="", color=BLUE, alpha=0.45, mew=0, label="ours, one seed")
    axes.plot([], [], marker="|", ms=11, mew=2.2, lw=2, color=BLUE, label="mean and its 95 % interval")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3)


def _objectives(data: Series) -> Figure:
    figure = _figure(8, 1.3 + 0.36 * len(data))
    axes = figure.subplots()
    for place, values in enumerate(data.values()):
        _dots(axes, place, values, against_published(values).interval)
    _named(axes, list(data))
    axes.set_xlabel("errors of 10,000 test digits")
    _key(axes)
    return figure


# Curves ---------------------------------------------------------------------------------------------------------------


def _curve(axes: Axes, points: Sequence[Mapping[str, Any]], colour: str, mark: str, label: str | None = None) -> None:
    """The means, the band of their intervals, and a faint dot a seed."""
    x = [point["x"] for point in points]
    found = [against_published(point["values"]) for point in points]
    ends = [one.interval or (one.mean, one.mean) for one in found]
    axes.fill_between(x, [low for low, _ in ends], [high for _, high in ends], color=colour, alpha=0.16, lw=0)
    axes.plot(x, [one.mean for one in found], marker=mark, ms=5.5, lw=1.8, color=colour, label=label)
    for point in points:
        values = point["values"]
        axes.plot([point["x"]] * len(values), values, marker=mark, ms=2.6, ls="", color=colour, alpha=0.5, mew=0)


def _ticks(axes: Axes, x: Sequence[float], told: Callable[[float], str]) -> None:
    """A logarithmic axis that names exactly the places that were run."""
    axes.set_xscale("log")
    axes.set_xticks(x, [told(value) for value in x])
    axes.xaxis.set_minor_locator(NullLocator())


def _temperatures(data: Series) -> Figure:
    figure = _figure(9, 3.9)
    panels = figure.subplots(1, len(data), squeeze=False)[0]
    claims = {"300 units a layer": (8, None, "all T > 8 alike"), "30 units a layer": (2.5, 4, "2.5 to 4 best")}
    for axes, (name, points) in zip(panels, data.items(), strict=True):
        x = [point["x"] for point in points]
        _ticks(axes, x, lambda value: f"{value:g}")
        axes.set_xlim(min(x) / 1.15, max(x) * 1.15)
        low, high, told = claims[name]
        axes.axvspan(
            low, max(x) * 1.15 if high is None else high, color=CLAIM, lw=0, zorder=0, label=f"the paper: {told}"
        )
        _curve(axes, points, BLUE, "o", label="mean, its 95 % interval, seeds")
        axes.set_title(name)
        axes.set_xlabel("temperature T")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.08), ncols=2, fontsize=8.5, columnspacing=1.2)
    panels[0].set_ylabel("errors of 10,000 test digits")
    return figure


def _counts(axes: Axes) -> None:
    """A logarithmic axis of errors in plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel("errors of 10,000 test digits")


def _fewer_rows(data: Series) -> Figure:
    return _curves(data, "share of the 60,000 training rows", lambda value: f"{100 * value:g} %")


def _rates(data: Series) -> Figure:
    return _curves(data, "peak learning rate", lambda value: f"{value:g}")


def _curves(data: Series, along: str, told: Callable[[float], str]) -> Figure:
    """Curves over one logarithmic axis, each with its own colour and mark."""
    figure = _figure(8, 4.4)
    axes = figure.subplots()
    for (name, points), (colour, mark) in zip(data.items(), MARKS, strict=False):
        _curve(axes, points, colour, mark, label=name)
    _ticks(axes, sorted({point["x"] for points in data.values() for point in points}), told)
    _counts(axes)
    axes.set_xlabel(along)
    axes.legend()
    return figure


MARKS = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (VIOLET, "D"), (BROWN, "v"))


# Softened digits ------------------------------------------------------------------------------------------------------


def _softened(data: Series) -> Figure:
    """A line a digit: the image, then the teacher's probabilities at each temperature."""
    temperatures = sorted({float(key) for entry in data.values() for key in entry["probabilities"]})
    figure = _figure(9, 0.5 + 1.55 * len(data))
    widths = [1, *[1.9] * len(temperatures)]
    grid = figure.subplots(len(data), len(widths), squeeze=False, width_ratios=widths)
    for line, (name, entry) in zip(grid, data.items(), strict=True):
        _image(line[0], entry["pixels"], name)
        found = {float(key): values for key, values in entry["probabilities"].items()}
        for axes, temperature in zip(line[1:], temperatures, strict=True):
            _bars(axes, found.get(temperature, [0.0] * 10), entry["label"])
    for axes, temperature in zip(grid[0][1:], temperatures, strict=True):
        axes.set_title(f"T = {temperature:g}")
    return figure


def _image(axes: Axes, pixels: Sequence[Sequence[int]], name: str) -> None:
    # Squares, a path for each of sixteen shades, instead of an embedded picture: small, sharp, and the same bytes
    # whatever library would pack a picture.
    shades_RC = np.asarray(pixels, dtype=int)[::-1] // 16
    for shade in range(1, 16):
        squares = [_square(column, row) for row, column in np.argwhere(shades_RC == shade)]
        if squares:
            grey = 1 - shade / 15
            whole = Path.make_compound_path(*squares)
            axes.add_patch(PathPatch(whole, facecolor=(grey, grey, grey), lw=0, antialiased=False))
    high, wide = shades_RC.shape
    axes.set_xlim(0, wide)
    axes.set_ylim(0, high)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    axes.set_xlabel(name, fontsize=8.5)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GRID)


def _square(left: float, bottom: float) -> Path:
    unit = Path.unit_rectangle()
    return Path(np.add(unit.vertices, (left, bottom)), unit.codes)


def _bars(axes: Axes, values: Sequence[float], label: int, top: float = 1.0) -> None:
    colours = [BLUE if index == label else ORANGE for index in range(len(values))]
    axes.bar(range(len(values)), values, color=colours, width=0.72)
    for index, value in enumerate(values):
        told = f"{value:.2f}".removeprefix("0") if value >= 0.005 else ""
        axes.text(index, value + 0.03 * top, told, ha="center", fontsize=6.5, color=FAINT)
    axes.set_ylim(0, 1.15 * top)
    axes.set_yticks([0, top / 2, top], ["0", "", f"{top:g}"])
    axes.set_xticks(range(len(values)))
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


def _sure(data: Series) -> Figure:
    """A line a digit: the image, then the probabilities at T = 1 on a logarithmic axis, and at the highest T."""
    figure = _figure(9, 0.5 + 1.75 * len(data))
    grid = figure.subplots(len(data), 3, squeeze=False, width_ratios=[1, 2.8, 2.8])
    for number, (line, (name, entry)) in enumerate(zip(grid, data.items(), strict=True)):
        found = {float(key): values for key, values in entry["probabilities"].items()}
        _image(line[0], entry["pixels"], name)
        _powers(line[1], found[min(found)], entry["label"])
        _bars(line[2], found[max(found)], entry["label"], top=0.5)
        if not number:
            line[1].set_title(f"T = {min(found):g}, in powers of ten")
            line[2].set_title(f"T = {max(found):g}")
    return figure


def _powers(axes: Axes, values: Sequence[float], label: int) -> None:
    """Bars of numbers between nearly nothing and one, on a logarithmic axis."""
    colours = [BLUE if index == label else ORANGE for index in range(len(values))]
    axes.bar(range(len(values)), [max(value, SMALLEST) for value in values], bottom=0, color=colours, width=0.72)
    axes.set_yscale("log")
    axes.set_ylim(SMALLEST, 10)
    axes.yaxis.set_major_locator(LogLocator(1000, numticks=10))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(range(len(values)))
    axes.tick_params(axis="x", length=0)
    axes.grid(visible=False, axis="x")


SMALLEST = 1e-13
"""Probabilities below it are drawn as nothing."""


DRAWN: Mapping[str, Callable[[Series], Figure]] = {
    "rows": _rows,
    "temperatures": _temperatures,
    "objectives": _objectives,
    "fewer-rows": _fewer_rows,
    "rates": _rates,
    "softened": _softened,
    "sure": _sure,
}
