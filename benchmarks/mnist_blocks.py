"""The parts of docs/mnist.md that are no families: the main table, what was learnt, omitted digits, costs, trials."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from math import isfinite

from mnist_record import (
    NOT_YET,
    Line,
    Table,
    bounds,
    count,
    listed,
    percent,
    shared_errors,
    signed,
    spread,
    whole,
)

from limbeck.evidence.contrast import contrast
from limbeck.evidence.kept_gain import KeptGain, kept_gain
from limbeck.evidence.words import counted
from limbeck.evidence.words import percent as level_in_words
from limbeck_recipes.reproductions.mnist import GOALS, PAPER

KEPT = 0.85
"""The share of an ensemble's gain that a student is hoped to keep."""

THREES = 0.986
"""The share of test threes that is hoped to be right where none was seen."""

MAIN = {
    "teacher": "2×1200, dropout, constrained weights, jittered images",
    "student-alone": "2×800 on labels alone, not regularised",
    "student-alone-tuned": "2×800 on labels alone, regularised and tuned",
    "distilled-T20": "2×800 taught by one teacher at T = 20",
    "ensemble-arithmetic": "arithmetic mean of ten teachers",
    "ensemble-geometric": "geometric mean of ten teachers",
    "distilled-arithmetic": "2×800 taught by the arithmetic mean, on jittered images",
    "distilled-geometric": "2×800 taught by the geometric mean, on jittered images",
    "distilled-member": "2×800 taught by one of the teachers, on jittered images",
    "best-recipe": "2×800, any teacher, any views of the training rows",
    "best-recipe-alone": "2×800 on labels alone, on the same views",
    "omit-3": "no 3 in the transfer set",
    "omit-3-corrected": "the same, bias of 3 by the class prior",
    "only-7-8": "only 7s and 8s in the transfer set",
    "only-7-8-corrected": "the same, biases of 7 and 8 by the class prior",
}


def main_table(table: Table) -> Iterator[str]:
    """Every number of the section beside ours, and which goals were missed."""
    lines = {name: table[name] for name in MAIN}
    done = [line for line in lines.values() if line is not None]
    if done:
        told = "; ".join(f"{line.name} {count(line.mean)}" for line in done if line.mean < 1000)
        yield f"![Test errors of the rows, a dot a seed, with the paper's figures: {told}.](figures/mnist-rows.svg)"
        yield ""
    yield "| row | | paper | goal | ours: mean ± sd | 95 % interval of the mean | seeds | verdict | test set scored |"
    yield "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |"
    for name, line in lines.items():
        yield f"| `{name}` | {MAIN[name]} | {_not_yet(name) if line is None else _cells(table, line)} |"
    yield from ("", *_goals(table, done))


def _not_yet(name: str) -> str:
    return f"{whole(PAPER.get(name))} | {_goal(GOALS.get(name))} | {NOT_YET} | | | |"


def _goal(goal: float | None) -> str:
    return "" if goal is None else f"≤ {whole(goal)}"


def _cells(table: Table, line: Line) -> str:
    found = table.stand(line)
    scored = table.times_scored(line)
    cells = [
        whole(line.paper),
        _goal(line.goal),
        spread(line),
        bounds(found.interval),
        str(found.seeds),
        _verdict(table, line),
    ]
    return " | ".join([*cells, "" if scored is None else f"{scored}×"])


def _verdict(table: Table, line: Line) -> str:
    """In words; where no threes were seen, enough of them must be right besides."""
    words, right = table.stand(line).words, _threes_right(line)
    return words if right is None or right >= THREES else f"{words}, but only {percent(right)} of the threes right"


def _threes_right(line: Line) -> float | None:
    """The share of test threes that are right, where that is part of the goal."""
    return line.measure("right_share") if line.goal is not None and line.name.startswith("omit-3") else None


def _reached(table: Table, line: Line) -> bool:
    """Whether the goal is met in the mean, of errors and of threes."""
    return bool(table.stand(line).met) and (_threes_right(line) or 1.0) >= THREES


def _missed_by(table: Table, line: Line) -> str:
    found = table.stand(line)
    return (
        f"`{line.name}` by {count(found.mean - (found.goal or 0.0))}"
        if not found.met
        else f"`{line.name}` by its threes"
    )


