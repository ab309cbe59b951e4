"""The parts of docs/mnist.md that are families: temperatures, objectives, fewer rows, transfer sets, rates."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean

from mnist_record import NOT_YET, Line, Table, apart, count, difference, gap, listed, paired, spread

from limbeck.evidence.statistics import PairedDifference

KINDS = {"soft": "soft targets", "hard": "labels alone", "both": "both"}
WITH_VIEWS = {**KINDS, "soft-views": "soft targets, views", "hard-views": "labels alone, views"}
CORRECTED = "95 % intervals over paired seeds, corrected for the number of comparisons"


def shown(name: str, alternative: str) -> list[str]:
    """A figure in the page."""
    return [f"![{alternative}](figures/mnist-{name}.svg)", ""]


def temperatures(table: Table) -> Iterator[str]:
    """Both curves, and whether they say what the paper says."""
    curves = {units: table.curve(f"temperature-{units}") for units in (300, 30)}
    if not any(curves.values()):
        yield NOT_YET
        return
    told = "; ".join(f"{units} units a layer: {_low_and_high(lines)}" for units, lines in curves.items() if lines)
    yield from shown("temperatures", f"Test errors against the temperature. {told}.")
    yield from ("| T | 300 units a layer | 30 units a layer |", "| ---: | ---: | ---: |")
    for x in sorted({line.x for lines in curves.values() for line in lines}):
        cells = (spread(next((line for line in lines if line.x == x), None)) for lines in curves.values())
        yield f"| {x:g} | {' | '.join(cells)} |"
    yield from ("", _alike(curves[300]), "", _medium(curves[30]), "", f"Intervals are {CORRECTED}.")


def _low_and_high(lines: Sequence[Line]) -> str:
    least, most = min(lines, key=_mean), max(lines, key=_mean)
    return f"fewest {count(least.mean)} at T = {least.x:g}, most {count(most.mean)} at T = {most.x:g}"


def _mean(line: Line) -> float:
    return line.mean


def _alike(lines: Sequence[Line]) -> str:
    """The paper: with 300 or more units in both layers, all temperatures above 8 gave fairly similar results."""
    hot = [line for line in lines if line.x > 8]
    pairs = list(combinations(hot, 2))
    found = {pair: difference(*pair, of=len(pairs)) for pair in pairs}
    if not found or None in found.values():
        return f"Whether all T above 8 are alike at 300 units: {NOT_YET}."
    within, whole = _range(hot), _range(lines)
    names = listed([f"{line.x:g}" for line in hot])
    start = (
        f"**300 units.** At T = {names} the means lie within {count(within)} errors of one another; over all T "
        f"that were run they span {count(whole)}. "
    )
    told = [f"{a.x:g} and {b.x:g} ({gap(one)})" for (a, b), one in found.items() if one is not None and apart(one)]
    if told:
        return start + f"Told apart are {listed(told)}: not quite the paper's “fairly similar” for all T above 8."
    widest = max(found, key=lambda pair: _width(found[pair]))
    told_of = f"T = {widest[0].x:g} against {widest[1].x:g}: {gap(found[widest])} errors"
    return (
        f"{start}No two of T = {names} are told apart (the widest interval is that of {told_of}). This does not "
        "contradict the paper's “fairly similar” for all T above 8."
    )


def _width(found: PairedDifference | None) -> float:
    return 0.0 if found is None else found.interval[1] - found.interval[0]


def _range(lines: Sequence[Line]) -> float:
    return max(map(_mean, lines)) - min(map(_mean, lines))


def _medium(lines: Sequence[Line]) -> str:
    """The paper: at 30 units, temperatures from 2.5 to 4 worked significantly better than higher or lower ones."""
    inside = [line for line in lines if 2.5 <= line.x <= 4]
    outside = [line for line in lines if line not in inside]
    if not inside or not outside:
        return f"Whether T from 2.5 to 4 is best at 30 units: {NOT_YET}."
    seeds = set.intersection(*(set(line.errors) for line in inside))
    medium = {seed: fmean(line.errors[seed] for line in inside) for seed in sorted(seeds)}
    found = {line: paired(line.errors, medium, of=len(outside)) for line in _in_order(outside)}
    sides = {side: [line for line, one in found.items() if one and apart(one) == side] for side in (1, 0, -1)}
    best = min(lines, key=_mean)
    parts = [
        f"{word} {listed([f'{line.x:g} ({gap(found[line])})' for line in sides[side]])}"
        for side, word in ((1, "worse:"), (0, "not told apart:"), (-1, "better:"))
        if sides[side]
    ]
    partly = "holds in part" if sides[1] and not sides[-1] else "does not hold"
    holds = "holds" if len(sides[1]) == len(outside) else partly
    verdict = f"The paper's claim, that these work significantly better than higher or lower ones, {holds} here."
    names = listed([f"{line.x:g}" for line in inside])
    return (
        f"**30 units.** The fewest errors in the mean are at T = {best.x:g} ({count(best.mean)}). Other temperatures "
        f"against the mean of T = {names}, in errors: {'; '.join(parts)}. {verdict}"
    )


def _in_order(lines: Sequence[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: line.x)


# Objectives -----------------------------------------------------------------------------------------------------------


def objective_words(name: str) -> str:
    """What an objective is called: "hard-0.1" is a weighted average."""
    kind, _, value = name.partition("/")[2].partition("-")
    match kind:
        case "soft":
            return "soft targets alone"
        case "hard" if value:
            return f"{1 - float(value):g} soft targets + {value} labels"
        case "hard":
            return "labels alone"
        case "matching":
            return "logit matching"
        case "edited":
            return "labels edited into the soft targets" + (f", {value}" if value else "")
    return name.partition("/")[2]


def objectives(table: Table) -> Iterator[str]:
    """Every objective against soft targets alone, and the paper's claim."""
    lines = table.family("objective")
    if not lines:
        yield NOT_YET
        return
    best, worst = min(lines, key=_mean), max(lines, key=_mean)
    yield from shown(
        "objectives",
        f"Test errors of each objective, a dot a seed: fewest in the mean with {objective_words(best.name)} "
        f"({count(best.mean)}), most with {objective_words(worst.name)} ({count(worst.mean)}).",
    )
    soft = table["objective/soft"]
    yield "| objective | errors | against soft targets alone | right where the teacher is wrong, training rows |"
    yield "| --- | ---: | ---: | ---: |"
    against = {line.name: difference(line, soft, of=_compared(lines)) for line in lines if line is not soft}
    for line in lines:
        repaired = line.measure("repaired_share")
        cell = "" if repaired is None else f"{100 * repaired:.1f} %"
        yield f"| {objective_words(line.name)} | {spread(line)} | {gap(against.get(line.name))} | {cell} |"
    yield from ("", _averaging(table, lines), "", f"Intervals are {CORRECTED}.")


