"""Predictions as arrays: checked row by row, brought to one form.

Shape legend, this file:  N rows, C classes (softmax head) or labels (sigmoid head).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn, Self, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from limbeck._checks import check_fraction, check_positive
from limbeck.errors import ArgumentError, DataError
from limbeck.targets.imports.classes import as_class_names, columns_by_name
from limbeck.targets.imports.floors import logits_of_probs
from limbeck.types import Head

Kind: TypeAlias = Literal["probabilities", "logits"]
"""What the numbers of a prediction are."""

MARKS = {
    "out-of-fold": "each row was predicted by a model that had not seen it",
    "in-sample": "the rows were predicted by a model that was trained on them, and that is meant",
}
"""What can be said of where predictions come from."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Anyone's predictions, checked: rows in ascending order of their ids, float32 logits, classes by name."""

    ids: Tensor
    """(N,) int64, ascending and distinct."""
    logits: Tensor
    """(N, C) float32: those given, or log p of the probabilities; softmax(logits / T) answers every temperature."""
    classes: tuple[str, ...] | None
    """C names in the order of the columns; None where nothing names them."""
    head: Head
    """How the logits become probabilities."""
    marks: tuple[str, ...] = ()
    """Some of `MARKS`."""
    contents: Tensor | None = None
    """(N,) int64 hashes of the rows' contents; None where unknown."""
    notes: tuple[str, ...] = ()
    """What was done to them on the way, a sentence each."""
    left_out: tuple[int, ...] = ()
    """Ids of rows that the source names but gives no prediction for."""

    def matched_to(self, classes: Sequence[str], *, by_position: bool = False) -> Self:
        """Return the predictions with their columns in the order of the data's classes, matched by name.

        Raises: MismatchError for classes that are missing or unknown, and for predictions without class names, unless
        `by_position` says that their columns are in that order already.
        """
        names = as_class_names("The data", classes)
        assert names is not None
        order = columns_by_name("The file of predictions", self.classes, names, by_position=by_position)
        if len(names) != self.logits.shape[1]:
            _wrong_width("The predictions", names, self.logits)
        return replace(self, logits=self.logits[:, order], classes=names)


def predictions(
    ids: Any,
    *,
    probabilities: Any = None,
    logits: Any = None,
    classes: Sequence[Any] | None,
    expected_classes: Sequence[str] | None = None,
    head: Head = "softmax",
    marks: Sequence[str] = (),
    contents: Any = None,
    floor: float | None = None,
    tolerance: float = 1e-3,
    where: str = "from_arrays",
) -> Predictions:
    """Check predictions and bring them to one form.

    Args:
        ids: (N,) distinct whole numbers: each row's number in the dataset.
        probabilities: (N, C) in [0, 1]; for a softmax head every row sums to 1. Kept as their logarithms; zeros are
            raised by the rule of `limbeck.targets.imports.floors`.
        logits: (N, C), instead of probabilities. -inf is kept: a class that is impossible at every temperature.
        classes: The names of the columns; None where nothing names them.
        expected_classes: The classes of the data; columns are brought into their order by name.
        head: softmax where a row has one class, sigmoid where it has any number of labels.
        marks: What is known of where they come from: "out-of-fold", "in-sample".
        contents: (N,) int64 hashes of the rows' contents.
        floor: What zeros become, instead of the rule's; rows are then divided by their sums.
        tolerance: How far a row of probabilities may be from a sum of 1.
        where: What the predictions are, the beginning of an error's sentence.

    Raises:
        ArgumentError: Not exactly one of probabilities and logits, or an unknown mark, head, floor or tolerance.
        DataError: Ids or values that are not what is said above; names the first row by its id.
        MismatchError: Classes that are not those expected.
    """
    _check_arguments(probabilities, logits, head, marks, floor, tolerance)
    names = as_class_names(where, classes)
    kind: Kind = "logits" if probabilities is None else "probabilities"
    values = _matrix(where, kind, logits if probabilities is None else probabilities)
    if names is not None and len(names) != values.shape[1]:
        _wrong_width(where, names, values)
    numbers = _ids(where, ids, kind, len(values))
    notes: tuple[str, ...] = ()
    if kind == "logits":
        found = _checked_logits(where, numbers, values, head, tolerance)
    else:
        _check_probs(where, numbers, values, head, tolerance)
        found, zeros, floor = logits_of_probs(values.clamp(max=1.0) if head == "sigmoid" else values, head, floor)
        notes = (_note_on_zeros(zeros, values.numel(), floor),) if zeros else notes
    order = numbers.argsort()
    result = Predictions(
        ids=numbers[order],
        logits=found[order],
        classes=names,
        head=head,
        marks=tuple(marks),
        contents=None if contents is None else _contents(where, contents, len(values))[order],
        notes=notes,
    )
    return result if expected_classes is None else result.matched_to(expected_classes)