def _goals(table: Table, lines: Sequence[Line]) -> Iterator[str]:
    """What was met and what was not, and how often test rows were looked at."""
    if not lines:
        yield "None of these rows was run yet; `limbeck reproduce mnist` makes the records."
        return
    asked = [line for line in lines if line.goal is not None]
    met = [f"`{line.name}`" for line in asked if _reached(table, line)]
    missed = [_missed_by(table, line) for line in asked if not _reached(table, line)]
    yield f"Goals met in the mean: {listed(met) if met else 'none'}. Missed: {listed(missed) if missed else 'none'}."
    if missed:
        yield from ("", "What was tried on validation rows for a missed goal stands [below](#what-was-tried).")
    if table.looks:
        yield ""
        yield (
            f"The [ledger](../results/mnist-test-ledger.jsonl) counts {sum(table.looks.values()):,} scorings of the "
            f"test rows, by {counted(len(table.looks), 'row')}. Scored more often than at each seed once: "
            f"{_again(table)}."
        )


def _again(table: Table) -> str:
    lines = [line for name, looks in table.looks.items() if (line := table[name]) and looks > len(line.values)]
    return (
        listed([f"`{line.name}` ({table.looks[line.name]}× at {len(line.values)} seeds)" for line in lines]) or "none"
    )


# Learnt ---------------------------------------------------------------------------------------------------------------


def learnt(table: Table) -> Iterator[str]:
    """Paired contrasts, by the exact sign-flip test, and what the ensembles' students keep."""
    asked = (
        ("Against the student alone, as in the paper", "student-alone", "distilled-T20"),
        ("Against the student alone, regularised and tuned", "student-alone-tuned", "distilled-T20"),
        ("Against its own teacher", "teacher", "distilled-T20"),
        ("The tuned student alone against the teacher", "teacher", "student-alone-tuned"),
        ("Ten teachers' student against the tuned student alone", "student-alone-tuned", "distilled-arithmetic"),
        ("Ten teachers against one, on the same images", "distilled-member", "distilled-arithmetic"),
        ("Jittered images and twice the epochs, one teacher", "distilled-T20", "distilled-member"),
        ("The best recipe against the same views on labels alone", "best-recipe-alone", "best-recipe"),
        ("The best recipe against the student alone as it was tuned above", "student-alone-tuned", "best-recipe"),
        ("Arithmetic against geometric mean, of students", "distilled-geometric", "distilled-arithmetic"),
    )
    for what, other, ours in asked:
        yield f"- **{what}**: {_contrast(table, other, ours)}"
    yield f"- **The best recipe against its own teachers**: {_own_teachers(table)}"
    yield from _kept(table)


def _own_teachers(table: Table) -> str:
    """Errors side by side: all students share the teachers, so that there are no pairs."""
    teachers, taught = table["best-teacher"], table["best-recipe"]
    if teachers is None or taught is None:
        return f"{NOT_YET}."
    alone = listed([whole(value) for value in teachers.values])
    return f"each of them alone makes {alone} errors, their students {count(taught.mean)} in the mean."


def _contrast(table: Table, other: str, ours: str) -> str:
    pairs = shared_errors(table[other], table[ours])
    if not pairs:
        return f"{NOT_YET}."
    found = contrast([theirs - mine for theirs, mine in pairs])
    than, ends = _fewer_or_more(found.mean, found.interval)
    said = f"`{ours}` makes {count(abs(found.mean))} errors {than} than `{other}`"
    if not all(map(isfinite, found.interval)):
        return f"{said} ({found.pairs} paired seeds: too few to say more)."
    return (
        f"{said} ({bounds(ends)} {than}, {level_in_words(found.coverage)} interval over {found.pairs} paired seeds"
        f"{'' if found.side else '; not told apart'})."
    )


def _fewer_or_more(mean: float, interval: tuple[float, float]) -> tuple[str, tuple[float, float]]:
    """Say on which side of none a number of errors saved is, with its interval counted to that side."""
    low, high = interval
    return ("fewer", (low, high)) if mean >= 0 else ("more", (-high, -low))


def _kept(table: Table) -> Iterator[str]:
    for mean in ("arithmetic", "geometric"):
        yield f"- **What a student keeps of the {mean} ensemble's gain**: {_kept_over(table, 'student-alone', mean)}"
        yield f"  - of its gain over the tuned student: {_kept_over(table, 'student-alone-tuned', mean)}"


