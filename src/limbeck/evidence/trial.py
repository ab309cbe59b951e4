"""facts.json and summary.json of a trial: what the teaching was worth, from the records of its runs."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from limbeck.evidence.facts import curves, samples
from limbeck.evidence.statistics import mean_and_sd, paired_difference
from limbeck.training.run import Run


def facts_of_trial(
    *,
    title: str,
    runs: Mapping[str, Mapping[int, Run]],
    grid: Mapping[str, Mapping[float, float]],
    choices: Mapping[str, float],
    teachers: Mapping[str, Any],
    teacher_rows: int,
    sizes: Mapping[str, int],
    seconds: Mapping[str, float],
) -> dict[str, Any]:
    """Collect the facts of a trial.

    Args:
        title: of the page.
        runs: the scored runs of the arms `taught` and `alone`, by seed, the same seeds in the same order.
        grid: mean validation errors by arm and learning rate.
        choices: the chosen rate of each arm.
        teacher_rows: labelled rows that each member of the teacher was trained on.
        teachers: `{"members": [scores, …], "ensemble": scores}` on the test rows.
        sizes: parameters of `member`, `ensemble`, `student`.
        seconds: median seconds to answer one row, of the same three.
    """
    errors = {arm: [run.summary["student"]["test"]["errors"] for run in row.values()] for arm, row in runs.items()}
    first = next(iter(runs["taught"].values()))
    difference = paired_difference(errors["alone"], errors["taught"])
    return {
        "kind": "trial",
        "title": title,
        "rows": {
            **{name: found and found["rows"] for name, found in first.spec["data"].items()},
            "teacher": teacher_rows,
        },
        "seeds": list(runs["taught"]),
        "errors": {**errors, "members": [found["errors"] for found in teachers["members"]]},
        "table": _table(errors, teachers, sizes, seconds),
        "difference": {**asdict(difference), "verdict": difference.verdict},
        "agreement": mean_and_sd([run.summary["student"]["test"]["agreement"] for run in runs["taught"].values()]),
        "grid": {arm: {f"{rate:g}": found for rate, found in row.items()} for arm, row in grid.items()},
        "choices": dict(choices),
        "curves": {arm: curves(next(iter(row.values()))) for arm, row in runs.items()},
        "samples": samples(first),
        "versions": first.spec["versions"],
        "hardware": first.spec["hardware"],
    }


def _table(
    errors: Mapping[str, list[float]],
    teachers: Mapping[str, Any],
    sizes: Mapping[str, int],
    seconds: Mapping[str, float],
) -> list[dict[str, Any]]:
    members = [found["errors"] for found in teachers["members"]]
    rows = (
        (f"one of the {len(members)} networks", members, "member"),
        (f"the ensemble of {len(members)}", [teachers["ensemble"]["errors"]], "ensemble"),
        ("student, labels alone", errors["alone"], "student"),
        ("student, distilled", errors["taught"], "student"),
    )
    return [
        {
            "who": who,
            "errors_mean": mean_and_sd(found)[0],
            "errors_sd": mean_and_sd(found)[1] if len(found) > 1 else None,
            "runs": len(found),
            "parameters": sizes[what],
            "seconds_per_row": seconds[what],
        }
        for who, found, what in rows
    ]


def summary_of_trial(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce a trial's facts to the numbers that a script would read: errors on the test rows, and their difference.

    `difference` is errors alone minus errors taught, per student, paired by seed: above zero, the teaching helped.
    """
    member, ensemble, alone, taught = facts["table"]
    difference = facts["difference"]
    return {
        "student": {**_errors(taught), "seeds": facts["seeds"]},
        "scratch": {**_errors(alone), "seeds": facts["seeds"]},
        "ensemble": {**_errors(ensemble), "members": _errors(member)},
        "rows": facts["rows"],
        "difference": {
            "mean": difference["mean"],
            "interval": list(difference["interval"]),
            "level": difference["level"],
            "p_value": difference["p_value"],
        },
        "rates": facts["choices"],
        "parameters": {"student": taught["parameters"], "ensemble": ensemble["parameters"]},
        "seconds_per_row": {"student": taught["seconds_per_row"], "ensemble": ensemble["seconds_per_row"]},
    }


def _errors(row: Mapping[str, Any]) -> dict[str, Any]:
    return {"errors_mean": row["errors_mean"], "errors_sd": row["errors_sd"]}
