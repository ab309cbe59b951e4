"""What a sweep came to, in sentences: for its page and for the terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from limbeck.evidence.words import counted, percent, points
from limbeck.report.words import count, listing, setting

Facts = Mapping[str, Any]


def value_in_words(over: str, value: float) -> str:
    """Write a value of the number that was swept: 0.1 of the rows are 10 %.

    >>> value_in_words("temperature", 4.0), value_in_words("rows", 0.1)
    ('4', '10 %')
    """
    return f"{100 * value:.6g}\u00a0%" if over == "rows" else f"{value:.6g}"


def place(over: str, value: float) -> str:
    """Say where that is: at the temperature 4, with 10 % of the training rows, after 60 epochs."""
    told = value_in_words(over, value)
    known = {"rows": f"with {told} of the training rows", "epochs": f"after {counted(round(value), 'epoch')}"}
    return known.get(over, f"at the {setting(over)} {told}")


def scored_on(facts: Facts) -> str:
    """Name the rows that errors were counted on."""
    return f"{facts['score']} rows"


def headline(facts: Facts) -> str:
    """State which value has the fewest errors, and how many."""
    best = best_of(facts)
    if best is None:
        return f"No value of the {setting(facts['over'])} has a student at every seed: a loss became NaN or infinite."
    mean = "one seed" if len(facts["seeds"]) == 1 else f"the mean of {len(facts['seeds'])} seeds"
    return (
        f"The fewest {scored_on(facts)} are wrong {place(facts['over'], best['value'])}: "
        f"{points(best['mean'])}\u00a0%, {mean}."
    )


def findings(facts: Facts) -> list[str]:
    """Tell which values cannot be told apart from the best, what the student alone does, and what failed."""
    return [*_apart(facts), *_alone(facts), *_lengths(facts), *_failed(facts)]


def cautions(facts: Facts) -> list[str]:
    """Tell what must not be read into the numbers."""
    chose = f"The {scored_on(facts)} say here which value is best, so its errors flatter"
    if facts["score"] == "test":
        picked = f"{chose}. A value that is picked by test rows needs other rows to be judged."
    else:
        picked = (
            f"{chose}; where checkpoints are kept by them too, they flatter every value. Only runs at other seeds, "
            "scored on test rows, judge."
        )
    level = percent(facts["level"])
    single = f"Each {level} interval is for one value, over seeds; of many such intervals some miss."
    return [picked, *([single] if len(facts["seeds"]) > 1 else [])]


def difference_in_words(told: Mapping[str, Any] | None) -> str:
    """Write a difference with its interval: 1.20 [0.40, 2.00]."""
    if told is None:
        return ""
    return f"{points(told['mean'])}{interval_in_words(told['interval'], ' ')}"


def interval_in_words(interval: Sequence[float] | None, before: str = "") -> str:
    """Write an interval: [0.40, 2.00]; nothing for none."""
    return "" if interval is None else f"{before}[{points(interval[0])}, {points(interval[1])}]"


def best_of(facts: Facts) -> Mapping[str, Any] | None:
    """The point with the fewest errors; None where every value failed."""
    return next((point for point in facts["points"] if point["value"] == facts["best"]), None)


def _apart(facts: Facts) -> list[str]:
    best = best_of(facts)
    others = [point for point in facts["points"] if point["difference"] is not None and point is not best]
    if best is None or not others:
        return []
    if others[0]["difference"]["interval"] is None:
        return ["One seed has no spread, so it cannot tell values apart."]
    alike = [point["value"] for point in others if point["difference"]["interval"][0] <= 0]
    level, seeds = percent(facts["level"]), counted(len(facts["seeds"]), "paired seed")
    if not alike:
        return [f"Every other value has more errors than the best, by {level} intervals over {seeds}."]
    told = listing([value_in_words(facts["over"], value) for value in alike])
    return [f"Not told apart from the best by {level} intervals over {seeds}: {told}."]


def _alone(facts: Facts) -> list[str]:
    if facts["why_not_alone"]:
        return [f"There is no student alone beside it. {facts['why_not_alone']}"]
    if not facts["alone"]:
        return []
    settings = "at its own settings as given, not tuned"
    if facts["follows"]:
        length = "on as many rows for as many epochs"
        return [f"Beside each value stands the student alone at the same seeds: {length}, {settings}."]
    (alone,) = facts["alone"]
    who = f"The student alone, at the same seeds for {counted(alone['epochs'], 'epoch')}, {settings},"
    if alone["mean"] is None:
        return [f"{who} has no mean: a loss became NaN or infinite."]
    said = f"{who} leaves {points(alone['mean'])}\u00a0% wrong"
    return [f"{said}{_more(alone['difference'])}."]


def _more(told: Mapping[str, Any] | None) -> str:
    if told is None:
        return ""
    size = f"{points(abs(told['mean']))} points {'more' if told['mean'] >= 0 else 'fewer'} than at the best value"
    ends = told["interval"]
    return f", {size}" + (f" (difference {interval_in_words(ends)})" if ends is not None else "")


def _lengths(facts: Facts) -> list[str]:
    """Of a sweep over the share of rows, how long each was trained."""
    if facts["fixed"] is None:
        return []
    told = [f"{count(point['rows'])} rows in {counted(point['epochs'], 'epoch')}" for point in facts["points"]]
    if facts["fixed"] == "epochs":
        return [f"Every share has as many epochs, so that fewer rows come to fewer optimiser steps: {listing(told)}."]
    return [f"Every share has as many optimiser steps, to the nearest epoch: {listing(told)}."]


def _failed(facts: Facts) -> list[str]:
    return [
        f"Failed{who} {place(facts['over'], point['value'])}: at {count(len(point['failed']))} of "
        f"{counted(len(facts['seeds']), 'seed')} a loss became NaN or infinite, so there is no mean."
        for who, told in (("", facts["points"]), (", the student alone", facts["alone"] if facts["follows"] else []))
        for point in told
        if point["failed"]
    ]
