"""How runs learned: validation scores and what was minimised, over the epochs."""

from collections.abc import Mapping
from typing import Any

from limbeck.report.figures.drawing import (
    DASHES,
    NEUTRAL,
    PALETTE,
    TERM_COLOURS,
    Figure,
    axis,
    dotted_line,
    drawn_line,
    figure,
    mode_of,
    plain,
    ring,
)
from limbeck.report.figures.terms import term_curve, terms_figure
from limbeck.report.words import count


def run_terms(curves: Mapping[str, Any]) -> Figure | None:
    """Draw the mean of each loss term, and the weighted sum of several, over the epochs of one run."""
    names = [name for name in curves.get("terms", {}) if name != "loss"]
    traces = [
        term_curve(curves, name, TERM_COLOURS[place % len(TERM_COLOURS)], plain(name), DASHES[place % len(DASHES)])
        for place, name in enumerate(names)
    ]
    if len(names) > 1 and "loss" in curves["terms"]:
        traces.append(term_curve(curves, "loss", NEUTRAL, "weighted sum", "solid"))
    return terms_figure(
        traces, "The mean of each term of the objective on the training rows between two records, before its weight."
    )


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
        drawn_line(row["epoch"], row[score], PALETTE[arm], name=names[arm], mode=mode_of(row[score]))
        for arm, row in found.items()
        if score in row
    ]
    if teacher is not None and score in teacher:
        ends = [row["epoch"][place] for row in found.values() for place in (0, -1)]
        level = [teacher[score]] * 2
        traces.append(dotted_line([min(ends), max(ends)], level, PALETTE["ensemble"], name="teacher"))
    if kept is not None and kept.get("chosen_by") == "validation":
        traces += [ring(*point, PALETTE[arm]) for arm, row in found.items() for point in _points(row, score, kept)]
    rows = next((row["rows"][0] for row in found.values() if row.get("rows")), None)
    where = "validation rows" if rows is None else f"{count(rows)} validation rows"
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
        caption=f"{what} after each epoch{first}. The weights of the best epoch"
        f"{', ringed,' if kept else ''} are the ones that were kept.",
        traces=traces,
        layout=layout,
        height=340,
    )


def _points(row: Mapping[str, Any], score: str, moment: Mapping[str, Any]) -> list[tuple[float, float]]:
    columns = zip(row["step"], row["epoch"], row[score], strict=True)
    return [(epoch, value) for step, epoch, value in columns if step == moment["step"]]
