"""facts.json and summary.json of a comparison: the verdicts, and everything that explains them, from records alone."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.evidence.answers import targets_of
from limbeck.evidence.calibration import calibration
from limbeck.evidence.comparison import (
    ALONE,
    DISTILLED,
    ArmRuns,
    Comparison,
    predictions_of,
    require_same_answered,
    wrong_of,
    wrong_rows,
)
from limbeck.evidence.confusion import confusion
from limbeck.evidence.controls import controls
from limbeck.evidence.dark_knowledge import dark_knowledge
from limbeck.evidence.facts import curves, samples
from limbeck.evidence.fidelity import fidelity
from limbeck.evidence.gap import gap_closed
from limbeck.evidence.gradient_facts import gradient_facts
from limbeck.evidence.landscape import landscape
from limbeck.evidence.ledger import scorings
from limbeck.evidence.mcnemar import mcnemar
from limbeck.evidence.replacement import replacement
from limbeck.evidence.statistics import mean_and_sd
from limbeck.evidence.verdict import Saw, verdict
from limbeck.training.run import Run


def facts_of_comparison(comparison: Comparison) -> dict[str, Any]:
    """Collect the facts of a comparison: the page shows them, and computes nothing.

    The two verdicts, the contrasts with every control, and what explains them; each section None where the records do
    not tell. Errors are in percentage points of the test rows.
    Raises: RunError or MismatchError for runs that cannot be compared.
    """
    judges = predictions_of(comparison.arms[DISTILLED].runs[min(comparison.arms[DISTILLED].runs)], "student", "test")
    wrong = {name: wrong_rows(arm.runs, like=judges) for name, arm in comparison.arms.items()}
    judged = _judged(comparison, wrong)
    arms = {name: arm.runs for name, arm in comparison.arms.items()}
    first = next(iter(arms[DISTILLED].values()))
    targets, temperature = targets_of(first), _temperature(first)
    return {
        "kind": "campaign",
        "title": comparison.title,
        "tuned": comparison.tuned,
        **judged,
        "left_out": comparison.record.get("left_out") or {},
        "arms": [_arm(arm, wrong[name], comparison) for name, arm in comparison.arms.items()],
        "rows": {name: found and found["rows"] for name, found in first.spec["data"].items()},
        "seeds": sorted(arms[DISTILLED]),
        "selection_seeds": (comparison.record.get("plan") or {}).get("selection_seeds", []),
        "curves": {name: band for name, runs in arms.items() if (band := _band(runs)) is not None},
        "gradients": gradient_facts(arms, targets),
        "fidelity": fidelity(arms, targets, temperature),
        "calibration": calibration(arms),
        "dark": dark_knowledge(first, targets, temperature),
        "confusion": confusion(arms),
        "landscape": landscape(arms),
        "samples": samples(first),
        "search": comparison.record.get("search"),
        "ledger": _ledger(comparison),
        "provenance": _provenance(comparison, first),
    }


def _judged(comparison: Comparison, wrong: Mapping[str, NDArray[np.bool_]]) -> dict[str, Any]:
    """The verdicts, the gap and the contrasts."""
    question = comparison.question
    saw: Mapping[str, Saw] = comparison.saw or _UNKNOWN
    taught, alone = wrong[DISTILLED], wrong[ALONE]
    teacher = _teacher_wrong(comparison)
    first = verdict(
        taught,
        alone,
        question,
        look=comparison.look,
        earlier=comparison.earlier,
        saw_test=saw["test"],
        tuned_per_seed=False,
    )
    others = {name: found for name, found in wrong.items() if name != DISTILLED}
    found = comparison.record.get("teacher") or {}
    second = replacement(taught, teacher, question, look=comparison.look, saw_test=saw["test"], **_costs(found))
    # Each look spends a part of alpha, on the contrasts with controls as on the first.
    level = 1 - question.alpha(comparison.look, comparison.earlier)
    told = controls(taught, others, _labels(comparison), level=level).as_json()
    gap = None if teacher is None else gap_closed(taught, alone, teacher, level=question.level).as_json()
    if saw["test"] == "yes":  # what refuses the verdicts refuses whatever else would be concluded from these rows
        told = {"controls": {name: {**one, "outcome": "cannot tell"} for name, one in told["controls"].items()}}
        told["explained"] = None
        gap = gap and {"closed": None, "interval": None, "why": "The teacher was trained on these test rows."}
    return {
        "verdict": first.as_json(),
        "replace": second.as_json(),
        "gap": gap,
        "checkpoints": mcnemar(taught, alone, level=question.level).as_json() if len(taught) == 1 else None,
        **told,
        "teacher": _teacher(found, teacher, saw),
    }


_UNKNOWN: Mapping[str, Saw] = {"validation": "unknown", "test": "unknown"}


def _labels(comparison: Comparison) -> dict[str, dict[str, str]]:
    """What facts say of each control."""
    return {
        name: {"kind": arm.kind, "title": arm.title, "about": arm.about}
        for name, arm in comparison.arms.items()
        if name != DISTILLED
    }


def _teacher_wrong(comparison: Comparison) -> NDArray[np.bool_] | None:
    """Which test rows the teacher gets wrong; None where its answers to them are not there.  -> (N,) bool."""
    for run in comparison.arms[DISTILLED].runs.values():
        found = run.predictions("teacher", "test")
        if found is not None and found.labels is not None:
            require_same_answered(predictions_of(run, "student", "test"), found, f"The teacher of the run {run.path}")
            return wrong_of(found)
    return None


def _teacher(
    found: Mapping[str, Any], wrong: NDArray[np.bool_] | None, saw: Mapping[str, Any]
) -> dict[str, Any] | None:
    if wrong is None:
        return None
    known = {name: found.get(name) for name in ("members", "parameters", "bytes", "seconds_per_row", "rows")}
    return {
        "title": found.get("title", "the teacher"),
        "wrong": int(wrong.sum()),
        "mean": 100.0 * float(wrong.mean()),
        **known,
        "saw": {split: saw[split] for split in ("validation", "test")},
        "exposure": dict(saw),
    }


def _costs(found: Mapping[str, Any]) -> dict[str, Any]:
    """What student and teacher cost, side by side."""
    student = found.get("student") or {}
    return {
        name: {"student": student.get(name), "teacher": found.get(name)}
        for name in ("seconds_per_row", "bytes", "parameters")
    }


def _arm(arm: ArmRuns, wrong_SN: NDArray[np.bool_], comparison: Comparison) -> dict[str, Any]:
    """One arm's line: its errors seed by seed, its other scores, its size and its settings."""
    summaries = [arm.runs[seed].summary for seed in sorted(arm.runs)]
    tested = [found["student"]["test"] for found in summaries]
    points, spread = mean_and_sd(100.0 * wrong_SN.mean(axis=1))
    student = (comparison.record.get("teacher") or {}).get("student") or {}
    return {
        "name": arm.name,
        "title": arm.title,
        "kind": arm.kind,
        "about": arm.about,
        "settings": dict(arm.settings),
        "notes": dict(arm.notes),
        "wrong": [int(row.sum()) for row in wrong_SN],
        "mean": points,
        "sd": spread,
        "nll": _mean_of(tested, "nll"),
        "ece": _mean_of(tested, "ece"),
        "validation": _validation_points(summaries),
        "parameters": summaries[0]["student"]["parameters"],
        "bytes": summaries[0]["student"]["bytes"],
        "seconds_per_row": student.get("seconds_per_row"),
        "epochs": summaries[0]["epochs"],
        "compute": arm.notes.get("flops"),
    }


