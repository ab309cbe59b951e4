"""sweep.json of `limbeck sweep`: what was swept and what came of it; reading it again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from limbeck.errors import RunError
from limbeck.evidence.ledger import scorings
from limbeck.evidence.sweep import LEVEL, Point, Sweep
from limbeck.files import read_json
from limbeck.specification import Json
from limbeck.training.surroundings import versions

SWEEP = "sweep.json"
"""The file that marks the folder of a sweep."""


def facts_of_sweep(sweep: Sweep) -> dict[str, Any]:
    """Collect what a sweep found: at each value the errors of every seed, mean, spread, interval and difference."""
    best = sweep.best
    return {
        "over": sweep.over,
        "own": sweep.own,
        "seeds": list(sweep.seeds),
        "score": sweep.score,
        "fixed": sweep.fixed,
        "level": LEVEL,
        "points": [_point(point, best) for point in sweep.points],
        "best": None if best is None else best.value,
        "alone": [_point(point, _rival(point, sweep)) for point in sweep.alone],
        "follows": sweep.follows,
        "why_not_alone": sweep.why_not_alone,
        "scorings": scorings(sweep.folder / "runs").count,
    }


def _rival(alone: Point, sweep: Sweep) -> Point | None:
    """What a student alone is compared with: the same value where it follows them, else the best."""
    return next(point for point in sweep.points if point.value == alone.value) if sweep.follows else sweep.best


def _point(point: Point, other: Point | None) -> dict[str, Json]:
    difference = None if other is None else point.minus(other)
    return {
        "value": point.value,
        "errors": list(point.errors),
        "failed": {str(seed): why for seed, why in point.failed.items()},
        "mean": point.mean,
        "sd": point.sd,
        "interval": _listed(point.interval),
        "difference": None
        if difference is None
        else {"mean": difference.mean, "interval": _listed(difference.interval), "p_value": difference.p_value},
        "rows": point.rows,
        "epochs": point.epochs,
        "steps": point.steps,
    }


def _listed(interval: tuple[float, float] | None) -> list[float] | None:
    return None if interval is None else list(interval)


def provenance() -> dict[str, Json]:
    """Say when, and with which versions."""
    return {"time": datetime.now(UTC).isoformat(timespec="seconds"), "versions": dict(versions())}


def read_sweep(folder: Path) -> dict[str, Any]:
    """Read the facts of a finished sweep. Raises: RunError where there is none, or where it has not finished."""
    path = folder / SWEEP
    if not path.is_file():
        raise RunError(f"{folder} holds no sweep: there is no {SWEEP}.")
    facts: Any = read_json(path)
    if not isinstance(facts, dict) or not isinstance(facts.get("plan"), dict):
        raise RunError(f"{path} is damaged: a sweep's has a plan.")
    if not facts.get("finished"):
        raise RunError(f"The sweep {folder} has not finished; go on with --resume.")
    return facts


def sweep_of(facts: Mapping[str, Any], folder: Path) -> Sweep:
    """Rebuild a finished sweep from its facts."""
    return Sweep(
        folder=folder,
        over=facts["over"],
        own=facts["own"],
        seeds=tuple(facts["seeds"]),
        score=facts["score"],
        fixed=facts["fixed"],
        points=tuple(map(_point_of, facts["points"])),
        alone=tuple(map(_point_of, facts["alone"])),
        why_not_alone=facts["why_not_alone"],
    )


def _point_of(told: Mapping[str, Any]) -> Point:
    return Point(
        value=told["value"],
        errors=tuple(told["errors"]),
        failed={int(seed): why for seed, why in told["failed"].items()},
        rows=told["rows"],
        epochs=told["epochs"],
        steps=told["steps"],
    )
