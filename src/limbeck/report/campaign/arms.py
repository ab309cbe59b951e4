"""Every arm and the teacher: errors seed by seed, in a table, and against size and speed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from limbeck.evidence.words import points
from limbeck.report.campaign.looks import TEACHER, Look, look_of, looks
from limbeck.report.campaign.strips import Scale, scale_of
from limbeck.report.figures.drawing import PALETTE, Figure, Table, Trace, axis, dots, figure, plain
from limbeck.report.words import count, decimal, duration, size

Facts = Mapping[str, Any]


class Row(NamedTuple):
    """One arm, or the teacher."""

    look: Look
    title: str
    mean: str
    dots: list[float]
    """Each seed on the scale, in per cent."""
    place: float | None
    """The mean on the scale."""
    cells: list[str]


class Arms(NamedTuple):
    """The table of all arms."""

    scale: Scale
    rows: list[Row]
    headings: list[str]


class _Cell(NamedTuple):
    key: str
    heading: str


_CELLS = (
    _Cell("nll", "log loss"),
    _Cell("ece", "calibration"),
    _Cell("epochs", "epochs"),
    _Cell("compute", "training, FLOP"),
)


def arms_table(facts: Facts) -> Arms | None:
    """Lay out every arm with its errors seed by seed; None without arms."""
    arms, teacher = facts.get("arms") or [], facts.get("teacher")
    if not arms:
        return None
    rows = (facts.get("rows") or {}).get("test")
    each = {arm["name"]: [100 * wrong / rows for wrong in arm.get("wrong") or []] if rows else [] for arm in arms}
    known = looks(facts)
    values = [value for found in each.values() for value in found] + [arm["mean"] for arm in arms]
    values += [] if teacher is None else [teacher["mean"], *(teacher.get("members") or [])]
    scale = scale_of(values)
    cells = [cell for cell in _CELLS if 2 * sum(arm.get(cell.key) is not None for arm in arms) >= len(arms)]
    lines = [
        Row(
            look=look_of(known, arm["name"]),
            title=arm.get("title") or arm["name"],
            mean=spread(arm["mean"], arm.get("sd")),
            dots=[scale.place(value) for value in each[arm["name"]]],
            place=scale.place(arm["mean"]),
            cells=[_write(cell.key, arm.get(cell.key)) for cell in cells],
        )
        for arm in arms
    ]
    if teacher is not None:
        lines.insert(0, _teacher_row(teacher, scale, len(cells)))
    return Arms(scale=scale, rows=lines, headings=[cell.heading for cell in cells])


def _teacher_row(teacher: Facts, scale: Scale, cells: int) -> Row:
    return Row(
        look=TEACHER,
        title=teacher.get("title") or "the teacher",
        mean=points(teacher["mean"]),
        dots=[scale.place(value) for value in teacher.get("members") or []],
        place=scale.place(teacher["mean"]),
        cells=[""] * cells,
    )


def spread(mean: float, sd: float | None) -> str:
    """A mean and its standard deviation in points: 6.61 ± 0.42."""
    return points(mean) + ("" if sd is None else f" ± {points(sd)}")


def _write(key: str, value: float | None) -> str:
    if value is None:
        return ""
    return scientific(value) if key == "compute" else count(value) if key == "epochs" else decimal(value)


def scientific(value: float) -> str:
    """A large number: 1.2 · 10⁹."""
    if value < 1e4:
        return count(value)
    mantissa, _, power = f"{value:.1e}".partition("e")
    return f"{mantissa} · 10{str(int(power)).translate(str.maketrans('0123456789', '⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


class _Cost(NamedTuple):
    key: str
    title: str
    axis: str
    alt: str


_COSTS = (
    _Cost("bytes", "Errors against size", "size of the weights", "size in bytes"),
    _Cost("seconds_per_row", "Errors against speed", "time to answer one row", "seconds for one row"),
)


def cost_figures(facts: Facts) -> list[Figure]:
    """Draw errors over bytes and over seconds for a row: the teacher, its members, and every arm."""
    return [found for cost in _COSTS if (found := _cost_figure(facts, cost)) is not None]


def _cost_figure(facts: Facts, cost: _Cost) -> Figure | None:
    arms = [arm for arm in facts.get("arms") or [] if arm.get(cost.key)]
    teacher = facts.get("teacher") or {}
    if not arms:
        return None
    known, write = looks(facts), size if cost.key == "bytes" else duration
    points_of = [(look_of(known, arm["name"]), arm["title"], arm[cost.key], arm["mean"], arm.get("sd")) for arm in arms]
    traces = [_member_dots(teacher, teacher[cost.key])] if teacher.get(cost.key) and teacher.get("members") else []
    if teacher.get(cost.key):
        points_of.append((TEACHER, teacher.get("title") or "teacher", teacher[cost.key], teacher["mean"], None))
    traces += [_arm_point(found, write) for found in reversed(points_of)]
    costs = [found[2] for found in points_of]
    return figure(
        cost.title,
        alt=f"Test errors of every arm and of the teacher over the {cost.alt}.",
        caption="Lower is better, further left is cheaper. Filled marks are the teacher and the two arms of the "
        "verdict, with one standard deviation over seeds; hollow ones the other arms."
        + (
            " Small diamonds are the teacher’s members, drawn where the whole of it stands."
            if teacher.get("members")
            else ""
        ),
        traces=traces,
        layout={
            "xaxis": {**axis(f"{cost.axis} (log scale)"), "type": "log", "showgrid": False, **_ticks(costs, write)},
            "yaxis": {**axis("test rows wrong, %"), "rangemode": "tozero"},
        },
        height=360,
        table=Table(
            ["who", cost.axis, "test rows wrong, %"],
            [[title, write(value), spread(mean, sd)] for _, title, value, mean, sd in reversed(points_of)],
        ),
    )


def _arm_point(found: tuple[Look, str, float, float, float | None], write: Any) -> Trace:
    look, title, value, mean, sd = found
    said = f"{plain(title)}: {spread(mean, sd)} %, {write(value)}"
    dot = dots([value], [mean], look.colour, [said], size=13 if look.shown else 9)
    named = {"distilled": "distilled", "teacher": "teacher"}.get(look.name, "alone" if look.shown else "")
    marker = {**dot["marker"], "symbol": look.symbol + ("" if look.shown else "-open"), "opacity": 1}
    reach = (
        {}
        if sd is None or not look.shown
        else {"error_y": {"type": "data", "array": [sd], "thickness": 1.2, "width": 4, "color": look.colour}}
    )
    where = "middle left" if look.name == "teacher" else "middle right"
    text = {"mode": "markers+text", "text": [f"  {named}  "], "textposition": where} if named else {}
    return {**dot, "marker": marker, **reach, **text, "cliponaxis": False}


def _member_dots(teacher: Facts, value: float) -> Trace:
    members: Sequence[float] = teacher["members"]
    hover = [f"a member of the teacher: {points(found)} %" for found in members]
    found = dots([value] * len(members), members, PALETTE["member"], hover, size=7)
    return {**found, "marker": {**found["marker"], "symbol": "diamond-open"}}


def _ticks(values: Sequence[float], write: Any) -> dict[str, Any]:
    """The student's and the teacher's cost by name, with room on both sides for their labels."""
    from math import log10

    low, high = min(values), max(values)
    air = max(0.35, 0.3 * (log10(high) - log10(low)))
    ends = [low, high] if high > 1.5 * low else [high]
    return {
        "tickvals": ends,
        "ticktext": [write(value) for value in ends],
        "range": [log10(low) - air, log10(high) + air],
    }
