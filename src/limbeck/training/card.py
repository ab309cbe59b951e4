"""student/README.md: a model card of what is known about the student, with the metadata block that a hub reads.

The block is JSON inside YAML's front matter: every JSON text is YAML, so that no name that a user chose can break it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

_METRICS = {"accuracy": "Accuracy", "nll": "Log loss (nats)", "brier": "Brier score", "ece": "Calibration error"}
"""Of a run's scores, those that a hub shows, by the names of its metrics and ours."""
_IMAGE_AXES = 4
_BARE = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)+|limbeck|mit")
"""Words that YAML cannot take for anything else stand without quotes, as people write them."""
_BEGIN, _END = "<!-- verdict: begin -->", "<!-- verdict: end -->"
MOST_CLASSES = 50
"""Of more classes, the card does not list the names."""


@final
@dataclass(frozen=True, kw_only=True)
class About:
    """What a hub would like to know about a student, and a run alone cannot tell; what is not known is left out."""

    task: str | None = None
    """A hub's name for the task, such as "image-classification"."""
    license: str | None = None
    """A hub's identifier of the licence, such as "mit"."""
    datasets: Sequence[str] = ()
    """Identifiers of the data on a hub."""
    base_model: str | None = None
    """Identifier of the model that the student's weights were started from."""
    languages: Sequence[str] = ()
    """Language codes, such as "en"."""
    tags: Sequence[str] = field(default_factory=tuple)
    """Tags beside `knowledge-distillation`."""


def task_of(columns: Mapping[str, Any] | None) -> str | None:
    """Return a hub's name for the task that the columns of some rows speak of; None where they do not tell.

    Strings are text; tensors of four axes, rows included, images, and of three if they hold bytes; of two axes, real
    numbers are features, and whole ones may be tokens of anything.

    >>> task_of({"text": ["good", "bad"]})
    'text-classification'
    """
    for column in (columns or {}).values():
        if isinstance(column, list | tuple) and column and isinstance(column[0], str):
            return "text-classification"
    forms = {(getattr(column, "ndim", 0), str(getattr(column, "dtype", ""))) for column in (columns or {}).values()}
    if any(axes == _IMAGE_AXES or (axes, kind) == (_IMAGE_AXES - 1, "torch.uint8") for axes, kind in forms):
        return "image-classification"
    return (
        "tabular-classification"
        if forms and all(axes == _IMAGE_AXES - 2 and "float" in kind for axes, kind in forms)
        else None
    )


def model_card(name: str, summary: Mapping[str, Any], classes: Sequence[str] | None, about: About | None = None) -> str:
    """Write the card from a run's summary: size, scores by split, the teacher, and how the weights were chosen.

    Its front matter is that of the Hugging Face Hub: library, tags, task, and as `model-index` the scores on the test
    rows, where there are any.
    """
    student, teacher, kept = summary["student"], summary["teacher"], summary["kept"]
    lines = [
        "---",
        *(f"{key}: {_yaml(value)}" for key, value in _metadata(name, summary, about or About())),
        "---",
        "",
        f"# {_plain(name)}",
        "",
        f"A student of {student['parameters']:,} parameters ({student['bytes']:,} bytes), "
        + ("trained on labels alone." if teacher is None else f"taught by `{teacher['fingerprint'][:12]}`."),
        f"Weights of step {kept['step']:,} (epoch {kept['epoch']}), chosen by {_choice(kept['chosen_by'])}.",
    ]
    if classes is not None and len(classes) <= MOST_CLASSES:
        lines += ["", f"Classes, in order: {', '.join(map(_plain, classes))}."]
    columns = _columns(student)
    lines += ["", "| split | rows | " + " | ".join(columns) + " |"]
    lines += ["| --- | ---: |" + " ---: |" * len(columns)]
    lines += [_row(split, student[split], columns) for split in _splits(student)]
    if teacher is not None:
        lines += [_row(f"{split} (teacher)", teacher[split], columns) for split in _splits(teacher)]
    return "\n".join([*lines, ""])


def card_with_verdict(card: str, verdict: Mapping[str, Any], replace: Mapping[str, Any]) -> str:
    """Return the card with the verdicts of a campaign added, or in the place of those that it had.

    Args:
        card: a model card, as `model_card` writes it or as somebody changed it; its front matter stays as it is.
        verdict: the first verdict of a campaign's facts: its `sentence` is quoted.
        replace: the second.
    """
    part = "\n".join(
        [
            _BEGIN,
            "## Did the teaching help?",
            "",
            _plain(verdict["sentence"]),
            "",
            "## Can it replace its teacher?",
            "",
            _plain(replace["sentence"]),
            "",
            "Errors are on the campaign's test rows, in percentage points; its report scores the other students.",
            _END,
        ]
    )
    rest = re.sub(rf"\n*{re.escape(_BEGIN)}.*?{re.escape(_END)}\n*", "\n", card, flags=re.DOTALL)
    return f"{rest.rstrip()}\n\n{part}\n"


def _metadata(name: str, summary: Mapping[str, Any], about: About) -> list[tuple[str, Any]]:
    """The front matter, key by key; what is not known is left out."""
    known = [
        ("library_name", "limbeck"),
        ("tags", list(dict.fromkeys(["pytorch", *_teaching(summary), *about.tags]))),
        ("pipeline_tag", about.task),
        ("license", about.license),
        ("language", list(about.languages)),
        ("datasets", list(about.datasets)),
        ("base_model", about.base_model),
        ("metrics", _metrics(summary)),
        ("model-index", _index(name, summary, about)),
    ]
    return [(key, value) for key, value in known if value]


def _teaching(summary: Mapping[str, Any]) -> list[str]:
    return [] if summary["teacher"] is None else ["knowledge-distillation"]


def _metrics(summary: Mapping[str, Any]) -> list[str]:
    return [key for key in _METRICS if key in summary["student"].get("test", {})]


def _index(name: str, summary: Mapping[str, Any], about: About) -> list[dict[str, Any]]:
    """The scores on the test rows in the form of a hub's `model-index`; empty where there are none."""
    scored = summary["student"].get("test", {})
    found = [{"type": key, "name": _METRICS[key], "value": round(scored[key], 6)} for key in _metrics(summary)]
    if not found:
        return []
    dataset = about.datasets[0] if about.datasets else "custom"
    return [
        {
            "name": name,
            "results": [
                {
                    "task": {"type": about.task or "other"},
                    "dataset": {
                        "type": dataset,
                        "name": f"{dataset}, {scored['rows']:,.0f} test rows",
                        "split": "test",
                    },
                    "metrics": found,
                }
            ],
        }
    ]


def _yaml(value: Any) -> str:
    return value if isinstance(value, str) and _BARE.fullmatch(value) else json.dumps(value)


def _plain(text: str) -> str:
    """A user's words on one line, and no markup: a card is Markdown, which passes HTML on."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", " ".join(text.split()))


def _choice(chosen_by: str) -> str:
    return "the validation rows" if chosen_by == "validation" else "being the last"


def _splits(scored: Mapping[str, Any]) -> list[str]:
    return [split for split in ("train", "validation", "test") if split in scored]


def _columns(student: Mapping[str, Any]) -> list[str]:
    return [name for name in student[_splits(student)[0]] if name != "rows"]


def _row(split: str, scored: Mapping[str, float], columns: Sequence[str]) -> str:
    shown = (_number(scored.get(name)) for name in columns)
    return f"| {split} | {scored['rows']:,.0f} | " + " | ".join(shown) + " |"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if float(value).is_integer() and value >= 2 else f"{value:.4f}"
