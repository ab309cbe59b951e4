"""Any file of predictions, by the end of its name."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypedDict, Unpack

from limbeck.errors import ArgumentError, DataError
from limbeck.targets.encoding import Encoding
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.imports.arrays import Predictions, predictions
from limbeck.targets.imports.jsonl import Missing, read_jsonl
from limbeck.targets.imports.npz import read_npz
from limbeck.targets.imports.packed import PART, packed_rows, plan_of
from limbeck.targets.imports.source import Source
from limbeck.targets.imports.tables import SUFFIXES, read_table
from limbeck.targets.imports.verbaliser import Words
from limbeck.targets.store import Targets
from limbeck.types import Head

Kind: TypeAlias = Literal["auto", "probabilities", "logits"]
"""What the numbers of a file are; auto where the names of its columns or arrays say it."""

ENDINGS = (".npz", *SUFFIXES, ".jsonl")
"""How names of files of predictions end."""


class Reading(TypedDict, total=False):
    """How a file is to be read: the arguments of `read_predictions`, which says what they mean."""

    id_column: str | None
    classes: Sequence[str] | None
    expected_classes: Sequence[str] | None
    by_position: bool
    list_column: str | None
    kind: Kind
    verbaliser: Words | Path | str | None
    missing: Missing
    head: Head
    marks: Sequence[str]
    floor: float | None
    tolerance: float


def from_arrays(
    ids: Any,
    *,
    probabilities: Any = None,
    logits: Any = None,
    classes: Sequence[Any] | None,
    expected_classes: Sequence[str] | None = None,
    head: Head = "softmax",
    marks: Sequence[str] = (),
    contents: Any = None,
    encoding: Encoding | None = None,
    floor: float | None = None,
    tolerance: float = 1e-3,
) -> Targets:
    """Make targets of anyone's predictions; `save` writes them into a folder.

    Args:
        ids: (N,) distinct whole numbers: each row's number in the dataset.
        probabilities: (N, C), or
        logits: (N, C).
        classes: The names of the columns; None where nothing names them.
        expected_classes: The classes of the data; columns are brought into their order by name.
        head: softmax where a row has one class, sigmoid where it has any number of labels.
        marks: What is known of where they come from: "out-of-fold", "in-sample".
        contents: (N,) int64 hashes of the rows' contents; None where unknown.
        encoding: How they are stored; None for every logit in float32.
        floor: What probabilities of zero become, instead of the rule of `limbeck.targets.imports.floors`.
        tolerance: How far a row of probabilities may be from a sum of 1.

    Raises: as `limbeck.targets.imports.arrays.predictions` and the encoding do.

    >>> import torch
    >>> targets = from_arrays([7, 3], probabilities=[[0.5, 0.5], [1.0, 0.0]], classes=["cat", "dog"])
    >>> targets.knowledge(torch.tensor([3])).at(1.0).logits.softmax(1)
    tensor([[0.9950, 0.0050]])
    """
    found = predictions(
        ids,
        probabilities=probabilities,
        logits=logits,
        classes=classes,
        expected_classes=expected_classes,
        head=head,
        marks=marks,
        contents=contents,
        floor=floor,
        tolerance=tolerance,
    )
    return targets_of(found, encoding)


def read_targets(
    path: Path | str,
    *,
    encoding: Encoding | None = None,
    say: Callable[[str], Any] | None = None,
    **how: Unpack[Reading],
) -> Targets:
    """Read a file of predictions as targets in memory; `save` writes them into a folder.

    Args:
        path: Ends in .npz, .parquet, .csv or .jsonl.
        encoding: How they are stored; None for every logit in float32.
        say: Is called with what was done to the predictions on the way, a sentence at a time, such as `print`.
        how: As for `read_predictions`.

    Raises: as `read_predictions` and the encoding do.
    """
    found = read_predictions(path, **how)
    if say is not None:
        for note in found.notes:
            say(note)
    return targets_of(found, encoding)


def targets_of(found: Predictions, encoding: Encoding | None = None) -> Targets:
    """Put predictions into a store in memory, every logit in float32 unless an encoding is given."""
    plan = plan_of(found, encoding or DenseLogits())
    return Targets.in_memory(plan, {PART: packed_rows(found, plan)})


def read_predictions(
    path: Path | str,
    *,
    id_column: str | None = None,
    classes: Sequence[str] | None = None,
    expected_classes: Sequence[str] | None = None,
    by_position: bool = False,
    list_column: str | None = None,
    kind: Kind = "auto",
    verbaliser: Words | Path | str | None = None,
    missing: Missing = "refuse",
    head: Head = "softmax",
    marks: Sequence[str] = (),
    floor: float | None = None,
    tolerance: float = 1e-3,
) -> Predictions:
    """Read and check a file of predictions; `notes` of what is returned tell what was done to them.

    Args:
        path: Ends in .npz, .parquet, .csv or .jsonl.
        id_column: The column or array of the rows' ids; None for `id` (`ids` in an archive), or row numbers.
        classes: The names of the classes in the order of the columns, where the file does not tell them.
        expected_classes: The classes of the data; columns are brought into their order by name.
        by_position: Columns that nothing names are in the order of the expected classes.
        list_column: A table's column of lists.
        kind: What the numbers are, where names in the file do not say it.
        verbaliser: The tokens of each class, or a JSON file of them: for .jsonl. None for the names of the classes.
        missing: What to do about rows of a .jsonl file without a usable answer: "refuse" or "leave out".
        head: softmax where a row has one class, sigmoid where it has any number of labels.
        marks: What is known of where the predictions come from: "out-of-fold", "in-sample".
        floor: What probabilities of zero become, instead of the rule of `limbeck.targets.imports.floors`.
        tolerance: How far a row of probabilities may be from a sum of 1.

    Raises:
        ArgumentError: An argument out of its range, or that does not fit the kind of file.
        DataError: What the file holds cannot be read, or is not what predictions must be.
        MismatchError: Classes that are not those expected, or that nothing names.
        MissingExtra: A table, and pyarrow is not installed.
    """
    path = Path(path)
    _check_ending(path, {"list_column": list_column is not None, "verbaliser": verbaliser is not None})
    if not path.is_file():
        raise DataError(f"There is no file {path}.")
    if kind not in ("auto", "probabilities", "logits"):
        raise ArgumentError(f"read_targets: kind must be auto, probabilities or logits. Got {kind!r}.")
    if path.suffix == ".jsonl":
        _refuse_for_replies(kind=kind != "auto", id_column=id_column is not None, head=head != "softmax")
        named = expected_classes if classes is None and verbaliser is None else classes
        found = read_jsonl(path, classes=named, verbaliser=verbaliser, missing=missing, marks=marks)
    else:
        said = None if kind == "auto" else kind
        if path.suffix == ".npz":
            source = read_npz(path, kind=said, id_column=id_column, classes=classes)
        else:
            source = read_table(path, kind=said, id_column=id_column, classes=classes, list_column=list_column)
        found = _checked(path, source, head, marks, floor, tolerance)
    return found if expected_classes is None else found.matched_to(expected_classes, by_position=by_position)


def _checked(
    path: Path, source: Source, head: Head, marks: Sequence[str], floor: float | None, tolerance: float
) -> Predictions:
    found = predictions(
        source.ids,
        probabilities=source.values if source.kind == "probabilities" else None,
        logits=source.values if source.kind == "logits" else None,
        classes=source.classes,
        head=head,
        marks=marks,
        floor=floor,
        tolerance=tolerance,
        where=f"The file {path}",
    )
    return replace(found, notes=source.notes + found.notes)


def _check_ending(path: Path, given: dict[str, bool]) -> None:
    if path.suffix not in ENDINGS:
        raise DataError(f"A file of predictions must end in {', '.join(ENDINGS)}. Got {path}.")
    fitting = {"list_column": SUFFIXES, "verbaliser": (".jsonl",)}
    for name, endings in fitting.items():
        if given[name] and path.suffix not in endings:
            raise ArgumentError(f"read_targets: {name} is for files that end in {' or '.join(endings)}. Got {path}.")


def _refuse_for_replies(**given: bool) -> None:
    for name, is_given in given.items():
        if is_given:
            raise ArgumentError(f"read_targets: {name} is not for .jsonl files, whose shape says it already.")
