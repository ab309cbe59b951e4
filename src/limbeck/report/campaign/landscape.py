"""Where the students land: how sharp the loss is around them, what lies between them, how alike they are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from limbeck.evidence.words import points
from limbeck.report.campaign.looks import Look, look_of, looks
from limbeck.report.figures.drawing import (
    NEUTRAL,
    PALETTE,
    TERM_COLOURS,
    Figure,
    Table,
    Trace,
    axis,
    drawn_line,
    figure,
    plain,
)
from limbeck.report.words import decimal, rate

Facts = Mapping[str, Any]

_DISTANCES = (
    ("start·distilled", "from the start to the distilled student"),
    ("start·alone", "from the start to the student alone"),
    ("distilled·alone", "between the two"),
)
_LIKENESS = (
    ("distilled·alone", "distilled and alone", PALETTE["taught"], "solid", "circle"),
    ("distilled·distilled", "distilled, of two seeds", TERM_COLOURS[0], "dash", "square"),
)


class Distance(NamedTuple):
    """How far apart two sets of weights are."""

    name: str
    width: float
    value: str


class Landscape(NamedTuple):
    """What the section shows."""

    figures: list[Figure]
    distances: list[Distance]


def landscape(facts: Facts) -> Landscape | None:
    """Lay out where the students land; None where it was not looked at."""
    found = facts.get("landscape")
    if not found:
        return None
    known = looks(facts)
    figures = [
        _sharpness(found.get("sharpness") or {}, known),
        *_between(found.get("interpolation")),
        _cka(found.get("cka")),
    ]
    return Landscape([figure for figure in figures if figure is not None], _distances(found.get("distance") or {}))


def _sharpness(found: Facts, known: Mapping[str, Look]) -> Figure | None:
    arms = {name: values for name, values in found.items() if name != "radius"}
    if not arms:
        return None
    traces = [_marked(found["radius"], values, look_of(known, name)) for name, values in arms.items()]
    return figure(
        "How sharp the loss is around them",
        alt="Rise of the training loss over the size of random steps away from the finished weights.",
        caption="How much the loss on training rows rises when the weights are moved in random directions by so much "
        "of each filter’s length. A flatter curve means that small changes do little harm.",
        traces=traces,
        layout={
            "xaxis": {**axis("size of the step, by the weights"), "showgrid": False},
            "yaxis": {**axis("rise of the loss, nats"), "rangemode": "tozero"},
        },
        height=320,
        table=_columns("size of the step", found["radius"], {look_of(known, n).title: v for n, v in arms.items()}),
    )


def _marked(xs: Sequence[float], ys: Sequence[float | None], look: Look) -> Trace:
    line = drawn_line(xs, ys, look.colour, name=plain(look.name), mode="lines+markers")
    return {
        **line,
        "line": {**line["line"], "dash": look.dash},
        "marker": {"color": look.colour, "size": 8, "symbol": look.symbol},
    }


def _between(found: Facts | None) -> list[Figure | None]:
    if not found:
        return []
    first, second = found.get("between") or ["alone", "distilled"]
    barrier = found.get("barrier")
    if barrier is None:
        hill = ""
    elif barrier < 1e-3:
        hill = " There is no hill between them: they lie in one valley."
    else:
        hill = f" The hill between them is {decimal(barrier)} nats high."
    drawn: list[Figure | None] = []
    for key, title, unit in (
        ("loss", "On the straight line between them: loss", "loss, nats"),
        ("errors", "On the straight line between them: errors", "rows wrong, %"),
    ):
        if not found.get(key):
            continue
        line = drawn_line(found["alpha"], found[key], NEUTRAL, mode="lines+markers", size=6)
        ends = [(found["alpha"][0], found[key][0], first), (found["alpha"][-1], found[key][-1], second)]
        marks = [
            drawn_line([x], [y], PALETTE["taught" if name == "distilled" else "alone"], mode="markers", size=13)
            | {"hovertext": [plain(name)], "hoverinfo": "text", "cliponaxis": False}
            for x, y, name in ends
        ]
        drawn.append(
            figure(
                title,
                alt=f"{unit} of mixtures from the {first} and the {second} student, over the share of the second.",
                caption="Networks whose weights are mixed from both students, scored on validation rows: all "
                f"{first} at the left, all {second} at the right." + (hill if key == "loss" else ""),
                traces=[line, *marks],
                layout={
                    "xaxis": {**axis(f"share of the {second} student"), "showgrid": False, "tickformat": ".0%"},
                    "yaxis": {**axis(unit), "rangemode": "tozero"},
                },
                height=320,
                table=_columns(f"share of the {second} student", found["alpha"], {unit: found[key]}),
            )
        )
    return drawn


def _cka(found: Facts | None) -> Figure | None:
    if not found or not found.get("layers"):
        return None
    layers = [str(name) for name in found["layers"]]
    places = list(range(len(layers)))
    kept = [kind for kind in _LIKENESS if found.get(kind[0])]
    traces = []
    for key, name, colour, dash, symbol in kept:
        line = drawn_line(places, found[key], colour, name=name, mode="lines+markers")
        traces.append(
            {**line, "line": {**line["line"], "dash": dash}, "marker": {"color": colour, "size": 8, "symbol": symbol}}
        )
    return figure(
        "How alike they are inside",
        alt="Linear CKA between the layers of students, layer by layer.",
        caption="Likeness of what the layers compute on the same rows (linear CKA): 1 is the same up to a turn, 0 is "
        "unrelated. Two distilled students of different seeds give the yardstick.",
        traces=traces,
        layout={
            "xaxis": {
                **axis("layer"),
                "tickvals": places,
                "ticktext": [plain(name) for name in layers],
                "showgrid": False,
            },
            "yaxis": {**axis("likeness"), "range": [0, 1.05]},
        },
        height=320,
        table=Table(
            ["layer", *(kind[1] for kind in kept)],
            [[name, *(_score(found[kind[0]][row]) for kind in kept)] for row, name in enumerate(layers)],
        ),
    )


def _columns(first: str, xs: Sequence[float], columns: Mapping[str, Sequence[float | None]]) -> Table:
    return Table(
        [first, *columns],
        [[rate(round(x, 4)), *(_score(values[row]) for values in columns.values())] for row, x in enumerate(xs)],
    )


def _score(value: float | None) -> str:
    return "" if value is None else decimal(value)


def _distances(found: Mapping[str, float | None]) -> list[Distance]:
    known = [(name, found[key]) for key, name in _DISTANCES if found.get(key) is not None]
    most = max((value for _, value in known if value is not None), default=0) or 1.0
    return [Distance(name, round(100 * value / most, 1), points(value)) for name, value in known if value is not None]
