"""All contrasts on one scale: rivals and ablations in two groups, each with the one thing that was replaced."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.evidence.words import points, probability
from limbeck.report.campaign.strips import Scale, Strip, difference_strip, scale_of

GROUPS = (
    (
        "rival",
        "Rivals: what one might do instead",
        "Each was tuned with as many trials as the distilled student. They answer whether the teaching is worth it.",
    ),
    (
        "ablation",
        "Ablations: the same teaching with one thing replaced",
        "Settings, initial weights and order of rows are those of the distilled student. They explain, and never enter "
        "a verdict.",
    ),
)
_OUTCOMES = {
    "distilled better": ("good", "distilled is better"),
    "control better": ("bad", "this is better"),
    "cannot tell": ("open", "cannot tell"),
}


class Line(NamedTuple):
    """One contrast."""

    title: str
    about: str
    strip: Strip
    tone: str
    outcome: str
    difference: str
    bounds: str
    errors: str
    chance: str
    holm: str
    primary: bool
    """Whether this is the contrast of the verdict."""


class Group(NamedTuple):
    """Contrasts of one kind."""

    kind: str
    title: str
    about: str
    lines: list[Line]


class Contrasts(NamedTuple):
    """What the section shows."""

    scale: Scale
    groups: list[Group]
    explained: str
    left_out: list[tuple[str, str]]


def contrasts(facts: Mapping[str, Any]) -> Contrasts | None:
    """Lay out every control's difference; None where there are none."""
    found = facts.get("controls") or {}
    left_out = list((facts.get("left_out") or {}).items())
    if not found and not left_out:
        return None
    verdict = facts.get("verdict") or {}
    worth = verdict.get("worth")
    ends = [end for control in found.values() for end in (control["mean"], *(control.get("interval") or ()))]
    scale = scale_of([0.0, *ends, *(() if worth is None else (-worth, worth))])
    against = verdict.get("against", "alone")
    groups = []
    for kind, title, about in GROUPS:
        lines = [
            _line(name, control, scale, worth, primary=name == against)
            for name, control in found.items()
            if control.get("kind") == kind
        ]
        groups += [Group(kind, title, about, lines)] if lines else []
    explained = (facts.get("explained") or {}).get("sentence", "")
    return Contrasts(scale=scale, groups=groups, explained=explained, left_out=left_out)


def _line(name: str, found: Mapping[str, Any], scale: Scale, worth: float | None, *, primary: bool) -> Line:
    tone, outcome = _OUTCOMES[found["outcome"]]
    low, high = found.get("interval") or (None, None)
    errors = found.get("errors") or {}
    sd = errors.get("sd")
    return Line(
        title=found.get("title") or name,
        about=found.get("about") or "",
        strip=difference_strip(scale, found["mean"], (low, high), worth=worth),
        tone=tone,
        outcome=outcome,
        difference=signed(found["mean"]),
        bounds="" if low is None or high is None else f"{signed(low)} to {signed(high)}",
        errors="" if not errors else points(errors["mean"]) + ("" if sd is None else f" ± {points(sd)}"),
        chance=probability(found["p_value"]).removeprefix("= "),
        holm="" if found.get("p_holm") is None else probability(found["p_holm"]).removeprefix("= "),
        primary=primary,
    )


def signed(value: float) -> str:
    """A difference with its sign."""
    text = points(value)
    return text if text.startswith("−") or value <= 0 else f"+{text}"
