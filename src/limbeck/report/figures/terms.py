"""The terms of an objective over the epochs, of one run or of several arms."""

from collections.abc import Mapping
from typing import Any

from limbeck.report.figures.drawing import Figure, Trace, axis, drawn_line, figure, loss_axis, mode_of


def terms_figure(traces: list[Trace], caption: str) -> Figure | None:
    """Frame the curves of terms; None where there are none."""
    if not traces:
        return None
    return figure(
        "What was minimised",
        alt="Mean of each loss term over the epochs, in nats.",
        caption=caption,
        traces=traces,
        layout={"xaxis": {**axis("epochs"), "showgrid": False}, "yaxis": loss_axis("nats per row", traces)},
        height=340,
    )


def term_curve(curves: Mapping[str, Any], name: str, colour: str, label: str, dash: str) -> Trace:
    """Draw the mean of one term over the epochs."""
    values = curves["terms"][name]
    line = drawn_line(curves["epoch"][-len(values) :], values, colour, name=label, mode=mode_of(values))
    return {**line, "line": {**line["line"], "dash": dash}}
