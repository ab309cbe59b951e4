"""The verdicts on predictions that Limbeck did not train: rows and seeds paired, then judged as a campaign's are.

Shape legend, this file:  S runs (seeds), N rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from limbeck.errors import DataError, MismatchError
from limbeck.evidence.gap import Gap, gap_closed
from limbeck.evidence.mcnemar import Checkpoints, mcnemar
from limbeck.evidence.predicted import Integers, Labels, Predicted
from limbeck.evidence.question import Question
from limbeck.evidence.replacement import Replacement, replacement
from limbeck.evidence.verdict import Saw, Verdict, verdict
from limbeck.evidence.wrong import Wrong


@final
@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What predictions show."""

    verdict: Verdict
    """Distilled against alone, over seeds."""
    replace: Replacement
    """Distilled against the teacher."""
    gap: Gap
    """What share of the gap to the teacher was closed."""
    checkpoints: Mapping[str, Checkpoints]
    """Of one run each: the distilled checkpoint first, against `alone` and, where there is one, `teacher`."""
    wrong: Mapping[str, Wrong]
    """Which rows the runs of `distilled`, `alone` and `teacher` got wrong."""
    seeds: tuple[int, ...] | None
    """Of the pairs; None where nothing names them."""
    notes: tuple[str, ...]
    """How rows and runs were paired, where the files left that open."""

    def as_json(self) -> dict[str, Any]:
        """For a file: the dictionaries of facts.json, and what is known of the rows."""
        return {
            "kind": "judgement",
            "rows": int(self.wrong["distilled"].shape[1]),
            "seeds": None if self.seeds is None else list(self.seeds),
            "errors": {name: (100 * wrong_SN.mean(1)).tolist() for name, wrong_SN in self.wrong.items()},
            "verdict": self.verdict.as_json(),
            "replace": self.replace.as_json(),
            "gap": self.gap.as_json(),
            "checkpoints": {name: found.as_json() for name, found in self.checkpoints.items()},
            "notes": list(self.notes),
        }


def judge(
    distilled: Predicted,
    alone: Predicted,
    question: Question,
    *,
    labels: Labels | None = None,
    teacher: Predicted | None = None,
    look: int = 1,
    saw_test: Saw = "unknown",
) -> Judgement:
    """Judge predictions.

    Rows are paired by ids where both files have them, runs by seeds, each else by their order, which is noted.

    Args:
        distilled: of the distilled student.
        alone: of the same student without a teacher.
        question: what is to be found out.
        labels: the true classes; those in the files of predictions unless given.
        teacher: one run.
        look: which look at these rows it is.
        saw_test: whether the teacher was trained on them.

    Raises: MismatchError for files that do not agree on rows, seeds, classes or labels; DataError for labels that no
        class has.
    """
    notes: list[str] = []
    others = [alone] if teacher is None else [alone, teacher]
    if teacher is not None and teacher.runs != 1:
        raise MismatchError(f"There is one teacher, and {teacher.name} holds {teacher.runs} runs; give one.")
    for other in others:
        _require_same_classes(distilled, other)
    places = {other.name: _places(distilled, other, notes) for other in others}
    labels_N = _labels(distilled, others, places, labels, notes)
    runs = _paired_runs(distilled, alone, notes)
    wrong = {
        "distilled": distilled.classes_SN != labels_N,
        "alone": alone.classes_SN[runs][:, places[alone.name]] != labels_N,
    }
    if np.array_equal(wrong["distilled"], wrong["alone"]):
        notes.append(
            f"{distilled.name} and {alone.name} are right and wrong in just the same rows; are they two files?"
        )
    if teacher is not None:
        wrong["teacher"] = teacher.classes_SN[:, places[teacher.name]] != labels_N
    if all(wrong_SN.all() for wrong_SN in wrong.values()):
        raise DataError("Every prediction is wrong: the labels are of other rows, or number the classes otherwise.")
    return Judgement(
        verdict=verdict(wrong["distilled"], wrong["alone"], question, look=look, saw_test=saw_test),
        replace=replacement(wrong["distilled"], wrong.get("teacher"), question, look=look, saw_test=saw_test),
        gap=gap_closed(wrong["distilled"], wrong["alone"], wrong.get("teacher"), level=question.level),
        checkpoints=_checkpoints(wrong, question) if distilled.runs == 1 else {},
        wrong=wrong,
        seeds=distilled.seeds,
        notes=tuple(dict.fromkeys(notes)),
    )


def _checkpoints(wrong: Mapping[str, Wrong], question: Question) -> dict[str, Checkpoints]:
    return {
        name: mcnemar(wrong["distilled"], wrong[name], level=question.level)
        for name in ("alone", "teacher")
        if name in wrong
    }


