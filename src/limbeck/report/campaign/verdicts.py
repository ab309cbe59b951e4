"""The two verdicts on top of the page, and the few numbers that belong beside them."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.evidence.words import percent, points, probability
from limbeck.report.campaign.strips import Strip, difference_strip, scale_of
from limbeck.report.words import count, duration, size

Facts = Mapping[str, Any]

_HELPED = {
    "helped": ("good", "Yes, it helped"),
    "harmed": ("bad", "No, it did harm"),
    "no worthwhile difference": ("even", "No difference worth having"),
    "cannot tell": ("open", "Cannot tell"),
    "refused": ("none", "No verdict"),
}
_REPLACES = {
    "yes": ("good", "Yes, it can"),
    "no": ("bad", "No, it cannot"),
    "cannot tell": ("open", "Cannot tell"),
    "not asked": ("none", "Not asked"),
    "refused": ("none", "No verdict"),
}
_FIRST = {
    "helped": "The teaching helped",
    "harmed": "The teaching did harm",
    "no worthwhile difference": "The teaching made no difference worth having",
    "cannot tell": "Whether the teaching helped cannot be told from these runs",
    "refused": "There is no verdict on the teaching",
}
_SECOND = {
    "yes": "the student can replace its teacher",
    "no": "the student cannot replace its teacher",
    "cannot tell": "whether the student can replace its teacher is open",
}
_GOOD = {"helped", "yes"}


class Card(NamedTuple):
    """One verdict."""

    question: str
    tone: str
    """good, bad, even, open or none: its colour and its sign, never alarming."""
    answer: str
    sentence: str
    why: str
    strip: Strip | None
    ends: tuple[str, str]
    """What lies to the left and to the right of the strip."""
    legend: str
    """What the strip shows."""
    told: list[tuple[str, str]]
    """What was compared: pairs of a name and what is said of it."""


class Number(NamedTuple):
    """One number beside the verdicts, in plain words."""

    name: str
    value: str
    about: str


def headline(facts: Facts) -> str:
    """Both verdicts in one sentence."""
    first = (facts.get("verdict") or {}).get("outcome", "refused")
    second = (facts.get("replace") or {}).get("outcome", "not asked")
    said = _FIRST[first]
    if second not in _SECOND:
        return f"{said}."
    joint = ", and" if (first in _GOOD) == (second in _GOOD) or second == "cannot tell" else ", but"
    return f"{said}{joint} {_SECOND[second]}."


def lede(facts: Facts) -> str:
    """What was done, in words for anybody."""
    arms, rows, teacher = facts.get("arms") or [], facts.get("rows") or {}, facts.get("teacher") or {}
    by_name = {arm["name"]: arm for arm in arms}
    seeds = len(facts.get("seeds") or [])
    said = []
    if arms:
        learned = f" from the same {count(rows['train'])} rows" if rows.get("train") else ""
        times = f", {seeds} times each" if seeds > 1 else ", once each"
        ways = f"in {len(arms)} ways" if len(arms) > 1 else "in one way"
        said.append(f"One student learned{learned} {ways}{times}.")
    found = [
        f"{points(by_name[name]['mean'])} % {what}"
        for name, what in (("distilled", "with the teaching"), ("alone", "on its own"))
        if name in by_name
    ]
    found += [f"its teacher gets {points(teacher['mean'])} %"] if teacher.get("mean") is not None else []
    if found:
        where = f"Of {count(rows['test'])} test rows" if rows.get("test") else "Of the test rows"
        told = f"{', '.join(found[:-1])}, and {found[-1]}" if len(found) > 1 else found[0]
        said.append(f"{where} it gets, on average, {told} wrong.".replace(" %", "\u00a0%"))
    return " ".join(said)


def helped_card(facts: Facts) -> Card | None:
    """Lay out the first verdict."""
    found = facts.get("verdict")
    if not found:
        return None
    tone, answer = _HELPED[found["outcome"]]
    return Card(
        question="Did the teaching help?",
        tone=tone,
        answer=answer,
        sentence=found["sentence"],
        why=found.get("why") or "",
        strip=_difference(found),
        ends=("distilled worse", "distilled better"),
        legend=_legend(found),
        told=_compared(facts, found),
    )


def _difference(found: Facts) -> Strip | None:
    if found.get("mean") is None:
        return None
    worth, interval, each = found.get("worth"), found.get("interval"), found.get("differences") or []
    bounds = [] if worth is None else [-worth, worth]
    scale = scale_of([0.0, found["mean"], *(interval or []), *each, *bounds])
    return difference_strip(scale, found["mean"], interval, worth=worth, dots=each)


def _legend(found: Facts) -> str:
    said = "Error rate of the student alone minus that of the distilled one, in percentage points."
    if found.get("differences"):
        said += " Each small dot is one seed."
    if _whole(found.get("interval")):
        said += " The large dot is their mean, the bar its interval."
    if found.get("worth") is not None:
        said += " The shaded band is what was said not to be worth having."
    return said


def _compared(facts: Facts, found: Facts) -> list[tuple[str, str]]:
    titles = {arm["name"]: arm.get("title") or arm["name"] for arm in facts.get("arms") or []}
    against = found.get("against", "alone")
    told = [("compared", f"“{titles.get('distilled', 'distilled')}” against “{titles.get(against, against)}”")]
    if found.get("pairs"):
        pairs = found["pairs"]
        told.append(("pairs", f"{pairs} seeds, each run in both arms" if pairs > 1 else "one seed, run in both arms"))
    if _whole(found.get("interval")):
        low, high = found["interval"]
        told.append((f"{percent(found['coverage'])} interval", f"{points(low)} to {points(high)} points (exact)"))
    if _whole(found.get("t_interval")):
        low, high = found["t_interval"]
        told.append(("beside it", f"Student’s t gives {points(low)} to {points(high)}{_bca(found)}"))
    if found.get("p_value") is not None:
        told.append(("chance alone", f"exact sign-flip test, p {probability(found['p_value'])}"))
    worth = found.get("worth")
    told.append(
        ("worth having", "not named" if worth is None else f"{worth:g} {'point' if worth == 1 else 'points'} or more")
    )
    checkpoints = facts.get("checkpoints")
    if checkpoints:
        told.append((checkpoints["label"], checkpoints["sentence"]))
    if found.get("looks", 1) > 1:
        told.append(("look", f"{found['look']} of {found['looks']} planned"))
    return told


def _bca(found: Facts) -> str:
    if not _whole(found.get("bca_interval")):
        return ""
    low, high = found["bca_interval"]
    return f", the BCa bootstrap {points(low)} to {points(high)}"


def replace_card(facts: Facts) -> Card | None:
    """Lay out the second verdict."""
    found = facts.get("replace")
    if not found:
        return None
    tone, answer = _REPLACES[found["outcome"]]
    return Card(
        question="Can the student replace the teacher?",
        tone=tone,
        answer=answer,
        sentence=found["sentence"],
        why="",
        strip=_limit(found),
        ends=("student better", "student worse"),
        legend=_limit_legend(found),
        told=_costs(found, facts),
    )


def _limit(found: Facts) -> Strip | None:
    mean, upper, within = found.get("mean"), found.get("upper"), found.get("within")
    if mean is None:
        return None
    scale = scale_of([0.0, mean, upper, within, found.get("lower")])
    alt = f"Student minus teacher {points(mean)} points"
    alt += "" if upper is None else f", at most {points(upper)}"
    alt += "" if within is None else f"; {within:g} are allowed"
    lower = found.get("lower") if found["outcome"] in ("no", "cannot tell") else None
    return Strip(
        scale=scale,
        alt=alt,
        mean=scale.place(mean),
        low=None if upper is None else 0.0 if lower is None else scale.place(lower),
        high=None if upper is None else scale.place(upper),
        zero=scale.place(0.0),
        margin=None if within is None else scale.place(within),
        open_left=lower is None,
    )


def _limit_legend(found: Facts) -> str:
    said = "Error rate of the student minus that of the teacher, in percentage points."
    both = found.get("lower") is not None and found["outcome"] in ("no", "cannot tell")
    if found.get("upper") is not None:
        said += f" The dot is the mean; the bar reaches {'from the lower' if both else 'up'} to the upper limit."
    if found.get("within") is not None:
        said += " The flag is the margin that was allowed: a student that can take the teacher’s place "
        said += "has a bar that ends to its left."
    return said


def _costs(found: Facts, facts: Facts) -> list[tuple[str, str]]:
    told = _errors(facts)
    for key, name, write in (
        ("parameters", "parameters", count),
        ("bytes", "size", size),
        ("seconds_per_row", "one answer", duration),
    ):
        both = found.get(key) or {}
        if both.get("student") and both.get("teacher"):
            ours, theirs = both["student"], both["teacher"]
            told.append((name, f"{write(ours)} against {write(theirs)} ({_ratio(ours, theirs)})"))
    within = found.get("within")
    told.append(
        (
            "allowed",
            "no margin was named" if within is None else f"{within:g} {'point' if within == 1 else 'points'} more",
        )
    )
    saw = (facts.get("teacher") or {}).get("saw") or {}
    told += [("teacher saw", _saw(saw))] if saw else []
    return told


def _errors(facts: Facts) -> list[tuple[str, str]]:
    ours = next((arm["mean"] for arm in facts.get("arms") or [] if arm["name"] == "distilled"), None)
    theirs = (facts.get("teacher") or {}).get("mean")
    return [] if ours is None or theirs is None else [("rows wrong", f"{points(ours)} % against {points(theirs)} %")]


def _ratio(ours: float, theirs: float) -> str:
    if ours <= theirs:
        return f"{theirs / ours:.3g} × less" if theirs / ours >= 1.05 else "the same"
    return f"{ours / theirs:.3g} × more"


def _saw(saw: Facts) -> str:
    words = {"no": "not seen", "yes": "seen", "unknown": "unknown whether seen"}
    return ", ".join(f"{split} rows: {words.get(told, told)}" for split, told in saw.items())


def numbers(facts: Facts) -> list[Number]:
    """The gap that was closed, what these runs could have shown, the rival's cap, and the looks at the test rows."""
    found = [_gap(facts), _resolution(facts), _cap(facts), _ledger(facts)]
    return [number for number in found if number is not None]