def _check_arguments(
    probabilities: Any, logits: Any, head: str, marks: Sequence[str], floor: float | None, tolerance: float
) -> None:
    if (probabilities is None) == (logits is None):
        both = "both" if logits is not None else "neither"
        raise ArgumentError(f"from_arrays: give either probabilities or logits. Got {both}.")
    if head not in ("softmax", "sigmoid"):
        raise ArgumentError(f"from_arrays: head must be softmax or sigmoid. Got {head!r}.")
    unknown = [mark for mark in ([marks] if isinstance(marks, str) else marks) if mark not in MARKS]
    if isinstance(marks, str) or unknown:
        raise ArgumentError(f"from_arrays: marks must be a list of {' or '.join(map(repr, MARKS))}. Got {marks!r}.")
    check_fraction("from_arrays", tolerance=tolerance)
    if floor is not None:
        check_positive("from_arrays", floor=floor)
        check_fraction("from_arrays", floor=floor)


def _matrix(where: str, kind: Kind, values: Any) -> Tensor:
    """Return numbers as a floating-point tensor.  -> (N, C)."""
    numbers = _numbers(values)
    if numbers is None or numbers.is_complex() or numbers.dtype == torch.bool:
        raise DataError(f"{where}: {kind} must be numbers. Got {_type_of(values)}.")
    if numbers.dim() != 2 or 0 in numbers.shape:
        raise DataError(
            f"{where}: {kind} must be (N, C), a row for each id and a column for each class. Got shape "
            f"{tuple(numbers.shape)}."
        )
    return numbers if numbers.is_floating_point() else numbers.to(torch.float64)


def _wrong_width(where: str, names: Sequence[str], values: Tensor) -> NoReturn:
    raise DataError(
        f"{where}: there must be a column for each of the {len(names)} classes. Got {values.shape[1]} columns."
    )


def _ids(where: str, ids: Any, kind: Kind, rows: int) -> Tensor:
    """Return the ids.  -> (N,) int64, in the order of the rows."""
    numbers = _whole_numbers(where, "ids", ids)
    if len(numbers) != rows:
        raise DataError(f"{where}: there must be one id for each row of {kind}. Got {len(numbers)} ids, {rows} rows.")
    ordered = numbers.sort().values
    again = torch.unique_consecutive(ordered[1:][ordered[1:] == ordered[:-1]])
    if len(again):
        rest = f", and so do {len(again) - 1} others" if len(again) > 1 else ""
        count = int((numbers == again[0]).sum())
        raise DataError(f"{where}: ids must be distinct. Id {int(again[0])} comes {count} times{rest}.")
    return numbers


def _contents(where: str, contents: Any, rows: int) -> Tensor:
    numbers = _whole_numbers(where, "contents", contents)
    if len(numbers) != rows:
        raise DataError(f"{where}: there must be one hash of contents for each of {rows} rows. Got {len(numbers)}.")
    return numbers


def _whole_numbers(where: str, name: str, values: Any) -> Tensor:
    numbers = _numbers(values)
    if numbers is None or numbers.is_floating_point() or numbers.is_complex() or numbers.dtype == torch.bool:
        raise DataError(f"{where}: {name} must be whole numbers. Got {_type_of(values)}.")
    if numbers.dim() != 1:
        raise DataError(f"{where}: {name} must be (N,), one for each row. Got shape {tuple(numbers.shape)}.")
    return numbers.to(torch.int64)


