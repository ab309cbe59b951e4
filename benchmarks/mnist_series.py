"""What the figures of docs/mnist.md show, as plain numbers: what is drawn, and a digest that finds a stale drawing."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_families import KINDS, WITH_VIEWS, objective_words
from mnist_record import Line, Table

Series = Mapping[str, Any]

MAIN_UP_TO = 1000
"""Rows with more errors than this do not share a figure with the others."""


def series(table: Table, main: Sequence[str]) -> dict[str, Series]:
    """The data of every figure that has any, by the figure's name."""
    found: dict[str, Series] = {
        "rows": _rows(table, main),
        "temperatures": {f"{units} units a layer": _curve(table.curve(f"temperature-{units}")) for units in (300, 30)},
        "objectives": {objective_words(line.name): line.values for line in table.family("objective")},
        "fewer-rows": {told: _curve(table.curve("fewer-rows", kind)) for kind, told in WITH_VIEWS.items()},
        "rates": {KINDS[kind]: _curve(table.curve("rate", kind)) for kind in ("soft", "hard")},
        "softened": _digits(table.softened),
        "sure": _digits([] if table.sure is None else table.sure["digits"]),
    }
    return {name: kept for name, data in found.items() if (kept := {key: one for key, one in data.items() if one})}


def _rows(table: Table, main: Sequence[str]) -> Series:
    lines = [line for name in main if (line := table[name]) is not None and line.mean < MAIN_UP_TO]
    return {
        line.name: {"values": line.values, "paper": line.paper, "interval": table.stand(line).interval}
        for line in lines
    }


def _digits(entries: Sequence[Mapping[str, Any]]) -> Series:
    return {f"{entry['label']}, row {entry['id']}": entry for entry in entries}


def _curve(lines: Sequence[Line]) -> list[dict[str, Any]]:
    return [{"x": line.x, "values": line.values} for line in lines]


def digest(data: Series) -> str:
    """A fingerprint of a figure's data, which the figure bears; intervals to nine digits, as libraries differ."""
    rounded = json.loads(json.dumps(data), parse_float=lambda text: float(f"{float(text):.9g}"))
    return hashlib.sha256(json.dumps(rounded, sort_keys=True).encode()).hexdigest()[:16]