def _compared(lines: Sequence[Line]) -> int:
    """How many pairs are compared: the best average is chosen by the same errors, so that all count for each."""
    averages, edits = (sum(line.name.startswith(f"objective/{kind}") for line in lines) for kind in ("hard-", "edited"))
    return max(len(lines) - 1, averages * (3 + edits))


def _averaging(table: Table, lines: Sequence[Line]) -> str:
    """The paper: a weighted average of both objectives is best, with considerably less weight on the labels."""
    averages = [line for line in lines if line.name.startswith("objective/hard-")]
    if not averages:
        return f"Whether an average of both objectives is best: {NOT_YET}."
    best = min(averages, key=_mean)
    edits = [line for line in lines if line.name.startswith("objective/edited")]
    others = {"soft targets alone": table["objective/soft"], "labels alone": table["objective/hard"]}
    others |= {"the best edit": min(edits, key=_mean) if edits else None, "logit matching": table["objective/matching"]}
    found = {name: difference(best, line, of=_compared(lines)) for name, line in others.items()}
    parts = [f"{word} {name} ({gap(one)})" for name, one in found.items() if one for word in [_than(apart(one))]]
    lowest = min(lines, key=_mean)
    return (
        "The paper finds a weighted average of soft targets and labels best, with considerably less weight on the "
        f"labels, and labels edited into the targets worse. Here the best average is {objective_words(best.name)}: "
        f"it makes {'; '.join(parts) if parts else 'no comparison yet'}. The fewest errors of all are with "
        f"{objective_words(lowest.name)} ({count(lowest.mean)})."
    )