def _require_same_classes(first: Predicted, other: Predicted) -> None:
    if None not in (first.width, other.width) and first.width != other.width:
        raise MismatchError(
            f"{first.name} scores {first.width} classes and {other.name} {other.width}; they must be the same."
        )
    if first.names is not None and other.names is not None and first.names != other.names:
        raise MismatchError(
            f"{first.name} and {other.name} name other classes, or the same in another order; a class index must mean "
            "one class."
        )


def _places(first: Predicted, other: Predicted | Labels, notes: list[str]) -> Integers:
    """Where the other file holds each row of the first.  -> (N,)."""
    rows = other.rows if isinstance(other, Predicted) else len(other.labels_N)
    if rows != first.rows:
        raise MismatchError(f"{first.name} holds {first.rows:,} rows and {other.name} {rows:,}; they must be the same.")
    if first.ids_N is None or other.ids_N is None:
        notes.append("Rows are paired by their order where files have no ids.")
        return np.arange(rows)
    order = other.ids_N.argsort(kind="stable")
    if first.ids_N.dtype.kind == "U" or other.ids_N.dtype.kind == "U":
        _require_same_kind(first, other)
    found = np.searchsorted(other.ids_N[order], first.ids_N).clip(max=rows - 1)
    missing = other.ids_N[order][found] != first.ids_N
    if missing.any():
        raise MismatchError(
            f"{first.name} and {other.name} are of other rows: {int(missing.sum()):,} of {rows:,} ids of the first are "
            f"not in the second, such as {first.ids_N[missing][0]}."
        )
    places_N: Integers = order[found].astype(np.int64)
    return places_N


def _require_same_kind(first: Predicted, other: Predicted | Labels) -> None:
    assert first.ids_N is not None and other.ids_N is not None
    if first.ids_N.dtype.kind != other.ids_N.dtype.kind:
        raise MismatchError(f"The ids of {first.name} and {other.name} are text in one file and numbers in the other.")


def _labels(
    distilled: Predicted,
    others: Sequence[Predicted],
    places: Mapping[str, Integers],
    given: Labels | None,
    notes: list[str],
) -> Integers:
    """Return the labels in the order of the first file's rows; all that are there must agree."""
    found: dict[str, Integers] = {}
    if given is not None:
        found[given.name] = given.labels_N[_places_of_labels(distilled, others, places, given, notes)]
    if distilled.labels_N is not None:
        found[distilled.name] = distilled.labels_N
    for other in others:
        if other.labels_N is not None:
            found[other.name] = other.labels_N[places[other.name]]
    if not found:
        raise DataError("Nothing says which predictions are right: give --labels, or an array `labels` in an archive.")
    (name, labels_N), *rest = found.items()
    for other_name, other_N in rest:
        differing = int(np.count_nonzero(labels_N != other_N))
        if differing:
            raise MismatchError(
                f"The labels of {name} and {other_name} differ in {differing:,} of {len(labels_N):,} rows."
            )
    for predicted in (distilled, *others):
        if predicted.width is not None and labels_N.max() >= predicted.width:
            raise DataError(
                f"{name} holds the label {labels_N.max()}, and {predicted.name} has {predicted.width} classes, counted "
                "from 0."
            )
    return labels_N


def _places_of_labels(
    distilled: Predicted, others: Sequence[Predicted], places: Mapping[str, Integers], given: Labels, notes: list[str]
) -> Integers:
    moved = [other.name for other in others if not np.array_equal(places[other.name], np.arange(distilled.rows))]
    if given.ids_N is None and moved:
        raise MismatchError(
            f"{distilled.name} and {moved[0]} hold the rows in two orders, and {given.name} has no ids to say which of "
            "them is its own; give labels as an .npz with ids."
        )
    return _places(distilled, given, notes)


def _paired_runs(distilled: Predicted, alone: Predicted, notes: list[str]) -> list[int]:
    """Which run of the other file pairs with each of the first."""
    if distilled.runs != alone.runs:
        raise MismatchError(
            f"Seeds do not pair: {distilled.name} holds {_runs(distilled)} and {alone.name} {_runs(alone)}; give the "
            "same seeds of both."
        )
    if distilled.seeds is None or alone.seeds is None:
        if distilled.runs > 1:
            notes.append("Runs are paired by their order, as nothing names their seeds.")
        return list(range(distilled.runs))
    missing = sorted(set(distilled.seeds) - set(alone.seeds))
    if missing:
        raise MismatchError(
            f"Seeds do not pair: {distilled.name} was run at {', '.join(map(str, missing))}, and {alone.name} was not."
        )
    return [alone.seeds.index(seed) for seed in distilled.seeds]


def _runs(predicted: Predicted) -> str:
    return f"{predicted.runs} run{'' if predicted.runs == 1 else 's'}"
