"""Whether students do as the teacher does, and what they make of its mistakes."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from limbeck.evidence.words import points
from limbeck.report.campaign.looks import Look, look_of, looks
from limbeck.report.figures.drawing import Figure, Table, axis, dots, figure, plain
from limbeck.report.words import count, decimal, share

Facts = Mapping[str, Any]

_SPLITS = (("test", "test rows"), ("train", "rows they learned from"))


class Share(NamedTuple):
    """What one arm makes of the rows that the teacher gets wrong."""

    look: Look
    repaired: float
    copied: float
    said: str


class Fidelity(NamedTuple):
    """What the section shows."""

    figure: Figure | None
    headings: list[str]
    rows: list[tuple[Look, list[str]]]
    mistakes: list[Share]
    wrong: str
    """How many rows the teacher gets wrong."""


def fidelity(facts: Facts) -> Fidelity | None:
    """Lay out agreement, divergence and the teacher's mistakes; None where no answers of a teacher are known."""
    found = facts.get("fidelity")
    if not found:
        return None
    known = looks(facts)
    splits = found.get("splits") or {}
    columns = _columns(splits)
    arms = list(dict.fromkeys(arm for split in splits.values() for arm in split))
    wrong = found.get("teacher_wrong") or {}
    return Fidelity(
        figure=_figure(facts, splits.get("test") or {}),
        headings=[heading for heading, _, _, _ in columns],
        rows=[
            (look_of(known, arm), [_cell(splits, arm, split, key, at) for _, split, key, at in columns]) for arm in arms
        ],
        mistakes=_mistakes(wrong, known),
        wrong=count(wrong["rows"]) if wrong.get("rows") else "",
    )


def _columns(splits: Facts) -> list[tuple[str, str, str, str]]:
    found = []
    for split, name in _SPLITS:
        arms = splits.get(split) or {}
        if any(told.get("agreement") for told in arms.values()):
            found.append((f"same answer, {name}", split, "agreement", ""))
        temperatures = dict.fromkeys(at for told in arms.values() for at in (told.get("kl") or {}))
        found += [(f"KL at T = {at}, {name}", split, "kl", at) for at in temperatures]
    return found


def _cell(splits: Facts, arm: str, split: str, key: str, at: str) -> str:
    told = (splits.get(split) or {}).get(arm) or {}
    values = (told.get("kl") or {}).get(at) if at else told.get(key)
    if not values:
        return ""
    return decimal(_mean(values)) if at else share(_mean(values))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _figure(facts: Facts, arms: Facts) -> Figure | None:
    scored = {arm["name"]: arm for arm in facts.get("arms") or []}
    known = looks(facts)
    found = [
        (look_of(known, name), 100 * _mean(told["agreement"]), 100 - scored[name]["mean"])
        for name, told in arms.items()
        if told.get("agreement") and name in scored
    ]
    if not found:
        return None
    traces = []
    for look, agreed, right in reversed(found):
        dot = dots(
            [agreed], [right], look.colour, [f"{plain(look.title)}: {agreed:.1f} % as the teacher, {right:.2f} % right"]
        )
        marker = {
            "color": look.colour,
            "size": 14 if look.shown else 10,
            "symbol": look.symbol + ("" if look.shown else "-open"),
        }
        traces.append({**dot, "marker": {**marker, "line": {"width": 2, "color": look.colour}}, "cliponaxis": False})
    return figure(
        "Doing as the teacher does, and being right",
        alt="Share of right answers over the share of answers that are the teacher’s, on the test rows, for every arm.",
        caption="To the right: answers as the teacher does. Upwards: answers right. A student can copy its teacher "
        "well and gain nothing, or gain without copying; the two are not the same. Filled marks: "
        "the two arms of the verdict.",
        traces=traces,
        layout={
            "xaxis": {**axis("same answer as the teacher, %")},
            "yaxis": axis("right, %"),
        },
        height=420,
        table=Table(
            ["arm", "same answer as the teacher, %", "right, %"],
            [[look.title, f"{agreed:.1f}", points(right)] for look, agreed, right in found],
        ),
    )


def _mistakes(wrong: Facts, known: Mapping[str, Look]) -> list[Share]:
    repaired, copied = wrong.get("repaired") or {}, wrong.get("copied") or {}
    found = []
    for arm, values in repaired.items():
        mended, kept = _mean(values), _mean(copied.get(arm) or [0.0])
        said = (
            f"{share(mended)} right, {share(kept)} the teacher’s mistake, {share(max(0.0, 1 - mended - kept))} another"
        )
        found.append(Share(look_of(known, arm), round(100 * mended, 2), round(100 * kept, 2), said))
    return found
