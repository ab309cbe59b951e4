"""Classes of predictions are matched with those of the data by name, never by position alone.

Shape legend, this file:  C classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from limbeck.errors import DataError, MismatchError

_SHOWN = 5


def as_class_names(where: str, classes: Any) -> tuple[str, ...] | None:
    """Return class names as text (whole numbers and NumPy's text included); None stays None.

    Raises: DataError for one text instead of a list, no names, names that are not text, or a name that comes twice.
    """
    if classes is None:
        return None
    if isinstance(classes, str) or not hasattr(classes, "__iter__"):
        raise DataError(f"{where}: classes must be a list of names. Got {classes!r}.")
    names = tuple(_name(where, name) for name in classes)
    if not names:
        raise DataError(f"{where}: there must be at least one class name.")
    repeated = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if repeated is not None:
        raise DataError(f"{where}: class names must be distinct. {repeated!r} comes {names.count(repeated)} times.")
    return names


def columns_by_name(
    where: str, held: Sequence[str] | None, wanted: Sequence[str], *, by_position: bool = False
) -> Tensor:
    """Return which column of the predictions is each wanted class's.  -> (C,) int64.

    Args:
        where: What the predictions are, the beginning of an error's sentence.
        held: The classes of the predictions, a column each; None where nothing names them.
        wanted: The classes of the data, in the order of the labels.
        by_position: The caller knows that predictions without names are in the order of the data's classes.

    Raises: MismatchError for predictions without names (unless `by_position`) and for missing or unknown classes.

    >>> columns_by_name("p.npz", ["cat", "dog"], ["dog", "cat"])
    tensor([1, 0])
    """
    if held is None and by_position:
        return torch.arange(len(wanted))
    if held is None:
        raise MismatchError(
            f"{where} has no class names, so that its columns cannot be matched with the data's {len(wanted)} classes "
            f"({_some(wanted)}); give the names in the order of the columns with classes=…."
        )
    missing = [name for name in wanted if name not in set(held)]
    unknown = [name for name in held if name not in set(wanted)]
    if missing or unknown:
        lacks = f"lacks the data's {_some(missing)}" if missing else ""
        has = f"has {_some(unknown)}, unknown to the data" if unknown else ""
        raise MismatchError(
            f"{where} must have the classes of the data. It {' and '.join(filter(None, (lacks, has)))}."
        )
    place = {name: column for column, name in enumerate(held)}
    return torch.tensor([place[name] for name in wanted])


def _name(where: str, name: Any) -> str:
    if hasattr(name, "item"):  # a NumPy scalar, such as a row of `forest.classes_`
        name = name.item()
    if isinstance(name, bool) or not isinstance(name, str | int):
        raise DataError(f"{where}: class names must be text or whole numbers. Got {name!r}.")
    return str(name)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_SHOWN]))
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