def _checked_logits(where: str, ids: Tensor, logits: Tensor, head: Head, tolerance: float) -> Tensor:
    _refuse_first(where, "logits", ids, logits, logits.isnan(), "must not be NaN")
    # -inf is an answer, "impossible at every temperature"; +inf leaves nothing to the others and is none.
    _refuse_first(where, "logits", ids, logits, logits.isposinf(), "must not be +inf")
    if head == "sigmoid":
        _refuse_first(where, "logits", ids, logits, logits.isinf(), "of a sigmoid head must be finite")
    nothing = logits.isneginf().all(1)
    if bool(nothing.any()):
        row = int(ids[nothing.nonzero()[0, 0]])
        raise DataError(f"{where}: logits of a row must not be -inf for every class. Those of id {row} are.")
    if head == "softmax" and bool(_are_probs(logits, tolerance)):
        raise DataError(
            f"{where}: every row of logits is in [0, 1] and sums to 1, as probabilities do; give them as probabilities."
        )
    narrow = logits.to(torch.float32)
    _refuse_first(where, "logits", ids, logits, narrow.isinf() & logits.isfinite(), "must fit float32")
    return narrow


def _are_probs(values: Tensor, tolerance: float) -> Tensor:
    sums = values.sum(1, dtype=torch.float64)
    return (values >= 0).all() & (values <= 1).all() & ((sums - 1).abs() <= tolerance).all()


def _check_probs(where: str, ids: Tensor, probs: Tensor, head: Head, tolerance: float) -> None:
    _refuse_first(where, "probabilities", ids, probs, probs.isnan(), "must not be NaN")
    _refuse_first(where, "probabilities", ids, probs, probs.isinf(), "must be finite")
    logits = "; if they are logits, say so"
    _refuse_first(where, "probabilities", ids, probs, probs < 0, "must not be negative", logits)
    percent = "; if they are percentages, divide by 100"
    _refuse_first(where, "probabilities", ids, probs, probs > 1 + tolerance, "must be at most 1", percent)
    if head == "sigmoid":
        return
    sums = probs.sum(1, dtype=torch.float64)
    off = ((sums - 1).abs() > tolerance).nonzero().flatten()
    if len(off):
        rest = f", and {len(off) - 1} other rows are off too" if len(off) > 1 else ""
        first = int(off[0])
        raise DataError(
            f"{where}: probabilities of a row must sum to 1 within {tolerance:g}. Those of id {int(ids[first])} sum to "
            f"{float(sums[first]):.6g}{rest}."
        )


def _refuse_first(
    where: str, kind: Kind, ids: Tensor, values: Tensor, wrong: Tensor, rule: str, advice: str = ""
) -> None:
    if not bool(wrong.any()):
        return
    row, column = (int(index) for index in wrong.nonzero()[0])
    got = f"Got {float(values[row, column]):.6g} for id {int(ids[row])} in column {column}"
    raise DataError(f"{where}: {kind} {rule}. {got}{advice}.")


def _note_on_zeros(zeros: int, of: int, floor: float) -> str:
    return f"{zeros:,} of {of:,} probabilities had no logarithm: zeros became {floor:.3g} before the rows were divided."


def _numbers(values: Any) -> Tensor | None:
    """Return an array, a tensor or lists of numbers as a tensor on the CPU; None where they are no numbers."""
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values)
    except ValueError:  # rows of unequal length
        return None
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        return None
    if array.dtype.kind == "u" and array.size and int(array.max()) > np.iinfo(np.int64).max:
        return None
    array = array.astype(np.int64 if array.dtype.kind == "u" else array.dtype.newbyteorder("="), copy=False)
    shareable = array.flags.writeable and all(stride >= 0 for stride in array.strides)
    return torch.from_numpy(array if shareable else array.copy())


def _type_of(values: Any) -> str:
    if isinstance(values, Tensor):
        return str(values.dtype)
    try:
        return f"an array of {np.asarray(values).dtype}"
    except ValueError:
        return "rows of unequal length"
