"""How the settings were searched: the same number of trials for the distilled student and for every rival."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.evidence.words import points
from limbeck.report.campaign.looks import Look, look_of, looks
from limbeck.report.figures.drawing import Figure, Table, Trace, dots, figure, log_axis, plain, ring
from limbeck.report.words import rate, share

Facts = Mapping[str, Any]

GROUP = "search"


class Searched(NamedTuple):
    """One arm's line of the table."""

    look: Look
    trials: int
    chosen: str
    validation: str
    importance: str


class Search(NamedTuple):
    """What the section shows."""

    figures: list[Figure]
    arms: list[Look]
    table: list[Searched]
    equal: str


def search(facts: Facts) -> Search | None:
    """Lay out the searches; None where nothing was searched."""
    found = {name: _finished(told) for name, told in (facts.get("search") or {}).items() if told}
    found = {name: told for name, told in found.items() if told["trials"]}
    if not found:
        return None
    known = looks(facts)
    names = list(
        dict.fromkeys(name for told in found.values() for trial in told["trials"] for name in trial["settings"])
    )
    lines = [
        Searched(
            look_of(known, arm),
            len(told["trials"]),
            settings(told.get("chosen") or {}),
            points(min(trial["validation"] for trial in told["trials"])),
            "; ".join(
                f"{name.replace('_', ' ')} {share(value)}" for name, value in (told.get("importance") or {}).items()
            ),
        )
        for arm, told in found.items()
    ]
    trials = {line.trials for line in lines}
    equal = (
        f"Each of these arms was given {trials.pop()} trials, scored on validation rows by seeds that judge nothing."
        if len(trials) == 1
        else f"The arms were given {' or '.join(map(str, sorted(trials)))} trials: not the same number for each."
    )
    drawn = [_sensitivity(name, found, known, first=name == names[0]) for name in names]
    return Search([figure for figure in drawn if figure is not None], [line.look for line in lines], lines, equal)


def _finished(told: Facts) -> dict[str, Any]:
    """A search without the trials that came to nothing."""
    trials = [trial for trial in told.get("trials") or [] if trial.get("validation") is not None]
    return {**told, "trials": trials}


def settings(chosen: Mapping[str, Any]) -> str:
    """Settings in a row: rate 0.003, temperature 4."""
    return ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in chosen.items())


def number(value: Any) -> str:
    """A setting's value with three digits that matter."""
    return f"{value:.3g}" if isinstance(value, float) else rate(value) if isinstance(value, int) else str(value)


def _sensitivity(name: str, found: Mapping[str, Facts], known: Mapping[str, Look], *, first: bool) -> Figure | None:
    tried = {
        arm: sorted(
            (trial["settings"][name], trial["validation"]) for trial in told["trials"] if name in trial["settings"]
        )
        for arm, told in found.items()
    }
    tried = {arm: pairs for arm, pairs in tried.items() if len({value for value, _ in pairs}) > 1}
    if not tried:
        return None
    title = name.replace("_", " ")
    anybody = any(look_of(known, arm).shown for arm in tried)
    traces: list[Trace] = []
    for arm, pairs in tried.items():
        look = look_of(known, arm)
        told = {"meta": arm, "visible": look.shown or not anybody}
        hover = [f"{plain(look.title)}: {plain(title)} {number(value)}, {points(error)} %" for value, error in pairs]
        dot = dots([value for value, _ in pairs], [error for _, error in pairs], look.colour, hover)
        marker = {"color": look.colour, "size": 9, "symbol": look.symbol, "opacity": 0.85}
        named = {} if anybody else {"name": plain(look.title), "showlegend": True}
        traces.append({**dot, "marker": marker, **told, **named})
        chosen = (found[arm].get("chosen") or {}).get(name)
        rings = [ring(*pair, look.colour) for pair in pairs if chosen is not None and pair[0] == chosen]
        traces += [{**found, **told} for found in rings[:1]]
    values = [value for pairs in tried.values() for value, _ in pairs]
    errors = [error for pairs in tried.values() for _, error in pairs]
    return figure(
        f"Validation error over {title}",
        alt=f"Validation error of every trial over {title}, for each arm; the chosen ones ringed.",
        caption="Each mark is one trial; the chosen one is ringed. Where the marks fall in a clear valley the setting "
        "matters; where they scatter it does not, or luck is larger."
        if first
        else f"The same trials over {title}."
        if anybody
        else f"The trials of those arms that have {title} to choose.",
        traces=traces,
        layout={
            "xaxis": {**log_axis(title, values), "showgrid": False},
            "yaxis": log_axis("validation rows wrong, %", errors),
        },
        height=320,
        table=Table(
            ["arm", title, "validation rows wrong, %"],
            [
                [look_of(known, arm).title, number(value), points(error)]
                for arm, pairs in tried.items()
                for value, error in pairs
            ],
        ),
        group=GROUP if anybody else "",
    )
