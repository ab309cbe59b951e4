"""How much each setting matters: the validation error of every trial over one setting, arm by arm."""

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any, NamedTuple

from limbeck.evidence.search_facts import sensitivity
from limbeck.evidence.words import points
from limbeck.report.campaign.looks import Look, look_of
from limbeck.report.figures.drawing import Figure, Table, Trace, axis, dots, figure, log_axis, plain, ring
from limbeck.report.words import number, setting

GROUP = "search"


class _Tried(NamedTuple):
    """One arm's trials, as one setting sees them."""

    look: Look
    points: list[tuple[float, float]]
    """The setting's value and the validation error of each trial that has a student."""
    lost: list[float]
    """The setting's values in the trials whose loss became NaN or infinite."""
    chosen: float | None
    space: Mapping[str, Any]
    """Where it was looked for, as `space_to_json` says; empty where nobody knows."""


def sensitivity_figure(
    name: str, found: Mapping[str, Mapping[str, Any]], known: Mapping[str, Look], *, first: bool
) -> Figure | None:
    """Draw all trials over the setting `name`; None where no arm tried two values of it.

    Args:
        name: of the setting.
        found: the section `search` of the facts.
        known: the look of each arm.
        first: whether this is the first of such figures, which explains them.
    """
    tried = [one for one in (_tried(name, told, look_of(known, arm)) for arm, told in found.items()) if one is not None]
    if not tried:
        return None
    title = setting(name)
    anybody = any(one.look.shown for one in tried)
    errors = [error for one in tried for _, error in one.points]
    top = _above(errors)
    lost = any(one.lost for one in tried)
    explained = first and any("failed" in trial for told in found.values() for trial in told["trials"])
    return figure(
        f"Validation error over {title}",
        alt=f"Validation error of every trial over {title}, for each arm; the chosen ones ringed.",
        caption=_caption(title, first=first, anybody=anybody, crosses=explained),
        traces=[trace for one in tried for trace in _traces(one, title, top, anybody=anybody)],
        layout={
            "xaxis": {**_across(title, tried), "showgrid": False},
            "yaxis": log_axis("validation rows wrong, %", [*errors, top] if lost else errors),
        },
        height=320,
        table=Table(
            ["arm", title, "validation rows wrong, %"],
            [[one.look.title, number(value), said] for one in tried for value, said in _told(one)],
        ),
        group=GROUP if anybody else "",
    )


def _tried(name: str, told: Mapping[str, Any], look: Look) -> _Tried | None:
    trials = [trial for trial in told["trials"] if name in trial["settings"]]
    lost = [trial["settings"][name] for trial in trials if "failed" in trial]
    found = _Tried(
        look=look,
        points=sensitivity(trials).get(name, []),
        lost=lost,
        chosen=(told.get("chosen") or {}).get(name),
        space=(told.get("space") or {}).get(name) or {},
    )
    return found if found.points and len(set(_values(found))) > 1 else None


def _values(one: _Tried) -> list[float]:
    return [*(value for value, _ in one.points), *one.lost]


def _across(title: str, tried: Sequence[_Tried]) -> dict[str, Any]:
    """The axis of the setting: logarithmic where it was searched so; a few choices stand side by side, 0 among them."""
    values = sorted({value for one in tried for value in _values(one)})
    if all("values" in one.space for one in tried):
        ticks = {"tickvals": values, "ticktext": list(map(number, values))}
        return {**axis(title), "type": "category", "categoryorder": "array", "categoryarray": values, **ticks}
    if any(one.space.get("log") is False for one in tried):
        return axis(title)
    return log_axis(title, values)


def _told(one: _Tried) -> list[tuple[float, str]]:
    return [*((value, points(error)) for value, error in one.points), *((value, "no student") for value in one.lost)]


def _above(errors: Sequence[float]) -> float:
    """A level above all errors for what has none: a tenth of their range higher, as the axis counts."""
    low, high = min(errors), max(errors)
    if low > 0 and high >= 4 * low:
        return high * exp(0.1 * log(high / low))
    return high + 0.1 * ((high - low) or high or 1.0)


def _traces(one: _Tried, title: str, top: float, *, anybody: bool) -> list[Trace]:
    """A mark for each trial, a ring around the chosen one, and crosses at the top for those without a student.

    Their error stands in the record as 100 %, which would press all others flat.
    """
    look = one.look
    told = {"meta": look.name, "visible": look.shown or not anybody}
    named = {} if anybody else {"name": plain(look.title), "showlegend": True}
    hover = [f"{plain(look.title)}: {plain(title)} {number(value)}, {points(error)} %" for value, error in one.points]
    marks = dots([value for value, _ in one.points], [error for _, error in one.points], look.colour, hover)
    marks["marker"] |= {"size": 9, "symbol": look.symbol, "opacity": 0.85}
    rings = [ring(*pair, look.colour) for pair in one.points if pair[0] == one.chosen]
    hover = [f"{plain(look.title)}: {plain(title)} {number(value)}, no student" for value in one.lost]
    crosses = dots(one.lost, [top] * len(one.lost), look.colour, hover, size=9)
    crosses["marker"] |= {"symbol": "x-thin", "line": {"color": look.colour, "width": 2}}
    drawn = [marks | named, *rings[:1], *([crosses] if one.lost else [])]
    return [{**trace, **told} for trace in drawn]


def _caption(title: str, *, first: bool, anybody: bool, crosses: bool) -> str:
    if first:
        said = (
            "Each mark is one trial; the chosen one is ringed. Where the marks fall in a clear valley the setting "
            "matters; where they scatter it does not, or luck is larger."
        )
    elif anybody:
        said = f"The same trials over {title}."
    else:
        said = f"The trials of those arms that have {title} to choose."
    return f"{said} A cross at the top is a trial whose loss became NaN or infinite." if crosses else said
