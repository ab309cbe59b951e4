"""Predictions in a JSONL file of top-k log-probabilities, as model APIs return them.

A verbaliser says which tokens mean which class. Tokens of one class are added up; tokens of no class, and what was not
returned, are the row's discarded mass: the classes are divided by their sum. Of a class of which no token was returned
it is known that it has at most the smallest returned probability, and that all such classes together have at most what
was not returned: it gets half of the smaller of the smallest returned probability and its equal share of the rest.

Shape legend, this file:  N rows, C classes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import torch

from limbeck.errors import ArgumentError, DataError
from limbeck.targets.imports.arrays import Predictions, predictions
from limbeck.targets.imports.replies import Reply, reply_of
from limbeck.targets.imports.source import ROW_NUMBERS
from limbeck.targets.imports.verbaliser import Verbaliser, Words

Missing: TypeAlias = Literal["refuse", "leave out"]
"""What to do where rows have no usable answer."""

_ROUNDING = 1e-6
"""Least mass that may be missing from a row: log-probabilities come with about seven digits."""
_SHOWN = 8


class RowScores(NamedTuple):
    """One row, seen through the verbaliser."""

    log_probs: tuple[float, ...]
    """C numbers: the logarithms of the classes' probabilities, summing to 1."""
    kept: float
    """The probability of all tokens that mean a class, in (0, 1]."""
    unseen: int
    """How many classes had no token among those returned."""


def read_jsonl(
    path: Path,
    *,
    classes: Sequence[str] | None,
    verbaliser: Words | str | Path | None = None,
    missing: Missing = "refuse",
    marks: Sequence[str] = (),
) -> Predictions:
    """Read a file of replies, one a line.

    Args:
        path: The file.
        classes: The names of the classes; None for those of the verbaliser.
        verbaliser: The tokens of each class, or a JSON file of them; None for the names of the classes.
        missing: What to do about rows that failed or whose tokens mean no class: refuse the file, or leave them out.
        marks: What is known of where the predictions come from.

    Raises: DataError for a line that is no JSON, lines without ids among others, an id that comes twice, and rows
    without a usable answer, by id, unless they may be left out.
    """
    if missing not in ("refuse", "leave out"):
        raise ArgumentError(f"read_targets: missing must be 'refuse' or 'leave out'. Got {missing!r}.")
    where = f"The file {path}"
    means = Verbaliser.of(verbaliser, classes)
    replies, notes = _numbered(where, _lines(path, where))
    found, failed = _scored(where, replies, means)
    if failed and (missing == "refuse" or not found):
        _refuse(where, failed, len(found), means)
    if failed:
        notes.append(f"{len(failed)} rows without a usable answer were left out: {_listed(failed)}.")
    ids = sorted(found)
    rows = [found[row] for row in ids]
    notes.extend(_summary(ids, rows))
    result = predictions(
        ids,
        logits=torch.tensor([row.log_probs for row in rows], dtype=torch.float64),
        classes=means.classes,
        marks=marks,
        where=where,
    )
    return replace(result, notes=tuple(notes), left_out=tuple(sorted(failed)))


def scores(reply: Reply, means: Verbaliser) -> RowScores | None:
    """Add up a reply's tokens by class; None where no token means a class.

    >>> means = Verbaliser({"yes": "yes", "no": "no"})
    >>> half, quarter = math.log(0.5), math.log(0.25)
    >>> row = scores(Reply(0, "0", (("Yes", half), (" yes", quarter))), means)
    >>> row.kept, [round(math.exp(value), 4) for value in row.log_probs]  # "no": 0.125 beside 0.75
    (0.75, [0.8571, 0.1429])
    """
    mass = [0.0] * len(means.classes)
    for token, log_prob in (*reply.top, *reply.extra):
        index = means.class_of(token)
        if index is not None:
            mass[index] += math.exp(log_prob)
    kept = sum(mass)
    if kept <= 0:
        return None
    unseen = sum(value == 0 for value in mass)
    if unseen:
        smallest = math.exp(min(log_prob for _, log_prob in reply.top))
        returned = sum(math.exp(log_prob) for _, log_prob in (*reply.top, *reply.extra))
        floor = min(smallest, max(1 - returned, _ROUNDING) / unseen) / 2
        mass = [value or floor for value in mass]
    total = sum(mass)
    return RowScores(tuple(math.log(value / total) for value in mass), min(kept, 1.0), unseen)