def _mean_of(scored: Sequence[Mapping[str, Any]], name: str) -> float | None:
    return mean(float(found[name]) for found in scored) if all(name in found for found in scored) else None


def _validation_points(summaries: Sequence[Mapping[str, Any]]) -> float | None:
    scored = [found["student"].get("validation") for found in summaries]
    if not all(found is not None and "errors" in found for found in scored):
        return None
    return mean(100.0 * (1.0 - float(found["accuracy"])) for found in scored)


def _band(runs: Mapping[int, Run]) -> dict[str, list[float]] | None:
    """Validation errors in points, epoch by epoch: their mean over the seeds, and the least and the most."""
    found = [curves(run)["validation"] for run in runs.values()]
    if not all("accuracy" in one for one in found):
        return None
    length = min(len(one["epoch"]) for one in found)
    points_SE = np.array([[100.0 * (1.0 - right) for right in one["accuracy"]][:length] for one in found])
    return {
        "epoch": found[0]["epoch"][:length],
        "mean": points_SE.mean(axis=0).tolist(),
        "low": points_SE.min(axis=0).tolist(),
        "high": points_SE.max(axis=0).tolist(),
    }


def _temperature(run: Run) -> float:
    """The temperature of a run's soft term; 1 where it has none that stays the same."""
    parts = run.spec["specification"]["fields"]["objective"]
    for fields in _records(parts):
        if isinstance(fields.get("temperature"), int | float):
            return float(fields["temperature"])
    return 1.0


