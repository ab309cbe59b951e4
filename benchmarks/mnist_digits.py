"""The parts of docs/mnist.md on single digits, and what their teacher says of them at several temperatures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnist_record import NOT_YET, Table, listed, percent, whole

NAMED = 2
"""Likenesses of a class that the table names."""


def softened(table: Table) -> Iterator[str]:
    """What the teacher says of digits that it is not sure of."""
    if not table.softened:
        yield NOT_YET
        return
    told = [_softened_words(entry) for entry in table.softened]
    yield from (f"![{' '.join(told)}](figures/mnist-softened.svg)", "", *(f"- {one}" for one in told))


def sure(table: Table) -> Iterator[str]:
    """What the teacher says of digits that it is sure of: which others they are like, and how little at T = 1."""
    found = table.sure
    if found is None:
        yield NOT_YET
        return
    counts = found["most_like"]
    median = found["median_of_most_like"]
    besides = "" if median is None else f" The likeliest class besides has {_probability(median)} in the median."
    yield (
        f"Of {whole(sum(map(sum, counts)))} of the {whole(found['rows'])} training digits the teacher is sure: the "
        f"right class has a probability of {found['least']:g} or more at T = 1.{besides} Which class that is depends "
        "on the digit:"
    )
    yield from ("", "| sure of | rows | likeliest besides |", "| --- | ---: | --- |")
    yield from (line for digit, likes in enumerate(counts) if (line := _likenesses(digit, likes)))
    likely = sorted({_besides(entry)[0] for entry in found["digits"]})
    told = [_sure_words(entry, likely) for entry in found["digits"]]
    if told:
        yield from ("", f"![{' '.join(told)}](figures/mnist-sure.svg)", "", *(f"- {one}" for one in told))


def _likenesses(digit: int, likes: list[int]) -> str:
    rows = sum(likes)
    if not rows:
        return ""
    first = sorted(range(len(likes)), key=lambda other: -likes[other])[:NAMED]
    shares = [f"{_a(other)} ({percent(likes[other] / rows)})" for other in first if likes[other]]
    return f"| {_a(digit)} | {whole(rows)} | {listed(shares)} |"


def _softened_words(entry: Mapping[str, Any]) -> str:
    at = _by_temperature(entry)
    second = _besides(entry)[0]
    values = listed([f"{_probability(at[key][second])} at T = {key:g}" for key in sorted(at)])
    return f"{_a(entry['label']).capitalize()} (row {entry['id']}): it might also be {_a(second)}, with {values}."


def _sure_words(entry: Mapping[str, Any], others: Sequence[int]) -> str:
    """The same others for all digits, so that these can be compared."""
    at = _by_temperature(entry)
    ends = [f"T = {key:g}" for key in (min(at), max(at))]
    values = [
        f"{_a(other)} has {_probability(at[min(at)][other])} and {_probability(at[max(at)][other])}" for other in others
    ]
    return f"{_a(entry['label']).capitalize()} (row {entry['id']}), at {listed(ends)}: {'; '.join(values)}."


def _by_temperature(entry: Mapping[str, Any]) -> dict[float, list[float]]:
    return {float(key): values for key, values in entry["probabilities"].items()}


def _besides(entry: Mapping[str, Any]) -> list[int]:
    """The other classes, the likeliest first."""
    at = _by_temperature(entry)
    first = at[min(at)]
    return sorted((digit for digit in range(len(first)) if digit != entry["label"]), key=lambda digit: -first[digit])


def _a(digit: int) -> str:
    return f"{'an' if digit == 8 else 'a'} {digit}"


def _probability(value: float) -> str:
    if value >= 0.001:
        return f"{value:.3f}"
    digits, _, power = f"{value:.0e}".partition("e")
    return f"{digits} · 10{str(int(power)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"