def _kept_over(table: Table, alone: str, mean: str) -> str:
    lines = [table[name] for name in (alone, f"distilled-{mean}", f"ensemble-{mean}")]
    if any(line is None or len(line.values) < 2 for line in lines):
        return f"{NOT_YET}."
    found = kept_gain(*(line.values for line in lines if line is not None))
    return _share(found, alone) + (_kept_goal(found) if alone == "student-alone" else "")


def _kept_goal(found: KeptGain) -> str:
    met = found.share is not None and found.share >= KEPT
    surely = met and found.bounded and found.interval[0] >= KEPT
    return f" The goal of {100 * KEPT:.0f} % is {_met(met)}{' in the mean' if met and not surely else ''}."


def _share(found: KeptGain, alone: str) -> str:
    than, ends = _fewer_or_more(found.gain, found.gain_interval)
    over = f"the ensemble makes {count(abs(found.gain))} errors {than} than `{alone}` ({bounds(ends)} {than})"
    if found.share is None:
        return f"none can be named: {over}."
    if not found.bounded:
        return f"{percent(found.share)}, which no interval bounds: {over}, which is not clearly above zero."
    low, high = map(percent, found.interval)
    return f"{percent(found.share)} (95 % interval {low} to {high}); {over}."


def _met(met: bool) -> str:
    return "met" if met else "missed"


# Digits that were left out --------------------------------------------------------------------------------------------

OMITTED = {
    "omit-3": ("threes", {"": (206, 877 / 1010, None), "-corrected": (109, 996 / 1010, "+3.5")}),
    "only-7-8": ("sevens and eights", {"": (4730, None, None), "-corrected": (1320, None, "−7.6")}),
}
"""What is counted, and the paper's errors, share right and bias, as trained and with the bias."""

STAGES = {
    "": ("as trained", "hard term on"),
    "-soft": ("as trained", "soft targets alone"),
    "-corrected": ("bias by the class prior", "hard term on"),
    "-soft-corrected": ("bias by the class prior", "soft targets alone"),
    "-test-tuned": ("*bias chosen on the test rows*", "hard term on"),
    "-soft-test-tuned": ("*bias chosen on the test rows*", "soft targets alone"),
}


def omitted(kind: str, table: Table) -> Iterator[str]:
    """One of the two experiments with digits left out: the paper's figures, and ours with and without labels."""
    digits, paper = OMITTED[kind]
    yield f"| | | errors | verdict | {digits} right | bias |"
    yield "| --- | --- | ---: | --- | ---: | ---: |"
    for ending, (errors, right, bias) in paper.items():
        stage = "as trained" if not ending else "*bias chosen on the test rows*"
        yield f"| paper | {stage} | {errors:,} | | {'' if right is None else percent(right)} | {bias or ''} |"
    for ending, (stage, term) in STAGES.items():
        line = table[kind + ending]
        if line is not None or "soft-test" not in ending:
            yield f"| ours, {term} | {stage} | {_omitted_cells(table, line)} |"
    yield from ("", _omitted_words(kind, table))


def _judged(table: Table, line: Line) -> Line:
    """A row with the figure and the goal of the same stage with the hard term: the paper does not say which it had."""
    base = table[line.name.replace("-soft", "")]
    return line if base is None else replace(line, paper=base.paper, goal=base.goal)


def _omitted_cells(table: Table, line: Line | None) -> str:
    if line is None:
        return f"{NOT_YET} | | |"
    verdict = "no fair figure" if "test-tuned" in line.name else _verdict(table, _judged(table, line))
    right = line.measure("right_share")
    biases = [line.measure(name) for name in line.measures if name.startswith("bias_")]
    told = ", ".join(dict.fromkeys(signed(one) for one in biases if one is not None))
    return f"{spread(line)} | {verdict} | {'' if right is None else percent(right)} | {told}"


def _omitted_words(kind: str, table: Table) -> str:
    """The goal: at most the paper's errors, and of the threes at least the paper's share right."""
    first = table[f"{kind}-corrected"]
    if first is None or first.goal is None:
        return f"Whether the goal is met: {NOT_YET}."
    threes = f" and at least {percent(THREES)} of the threes right" if kind == "omit-3" else ""
    told = [
        f"{_met(_reached(table, _judged(table, line)))} with {words}"
        for ending, words in (("-corrected", "the hard term"), ("-soft-corrected", "soft targets alone"))
        if (line := table[kind + ending]) is not None
    ]
    return f"The goal, at most {whole(first.goal)} errors{threes} in the mean, is {listed(told)}."