def _gap(facts: Facts) -> Number | None:
    gap = facts.get("gap")
    if not gap:
        return None
    if gap.get("closed") is None:
        return Number("gap closed", "left out", gap.get("why") or "The teacher is not clearly better.")
    about = "of the way from the student alone to its teacher"
    if gap.get("interval"):
        low, high = gap["interval"]
        about += f" (interval {_whole_percent(low)} to {_whole_percent(high)})"
    return Number("gap closed", _whole_percent(gap["closed"]), f"{about}.")


def _whole_percent(value: float) -> str:
    return f"{100 * value:.0f}\u00a0%".replace("-", "−", 1)  # kept on one line


def _resolution(facts: Facts) -> Number | None:
    found = (facts.get("verdict") or {}).get("resolution") or {}
    seeds, rows, both = found.get("seeds"), found.get("rows"), found.get("both")
    if seeds is None:
        few = f"So few pairs could show no difference, however large{_of_rows(rows, both)}."
        return Number("sharpness of these runs", "too few", few) if found else None
    about = f"points is the smallest true difference that such runs show four times in five{_of_rows(rows, both)}."
    return Number("sharpness of these runs", points(seeds), about)


def _of_rows(rows: float | None, both: float | None) -> str:
    if rows is None:
        return ""
    both_said = "" if both is None else f"; both chances together, {points(both)}"
    return f"; the choice of test rows alone accounts for ±{points(rows)} in a pair of runs{both_said}"


def _cap(facts: Facts) -> Number | None:
    for arm in facts.get("arms") or []:
        cap = (arm.get("notes") or {}).get("epochs_cap")
        if cap is not None:
            epochs = f" It was given {count(arm['epochs'])} epochs." if arm.get("epochs") else ""
            epochs += " The cap was reached." if arm["notes"].get("capped") else ""
            return Number(
                "compute-matched rival",
                f"≤ {cap:g} ×",
                f"“{arm.get('title') or arm['name']}” may train as long as the teaching costs, up to {cap:g} times the "
                f"epochs of the distilled student.{epochs}",
            )
    return None


def _ledger(facts: Facts) -> Number | None:
    ledger = facts.get("ledger") or {}
    if not ledger.get("scorings"):
        return None
    runs = f" in {count(ledger['runs'])} runs" if ledger.get("runs") else ""
    about = (
        f"times the test rows were scored{runs}, every one of them in the ledger; settings were chosen without them."
    )
    return Number("looks at the test rows", count(ledger["scorings"]), about)


def _whole(interval: Any) -> bool:
    return bool(interval) and all(end is not None for end in interval)
