"""How a run learned: validation scores and what was minimised, over the epochs."""

from collections.abc import Mapping
from typing import Any

from limbeck.report.figures.drawing import (
    DASHES,
    NEUTRAL,
    PALETTE,
    TERM_COLOURS,
    Figure,
    Trace,
    axis,
    dotted_line,
    drawn_line,
    figure,
    loss_axis,
    mode_of,
    plain,
    ring,
)
from limbeck.report.words import count


def run_terms(curves: Mapping[str, Any]) -> Figure | None:
    """Draw the mean of each loss term, and the weighted sum of several, over the epochs; None without terms."""
    names = [name for name in curves.get("terms", {}) if name != "loss"]
    traces = [
        _term(curves, name, TERM_COLOURS[place % len(TERM_COLOURS)], plain(name), DASHES[place % len(DASHES)])
        for place, name in enumerate(names)
    ]
    if len(names) > 1 and "loss" in curves["terms"]:
        traces.append(_term(curves, "loss", NEUTRAL, "weighted sum", "solid"))
    if not traces:
        return None
    return figure(
        "What was minimised",
        alt="Mean of each loss term over the epochs, in nats.",
        caption="The mean of each term of the objective on the training rows between two records, before its weight.",
        traces=traces,
        layout={"xaxis": {**axis("epochs"), "showgrid": False}, "yaxis": loss_axis("nats per row", traces)},
        height=340,
    )


def _term(curves: Mapping[str, Any], name: str, colour: str, label: str, dash: str) -> Trace:
    values = curves["terms"][name]
    line = drawn_line(curves["epoch"][-len(values) :], values, colour, name=label, mode=mode_of(values))
    return {**line, "line": {**line["line"], "dash": dash}}


def validation_curve(
    found: Mapping[str, Any],
    *,
    teacher: Mapping[str, float] | None = None,
    kept: Mapping[str, Any] | None = None,
) -> Figure | None:
    """Draw validation errors over the epochs; agreement with the teacher where labels are absent; None without either.

    Args:
        found: `validation` of the curves that `evidence.facts` returns.
        teacher: its scores on the validation rows, drawn as a level.
        kept: the moment of the run whose weights were kept, ringed.
    """
    score = next((name for name in ("errors", "agreement") if name in found), None)
    if score is None:
        return None
    epochs, values = found["epoch"], found[score]
    traces = [drawn_line(epochs, values, PALETTE["taught"], name="student", mode=mode_of(values))]
    if teacher is not None and score in teacher:
        level = [teacher[score]] * 2
        traces.append(dotted_line([min(epochs), max(epochs)], level, PALETTE["ensemble"], name="teacher"))
    if kept is not None and kept.get("chosen_by") == "validation":
        traces += [ring(*point, PALETTE["taught"]) for point in _points(found, score, kept)]
    where = f"{count(found['rows'][0])} validation rows" if found.get("rows") else "validation rows"
    errors = score == "errors"
    layout = {
        "xaxis": {**axis("epochs"), "showgrid": False},
        "yaxis": {**axis(f"errors on {where}"), "rangemode": "tozero"}
        if errors
        else {**axis("same answer as the teacher"), "tickformat": ".0%"},
    }
    what = "Errors on the validation rows" if errors else "Share of validation rows answered as the teacher does"
    return figure(
        "How it learned",
        alt=f"{what} over the epochs.",
        caption=f"{what} after each epoch. The weights of the best epoch"
        f"{', ringed,' if kept else ''} are the ones that were kept.",
        traces=traces,
        layout=layout,
        height=340,
    )


def _points(row: Mapping[str, Any], score: str, moment: Mapping[str, Any]) -> list[tuple[float, float]]:
    columns = zip(row["step"], row["epoch"], row[score], strict=True)
    return [(epoch, value) for step, epoch, value in columns if step == moment["step"]]
