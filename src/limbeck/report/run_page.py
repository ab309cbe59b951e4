"""What the page of one run says: the scores of student and teacher, the curves, the gradients, the samples."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from limbeck.report.figures.pulls import gradient_cosines, gradient_norms
from limbeck.report.figures.run import run_terms, validation_curve
from limbeck.report.samples import gallery
from limbeck.report.words import amount, count, decimal, rate, share, size

SPLITS = ("test", "validation", "train")
SPLIT_NAMES = {"test": "test rows", "validation": "validation rows", "train": "rows it learned from"}


class Column(NamedTuple):
    """A column of the table of scores."""

    key: str
    heading: str
    unit: str


COLUMNS = (
    Column("errors", "errors", ""),
    Column("accuracy", "right", ""),
    Column("nll", "log loss", "nats"),
    Column("brier", "Brier score", "0 to 2"),
    Column("ece", "calibration error", "0 to 1"),
    Column("agreement", "same answer", "as teacher"),
    Column("kl", "KL to teacher", "nats"),
)
LEFT_OUT = ("validation", "device", "workers", "log_every", "probe_rows", "checkpoint_seconds", "keep_every")
"""Fields of a specification that the page tells otherwise (rows, hardware) or that change nothing in the student."""

_WRITE = {"errors": amount, "accuracy": share, "agreement": share}


def run_content(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template `run.html` asks for."""
    summary = facts["summary"]
    curves, gradients = facts.get("curves") or {}, facts.get("gradients") or {}
    samples = facts.get("samples")
    terms = [name for name in curves.get("terms", {}) if name != "loss"]
    teacher = (summary.get("teacher") or {}).get("validation")
    learned = (
        validation_curve(curves.get("validation") or {}, teacher=teacher, kept=summary.get("kept")),
        run_terms(curves),
    )
    pulls = (gradient_norms(gradients, terms), gradient_cosines(gradients, terms)) if gradients else ()
    figures = [[figure for figure in row if figure is not None] for row in (learned, pulls)]
    columns = [column for column in COLUMNS if any(column.key in found for _, found in _scored(summary))]
    return {
        "title": facts["title"],
        "headline": headline(summary, (samples or {}).get("head")),
        "lede": lede(summary),
        "columns": columns,
        "scores": _scores(summary, columns),
        "beside": summary.get("teacher") is not None,
        "curves": figures[0],
        "gradients": figures[1],
        "drawn": any(figures),
        "gallery": samples and gallery(samples),
        "setting": _setting(facts.get("setting") or {}),
        "kept": f"{_kept(summary)} {_origin(summary)}".strip(),
    }


def headline(summary: Mapping[str, Any], head: str | None = None) -> str:
    """State in one sentence what the student answers on the best rows there are, beside its teacher."""
    student, teacher = summary["student"], summary.get("teacher") or {}
    split = next((name for name in SPLITS if name in student), None)
    if split is None:
        return f"A student of {count(student['parameters'])} parameters, not scored on any rows."
    ours, theirs = student[split], teacher.get(split, {})
    rows = f"{count(ours['rows'])} {SPLIT_NAMES[split]}"
    agreed = f"gives its teacher's answer on {share(ours['agreement'])}" if "agreement" in ours else ""
    if "errors" not in ours:
        return (
            f"Of {rows}, the student {agreed}." if agreed else f"The student has answered {rows}; there are no labels."
        )
    what = " label decisions" if head == "sigmoid" else ""
    text = f"On {rows} the student gets {amount(ours['errors'])}{what} wrong ({share(1 - ours['accuracy'])})"
    if "errors" in theirs:
        text += f", its teacher {amount(theirs['errors'])} ({share(1 - theirs['accuracy'])})"
    return f"{text}."


def lede(summary: Mapping[str, Any]) -> list[str]:
    """Say how large the student is, how alike the two are, and what a single run cannot say."""
    student, teacher, kept = summary["student"], summary.get("teacher"), summary.get("kept") or {}
    split = next((name for name in SPLITS if name in student), None)
    scored = {} if split is None else student[split]
    said = [f"The student has {count(student['parameters'])} parameters ({size(student['bytes'])})."]
    if "agreement" in scored and "errors" in scored:
        said.append(f"It gives its teacher's answer on {share(scored['agreement'])} of these rows.")
    if split == "validation" and kept.get("chosen_by") == "validation":
        said.append("The same rows chose which epoch's weights are kept, so the numbers flatter it a little.")
    if split == "train":
        said.append("No rows were held out, so nothing here says how it does on rows that it has not seen.")
    if teacher is not None:
        said.append(
            "One run shows what this student answers, not whether the teaching helped: that takes the same student on "
            "labels alone, over several seeds."
        )
    return said


def _scored(summary: Mapping[str, Any]) -> list[tuple[tuple[str, str], Mapping[str, float]]]:
    """What was scored, by split and model, the test rows first."""
    models = {"student": summary["student"], "teacher": summary.get("teacher") or {}}
    return [((split, who), found[split]) for split in SPLITS for who, found in models.items() if split in found]


def _scores(summary: Mapping[str, Any], columns: list[Column]) -> list[dict[str, Any]]:
    return [
        {
            "split": split,
            "first": who == "student",
            "rows": count(found["rows"]),
            "who": who,
            "arm": "taught" if who == "student" else "ensemble",
            "cells": [_cell(found, column) for column in columns],
        }
        for (split, who), found in _scored(summary)
        if who == "student" or any(column.key in found for column in columns)
    ]


def _cell(found: Mapping[str, float], column: Column) -> str:
    return _WRITE.get(column.key, decimal)(found[column.key]) if column.key in found else ""


def _kept(summary: Mapping[str, Any]) -> str:
    kept = summary.get("kept")
    if not kept:
        return ""
    why = (
        "the best on the validation rows"
        if kept["chosen_by"] == "validation"
        else "the last, as there were no rows to choose on"
    )
    last = f" of {summary['epochs']}" if "epochs" in summary else ""
    return f"The weights are those of epoch {kept['epoch']}{last}, step {count(kept['step'])}: {why}."


_FORMS = {
    "top-k": "with the likeliest classes and the weight of the others, which is spread evenly where they are scored",
    "sampled": "with classes drawn from its distribution, which can be learnt from and not be scored",
    "low-rank": "with a few coefficients a row, so that its figures are nearly those of the teacher itself",
}


def _origin(summary: Mapping[str, Any]) -> str:
    recorded = (summary.get("teacher") or {}).get("recorded")
    if not recorded:
        return ""
    form = _FORMS.get(recorded["encoding"], "")
    marked = f" They are marked {', '.join(recorded['marks'])}." if recorded["marks"] else ""
    return f"The teacher was not run: its answers were recorded before{', ' + form if form else ''}.{marked}"


def _setting(setting: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The numbers of the specification, and which rows, as pairs of name and value."""
    plain = [
        (name.replace("_", " "), _value(value))
        for name, value in setting.items()
        if not isinstance(value, dict | list | None) and name not in LEFT_OUT
    ]
    rows = [
        (f"{split} rows", f"{count(found['rows'])} (fingerprint {found['fingerprint'][:12]})")
        for split, found in (setting.get("data") or {}).items()
        if found is not None
    ]
    return plain + rows


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return rate(value) if isinstance(value, float) else str(value)
