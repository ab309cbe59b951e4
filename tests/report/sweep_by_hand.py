"""Facts of sweeps written by hand, in the shape of sweep.json: an ordinary one, a data sweep, odd ones."""

import copy
import random
from pathlib import Path
from typing import Any

from limbeck.evidence.sweep import Point, Sweep
from limbeck.evidence.sweep_facts import facts_of_sweep

SEEDS = tuple(range(1000, 1006))


def errors(mean: float, seed: int, count: int = len(SEEDS)) -> tuple[float, ...]:
    """Errors of `count` seeds around a mean, in percent."""
    draw = random.Random(seed)
    return tuple(round(mean + draw.uniform(-0.8, 0.8), 2) for _ in range(count))


def point(value: float, found: tuple[float | None, ...], **more: Any) -> Point:
    lost = {seed: "Term 'soft' became NaN." for seed, error in zip(SEEDS, found, strict=False) if error is None}
    return Point(value=value, errors=found, failed=lost, **{"rows": 1000, "epochs": 10, "steps": 310, **more})


def facts(**parts: Any) -> dict[str, Any]:
    fields = {"folder": Path("nowhere"), "over": "temperature", "own": 4.0, "seeds": SEEDS, "score": "validation"}
    found = facts_of_sweep(Sweep(**{**fields, "fixed": None, **parts}))
    return {
        "kind": "sweep",
        "finished": True,
        "origin": {"command": "limbeck sweep digits --over temperature=1,2,4,8,20", "specification": "digits"},
        **found,
        "provenance": {"time": "2026-03-04T10:20:30+00:00", "versions": {"limbeck": "0.1.0", "accelerate": None}},
    }


VALLEY = tuple(
    point(value, errors(mean, place))
    for place, (value, mean) in enumerate(((1.0, 8.0), (2.0, 6.8), (4.0, 6.0), (8.0, 6.5), (20.0, 7.5)))
)
ALONE = point(4.0, errors(9.0, 10))

SWEEP = facts(points=VALLEY, alone=(ALONE,))

SHARES = facts(
    over="rows",
    own=1.0,
    fixed="steps",
    points=tuple(
        point(share, errors(mean, place), rows=round(1000 * share), epochs=round(10 / share))
        for place, (share, mean) in enumerate(((0.03, 20.0), (0.1, 12.0), (0.3, 8.0), (1.0, 6.0)))
    ),
    alone=tuple(
        point(share, errors(mean, 10 + place), rows=round(1000 * share), epochs=round(10 / share))
        for place, (share, mean) in enumerate(((0.03, 35.0), (0.1, 20.0), (0.3, 12.0), (1.0, 9.0)))
    ),
)

LOST = facts(
    over="rate",
    own=0.01,
    points=(*(point(rate, errors(7.0, 3)) for rate in (0.01, 0.1)), point(1.0, (*errors(9.0, 1)[:4], None, None))),
    alone=(point(0.01, (None,) * 6),),
)

ODD: dict[str, dict[str, Any]] = {
    "sweep": SWEEP,
    "shares": SHARES,
    "lost": LOST,
    "all lost": facts(points=tuple(point(value, (None,) * 6) for value in (1.0, 4.0))),
    "one seed": facts(seeds=SEEDS[:1], points=tuple(point(v, errors(7.0, 1, 1)) for v in (1.0, 4.0))),
    "decay": facts(
        over="weight_decay", own=0.0, points=tuple(point(v, errors(7.0, 2)) for v in (0.0, 1e-5, 1e-4, 1e-3))
    ),
    "test": facts(points=VALLEY, score="test", why_not_alone="The rows have no labels to learn from."),
    "fixed": facts(over="rows", own=1.0, fixed="epochs", points=tuple(point(v, errors(7.0, 2)) for v in (0.5, 1.0))),
    "epochs": facts(
        over="epochs",
        points=tuple(point(v, errors(7.0, 5)) for v in (5.0, 10.0)),
        alone=tuple(point(v, errors(9.0, 6)) for v in (5.0, 10.0)),
    ),
    "alike": facts(points=tuple(point(v, (5.0,) * 6) for v in (1.0, 4.0))),
}


def swept(**changes: Any) -> dict[str, Any]:
    return {**copy.deepcopy(SWEEP), **changes}
