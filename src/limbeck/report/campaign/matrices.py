"""Which classes resemble one another: in the soft targets, and in the mistakes; and how unsure the targets are."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from limbeck.report.campaign.looks import look_of, looks
from limbeck.report.figures.drawing import PALETTE, Figure, Table, Trace, axis, drawn_line, figure, plain
from limbeck.report.words import amount, count, decimal, share

Facts = Mapping[str, Any]
Matrix = Sequence[Sequence[float | None]]

_SHADES = [[0, "rgba(43, 123, 186, 0)"], [0.5, "rgba(43, 123, 186, 0.55)"], [1, "rgba(43, 123, 186, 1)"]]
_WARM = [[0, "rgba(217, 98, 43, 0)"], [0.5, "rgba(217, 98, 43, 0.55)"], [1, "rgba(217, 98, 43, 1)"]]
_WHO = ("distilled", "alone", "teacher")
MOST_NAME = 14
MOST_WITHIN = 15
"""Of more classes, those are listed whose rows differ most."""


class Within(NamedTuple):
    """How much rows of one class differ in their soft targets."""

    name: str
    width: float
    value: str


class Dark(NamedTuple):
    """What the section shows."""

    pair: list[Figure]
    more: list[Figure]
    entropy: list[Figure]
    within: list[Within]
    temperature: str
    cut: bool
    """Whether only some of the classes are listed in `within`."""


def dark(facts: Facts) -> Dark | None:
    """Lay out similarity, confusion and entropies; None where there is neither."""
    targets, mistakes = facts.get("dark"), facts.get("confusion")
    if not targets and not mistakes:
        return None
    known, confusions = looks(facts), []
    if mistakes:
        there = [who for who in _WHO if mistakes.get(who)]
        confusions = [_confusion(mistakes, who, look_of(known, who).title, first=who == there[0]) for who in there]
    similar = [_similarity(targets)] if targets and targets.get("similarity") else []
    entropy = [_entropies(targets)] if targets and targets.get("entropy") else []
    return Dark(
        pair=[*similar, *confusions[:1]],
        more=confusions[1:],
        entropy=entropy,
        within=_within((targets or {}).get("within") or {}),
        temperature=f"{targets['temperature']:g}" if targets else "",
        cut=len((targets or {}).get("within") or {}) > MOST_WITHIN,
    )


def _similarity(found: Facts) -> Figure:
    names = [str(name) for name in found["classes"]]
    return _heatmap(
        "What the soft targets find alike",
        found["similarity"],
        names,
        colours=_SHADES,
        axes=("probability given to", "rows of class"),
        write=share,
        alt=f"Mean soft target of each class at T = {found['temperature']:g}, the class itself left out.",
        caption=f"Each line is a class, and shows to which other classes the teacher’s answers at "
        f"T = {found['temperature']:g} give their probability: the knowledge that a label does not hold. What a row "
        f"gives to its own class is left out, so that the rest can be seen.{_cut(found)}",
    )


def _confusion(found: Facts, who: str, title: str, *, first: bool) -> Figure:
    read = (
        "How many test rows of each class got which wrong answer, on average over the seeds. Right answers are left "
        "out. Where this looks like the soft targets, likeness misleads the model as it misleads its teacher."
    )
    return _heatmap(
        f"What is mistaken for what: {title}",
        found[who],
        [str(name) for name in found["classes"]],
        colours=_SHADES if who == "teacher" else _WARM,
        axes=("answered", "rows of class"),
        write=amount,
        alt=f"Test rows of each class that {title} gave each other class, means over the seeds.",
        caption=(read if first else f"The same for the {'teacher' if who == 'teacher' else 'student alone'}.")
        + _cut(found),
    )


def _cut(found: Facts) -> str:
    return f" Only the {len(found['classes'])} classes that are mixed up most are shown." if found.get("cut") else ""


def _heatmap(
    title: str,
    matrix: Matrix,
    names: list[str],
    *,
    colours: list[list[Any]],
    axes: tuple[str, str],
    write: Any,
    alt: str,
    caption: str,
) -> Figure:
    off = [[None if row == column else value for column, value in enumerate(line)] for row, line in enumerate(matrix)]
    hover = [
        [
            "" if value is None else f"{plain(names[row])} → {plain(names[column])}: {write(value)}"
            for column, value in enumerate(line)
        ]
        for row, line in enumerate(matrix)
    ]
    places = list(range(len(names)))
    short = [plain(name if len(name) <= MOST_NAME else name[: MOST_NAME - 1] + "…") for name in names]
    trace: Trace = {
        "type": "heatmap",
        "z": off,
        "x": places,
        "y": places,
        "colorscale": colours,
        "showscale": False,
        "showlegend": False,
        "hovertext": hover,
        "hoverinfo": "text",
        "hoverongaps": False,
        "xgap": 1,
        "ygap": 1,
        "zmin": 0,
    }
    ticks = {
        "tickvals": places,
        "ticktext": short,
        "showgrid": False,
        "tickfont": {"size": 11 if len(names) > 12 else 12},
    }
    long = max(map(len, names), default=0) > 3
    side = {"range": [-0.5, len(names) - 0.5]}
    return figure(
        title,
        alt=alt,
        caption=caption,
        traces=[trace],
        layout={
            "xaxis": {**axis(axes[0]), **ticks, **side, "tickangle": -90 if long else 0},
            "yaxis": {**axis(axes[1]), **ticks, "range": [len(names) - 0.5, -0.5]},
        },
        height=440,
        table=Table(
            [axes[1], *names],
            [
                [names[row], *("" if value is None else write(value) for value in line)]
                for row, line in enumerate(matrix)
            ],
        ),
    )


def _entropies(found: Facts) -> Figure:
    entropy = found["entropy"]
    edges, counts = entropy["edges"], entropy["counts"]
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    bars: Trace = {
        "type": "bar",
        "x": middles,
        "y": counts,
        "width": [0.92 * (high - low) for low, high in pairwise(edges)],
        "marker": {"color": PALETTE["ensemble"]},
        "hovertext": [
            f"{low:.2f} to {high:.2f} nats: {count(number)} rows"
            for low, high, number in zip(edges, edges[1:], counts, strict=False)
        ],
        "hoverinfo": "text",
        "showlegend": False,
    }
    mean = drawn_line([entropy["mean"]] * 2, [0, max(counts, default=1)], PALETTE["taught"], width=2, hoverinfo="skip")
    return figure(
        "How unsure the soft targets are",
        alt=f"Histogram of the soft targets’ entropy at T = {found['temperature']:g}, mean {entropy['mean']:.2f}.",
        caption="Entropy of each training row’s soft target: 0 is as sure as a label, the right end knows nothing. The "
        f"orange line is their mean, {decimal(entropy['mean'])} nats.",
        traces=[bars, mean],
        layout={
            "xaxis": {**axis("entropy, nats"), "showgrid": False},
            "yaxis": {**axis("training rows"), "rangemode": "tozero"},
        },
        height=360,
        table=Table(
            ["entropy from", "to", "training rows"],
            [
                [f"{low:.2f}", f"{high:.2f}", count(number)]
                for low, high, number in zip(edges, edges[1:], counts, strict=False)
            ],
        ),
    )


def _within(found: Mapping[str, float | None]) -> list[Within]:
    known = {str(name): value for name, value in found.items() if value is not None}
    most = max(known.values(), default=0) or 1.0
    shown = sorted(known, key=lambda name: -known[name])[:MOST_WITHIN] if len(known) > MOST_WITHIN else list(known)
    return [Within(name, round(100 * known[name] / most, 1), decimal(known[name])) for name in shown]
