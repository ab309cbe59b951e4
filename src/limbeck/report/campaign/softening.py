"""The temperature slider: real rows with what teacher and student answer at each recorded temperature.

Nothing is softened on the page: an arithmetic ensemble's answer at a temperature cannot be had from its answer at
another, so the slider steps through the temperatures at which the answers were kept.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from limbeck.report.samples import drawn_column, names_of, text_of, true_classes
from limbeck.report.words import listing, rate

MOST_CLASSES = 12
"""Up to so many classes a row shows all, in their order; of more, the likeliest."""
HIGHEST = 10
MOST_FEATURES = 12
DIGITS = 5


class SampleRow(NamedTuple):
    """One row to choose."""

    id: str
    picture: str | None
    text: str | None
    label: str | None


class Softening(NamedTuple):
    """What the section shows, and what its script reads."""

    rows: list[SampleRow]
    temperatures: list[str]
    start: int
    """The temperature at which the page opens: that of the objective where it was kept."""
    data: dict[str, Any]
    """As the script reads it: temperatures, and by row the classes shown, which are true, and the answers."""
    who: list[str]
    says: dict[str, str]
    """What each prefers of the first row, at the temperature at which the page opens."""
    sigmoid: bool
    classes: int
    cut: bool
    vectors: bool


def softening(samples: Mapping[str, Any] | None, temperature: float | None = None) -> Softening | None:
    """Lay out the sample rows for the slider; None where no answers were kept."""
    answers: Mapping[str, Any] = (samples or {}).get("answers") or {}
    known = {who: answers[who] for who in ("teacher", "student") if answers.get(who)}
    if not samples or not known:
        return None
    first = next(iter(known.values()))
    temperatures = [at for at in first if all(at in found for found in known.values())]
    if not temperatures or not first[temperatures[0]]:
        return None
    start, sigmoid = _start(temperatures, temperature), samples.get("head") == "sigmoid"
    classes = len(first[temperatures[0]][0])
    drawn, vectors = drawn_column(samples.get("columns") or {})
    names = names_of(samples.get("classes"), classes)
    labels = samples.get("labels")
    rows, told = [], []
    for row in range(len(first[temperatures[0]])):
        true = None if labels is None else true_classes(labels[row])
        answered = [found[at][row] for found in known.values() for at in temperatures]
        shown = _shown(first[temperatures[start]][row], true, answered)
        label = None if true is None else (listing([names[index] for index in sorted(true)]) or "none")
        picture = None if drawn is None else drawn[row]
        rows.append(SampleRow(str(samples["ids"][row]), picture, _words(samples, row, drawn), label))
        told.append(
            {
                "names": [names[index] for index in shown],
                "true": [true is not None and index in true for index in shown],
                **{
                    who: [[round(found[at][row][index], DIGITS) for index in shown] for at in temperatures]
                    for who, found in known.items()
                },
            }
        )
    return Softening(
        rows=rows,
        temperatures=temperatures,
        start=start,
        data={"temperatures": temperatures, "who": list(known), "sigmoid": sigmoid, "rows": told},
        who=list(known),
        says={who: _says(told[0], who, start, sigmoid=sigmoid) for who in known},
        sigmoid=sigmoid,
        classes=classes,
        cut=classes > MOST_CLASSES,
        vectors=vectors,
    )


def _says(told: Mapping[str, Any], who: str, at: int, *, sigmoid: bool) -> str:
    """The class preferred, with its probability; of a sigmoid head, all labels that are likelier than not."""
    probs: list[float] = told[who][at]
    if sigmoid:
        return ", ".join(name for name, share in zip(told["names"], probs, strict=True) if share > 0.5) or "none"
    best = max(range(len(probs)), key=probs.__getitem__)
    return f"{told['names'][best]} ({100 * probs[best]:.1f} %)"


def _start(temperatures: Sequence[str], wanted: float | None) -> int:
    """The place of the temperature nearest to the one wanted; without a wish, of the second."""
    if wanted is None:
        return min(1, len(temperatures) - 1)
    return min(range(len(temperatures)), key=lambda place: abs(float(temperatures[place]) - wanted))


def _shown(probs: Sequence[float], true: set[int] | None, answered: Sequence[Sequence[float]]) -> list[int]:
    """Classes of a row: all, or the likeliest, with whatever any answer prefers and some of the true ones."""
    if len(probs) <= MOST_CLASSES:
        return list(range(len(probs)))
    highest = sorted(range(len(probs)), key=lambda index: -probs[index])[:HIGHEST]
    preferred = {max(range(len(answer)), key=answer.__getitem__) for answer in answered}
    return highest + sorted((preferred | set(sorted(true or ())[:2])) - set(highest))


def _words(samples: Mapping[str, Any], row: int, drawn: Any) -> str | None:
    """The row's text; of a row that is neither picture nor text, its numbers."""
    columns = samples.get("columns") or {}
    text = text_of(columns, row)
    if text is not None or drawn is not None:
        return text
    parts = []
    for name, column in columns.items():
        if column and isinstance(column[row], list) and not any(isinstance(value, list) for value in column[row]):
            values = ", ".join(rate(round(value, 3)) for value in column[row][:MOST_FEATURES])
            parts.append(f"{name}: {values}{', …' if len(column[row]) > MOST_FEATURES else ''}")
    return "; ".join(parts) or None