def _records(encoded: Any) -> list[Mapping[str, Any]]:
    """The fields of every record within an encoded value."""
    if isinstance(encoded, list):
        return [fields for item in encoded for fields in _records(item)]
    if not isinstance(encoded, dict):
        return []
    own = [encoded["fields"]] if "$record" in encoded else []
    return own + [fields for item in encoded.values() for fields in _records(item)]


def _ledger(comparison: Comparison) -> dict[str, int]:
    if comparison.record:
        found = scorings(comparison.folder)
        return {"scorings": found.count, "runs": found.runs}
    each = [scorings(run.path) for arm in comparison.arms.values() for run in arm.runs.values()]
    return {"scorings": sum(found.count for found in each), "runs": sum(found.runs for found in each)}


def _provenance(comparison: Comparison, run: Run) -> dict[str, Any]:
    record = comparison.record
    means = record.get("means") or {}
    return {
        "command": (record.get("origin") or {}).get("command"),
        "time": record["looks"][-1]["finished"] if record.get("looks") else None,
        "seconds": record.get("seconds"),
        "versions": run.spec["versions"],
        "hardware": run.spec["hardware"],
        "engine": means.get("engine"),
        "backend": means.get("backend"),
    }


def summary_of_comparison(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a comparison's facts to the numbers that a script would read.

    Errors are rows wrong of the test rows; `difference`, `interval`, `replace` and `controls` are in percentage points:
    above zero, the distilled student is the better one.
    """
    arms = {arm["name"]: arm for arm in facts["arms"]}
    judged, teacher = facts["verdict"], facts["teacher"]
    difference = {name: judged[name] for name in ("mean", "interval", "level", "p_value", "pairs", "worth")}
    return {
        "verdict": judged["outcome"],
        "interval": judged["interval"],
        "replace": dict(facts["replace"]),
        "controls": {name: dict(found) for name, found in facts["controls"].items()},
        "explained": facts["explained"],
        "gap": facts["gap"],
        "difference": difference,
        "student": {**_errors(arms[DISTILLED]), "seeds": facts["seeds"]},
        "scratch": {**_errors(arms[ALONE]), "seeds": facts["seeds"]},
        "teacher": teacher and {"errors": teacher["wrong"], "members": teacher["members"], "saw": teacher["saw"]},
        "rows": {**facts["rows"], "teacher": teacher and teacher["rows"]},
        "settings": {name: arm["settings"] for name, arm in arms.items() if arm["settings"]},
        "scorings": facts["ledger"]["scorings"],
    }


def _errors(arm: Mapping[str, Any]) -> dict[str, Any]:
    average, spread = mean_and_sd(arm["wrong"])
    return {"errors_mean": average, "errors_sd": spread}
