"""Facts of searches written by hand, in the shape of search.json: an ordinary one, a raised temperature, odd ones."""

import copy
import math
import random
from typing import Any

SPACE = {
    "rate": {"low": 1e-3, "high": 1.0, "log": True, "whole": False},
    "weight_decay": {"values": [0.0, 1e-5, 1e-4, 1e-3, 1e-2]},
    "temperature": {"values": [1.0, 2.0, 4.0, 8.0]},
    "hard_weight": {"low": 0.0, "high": 1.0, "log": False, "whole": False},
}
LOST = {"validation": 100.0, "nll": None, "failed": "The loss became NaN at step 3."}


def found(names: tuple[str, ...], seed: int, *, trials: int = 20, worst: float = 0.0) -> dict[str, Any]:
    """Trials over the settings `names`: a valley in the rate, and no student above the rate `worst`, where given."""
    draw, tried = random.Random(seed), []
    for place in range(trials):
        settings = {
            "rate": 0.2 if place == 0 else 10 ** draw.uniform(-3, 0),
            "weight_decay": draw.choice(SPACE["weight_decay"]["values"]),
            "temperature": draw.choice([1.0, 2.0, 4.0, 8.0]),
            "hard_weight": draw.random(),
        }
        settings = {name: settings[name] for name in names}
        valley = (math.log10(settings["rate"]) + 2) ** 2
        scored = {"validation": 5.5 + 2.5 * valley + draw.random(), "nll": 0.2 + 0.1 * valley}
        tried.append({"settings": settings, **(LOST if worst and settings["rate"] > worst else scored)})
    best = min(tried, key=lambda trial: trial["validation"])
    return {
        "trials": tried,
        "chosen": best["settings"],
        "space": {name: SPACE[name] for name in names},
        "importance": {names[-1]: 0.2, "rate": 0.8},
        "validation": best["validation"],
        "seeds": [1000, 1001],
    }


SEARCH: dict[str, Any] = {
    "kind": "search",
    "title": "Settings for digits",
    "finished": True,
    "selection_seeds": [1000, 1001],
    "arms": [
        {"name": "distilled", "title": "student, distilled", "about": "The student with its teacher."},
        {"name": "alone", "title": "student alone, tuned", "about": "No teacher: the labels alone."},
        {"name": "smoothed", "title": "student alone with label smoothing", "about": "The labels, smoothed."},
    ],
    "search": {
        "distilled": found(("rate", "weight_decay", "temperature", "hard_weight"), 1, worst=0.5),
        "alone": found(("rate", "weight_decay"), 2),
        "smoothed": found(("rate", "weight_decay"), 3),
    },
    "temperature": None,
    "left_out": {"warm-start": "The teacher has no weights of the student's shapes."},
    "train": "limbeck distill digits --targets runs/found/targets --optimizer.lr 0.0102 --temperature 4",
    "provenance": {
        "command": "limbeck search digits --out runs/found",
        "time": "2026-03-04T10:20:30+00:00",
        "versions": {"limbeck": "0.1.0", "torch": "2.9.0", "accelerate": None},
    },
}

RAISED: dict[str, Any] = {
    **SEARCH,
    "arms": SEARCH["arms"][:1],
    "search": None,
    "temperature": {
        "curve": [
            {"temperature": temperature, "validation": validation, "nll": 0.2 + validation / 100}
            for temperature, validation in ((1.0, 8.4), (2.0, 6.8), (4.0, 6.0), (8.0, 6.4), (16.0, 7.1))
        ],
        "chosen": 4.0,
        "left": [32.0],
    },
    "left_out": {},
}


def searched(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SEARCH), **changes}


def all_lost() -> dict[str, Any]:
    facts = searched()
    for trial in facts["search"]["distilled"]["trials"]:
        trial |= LOST
    return facts


def one_arm() -> dict[str, Any]:
    facts = searched(arms=SEARCH["arms"][1:2], left_out={})
    facts["search"] = {"alone": found(("rate",), 4, trials=1)}
    return facts


ODD: dict[str, dict[str, Any]] = {
    "search": SEARCH,
    "raised": RAISED,
    "no student": all_lost(),
    "one arm": one_arm(),
    "nothing searched": searched(search={"distilled": found(("rate",), 5) | {"trials": [], "chosen": {}}}),
}
