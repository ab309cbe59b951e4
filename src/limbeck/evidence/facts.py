"""facts.json of one run: all that its page shows, read from the run's own records."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from limbeck.files import read_json, read_tensors
from limbeck.specification import Json
from limbeck.training.run import Run

MOST_VALUES_SHOWN = 4096
"""Values of one sample row that a page carries; larger rows are described, not drawn."""


def facts_of_run(run: Run) -> dict[str, Any]:
    """Collect the facts of a finished run.

    `title`; `summary` (summary.json); `setting` (numbers of the specification); `curves` (`terms`, `loss` and
    `validation` by step); `gradients` (norms and dot products by step); `samples` (raw rows, labels and both models'
    probabilities at several temperatures).
    Raises: RunError where a record is missing or damaged.
    """
    spec = run.spec
    return {
        "kind": "run",
        "title": run.path.resolve().name,
        "summary": run.summary,
        "setting": _setting(spec),
        "curves": curves(run),
        "gradients": _gradients(run),
        "samples": samples(run),
    }


def _setting(spec: Mapping[str, Any]) -> dict[str, Any]:
    fields = spec["specification"]["fields"]
    told = {name: value for name, value in fields.items() if name != "data" and value not in (None, [])}
    plain = {name: in_words(value) for name, value in told.items()}
    return {**plain, "data": spec["data"], "versions": spec["versions"], "hardware": spec["hardware"]}


def in_words(encoded: Json) -> Json:
    """Put an encoded part of a specification into words: `Adam(lr=0.001)`, `0.9 · SoftTargets(temperature=4.0) + …`."""
    if isinstance(encoded, list):
        return ", ".join(str(in_words(item)) for item in encoded)
    if isinstance(encoded, str):
        return Path(encoded).name  # of a folder or a file, its name: where a person keeps things is nobody's business
    if not isinstance(encoded, dict):
        return encoded
    if "$ref" in encoded:
        return str(encoded["$ref"]).rpartition(":")[2]
    if "$partial" in encoded:
        words = [*map(in_words, encoded["args"]), *_named(encoded["kwargs"])]
        return f"{in_words(encoded['$partial'])}({', '.join(map(str, words))})"
    if "$record" in encoded:
        return _record_in_words(encoded["$record"].rpartition(":")[2], encoded["fields"])
    return str(encoded.get("$content") or encoded.get("$opaque") or "a mapping")


def _record_in_words(kind: str, fields: Mapping[str, Any]) -> str:
    if kind == "Objective":
        return " + ".join(
            f"{in_words(part['fields']['weight'])} · {in_words(part['fields']['term'])}" for part in fields["parts"]
        )
    if kind == "EnsembleOf":
        members = " and ".join(sorted({str(in_words(member)) for member in fields["members"]}))
        return f"{fields['mean']} mean of {len(fields['members'])} × {members}"
    if kind == "Distillation":  # a teacher that was trained first: its student says what it is
        return f"{in_words(fields['student'])}, trained first"
    return f"{kind}({', '.join(_named(fields))})"


def _named(fields: Mapping[str, Json]) -> list[str]:
    return [f"{name}={in_words(value)}" for name, value in fields.items() if name != "name" and value is not None]


def curves(run: Run) -> dict[str, Any]:
    """Read the learning curves: the mean of each term, and each validation score, with their steps and epochs."""
    terms: dict[str, list[float]] = {}
    at: dict[str, list[float]] = {"step": [], "epoch": []}
    validation: dict[str, list[float]] = {}
    for record in run.records():
        if "terms" in record:
            _append(at, {name: record[name] for name in at})
            _append(terms, {**record["terms"], "loss": record["loss"]})
        if "validation" in record:
            _append(validation, {"step": record["step"], "epoch": record["epoch"], **record["validation"]})
    return {**at, "terms": terms, "validation": validation}


def _append(columns: dict[str, list[float]], values: Mapping[str, float]) -> None:
    for name, value in values.items():
        columns.setdefault(name, []).append(value)


def _gradients(run: Run) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for record in run.records():
        if "gradients" in record:
            found = record["gradients"]
            _append(columns, {"step": record["step"], "epoch": record["epoch"], **found["norms"], **found["dots"]})
    return columns


def samples(run: Run) -> dict[str, Any]:
    """Read the sample rows: their `columns`, `labels`, `classes`, and the `answers` by model and temperature.

    `answers["teacher"]["4"]` is a list of rows of probabilities. Columns of images or features small enough to draw are
    nested lists; text is a list of strings.
    """
    folder = run.path / "samples"
    tensors = read_tensors(folder / "rows.safetensors")
    columns: dict[str, Any] = {
        name.removeprefix("columns."): tensor.tolist()
        for name, tensor in tensors.items()
        if name.startswith("columns.") and tensor[0].numel() <= MOST_VALUES_SHOWN
    }
    texts = folder / "rows.json"
    if texts.is_file():
        columns.update(read_json(texts))
    labels: Tensor | None = tensors.get("labels")
    return {
        "ids": tensors["ids"].tolist(),
        "labels": None if labels is None else labels.tolist(),
        "classes": run.spec["classes"],
        "head": run.spec["head"],
        "columns": columns,
        "answers": _answers(read_tensors(folder / "answers.safetensors")),
    }


def _answers(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for name in sorted(tensors, key=lambda key: (key.split("@")[0], float(key.split("@")[1]))):
        who, temperature = name.split("@")
        found.setdefault(who, {})[temperature] = tensors[name].tolist()
    return found