def _lines(path: Path, where: str) -> list[Reply]:
    replies: list[Reply] = []
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    replies.append(_reply(where, number, line))
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text: {error.reason} at byte {error.start}.") from error
    if not replies:
        raise DataError(f"{where} must have at least one line.")
    return replies


def _reply(where: str, number: int, line: str) -> Reply:
    try:
        return reply_of(line)
    except ValueError as error:
        raise DataError(f"{where}: line {number} cannot be read: {str(error).rstrip('.')}.") from error


def _numbered(where: str, replies: list[Reply]) -> tuple[list[tuple[int, Reply]], list[str]]:
    """Give each reply its row's id: its own, or the line's number where no line bears one."""
    unnumbered = [(line, reply) for line, reply in enumerate(replies) if reply.id is None]
    named = next((reply.name for _, reply in unnumbered if reply.name is not None), None)
    if named is not None:
        raise DataError(f"{where}: the id {named!r} must be a whole number, or end in one, as in 'row-17'.")
    if len(unnumbered) == len(replies):
        return list(enumerate(replies)), [ROW_NUMBERS]
    if unnumbered:
        raise DataError(
            f"{where}: every line must have a custom_id or an id, or none. {len(unnumbered)} of {len(replies)} lines "
            f"have none, line {unnumbered[0][0] + 1} for one."
        )
    numbered = [(reply.id, reply) for reply in replies if reply.id is not None]
    return numbered, _gaps({number for number, _ in numbered})


def _gaps(ids: set[int]) -> list[str]:
    """Name the ids that are not there between the lowest and the highest; nothing where they are not consecutive."""
    low, high = min(ids), max(ids)
    count = high - low + 1 - len(ids)
    if not 0 < count <= len(ids):
        return []
    absent = [number for number in range(low, high + 1) if number not in ids]
    return [f"Of the ids {low} to {high}, {count} are not in the file: {_some(absent)}."]


def _scored(
    where: str, replies: list[tuple[int, Reply]], means: Verbaliser
) -> tuple[dict[int, RowScores], dict[int, str]]:
    """Return the rows with a usable answer, and why the others have none. An answer after a failure counts."""
    found: dict[int, RowScores] = {}
    names: dict[int, str | None] = {}
    failed: dict[int, str] = {}
    for number, reply in replies:
        row = scores(reply, means) if reply.failure is None else None
        if row is None:
            failed.setdefault(number, reply.failure or f"no class among its tokens ({_tokens(reply)})")
            continue
        if number in found:
            raise DataError(
                f"{where}: ids must be distinct. Id {number} has two answers ({names[number]!r} and {reply.name!r})."
            )
        found[number], names[number] = row, reply.name
    return found, {number: why for number, why in failed.items() if number not in found}


def _refuse(where: str, failed: Mapping[int, str], usable: int, means: Verbaliser) -> None:
    if not usable:
        raise DataError(
            f"{where}: no row has a usable answer: {_listed(failed)}. The tokens must mean one of the classes "
            f"{_some([repr(name) for name in means.classes])}; say which do with a verbaliser."
        )
    raise DataError(
        f"{where}: {len(failed)} of {usable + len(failed)} rows have no usable answer: {_listed(failed)}. Ask for them "
        "again, or leave them out (missing='leave out') of the file and of the data."
    )


def _summary(ids: list[int], rows: list[RowScores]) -> list[str]:
    least = min(range(len(rows)), key=lambda index: rows[index].kept)
    mean = sum(1 - row.kept for row in rows) / len(rows)
    notes = [
        f"{mean:.2%} of the probability lay on tokens of no class and was discarded, on average; the most, "
        f"{1 - rows[least].kept:.2%}, in row {ids[least]}."
    ]
    unseen = [number for number, row in zip(ids, rows, strict=True) if row.unseen]
    if unseen:
        notes.append(
            f"In {len(unseen)} of {len(rows)} rows a class was not among the returned tokens and got half of what it "
            f"can have at most: {_some(unseen)}."
        )
    return notes


def _tokens(reply: Reply) -> str:
    return _some([repr(token) for token, _ in reply.top])


def _listed(failed: Mapping[int, str]) -> str:
    shown = "; ".join(f"{number}: {why}" for number, why in sorted(failed.items())[:_SHOWN])
    return shown if len(failed) <= _SHOWN else f"{shown}; and {len(failed) - _SHOWN} more"


def _some(items: Sequence[object]) -> str:
    shown = ", ".join(map(str, items[:_SHOWN]))
    return shown if len(items) <= _SHOWN else f"{shown} and {len(items) - _SHOWN} more"
