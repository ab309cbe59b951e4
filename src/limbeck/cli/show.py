"""The short human summaries that commands end with."""

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from rich.text import Text

from limbeck.errors import MismatchError, MissingExtra
from limbeck.evidence.facts import facts_of_run
from limbeck.files import write_json
from limbeck.report.page import write_page
from limbeck.targets.manifest import Manifest
from limbeck.targets.store import Targets
from limbeck.training.pace import in_bytes
from limbeck.training.recorded import in_words
from limbeck.training.run import Run
from limbeck.types import Answer, Dense, TopK


def say(*sentences: str) -> None:
    """Print sentences, broken between words where a terminal shows them; a pipe gets each on one line."""
    if not sys.stdout.isatty():
        print("\n".join(sentences))
        return
    for sentence in sentences:
        Console().print(Text(sentence))


def show_run(run: Run) -> None:
    """Write the facts and the page of a run, and print its scores and where they are."""
    facts = facts_of_run(run)
    write_json(run.path / "facts.json", facts)
    student, kept = facts["summary"]["student"], facts["summary"]["kept"]
    print(f"{student['parameters']:,} parameters, weights of epoch {kept['epoch']} (chosen by: {kept['chosen_by']})")
    Console().print(_scores(facts["summary"]))
    say_where(run.path, facts)


def say_where(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the page, where the extra for it is installed, and print where folder, student and page are."""
    try:
        page: Path | None = write_page(facts, folder / "report.html")
    except MissingExtra as error:
        page = None
        print(error)
    kind = facts["kind"] if facts["kind"] in ("search", "sweep") else "run"
    print(f"{kind + ':':<8} {folder}")
    if (folder / "student").is_dir():
        print(f"student: {folder / 'student'}")
    if page is not None:
        print(f"page:    {page}")


def _scores(summary: Mapping[str, Any]) -> Table:
    student, teacher = summary["student"], summary["teacher"] or {}
    table = Table()
    rows = {name: student[name] for name in ("train", "validation", "test") if name in student}
    columns = {
        "student wrong": {name: _wrong(found) for name, found in rows.items()},
        "teacher wrong": {name: _wrong(teacher.get(name, {})) for name in rows},
        "agree": {name: f"{found['agreement']:.2%}" if "agreement" in found else "" for name, found in rows.items()},
    }
    filled = {title: column for title, column in columns.items() if any(column.values())}
    table.add_column("rows")
    for title in filled:
        table.add_column(title, justify="right")
    for name, found in rows.items():
        table.add_row(f"{name}, {found['rows']:,.0f}", *(column[name] for column in filled.values()))
    return table


def _wrong(scored: Mapping[str, float]) -> str:
    return f"{scored['errors']:,.0f} ({1 - scored['accuracy']:.2%})" if "errors" in scored else ""


def show_targets(targets: Targets, where: str | Path) -> None:
    """Print what a store of soft targets holds."""
    table = Table(show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in _of_store(targets.manifest):
        table.add_row(Text(name), Text(text))  # a class may be called [b]
    print(where)
    Console().print(table)


_SPLITS = "train, validation, test"
"""The order in which they are shown."""


def _of_store(manifest: Manifest) -> Iterator[tuple[str, str]]:
    for name in sorted(manifest.parts, key=lambda name: (_SPLITS.find(name), name)):
        part = manifest.parts[name]
        views = "" if part.views == 1 else f" × {part.views} views"
        shards = f"{len(part.shards)} shard{'s' if len(part.shards) != 1 else ''}"
        yield name, f"{part.rows:,} rows{views} in {shards}{'' if part.fingerprint else ', known by id alone'}"
    yield "classes", f"{manifest.width:,}, {manifest.head}{_some_names(manifest.classes)}"
    settings = [f"{key} {value}" for key, value in manifest.encoding.items() if key not in ("name", "temperatures")]
    yield "encoding", ", ".join([manifest.encoding["name"], *settings])
    yield "temperatures", "any" if manifest.temperatures is None else ", ".join(f"{t:g}" for t in manifest.temperatures)
    total = sum(record.bytes for record in manifest.files.values())
    yield "bytes", f"{manifest.row_bytes} a row and view, {in_bytes(total)} in all"
    for name, feature in manifest.features.items():
        yield f"feature {name}", f"{feature['dtype']}, {' × '.join(map(str, feature['shape'])) or 'a number'}"
    kind, known = manifest.teacher["kind"], manifest.teacher["fingerprint"]
    yield "teacher", kind if known is None else f"{kind} {known[:12]}, answering in {manifest.teacher['precision']}"
    if manifest.transform is not None:
        yield "views", in_words(manifest.transform)
    if manifest.marks:
        yield "marks", ", ".join(manifest.marks)


def _some_names(classes: tuple[str, ...] | None) -> str:
    if classes is None:
        return ", without names"
    shown = ", ".join(classes[:10])
    return f": {shown}{', …' if len(classes) > 10 else ''}"


MOST_BARS = 12
"""Classes that are drawn of one row; of more, the likeliest."""


def bars_of_row(targets: Targets, row: int, *, part: str, view: int, temperature: float) -> str:
    """Draw the targets of one row as bars. Raises: MismatchError for a row, view or temperature that is not there."""
    _require_row(targets, row, part)
    answer = targets.knowledge(torch.tensor([row]), view, part).at(temperature)
    names = targets.manifest.classes or tuple(map(str, range(targets.manifest.width)))
    found = [(names[number], prob) for number, prob in _probabilities(answer, temperature)]
    shown = found[:MOST_BARS]
    left = len(names) - len(shown)
    if left and targets.manifest.head == "softmax":
        rest = max(1 - sum(prob for _, prob in shown), 0.0)
        shown = [*shown, ("the other one" if left == 1 else f"the {left:,} others", rest)]
    width = max(len(name) for name, _ in shown)
    lines = [f"  {name:<{width}}  {prob:8.4%}  {'█' * round(prob * BAR)}".rstrip() for name, prob in shown]
    return "\n".join([f"{part} row {row}, view {view}, at temperature {temperature:g}", *lines])


def _require_row(targets: Targets, row: int, part: str) -> None:
    ids = targets.part(part).ids
    if (ids == row).any():
        return
    others = [name for name in targets.parts if name != part and (targets.part(name).ids == row).any()]
    hint = f", but {' and '.join(map(repr, others))} has; name it by --part" if others else ""
    ends = f", whose ids run from {ids[0]:,} to {ids[-1]:,}" if len(ids) else ""
    raise MismatchError(f"The split {part!r}{ends}, has no row with the id {row}{hint}.")


BAR = 50
"""Columns of a bar of probability 1."""


def _probabilities(answer: Answer, temperature: float) -> list[tuple[int, float]]:
    """The classes that an answer names with their probabilities, the likeliest first."""
    if isinstance(answer, Dense):
        tempered = answer.logits[0].float() / temperature
        probs = tempered.softmax(-1) if answer.head == "softmax" else tempered.sigmoid()
        pairs = list(enumerate(probs.tolist()))
    elif isinstance(answer, TopK):
        pairs = list(zip(answer.ids[0].tolist(), answer.log_probs[0].float().exp().tolist(), strict=True))
    else:
        weights = torch.zeros(answer.classes).index_add(0, answer.ids[0].long(), answer.weights[0].float())
        pairs = [(number, weight) for number, weight in enumerate(weights.tolist()) if weight]
    return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))