def _than(side: int) -> str:
    return {1: "more errors than", 0: "errors that are not told apart from those of", -1: "fewer errors than"}[side]


# Fewer rows -----------------------------------------------------------------------------------------------------------


def fewer_rows(table: Table) -> Iterator[str]:
    """Soft targets, labels, and both, on ever fewer rows."""
    curves = {kind: table.curve("fewer-rows", kind) for kind in WITH_VIEWS}
    if not any(curves.values()):
        yield NOT_YET
        return
    ends = "; ".join(
        f"{WITH_VIEWS[kind]} from {count(lines[-1].mean)} on {_share(lines[-1].x)} to {count(lines[0].mean)} on "
        f"{_share(lines[0].x)} of the rows"
        for kind, lines in curves.items()
        if lines
    )
    yield from shown("fewer-rows", f"Test errors against the share of the training rows, both logarithmic: {ends}.")
    heads = " | ".join(WITH_VIEWS.values())
    yield from (f"| rows | {heads} | labels alone − soft targets |", f"| ---: |{' ---: |' * (len(WITH_VIEWS) + 1)}")
    shares = sorted({line.x for lines in curves.values() for line in lines}, reverse=True)
    for share in shares:
        at = {kind: next((line for line in lines if line.x == share), None) for kind, lines in curves.items()}
        cells = " | ".join(map(spread, at.values()))
        yield f"| {_share(share)} | {cells} | {gap(difference(at['hard'], at['soft'], of=len(shares)))} |"
    yield from ("", _saved(curves), "", f"Intervals are {CORRECTED}.")


def _share(share: float) -> str:
    return f"{100 * share:g} %"


def _saved(curves: Mapping[str, Sequence[Line]]) -> str:
    """The smallest share with soft targets that does as well as labels on everything, on plain rows and on views."""
    told = [_saved_by(curves[f"soft{views}"], curves[f"hard{views}"], bool(views)) for views in ("", "-views")]
    return " ".join(one for one in told if one) or f"How many rows soft targets save: {NOT_YET}."


def _saved_by(soft: Sequence[Line], hard: Sequence[Line], views: bool) -> str:
    whole = next((line for line in hard if line.x == 1), None)
    if whole is None or not soft:
        return ""
    enough = [line for line in soft if line.mean <= whole.mean]
    with_views = ", both with views" if views else ""
    if not enough:
        return (
            f"Labels alone on all rows come to {count(whole.mean)} errors in the mean{with_views}; soft targets on "
            "none of these shares come down to that."
        )
    least = enough[0]
    return (
        f"Soft targets on {_share(least.x)} of the rows make {count(least.mean)} errors in the mean, no more than "
        f"labels alone on all of them ({count(whole.mean)}){with_views}; of no smaller share that was run is this so."
    )


# Transfer sets --------------------------------------------------------------------------------------------------------


def transfer(table: Table) -> Iterator[str]:
    """Other transfer sets than the labelled rows."""
    lines = table.family("transfer")
    if not lines:
        yield NOT_YET
        return
    labelled = table["transfer/labelled"]
    yield from ("| transfer set | errors | against labelled rows |", "| --- | ---: | ---: |")
    for line in lines:
        found = None if line is labelled else difference(line, labelled, of=len(lines))
        yield f"| {_set(line)} | {spread(line)} | {gap(found)} |"
    yield from ("", _labels(table, of=len(lines)), "", f"Intervals are {CORRECTED}.")


def _set(line: Line) -> str:
    return (line.about.rpartition("transfer set: ")[2] or line.name.partition("/")[2]).rstrip(".")


def _labels(table: Table, *, of: int) -> str:
    pairs = {"all rows": ("labelled", "unlabelled"), "half of them": ("half-labelled", "half-unlabelled")}
    found = {
        what: difference(table[f"transfer/{without}"], table[f"transfer/{with_}"], of=of)
        for what, (with_, without) in pairs.items()
    }
    told = [
        f"{gap(one)} on {what}{'' if apart(one) else ' (perhaps by nothing)'}" for what, one in found.items() if one
    ]
    if not told:
        return f"What the labels of the transfer set are worth: {NOT_YET}."
    return f"Without labels the errors change by {listed(told)}."


# Rates ----------------------------------------------------------------------------------------------------------------


