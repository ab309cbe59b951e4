"""What a file of predictions holds, before its values are checked."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from limbeck.errors import DataError
from limbeck.targets.imports.arrays import Kind


class Source(NamedTuple):
    """Ids, numbers and names as they stand in a file of N rows and C classes."""

    ids: Any
    """(N,) as they stand there, or row numbers."""
    values: Any
    """(N, C) as they stand there."""
    kind: Kind
    """What the values are."""
    classes: Sequence[Any] | None
    """The names of the columns; None where nothing names them."""
    notes: tuple[str, ...] = ()
    """What was assumed, a sentence each."""


ROW_NUMBERS = "The file has no ids: its rows are taken to be rows 0, 1, 2, … of the data, in order."
"""The note of a file without ids."""


def agreed_kind(where: str, said: Kind | None, shown: Kind) -> Kind:
    """Return what the file shows its numbers to be. Raises: DataError where the caller says otherwise."""
    if said not in (None, shown):
        raise DataError(f"{where} holds {shown} by name, and kind={said!r} was asked for.")
    return shown


def agreed_classes(where: str, given: Sequence[str] | None, held: Sequence[Any] | None) -> Sequence[Any] | None:
    """Return the names that the file holds, else those given. Raises: DataError where they are not the same."""
    if given is not None and held is not None and [str(name) for name in given] != [str(name) for name in held]:
        raise DataError(
            f"{where} names its columns itself: {', '.join(map(str, held))}; leave out classes=…, which says otherwise."
        )
    return given if held is None else held
