"""`limbeck targets STORE`: what a store of soft targets holds; `limbeck targets import FILE`: one from predictions."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from limbeck.cli.flags import parsed
from limbeck.cli.show import show_row, show_targets
from limbeck.data.open import load as open_data
from limbeck.data.splits import Splits
from limbeck.errors import SpecificationError
from limbeck.targets.imports.jsonl import Missing
from limbeck.targets.imports.open import Kind, read_predictions, targets_of
from limbeck.targets.open import open_store
from limbeck.targets.verify import verify
from limbeck.training.recorded import contents_of
from limbeck.types import Head, TransferSet


@dataclass(frozen=True)
class Show:
    """Show what a store of soft targets holds: rows, views, classes, encoding, temperatures, teacher, bytes."""

    store: Annotated[str, tyro.conf.Positional]
    """The folder of a store, or its address (s3://…, hf://datasets/owner/name/…)."""
    verify: bool = False
    """Compare every file with its checksum."""
    row: int | None = None
    """Show the targets of the row with this id as bars."""
    part: str = "train"
    """The part of the data that the row belongs to: train, validation or test."""
    view: int = 0
    """The view of the row; 0 is the raw one."""
    temperature: float = 1.0
    """At which the row's targets are shown."""


@dataclass(frozen=True)
class Import:
    """Make a store of anybody's predictions: predict_proba, a table, an API's top-k log-probabilities."""

    file: Annotated[Path, tyro.conf.Positional]
    """.npz (ids, probabilities or logits, classes), .parquet or .csv (a column per class, or one of lists), or .jsonl
    (top-k log-probabilities as model APIs return them)."""
    out: Path | None = None
    """The folder of the store; the file's name without its suffix, and -targets, unless given."""
    data: str | None = None
    """The rows that were predicted: then their content is remembered, and other rows are refused later."""
    label: str | None = None
    """The label column of --data; "label" unless given."""
    classes: tuple[str, ...] | None = None
    """The names of the classes in the order of the columns, where the file does not tell them."""
    id_column: str | None = None
    """The column or array of the rows' ids; "id" (an archive's "ids"), or row numbers, unless given."""
    list_column: str | None = None
    """A table's column of lists."""
    kind: Kind = "auto"
    """What the numbers are, where no name in the file says it."""
    verbaliser: Path | None = None
    """A JSON file with the tokens of each class, for .jsonl; the names of the classes unless given."""
    missing: Missing = "refuse"
    """What to do about rows of a .jsonl file without a usable answer."""
    mark: Literal["out-of-fold", "in-sample"] | None = None
    """out-of-fold: each row was predicted by a model that had not been trained on it; in-sample: by one that had."""
    head: Head = "softmax"
    """softmax where a row has one class, sigmoid where it has any number of labels."""
    by_position: bool = False
    """Columns that nothing names are in the order of the classes of --data."""
    floor: float | None = None
    """What probabilities of zero become; less than any other in the file unless given."""
    tolerance: float = 1e-3
    """How far a row of probabilities may be from a sum of 1."""


def run(words: Sequence[str]) -> None:
    """Show, verify or import."""
    if not words:
        raise SpecificationError(
            "Name a store, as in: limbeck targets runs/NAME-targets; or: limbeck targets import FILE."
        )
    if words[0] == "import":
        _import(words[1:])
        return
    asked = parsed(Show, words, "limbeck targets")
    targets = open_store(asked.store)
    if asked.verify:
        verify(targets)
    show_targets(targets, asked.store)
    if asked.verify:
        print("Verified: every file has the bytes that were recorded.")
    if asked.row is not None:
        show_row(targets, asked.row, part=asked.part, view=asked.view, temperature=asked.temperature)


def _import(words: Sequence[str]) -> None:
    if not words:
        raise SpecificationError("Name a file of predictions, as in: limbeck targets import predictions.parquet.")
    asked = parsed(Import, words, "limbeck targets import")
    rows = None if asked.data is None else _rows(asked.data, asked.label)
    found = read_predictions(
        asked.file,
        id_column=asked.id_column,
        classes=asked.classes,
        expected_classes=None if rows is None else rows.classes,
        list_column=asked.list_column,
        kind=asked.kind,
        verbaliser=asked.verbaliser,
        missing=asked.missing,
        marks=() if asked.mark is None else (asked.mark,),
        head=asked.head,
        by_position=asked.by_position,
        floor=asked.floor,
        tolerance=asked.tolerance,
    )
    for note in found.notes:
        print(note)
    if rows is not None:
        found = replace(found, contents=contents_of(rows, found.ids))
    out = asked.out or Path(f"{asked.file.stem}-targets")
    targets = targets_of(found)
    targets.save(out)
    show_targets(targets, out)


def _rows(source: str, label: str | None) -> TransferSet:
    found = open_data(source, label=label)
    return found.train if isinstance(found, Splits) else found
