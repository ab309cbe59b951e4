"""Views of rows: view 0 is the raw row, any other an augmentation of it, keyed by the seed of the views and the id."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from limbeck.data.content import row_bytes
from limbeck.data.order import mixed_seed
from limbeck.errors import DataError, SpecificationError
from limbeck.keyed import row_keys
from limbeck.types import Augment, Columns, Rows, TransferSet

_ROWS = 8  # looked at, each in two batches
_ROUNDS = 16  # a coin thrown once a batch is missed with a chance of 2^-16
_ROUNDING = 32  # units in the last place of a row's largest value


def view_of(rows: Rows, view: int, *, augment: Augment | None, seed: int) -> Columns:
    """Return the columns of rows in a view: as they are in view 0, else what the augmentation makes of their keys.

    Raises: DataError where the augmentation fails.
    """
    if augment is None or not view:
        return rows.columns
    try:
        return augment(rows.columns, row_keys(seed, view, rows.ids))
    except DataError:
        raise
    except Exception as error:
        ids = ", ".join(map(str, rows.ids[:3].tolist())) + (", …" if len(rows) > 3 else "")
        raise DataError(
            f"The augmentation {name_of(augment)} failed on a batch of {len(rows)} rows (ids {ids}): "
            f"{type(error).__name__}: {error}"
        ) from error


def name_of(augment: Augment) -> str:
    """What a sentence calls an augmentation: the name of its function or class, in quotes."""
    return repr(getattr(augment, "__qualname__", type(augment).__name__))


def require_deterministic(augment: Augment, rows: TransferSet, seed: int) -> None:
    """Refuse an augmentation that is not a function of each row and its key alone, before any time is spent on it.

    A few rows are augmented in several views: twice in one batch, and once in another order with other rows beside
    them, each time with the global generators of Python, NumPy and torch in another state; these are put back. Floats
    may differ by rounding, as they do where an operation adds up in another order in a batch of another size.

    Args:
        augment: what is to be looked at.
        rows: where the rows come from; sixteen of them are read.
        seed: of the views.

    Raises:
        SpecificationError: A row's result depends on something else; column names, dtypes or the number of rows change;
            or rows of the data set do.
        DataError: The augmentation fails.
    """
    chosen = torch.arange(len(rows))[:: max(2, -(-len(rows) // _ROWS))]
    others = (chosen + 1)[chosen + 1 < len(rows)]
    plain, moved = rows.rows(chosen), rows.rows(torch.cat((others, chosen.flip(0))))
    places = range(len(moved) - 1, len(others) - 1, -1)
    before = _bytes_in_lists(plain.columns)
    for view in range(1, _ROUNDS + 1):
        first, again, elsewhere = (
            _seen(augment, batch, seed=seed, view=view, state=state)
            for state, batch in enumerate((plain, plain, moved))
        )
        for rows_before, after in ((plain, first), (plain, again), (moved, elsewhere)):
            _require_same_columns(augment, rows_before.columns, after)
        _require_equal(augment, plain, first, again, range(len(plain)), "when the same batch came again")
        _require_equal(augment, plain, first, elsewhere, places, "in another batch")
    for name, content in _bytes_in_lists(plain.columns).items():
        if content != before[name]:
            raise SpecificationError(
                f"The augmentation {name_of(augment)} changes what column {name!r} holds in place, which is the data "
                "set's own, and would change it again in the next epoch; change a copy."
            )


def _bytes_in_lists(columns: Columns) -> dict[str, list[bytes]]:
    lists = {name: values for name, values in columns.items() if not isinstance(values, Tensor)}
    return {name: [row_bytes(name, value) for value in values] for name, values in lists.items()}


def _seen(augment: Augment, batch: Rows, *, seed: int, view: int, state: int) -> Columns:
    # Tensors are read anew for every batch and may be changed in place; what a list holds is the dataset's own.
    columns = {name: values.clone() if isinstance(values, Tensor) else values for name, values in batch.columns.items()}
    batch = Rows(columns, batch.labels, batch.ids)
    with _generators_at(mixed_seed(state, view)):
        return view_of(batch, view, augment=augment, seed=seed)


def _require_same_columns(augment: Augment, before: Columns, after: Columns) -> None:
    if set(before) != set(after):
        raise SpecificationError(
            f"The augmentation {name_of(augment)} must keep the columns of a row, {', '.join(before)}. It gave "
            f"{', '.join(after) or 'none'}."
        )
    for name, values in before.items():
        kinds = [_kind(values), _kind(after[name])]
        if kinds[0] != kinds[1]:
            raise SpecificationError(
                f"The augmentation {name_of(augment)} made {kinds[1]} of column {name!r}, {kinds[0]}; view 0 is the "
                "raw row, and a model's `prepare` must be able to take every view alike: keep the number of rows and "
                "the dtype."
            )


def _kind(values: Any) -> str:
    return f"{len(values)} rows of {values.dtype}" if isinstance(values, Tensor) else f"a list of {len(values)}"


def _require_equal(augment: Augment, rows: Rows, first: Columns, then: Columns, places: range, when: str) -> None:
    """Compare row i of `first` with row places[i] of `then`."""
    for name, values in first.items():
        others = then[name]
        if isinstance(values, Tensor) and isinstance(others, Tensor) and torch.equal(values, others[list(places)]):
            continue
        for row, place in enumerate(places):
            if not _same(name, values[row], others[place]):
                raise SpecificationError(
                    f"The augmentation {name_of(augment)} is not a function of a row and its key: column {name!r} of "
                    f"the row with id {int(rows.ids[row])} came out differently {when}; take every random number from "
                    "`limbeck.keyed.uniforms(keys, …)`, and look at no other row."
                )


def _same(name: str, one: Any, other: Any) -> bool:
    if not (isinstance(one, Tensor) and isinstance(other, Tensor) and one.is_floating_point()):
        return row_bytes(name, one) == row_bytes(name, other)
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    largest = float(one.nan_to_num(0, 0, 0).abs().max()) if one.numel() else 0.0
    return torch.allclose(one, other, rtol=0, atol=_ROUNDING * torch.finfo(one.dtype).eps * largest, equal_nan=True)


@contextmanager
def _generators_at(seed: int) -> Iterator[None]:
    """Set the global generators inside the block; on leaving they are as before."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=()):
        random.seed(seed)
        np.random.seed(seed % 2**32)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
