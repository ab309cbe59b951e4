"""`limbeck targets STORE`: what a store of soft targets holds; `limbeck targets import FILE`: one from predictions."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from limbeck.cli.flags import help_of, parsed
from limbeck.cli.show import bars_of_row, show_targets
from limbeck.cli.specs import folder_here
from limbeck.data.open import load as open_data
from limbeck.data.splits import Splits
from limbeck.errors import LimbeckError, SpecificationError
from limbeck.targets.imports.arrays import Predictions
from limbeck.targets.imports.open import Kind, read_predictions, targets_of
from limbeck.targets.open import open_store
from limbeck.targets.store import Targets
from limbeck.targets.verify import verify
from limbeck.targets.writer import refuse_occupied
from limbeck.training.recorded import contents_of
from limbeck.types import Head, TransferSet

_USAGE = """usage: limbeck targets STORE [--verify] [--row ID [--view NUMBER] [--part NAME] [--temperature T]]
       limbeck targets import FILE [flags]

`limbeck targets import --help` tells how predictions from elsewhere become a store.
"""

_IMPORT_USAGE = """usage: limbeck targets import FILE [flags]

FILE is .npz (arrays ids, probabilities or logits, classes), .parquet or .csv (a column for each class, or one of
lists), or .jsonl (top-k log-probabilities as model APIs return them).
"""


@dataclass(frozen=True)
class Show:
    """Show what a store of soft targets holds: rows, views, classes, encoding, temperatures, teacher, bytes."""

    store: Annotated[str, tyro.conf.Positional]
    """The folder of a store, or its address (s3://…, hf://datasets/owner/name/…)."""
    verify: bool = False
    """Compare every file with its checksum; those of an address are brought here for it."""
    row: int | None = None
    """Show the targets of the row with this id as bars."""
    part: str = "train"
    """The split that the row belongs to: train, validation or test."""
    view: int = 0
    """The view of the row; 0 is the raw one."""
    temperature: float = 1.0
    """At which the row's targets are shown."""

    def __post_init__(self) -> None:
        for name in ("part", "view", "temperature"):
            if self.row is None and getattr(self, name) != getattr(type(self), name):
                raise SpecificationError(f"--{name} is of a row that is shown; name its id by --row.")
        if not 0 < self.temperature < math.inf:
            raise SpecificationError(f"--temperature must be a positive number. Got {self.temperature:g}.")


@dataclass(frozen=True)
class Import:
    """Make a store of anybody's predictions."""

    file: Annotated[Path, tyro.conf.Positional]
    """The file of predictions."""
    out: str | None = None
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
    missing: Literal["refuse", "leave-out"] = "refuse"
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

    def __post_init__(self) -> None:
        for name in ("label", "by_position"):
            if self.data is None and getattr(self, name):
                raise SpecificationError(f"--{name.replace('_', '-')} is of the rows that were predicted: give --data.")

    @property
    def folder(self) -> Path:
        """Of the store. Raises: SpecificationError for an address."""
        return Path(f"{self.file.stem}-targets") if self.out is None else folder_here(self.out)


def run(words: Sequence[str]) -> None:
    """Show, verify or import."""
    if words and words[0] == "import":
        _run_import(words[1:])
        return
    if any(word in ("-h", "--help") for word in words):
        print("\n\n".join([_USAGE.rstrip(), help_of(Show, "limbeck targets")]))
        return
    if not words:
        raise SpecificationError(
            "Name a store, as in: limbeck targets runs/NAME-targets; or: limbeck targets import FILE."
        )
    _show(parsed(Show, words, "limbeck targets"))


def _show(asked: Show) -> None:
    targets = open_store(asked.store)
    if asked.verify:
        verify(targets)
    bars = None
    if asked.row is not None:
        bars = bars_of_row(targets, asked.row, part=asked.part, view=asked.view, temperature=asked.temperature)
    show_targets(targets, asked.store)
    if asked.verify:
        print("Verified: every file has the bytes that were recorded.")
    if bars is not None:
        print(bars)


def _run_import(words: Sequence[str]) -> None:
    if any(word in ("-h", "--help") for word in words):
        print("\n\n".join([_IMPORT_USAGE.rstrip(), help_of(Import, "limbeck targets import")]))
        return
    if not words:
        raise SpecificationError("Name a file of predictions, as in: limbeck targets import predictions.parquet.")
    asked = parsed(Import, words, "limbeck targets import")
    refuse_occupied(asked.folder)
    rows = None if asked.data is None else _rows(asked.data, asked.label)
    with _flags_instead_of_arguments():
        found = _read(asked, rows)
    for note in found.notes:
        print(note)
    if rows is None:
        if found.classes is None:
            print(
                "Nothing names the classes, so data with named ones will refuse these targets: import them with "
                "--classes, or with --by-position and --data."
            )
    else:
        found = replace(found, contents=contents_of(rows, found.ids))
        _tell_what_is_missing(rows, found)
    targets_of(found).save(asked.folder)
    show_targets(Targets.open(asked.folder), asked.folder)


def _read(asked: Import, rows: TransferSet | None) -> Predictions:
    return read_predictions(
        asked.file,
        id_column=asked.id_column,
        classes=asked.classes,
        expected_classes=None if rows is None else rows.classes,
        list_column=asked.list_column,
        kind=asked.kind,
        verbaliser=asked.verbaliser,
        missing="leave out" if asked.missing == "leave-out" else "refuse",
        marks=() if asked.mark is None else (asked.mark,),
        head=asked.head,
        by_position=asked.by_position,
        floor=asked.floor,
        tolerance=asked.tolerance,
    )


def _tell_what_is_missing(rows: TransferSet, found: Predictions) -> None:
    missing = rows.ids[~torch.isin(rows.ids, found.ids)].sort().values
    if len(missing):
        first = ", ".join(map(str, missing[:5].tolist()))
        print(
            f"{len(missing)} of {len(rows)} rows of the data have no predictions, and cannot be trained on with these "
            f"targets; the first ids: {first}."
        )


@contextmanager
def _flags_instead_of_arguments() -> Iterator[None]:
    """Let sentences that name an argument of `read_predictions` name the flag instead."""
    try:
        yield
    except LimbeckError as error:
        raise type(error)(in_flags(str(error))) from error


_ARGUMENT = re.compile(rf"\b({'|'.join(field.name for field in fields(Import))})=('[^']*'|…)")


def in_flags(sentence: str) -> str:
    """Write arguments as flags.

    >>> in_flags("say kind='logits', or name them with classes=….")
    'say --kind logits, or name them with --classes.'
    >>> in_flags("from_arrays: floor must lie in [0, 1]. Got 2.0.")
    '--floor must lie in [0, 1]. Got 2.0.'
    """
    begun = re.match(r"(?:from_arrays|read_targets|predictions): (\w+) ", sentence)
    if begun is not None and begun[1] in Import.__dataclass_fields__:
        sentence = f"--{begun[1].replace('_', '-')} {sentence[begun.end() :]}"
    return _ARGUMENT.sub(_as_flag, sentence)


def _as_flag(found: re.Match[str]) -> str:
    name, value = found[1].replace("_", "-"), found[2].strip("'…").replace(" ", "-")
    return f"--{name} {value}".rstrip()


def _rows(source: str, label: str | None) -> TransferSet:
    found = open_data(source, label=label)
    return found.train if isinstance(found, Splits) else found
