"""How the terms of one run pulled: gradient norms, and whether they pulled together."""

from collections.abc import Mapping, Sequence
from itertools import combinations

from limbeck.report.figures.drawing import (
    NEUTRAL,
    TERM_COLOURS,
    Figure,
    Table,
    axis,
    dashed_line,
    figure,
    loss_axis,
    plain,
)


def gradient_norms(gradients: Mapping[str, Sequence[float]], terms: Sequence[str]) -> Figure | None:
    """Draw the gradient norm of each weighted term over the epochs."""
    return norms_figure(gradients.get("epoch", ()), {name: gradients[name] for name in terms if name in gradients})


def norms_figure(
    epochs: Sequence[float], norms: Mapping[str, Sequence[float | None]], *, over: str = "", table: Table | None = None
) -> Figure | None:
    """Draw the norms of terms by name; `over` says what they are means of. None where there are none."""
    traces = [
        dashed_line(epochs, values, TERM_COLOURS[place % len(TERM_COLOURS)], plain(name), place)
        for place, (name, values) in enumerate(norms.items())
    ]
    if not traces:
        return None
    return figure(
        "How hard each term pulls",
        alt=f"Gradient norm of each weighted term over the epochs{over}.",
        caption="Norm of the gradient of each term, with its weight, on fixed training rows. A term that stays a "
        "hundred times below its neighbour teaches next to nothing, whatever its weight says.",
        traces=traces,
        layout={"xaxis": {**axis("epochs"), "showgrid": False}, "yaxis": loss_axis("gradient norm", traces)},
        height=320,
        table=table,
    )


def gradient_cosines(gradients: Mapping[str, Sequence[float]], terms: Sequence[str]) -> Figure | None:
    """Draw the cosine between the gradients of each pair of terms over the epochs."""
    pairs = [(a, b) for a, b in combinations(terms, 2) if f"{a}·{b}" in gradients]
    return cosines_figure(gradients.get("epoch", ()), {f"{a}·{b}": _cosines(gradients, a, b) for a, b in pairs})


def cosines_figure(
    epochs: Sequence[float],
    cosines: Mapping[str, Sequence[float | None]],
    *,
    over: str = "",
    table: Table | None = None,
) -> Figure | None:
    """Draw the cosines of pairs, named `a·b`; `over` says what they are means of. None where there are none."""
    traces = [
        dashed_line(epochs, values, TERM_COLOURS[-1 - place % 4], plain(name.replace("·", " · ")), place)
        for place, (name, values) in enumerate(cosines.items())
    ]
    if not traces:
        return None
    return figure(
        "Whether they pull together",
        alt=f"Cosine between the gradients of each pair of terms over the epochs{over}.",
        caption="Cosine of the angle between two terms’ gradients: near 1 they ask for the same step, near 0 for "
        "unrelated ones, below 0 they undo one another.",
        traces=[{**trace, "showlegend": True} for trace in traces],
        layout={
            "xaxis": {**axis("epochs"), "showgrid": False},
            "yaxis": {**axis("cosine"), "range": [-1.05, 1.05], "zeroline": True, "zerolinecolor": NEUTRAL},
        },
        height=320,
        table=table,
    )


def _cosines(gradients: Mapping[str, Sequence[float]], a: str, b: str) -> list[float | None]:
    columns = zip(gradients[f"{a}·{b}"], gradients[a], gradients[b], strict=True)
    return [dot / (first * second) if first * second > 0 else None for dot, first, second in columns]
