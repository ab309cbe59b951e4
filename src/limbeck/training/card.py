"""student/README.md: a model card of what is known about the student, in the form that a hub reads."""

from collections.abc import Sequence
from typing import Any


def model_card(name: str, summary: dict[str, Any], classes: Sequence[str] | None) -> str:
    """Write the card from a run's summary: size, scores by split, the teacher, and how the weights were chosen."""
    student, teacher, kept = summary["student"], summary["teacher"], summary["kept"]
    lines = [
        "---",
        "library_name: limbeck",
        "tags: [knowledge-distillation]",
        "---",
        "",
        f"# {name}",
        "",
        f"A student of {student['parameters']:,} parameters ({student['bytes']:,} bytes), "
        + ("trained on labels alone." if teacher is None else f"taught by `{teacher['fingerprint'][:12]}`."),
        f"Weights of step {kept['step']:,} (epoch {kept['epoch']}), chosen by {_choice(kept['chosen_by'])}.",
    ]
    if classes is not None and len(classes) <= 50:
        lines += ["", f"Classes, in order: {', '.join(classes)}."]
    lines += ["", "| split | rows | " + " | ".join(_columns(student)) + " |"]
    lines += ["| --- | ---: |" + " ---: |" * len(_columns(student))]
    lines += [_row(split, student[split], _columns(student)) for split in _splits(student)]
    if teacher is not None:
        lines += [_row(f"{split} (teacher)", teacher[split], _columns(student)) for split in _splits(teacher)]
    return "\n".join([*lines, ""])


def _choice(chosen_by: str) -> str:
    return "the validation rows" if chosen_by == "validation" else "being the last"


def _splits(scored: dict[str, Any]) -> list[str]:
    return [split for split in ("train", "validation", "test") if split in scored]


def _columns(student: dict[str, Any]) -> list[str]:
    return [name for name in student[_splits(student)[0]] if name != "rows"]


def _row(split: str, scored: dict[str, float], columns: Sequence[str]) -> str:
    shown = (_number(scored.get(name)) for name in columns)
    return f"| {split} | {scored['rows']:,.0f} | " + " | ".join(shown) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() and value >= 2 else f"{value:.4f}"
