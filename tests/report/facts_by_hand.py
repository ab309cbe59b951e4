"""Facts written by hand in the shapes that `evidence` returns: an ordinary run, and odd ones."""

import copy
import math
import random
from typing import Any

TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 20.0)
VERSIONS = {"limbeck": "0.1.0", "python": "3.12.1", "torch": "2.9.0", "accelerate": None}
HARDWARE = {"device": "cpu", "name": "x86_64", "bfloat16": False, "processes": 1, "cores": 4, "threads": 1}
EVIL = "<script>alert(1)</script>"


def softened(logits: list[float], temperature: float, head: str = "softmax") -> list[float]:
    if head == "sigmoid":
        return [1 / (1 + math.exp(-logit / temperature)) for logit in logits]
    powers = [math.exp(logit / temperature) for logit in logits]
    return [power / sum(powers) for power in powers]


def answers(rows: int, classes: int, head: str = "softmax", *, who: tuple[str, ...] = ("student", "teacher")) -> Any:
    draw = random.Random(7)
    found: dict[str, Any] = {}
    for name in who:
        logits = [[draw.gauss(0, 3) for _ in range(classes)] for _ in range(rows)]
        found[name] = {f"{t:g}": [softened(row, t, head) for row in logits] for t in TEMPERATURES}
    return found


def samples(columns: dict[str, Any], *, classes: int = 10, rows: int = 7, **more: Any) -> dict[str, Any]:
    return {
        "ids": list(range(100, 100 + rows)),
        "labels": [row % classes for row in range(rows)],
        "classes": [f"class {index}" for index in range(classes)],
        "head": "softmax",
        "columns": columns,
        "answers": answers(rows, classes),
        **more,
    }


def vectors(rows: int = 7, length: int = 64) -> list[list[float]]:
    draw = random.Random(3)
    return [[round(draw.random(), 3) for _ in range(length)] for _ in range(rows)]


def curves(*, taught: bool = True, labels: bool = True, validation: bool = True, points: int = 5) -> dict[str, Any]:
    falling = [2.0 / (1 + index) for index in range(points)]
    terms = {"hard": falling} if labels else {}
    terms |= {"soft": [8 * value for value in falling]} if taught else {}
    at = {"step": [8 * (index + 1) for index in range(points)], "epoch": [float(index + 1) for index in range(points)]}
    scored = {**at, "rows": [250] * points}
    scored |= {"errors": [90.0 - 13 * index for index in range(points)]} if labels else {}
    scored |= {"agreement": [0.3 + 0.1 * index for index in range(points)]} if taught else {}
    return {**at, "terms": {**terms, "loss": falling}, "validation": scored if validation else {}}


def score(errors: float | None, *, rows: int = 350, agreement: float | None = None) -> dict[str, float]:
    found: dict[str, float] = {"rows": rows}
    if errors is not None:
        found |= {"errors": errors, "accuracy": 1 - errors / rows, "nll": 0.25, "brier": 0.11, "ece": 0.03}
    return found if agreement is None else {**found, "agreement": agreement, "kl": 0.18}


RUN: dict[str, Any] = {
    "kind": "run",
    "title": "first",
    "summary": {
        "student": {
            "parameters": 1482,
            "bytes": 5928,
            "fingerprint": "d7bb",
            "train": score(2.0, rows=256, agreement=0.99),
            "validation": score(20.0, rows=250, agreement=0.93),
            "test": score(23.0, agreement=0.94),
        },
        "teacher": {"fingerprint": "a462", **{name: score(5.0) for name in ("train", "validation", "test")}},
        "kept": {"step": 40, "epoch": 5, "rate": 0.01, "chosen_by": "validation"},
        "epochs": 5,
        "steps": 40,
    },
    "setting": {
        "epochs": 5,
        "batch_size": 32,
        "clip_norm": 1.5,
        "seed": 0,
        "data": {"train": {"rows": 256, "fingerprint": "0d1bd443b0f98"}, "validation": None, "test": None},
        "versions": VERSIONS,
        "hardware": HARDWARE,
    },
    "curves": curves(),
    "gradients": {
        "step": [0, 8],
        "epoch": [0.0, 1.0],
        "hard": [0.02, 0.0],
        "soft": [0.5, 1.5],
        "hard·soft": [0.002, 0.0],
    },
    "samples": samples({"features": vectors()}),
}


def run(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(RUN), **changes}


def without(facts: dict[str, Any], *splits: str) -> dict[str, Any]:
    left = copy.deepcopy(facts)
    for models in (left["summary"]["student"], left["summary"]["teacher"] or {}):
        for split in splits:
            models.pop(split, None)
    return left


def no_teacher() -> dict[str, Any]:
    facts = run(curves=curves(taught=False), gradients={}, samples=samples({"features": vectors()}))
    facts["summary"]["teacher"] = None
    for split in ("train", "validation", "test"):
        facts["summary"]["student"][split] = score(23.0)
    facts["samples"]["answers"] = answers(7, 10, who=("student",))
    return facts


def no_labels() -> dict[str, Any]:
    facts = run(curves=curves(labels=False), samples=samples({"features": vectors()}, labels=None))
    for split in ("train", "validation", "test"):
        facts["summary"]["student"][split] = score(None, agreement=0.94)
        facts["summary"]["teacher"][split] = score(None)
    return facts


def sigmoid() -> dict[str, Any]:
    names = ["cat", "dog", "outdoors", "night"]
    labels = [[1.0, 0.0, 1.0, 0.0]] * 6 + [[0.0] * 4]
    shown = samples({"features": vectors(length=5)}, classes=4, labels=labels)
    shown |= {"classes": names, "head": "sigmoid", "answers": answers(7, 4, "sigmoid")}
    return run(samples=shown)


def colour_images(height: int = 6, width: int = 9) -> list[Any]:
    draw = random.Random(5)
    return [[[[draw.randrange(256) for _ in range(width)] for _ in range(height)] for _ in range(3)] for _ in range(7)]


ODD: dict[str, dict[str, Any]] = {
    "no teacher": no_teacher(),
    "no labels": no_labels(),
    "no validation": without(
        run(
            curves=curves(validation=False),
            summary={**RUN["summary"], "kept": {"step": 40, "epoch": 5, "rate": 0.01, "chosen_by": "last"}},
        ),
        "validation",
    ),
    "no test": without(RUN, "test"),
    "training rows alone": without(run(curves=curves(validation=False)), "test", "validation"),
    "a sigmoid head": sigmoid(),
    "no class names": run(samples=samples({"features": vectors()}) | {"classes": None}),
    "texts": run(samples=samples({"text": ["word " * 200, EVIL, "", "c", "d", "e", "f"], "other": list("abcdefg")})),
    "colour images": run(samples=samples({"image": colour_images()})),
    "150 classes": run(samples=samples({"features": vectors(length=5)}, classes=150)),
    "nothing to draw": run(samples=samples({}), gradients={}),
    "a single point": run(
        curves=curves(points=1), gradients={"step": [0], "epoch": [0.0], "hard": [0.1], "soft": [0.2]}
    ),
    "no records": run(
        curves={"step": [], "epoch": [], "terms": {}, "validation": {}},
        gradients={},
        samples={"ids": [], "columns": {}, "answers": {}},
    ),
}