def rates(table: Table) -> Iterator[str]:
    """A sweep of the learning rate for soft targets and for labels, and the gradients behind it."""
    curves = {kind: table.curve("rate", kind) for kind in ("soft", "hard")}
    if not any(curves.values()):
        yield NOT_YET
        return
    best = {kind: min(lines, key=_mean) for kind, lines in curves.items() if lines}
    told = "; ".join(f"{KINDS[kind]}: fewest {count(line.mean)} at {line.x:g}" for kind, line in best.items())
    yield from shown("rates", f"Test errors against the peak learning rate, both logarithmic. {told}.")
    yield from ("| peak rate | soft targets | labels alone |", "| ---: | ---: | ---: |")
    for x in sorted({line.x for lines in curves.values() for line in lines}):
        cells = (spread(next((line for line in lines if line.x == x), None)) for lines in curves.values())
        yield f"| {x:g} | {' | '.join(cells)} |"
    pairs = len(curves["soft"]) * len(curves["hard"])
    said = _higher(best, pairs) + _slow(curves) + _outermost(best, curves)
    yield from ("", said, "", *_gradients(best.get("soft")))


def _higher(best: Mapping[str, Line], pairs: int) -> str:
    """The paper: soft targets have less gradient variance, so that the student takes a much higher learning rate."""
    if len(best) < 2:
        return f"Whether soft targets take a higher rate: {NOT_YET}."
    soft, hard = best["soft"], best["hard"]
    ratio = soft.x / hard.x
    times = "the same rate" if ratio == 1 else f"{ratio:.2g} times as high"
    verdict = f"{times}; the paper expects a much higher one"
    found = difference(hard, soft, of=pairs)
    gain = (
        "" if found is None else f" Labels alone at their best rate against soft targets at theirs: {gap(found)} errors"
    )
    gain += "" if found is None else " (95 %, corrected for the choice of rates)."
    return (
        f"Soft targets do best at a peak rate of {soft.x:g}, labels alone at {hard.x:g}: {verdict}; the best rates are "
        f"those of the lowest means in this table.{gain}"
    )


def _slow(curves: Mapping[str, Sequence[Line]]) -> str:
    """Says so where labels make fewer errors at low rates."""
    hard = {line.x: line.mean for line in curves["hard"]}
    rates = [line.x for line in _in_order(curves["soft"]) if line.x in hard and hard[line.x] < line.mean]
    least = min(hard, key=lambda x: hard[x], default=0.0)
    low = [f"{rate:g}" for rate in rates if rate < least]
    return f" At {listed(low)} labels alone make fewer errors in the mean." if low else ""


def _outermost(best: Mapping[str, Line], curves: Mapping[str, Sequence[Line]]) -> str:
    """Says so where a best rate is the highest or lowest that was tried, and a better one may lie beyond it."""
    told = []
    for kind, line in best.items():
        rates = [other.x for other in curves[kind]]
        if line.x in (min(rates), max(rates)):
            end = "highest" if line.x == max(rates) else "lowest"
            told.append(f"for {KINDS[kind]} {line.x:g} is the {end} that was tried")
    return f" A better rate may lie beyond: {listed(told)}." if told else ""


def _gradients(line: Line | None) -> Iterator[str]:
    """Pairs of measures that end in "_soft" and "_hard", taken on the same student."""
    names = [] if line is None else [name.removesuffix("_soft") for name in line.measures if name.endswith("_soft")]
    names = [name for name in names if line is not None and f"{name}_hard" in line.measures]
    if line is None or not names:
        yield f"How much gradients differ between rows: {NOT_YET}."
        return
    yield (
        "How much the gradients of single training rows differ (trace of their covariance over the squared norm of "
        f"their mean), for the student with soft targets and a rate of {line.x:g}, means over seeds:"
    )
    yield from ("", "| | soft targets | labels | ratio |", "| --- | ---: | ---: | ---: |")
    for name in names:
        soft, hard = (line.measure(f"{name}_{kind}") or 0.0 for kind in ("soft", "hard"))
        when = "finished student" if "end" in name else "before the first step" if name == "variance" else name
        ratio = f"{soft / hard:.2f}" if hard else "–"
        yield f"| {when.replace('_', ' ')} | {soft:,.1f} | {hard:,.1f} | {ratio} |"
