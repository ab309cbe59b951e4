"""How the settings were searched: the same number of trials for the distilled student and for every rival."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.evidence.search_facts import at_an_edge
from limbeck.evidence.words import counted, points
from limbeck.report.campaign.looks import Look, look_of, looks
from limbeck.report.campaign.sensitivity import sensitivity_figure
from limbeck.report.figures.drawing import Figure
from limbeck.report.words import listing, setting, settings, share

Facts = Mapping[str, Any]


class Searched(NamedTuple):
    """One arm's line of the table."""

    look: Look
    trials: int
    chosen: str
    own: str
    """The error at the specification's own settings, which every search tries first."""
    validation: str
    importance: str


class Search(NamedTuple):
    """What the section shows."""

    figures: list[Figure]
    arms: list[Look]
    table: list[Searched]
    equal: str
    cautions: list[str]


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
    lines = [_line(look_of(known, arm), told) for arm, told in found.items()]
    drawn = [sensitivity_figure(name, found, known, first=name == names[0]) for name in names]
    figures = [figure for figure in drawn if figure is not None]
    cautions = [said for line in lines for said in _cautions(line.look.title, found[line.look.name])]
    return Search(figures, [line.look for line in lines], lines, _equal(lines), cautions)


def _line(look: Look, told: Facts) -> Searched:
    importance = sorted((told.get("importance") or {}).items(), key=lambda pair: -pair[1])
    whole = [trial["validation"] for trial in _with_student(told)]
    return Searched(
        look=look,
        trials=len(told["trials"]),
        chosen=settings(told.get("chosen") or {}),
        own="no student" if "failed" in told["trials"][0] else points(told["trials"][0]["validation"]),
        validation=points(min(whole)) if whole else "no student",
        importance="; ".join(f"{setting(name)} {share(value)}" for name, value in importance),
    )


def _equal(lines: list[Searched]) -> str:
    trials = {line.trials for line in lines}
    if len(trials) > 1:
        return f"The arms were given {' or '.join(map(str, sorted(trials)))} trials: not the same number for each."
    given = "Each of these arms was" if len(lines) > 1 else "It was"
    return f"{given} given {counted(trials.pop(), 'trial')}, scored on validation rows by seeds that judge nothing."


def _cautions(title: str, told: Facts) -> list[str]:
    """What to bear in mind: settings chosen where their range ends, and trials that came to no student."""
    chosen = told.get("chosen") or {}
    space = {name: part for name, part in (told.get("space") or {}).items() if name in chosen}
    edges = list(map(setting, at_an_edge(space, chosen)))
    lost = len(told["trials"]) - len(_with_student(told))
    beyond = f"“{title}” chose its {listing(edges)} at an end of the range, beyond which the best may lie."
    failed = f"In {lost} of {counted(len(told['trials']), 'trial')} of “{title}” a loss became NaN or infinite."
    return [beyond] * bool(edges) + [failed] * bool(lost)


def _with_student(told: Facts) -> list[Facts]:
    return [trial for trial in told["trials"] if "failed" not in trial]


def _finished(told: Facts) -> dict[str, Any]:
    """A search without the trials that came to nothing."""
    trials = [trial for trial in told.get("trials") or [] if trial.get("validation") is not None]
    return {**told, "trials": trials}
