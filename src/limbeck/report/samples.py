"""Sample rows for people to look at: what each shows, its label, and what teacher and student answer."""

from collections.abc import Mapping, Sequence
from math import log
from typing import Any, NamedTuple

from limbeck.report.pictures import pictures
from limbeck.report.words import listing, share

MOST_CARDS = 6
MOST_CLASSES = 12
"""Up to so many classes a card shows all, in their order; of more, the highest."""
HIGHEST_CLASSES = 10
MOST_CHARACTERS = 280
ENTROPY_TEMPERATURE = "4"


class Bar(NamedTuple):
    """One probability."""

    width: float
    """Per cent of the cell."""
    text: str


class ClassLine(NamedTuple):
    """One class of a card: a row of its table."""

    name: str
    true: bool
    teacher: list[Bar]
    """One for each temperature of the card."""
    student: Bar | None


class Answer(NamedTuple):
    """What one model says about a row at T = 1."""

    who: str
    says: str
    right: bool | None
    """None without a label."""


class Card(NamedTuple):
    """One sample row."""

    id: str
    picture: str | None
    text: str | None
    label: str | None
    answers: list[Answer]
    temperatures: list[str]
    lines: list[ClassLine]


class Gallery(NamedTuple):
    """The sample rows of a page."""

    cards: list[Card]
    taught: bool
    """Whether there is a teacher's answer to show."""
    asked: int
    """Rows from which the cards were picked."""
    classes: int
    highest: int | None
    """How many classes a card shows, where it does not show all."""
    short: bool
    """Whether the names of all classes are a few characters long."""
    labelled: bool
    sigmoid: bool
    vectors: bool
    """Whether the pictures are feature vectors laid out as squares."""


def gallery(samples: Mapping[str, Any]) -> Gallery | None:
    """Lay out the rows on which the teacher (without one, the student) is least sure; None where nothing was kept."""
    answers: Mapping[str, Any] = samples.get("answers") or {}
    leading = answers.get("teacher") or answers.get("student")
    if not leading:
        return None
    sigmoid = samples.get("head") == "sigmoid"
    softened = leading.get(ENTROPY_TEMPERATURE) or next(iter(leading.values()))
    ranked = sorted(range(len(softened)), key=lambda row: -_entropy(softened[row], sigmoid))
    drawn, vectors = drawn_column(samples.get("columns") or {})
    classes = len(softened[0])
    return Gallery(
        cards=[_card(samples, row, drawn, softened[row]) for row in ranked[:MOST_CARDS]],
        taught="teacher" in answers,
        asked=len(softened),
        classes=classes,
        highest=HIGHEST_CLASSES if classes > MOST_CLASSES else None,
        short=all(len(name) <= 3 for name in names_of(samples.get("classes"), classes)),
        labelled=samples.get("labels") is not None,
        sigmoid=sigmoid,
        vectors=vectors,
    )


def drawn_column(columns: Mapping[str, Any]) -> tuple[list[str] | None, bool]:
    """The first column that can be drawn, and whether it holds plain vectors."""
    for column in columns.values():
        drawn = pictures(column)
        if drawn is not None:
            return drawn, not isinstance(column[0][0], list)
    return None, False


def _card(samples: Mapping[str, Any], row: int, drawn: list[str] | None, softened: Sequence[float]) -> Card:
    answers, sigmoid = samples["answers"], samples.get("head") == "sigmoid"
    names = names_of(samples.get("classes"), len(softened))
    labels = samples.get("labels")
    true = None if labels is None else true_classes(labels[row])
    teacher, student = answers.get("teacher") or {}, answers.get("student") or {}
    said = [
        _answer(who, by_temperature["1"][row], names, true, sigmoid)
        for who, by_temperature in (("teacher", teacher), ("student", student))
        if "1" in by_temperature
    ]
    return Card(
        id=str(samples["ids"][row]),
        picture=None if drawn is None else drawn[row],
        text=text_of(samples.get("columns") or {}, row),
        label=None if true is None else (listing([names[index] for index in sorted(true)]) or "none"),
        answers=said,
        temperatures=list(teacher),
        lines=[
            ClassLine(
                name=names[index],
                true=true is not None and index in true,
                teacher=[_bar(found[row][index]) for found in teacher.values()],
                student=_bar(student["1"][row][index]) if "1" in student else None,
            )
            for index in _shown(softened, true)
        ],
    )


def names_of(classes: Sequence[str] | None, number: int) -> list[str]:
    """Names of classes, or their numbers where they have none."""
    return [str(index) for index in range(number)] if classes is None else [str(name) for name in classes]


def true_classes(label: Any) -> set[int]:
    """Classes that a label names: one for a softmax head, any number for a sigmoid head."""
    if isinstance(label, list):
        return {index for index, value in enumerate(label) if value > 0.5}
    return {int(label)}


def _answer(who: str, probs: Sequence[float], names: Sequence[str], true: set[int] | None, sigmoid: bool) -> Answer:
    if sigmoid:
        said = {index for index, value in enumerate(probs) if value > 0.5}
        says = listing([names[index] for index in sorted(said)]) or "none"
    else:
        best = max(range(len(probs)), key=probs.__getitem__)
        said, says = {best}, f"{names[best]} ({share(probs[best])})"
    return Answer(who, says, None if true is None else said == true)


def _shown(probs: Sequence[float], true: set[int] | None) -> list[int]:
    """Classes in the order of a card: all, or the highest and whatever true ones are not among them."""
    if len(probs) <= MOST_CLASSES:
        return list(range(len(probs)))
    highest = sorted(range(len(probs)), key=lambda index: -probs[index])[:HIGHEST_CLASSES]
    return highest + sorted((true or set()) - set(highest))[:HIGHEST_CLASSES]


def _bar(value: float) -> Bar:
    return Bar(width=round(100 * value, 2), text=share(value))


def text_of(columns: Mapping[str, Any], row: int) -> str | None:
    """All texts of a row, cut where they are long; None where it has none."""
    found = [str(column[row]) for column in columns.values() if column and isinstance(column[row], str)]
    text = " / ".join(found)
    return (text[:MOST_CHARACTERS].rstrip() + " …" if len(text) > MOST_CHARACTERS else text) or None


def _entropy(probs: Sequence[float], sigmoid: bool) -> float:
    """Entropy in nats; over labels of yes and no, the sum of theirs. It orders the rows, nothing else."""
    parts = [p for value in probs for p in ((value, 1 - value) if sigmoid else (value,))]
    return -sum(p * log(p) for p in parts if p > 0)
