"""search.json of `limbeck search`: what was tried for each arm, what was chosen and what mattered; reading it again."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import log
from pathlib import Path
from typing import Any

from limbeck.errors import RunError
from limbeck.evidence.statistics import mean_and_sd
from limbeck.files import read_json, write_json
from limbeck.specification import Json
from limbeck.training.surroundings import versions

SEARCH = "search.json"
"""The file that marks the folder of a search."""

EDGE = 0.05
"""The share of a range that counts as its end."""


def facts_of_search(
    *,
    title: str,
    command: str,
    seeds: Sequence[int],
    arms: Mapping[str, Mapping[str, Json]],
    search: Mapping[str, Mapping[str, Any]] | None = None,
    temperature: Mapping[str, Any] | None = None,
    left_out: Mapping[str, str] | None = None,
    train: str | None = None,
    rows: Mapping[str, Json] | None = None,
) -> dict[str, Any]:
    """Collect the facts of a search.

    Args:
        title: of the page.
        command: that regenerates it.
        seeds: that chose; none of them may judge.
        arms: `{"title", "about"}` of each by name, the distilled student first.
        search: what `Found.as_json` says of each arm; None before it is done.
        temperature: what `Raised.as_json` says, where the temperature was raised step by step instead.
        left_out: arms that could not be searched, and why.
        train: the command that trains the chosen student.
        rows: number and fingerprint of the rows of each split, by which a search that is gone on with knows them.
    """
    return {
        "kind": "search",
        "title": title,
        "finished": search is not None or temperature is not None,
        "selection_seeds": list(seeds),
        "arms": [{"name": name, **about} for name, about in arms.items()],
        "search": None if search is None else dict(search),
        "temperature": None if temperature is None else dict(temperature),
        "left_out": dict(left_out or {}),
        "train": train,
        "rows": dict(rows or {}),
        "provenance": {
            "command": command,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "versions": versions(),
        },
    }


def write_search(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the facts of a search into its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / SEARCH, dict(facts))


def read_search(folder: Path) -> dict[str, Any]:
    """Read the facts of a finished search. Raises: RunError where there is none, or where it has not finished."""
    path = folder / SEARCH
    if not path.is_file():
        raise RunError(f"{folder} holds no search: there is no {SEARCH}.")
    facts: dict[str, Any] = read_json(path)
    if not facts.get("finished"):
        raise RunError(f"The search {folder} has not finished; go on with --resume.")
    return facts


def best_so_far(trials: Sequence[Mapping[str, Any]]) -> list[float]:
    """The lowest validation error up to each trial, in points: whether more trials would have paid."""
    return [min(trial["validation"] for trial in trials[: last + 1]) for last in range(len(trials))]


def sensitivity(trials: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    """For each setting, its value in every trial that has a student and the validation error there, in points."""
    found: dict[str, list[tuple[float, float]]] = {}
    for trial in trials:
        if "failed" not in trial:
            for name, value in trial["settings"].items():
                found.setdefault(name, []).append((value, trial["validation"]))
    return {name: sorted(points) for name, points in found.items()}


def at_an_edge(space: Mapping[str, Mapping[str, Any]], chosen: Mapping[str, float]) -> list[str]:
    """Settings chosen within a twentieth of an end of their range, beyond which there are others: so may be the best.

    `space` is what `space_to_json` says. A range that begins at 0 has nothing below it.
    """
    found = []
    for name, part in space.items():
        if "low" not in part:
            continue
        low, high, value = part["low"], part["high"], chosen[name]
        place = log(value / low) / log(high / low) if part["log"] else (value - low) / (high - low)
        if place > 1 - EDGE or (place < EDGE and low > 0):
            found.append(name)
    return found


def gained(trials: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """What the search was worth on the validation rows, in points, with how far settings spread.

    `own`, the error at the specification's own settings; `best`, that at the chosen; `sd` over all that have a student.
    """
    whole = [trial["validation"] for trial in trials if "failed" not in trial] or [trials[0]["validation"]]
    return {"own": trials[0]["validation"], "best": min(whole), "sd": mean_and_sd(whole)[1]}
