"""The part of docs/mnist.md that says how each network of the main table was trained."""

from collections.abc import Iterator, Mapping
from typing import Any

from mnist_record import NOT_YET, Line, Table

TRAINED = (
    "teacher",
    "student-alone",
    "student-alone-tuned",
    "distilled-T20",
    "distilled-arithmetic",
    "omit-3",
    "omit-3-soft",
    "best-teacher",
    "best-recipe",
    "best-recipe-alone",
)
"""Rows whose settings are shown; others have those of one of these."""
HEADS = ("row", "network", "images", "learns from", "T", "epochs × rows a step", "peak rate", "regularised by")


def trained(table: Table) -> Iterator[str]:
    """Network, images, objective, schedule and regularisation of the main rows."""
    lines = [line for name in TRAINED if (line := table[name]) is not None and "epochs" in line.settings]
    if not lines:
        yield NOT_YET
        return
    yield from (f"| {' | '.join(HEADS)} |", "| --- | --- | --- | --- | ---: | ---: | ---: | --- |")
    yield from (f"| {' | '.join(_cells(line))} |" for line in lines)


def _cells(line: Line) -> list[str]:
    said = line.settings
    temperature = f"{said['temperature']:g}" if said.get("soft") else ""
    schedule = f"{said['epochs']} × {said.get('batch_size', '')}"
    return [
        f"`{line.name}`",
        _network(said),
        _images(said),
        _objective(said),
        temperature,
        schedule,
        f"{said.get('rate', 0):g}",
        _regularised(said),
    ]


def _network(said: Mapping[str, Any]) -> str:
    shape = f"two convolutions, {said.get('units')}" if said.get("convolutional") else f"2×{said.get('units')}"
    return shape + (", inputs standardised" if said.get("standardised") else "")


def _images(said: Mapping[str, Any]) -> str:
    moved = "as they are"
    if said.get("elastic"):
        moved = f"bent ({said['elastic']:g} px), turned ({said.get('rotation', 0):g}°), stretched, moved"
        moved += f"; {100 * said['plain']:g} % as they are" if said.get("plain") else ""
    elif said.get("jitter"):
        moved = f"moved by up to {said['jitter']} px"
    return moved + (f"; {said['views']} views" if said.get("views") else "")


def _objective(said: Mapping[str, Any]) -> str:
    soft, hard = said.get("soft"), said.get("hard")
    if not soft:
        return "labels"
    return "soft targets" if not hard else f"{soft:g} soft targets + {hard:g} labels"


def _regularised(said: Mapping[str, Any]) -> str:
    parts = [
        f"{words} {said[name]:g}"
        for name, words in (
            ("input_dropout", "dropout of inputs"),
            ("dropout", "dropout"),
            ("max_norm", "norms up to"),
            ("smoothing", "smoothing"),
            ("weight_decay", "weight decay"),
        )
        if said.get(name)
    ]
    return ", ".join(parts) or "nothing"
