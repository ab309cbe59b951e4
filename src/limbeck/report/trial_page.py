"""What the page of a trial says: the finding, the table, the figures, the samples and how it was measured."""

from collections.abc import Mapping
from typing import Any

from limbeck.report.figures.run import validation_curves
from limbeck.report.figures.trial import ARM_NAMES, arm_terms, paired_differences, paired_seeds, rate_grid
from limbeck.report.samples import gallery
from limbeck.report.words import average, count, duration, listing, probability, rate, share, spread


def trial_content(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template `trial.html` asks for."""
    first = f" (of seed {facts['seeds'][0]}, the first)"
    curves = facts.get("curves") or {}
    samples = facts.get("samples")
    return {
        "title": facts["title"],
        "verdict": verdict(facts["difference"]),
        "headline": headline(facts),
        "lede": lede(facts),
        "agreement": _agreement(facts),
        "table": [_table_row(row, facts) for row in _with_arms(facts["table"])],
        "timed": any(row.get("seconds_per_row") is not None for row in facts["table"]),
        "pairs": [paired_seeds(facts), paired_differences(facts)],
        "grid": rate_grid(facts),
        "edge": _edge(facts),
        "curves": [
            figure
            for figure in (validation_curves(curves, ARM_NAMES, first=first), arm_terms(curves, first))
            if figure is not None
        ],
        "gallery": samples and gallery(samples),
        "measured": measured(facts),
        "first_seed": facts["seeds"][0],
        "drawn": True,
    }


def verdict(difference: Mapping[str, Any]) -> str:
    """One of `helped`, `harmed`, `undecided`, of the verdict that evidence gave on errors alone minus errors taught."""
    return {"positive": "helped", "negative": "harmed"}.get(difference["verdict"], "undecided")


def headline(facts: Mapping[str, Any]) -> str:
    """State the finding in one sentence, its numbers in the direction in which the errors went."""
    difference = facts["difference"]
    way = 1 if difference["mean"] >= 0 else -1
    low, high = sorted(way * bound for bound in difference["interval"])
    errors = f"{average(abs(difference['mean']))} {'fewer' if way > 0 else 'more'} errors"
    made = f"the distilled student makes {errors} on {count(facts['rows']['test'])} test rows"
    bounds = f"{difference['level']:.0%} interval {average(low)} to {average(high)}"
    return {
        "helped": f"The teaching helped: {made} ({bounds}).",
        "harmed": f"The teaching did harm: {made} ({bounds}).",
        "undecided": f"No difference that shows: {made}, and {_doubt(difference, bounds)}.",
    }[verdict(difference)]


def _doubt(difference: Mapping[str, Any], bounds: str) -> str:
    low, high = difference["interval"]
    if low <= 0 <= high:
        return f"the {bounds} contains 0"
    return f"{difference['seeds']} seeds are too few to tell (exact p = {difference['p_value']:.2g})"


def lede(facts: Mapping[str, Any]) -> str:
    """Say what stands behind the headline: both arms' means, the pairing, and what the teacher does."""
    *teachers, alone, taught = facts["table"]
    difference = facts["difference"]
    text = (
        f"Learning from {count(facts['rows']['train'])} rows, it gets {average(taught['errors_mean'])} test rows wrong "
        f"on average over {difference['seeds']} paired seeds; on labels alone it gets {average(alone['errors_mean'])} "
        f"wrong ({probability(difference['p_value'])})."
    )
    if not teachers:
        return text
    teacher = teachers[-1]
    text += (
        f" Its teacher, {teacher['who']}, gets {spread(teacher['errors_mean'], None)} wrong "
        f"with {count(teacher['parameters'])} parameters; the student has {count(taught['parameters'])}"
    )
    if taught.get("seconds_per_row") is None or teacher.get("seconds_per_row") is None:
        return f"{text}."
    ours, theirs = duration(taught["seconds_per_row"]), duration(teacher["seconds_per_row"])
    return f"{text} and answers one row in {ours} where the teacher takes {theirs}."


def _agreement(facts: Mapping[str, Any]) -> str:
    if not facts.get("agreement"):
        return ""
    mean, sd = facts["agreement"]
    return f"The distilled student gives its teacher's answer on {share(mean)} of the test rows (sd {share(sd)})."


def _with_arms(table: list[Mapping[str, Any]]) -> list[tuple[str, Mapping[str, Any]]]:
    """Name the arm of each row, which gives it its colour: the last two rows are the student's."""
    names = ["member" if row["runs"] > 1 else "ensemble" for row in table[:-2]]
    return list(zip([*names, "alone", "taught"], table, strict=True))


def _table_row(found: tuple[str, Mapping[str, Any]], facts: Mapping[str, Any]) -> dict[str, str]:
    arm, row = found
    seconds = row.get("seconds_per_row")
    return {
        "arm": arm,
        "who": row["who"],
        "errors": spread(row["errors_mean"], row["errors_sd"]),
        "share": share(row["errors_mean"] / facts["rows"]["test"]),
        "runs": count(row["runs"]),
        "parameters": count(row["parameters"]),
        "seconds": "" if seconds is None else duration(seconds),
    }


def _edge(facts: Mapping[str, Any]) -> str:
    """A word of caution where an arm's chosen rate is the first or last of the grid."""
    found = []
    for arm, chosen in (facts.get("choices") or {}).items():
        rates = sorted(float(value) for value in facts["grid"].get(arm, {}))
        if len(rates) > 1 and float(f"{chosen:g}") in (rates[0], rates[-1]):
            end = "largest" if float(f"{chosen:g}") == rates[-1] else "smallest"
            found.append(f"the rate chosen for “{ARM_NAMES[arm]}”, {rate(chosen)}, is the {end} that was tried")
    return f"Note that {listing(found)}; a wider grid might do better." if found else ""


def _teacher_rows(rows: Mapping[str, Any]) -> str:
    """What the teacher knows that the student alone was never told."""
    if rows.get("teacher") is None:
        return "The teacher was trained apart and may have seen more."
    return (
        f"Each network of the teacher was trained on {count(rows['teacher'])} labelled rows: what the distilled "
        "student gains is the teacher's knowledge of those too."
    )


def measured(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Say how it was measured, as pairs of a heading and its sentences."""
    rows, seeds, difference = facts["rows"], facts["seeds"], facts["difference"]
    parts = [f"{count(number)} rows to {what}" for what, number in _uses(rows) if number is not None]
    said = [
        (
            "Rows",
            f"The student has {listing(parts)}. Both arms have the same rows. {_teacher_rows(rows)}",
        )
    ]
    if facts.get("choices"):
        chosen = listing([f"{rate(value)} for “{ARM_NAMES[arm]}”" for arm, value in facts["choices"].items()])
        said.append(
            (
                "Fixed before a test row was scored",
                f"The plan, the seeds and the learning rates ({chosen}). The rates were chosen on the validation rows, "
                "by runs of other seeds that had no access to the test rows. In every run the validation rows also say "
                "which epoch's weights are kept.",
            )
        )
    said.append(
        (
            "What the interval covers",
            f"Seeds {listing([str(seed) for seed in seeds])} were run in both arms; each sets initial weights and the "
            f"order of rows. The {difference['level']:.0%} interval is Student's t for the mean of the "
            f"{difference['seeds']} paired differences, and p comes from flipping their signs in every possible way. "
            "Both cover the chance of seeds. They do not cover the choice of test rows: on other rows all numbers "
            "would differ somewhat.",
        )
    )
    if any(row.get("seconds_per_row") is not None for row in facts["table"]):
        said.append(
            (
                "Time to answer",
                "Median over repeated calls of one row on one thread, the models taking turns so that the machine's "
                "moods strike all alike.",
            )
        )
    return said


def _uses(rows: Mapping[str, int | None]) -> list[tuple[str, int | None]]:
    return [
        ("learn from", rows.get("train")),
        ("validate on", rows.get("validation")),
        ("be tested on", rows.get("test")),
    ]
