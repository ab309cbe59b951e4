"""What moved the distilled student: norms and cosines of its terms, their variance, and weights that would balance."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.report.figures.drawing import Figure, Table
from limbeck.report.figures.pulls import cosines_figure, norms_figure
from limbeck.report.words import count, decimal, listing, rate

Facts = Mapping[str, Any]


class Variance(NamedTuple):
    """How much the gradients of single rows differ, for one kind of target."""

    name: str
    width: float
    value: str


class Pulls(NamedTuple):
    """What the section shows."""

    figures: list[Figure]
    variance: list[Variance]
    variance_said: str
    balance: str


def pulls(facts: Facts) -> Pulls | None:
    """Lay out the gradients of the distilled student; None where it was not probed."""
    found = facts.get("gradients")
    if not found or not found.get("epoch"):
        return None
    figures = [figure for figure in (_norms(found), _cosines(found)) if figure is not None]
    return Pulls(figures, *_variance(found.get("variance") or {}), _balance(found.get("balance")))


def _norms(found: Facts) -> Figure | None:
    norms = found.get("norms") or {}
    return norms_figure(found["epoch"], norms, over=_OVER, table=_table(found["epoch"], norms))


def _cosines(found: Facts) -> Figure | None:
    cosines = found.get("cosines") or {}
    return cosines_figure(found["epoch"], cosines, over=_OVER, table=_table(found["epoch"], cosines))


_OVER = ", means over the seeds"


def _table(epochs: list[float], columns: Mapping[str, list[float | None]]) -> Table:
    rows = zip(epochs, *columns.values(), strict=True)
    return Table(
        ["epoch", *columns],
        [[rate(epoch), *("" if value is None else decimal(value) for value in values)] for epoch, *values in rows],
    )


_KINDS = (("soft", "soft targets"), ("hard", "labels"))


def _variance(found: Facts) -> tuple[list[Variance], str]:
    """Bars for the student before its first step, and a sentence that says what they mean."""
    if found.get("soft") is None or found.get("hard") is None:
        return [], ""
    most = max(found["soft"], found["hard"]) or 1.0
    bars = [Variance(name, round(100 * found[key] / most, 1), f"{found[key]:.3g}") for key, name in _KINDS]
    less, more = ("soft targets", "labels") if found["soft"] <= found["hard"] else ("labels", "soft targets")
    low, high = sorted((found["soft"], found["hard"]))
    times = f" by a factor of {high / low:.2g}" if low > 0 and high / low >= 1.05 else ""
    rows = f", over {count(found['rows'])} training rows" if found.get("rows") else ""
    said = (
        f"How much the gradients of single rows differ from their mean{rows}, before the first step: variance by the "
        f"squared norm of the mean, so that weights play no part. It is smaller with {less} than with {more}{times}: "
        "the less of it, the surer each step."
    )
    end = found.get("end") or {}
    if end.get("soft") is not None and end.get("hard") is not None:
        said += f" At the end of training: {end['soft']:.3g} with soft targets, {end['hard']:.3g} with labels."
    return bars, said


def _balance(weights: Mapping[str, float] | None) -> str:
    if not weights:
        return ""
    told = listing([f"{value:.3g} for “{name}”" for name, value in weights.items()])
    return f"With the weights {told}, all terms would have pulled equally hard on average: a yardstick, not advice."
