"""What many runs into one folder stand on: nobody else is at work there, and the rows are the same each time."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from limbeck.data.splits import Splits
from limbeck.errors import DataError, RunError
from limbeck.specification import Distillation, Json
from limbeck.training.randomness import seeded
from limbeck.training.resolve import resolve_data
from limbeck.training.surroundings import rows_of


@contextmanager
def only_one(out: Path, mark: str, kind: str) -> Iterator[None]:
    """Keep a second process out of a folder. Raises: RunError where there is one already.

    Args:
        out: the folder; made where there is none.
        mark: the file that marks it.
        kind: what it holds, for people.
    """
    out.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(out / f"{mark}.lock", timeout=0):
            yield
    except Timeout:
        raise RunError(
            f"Another process is at work on the {kind} {out}; wait for it, or choose another --out."
        ) from None


def steady_rows(spec: Distillation, splits: Splits) -> dict[str, Json]:
    """Return the fingerprints of the rows. Raises: DataError for a factory that gives others each time."""
    rows = rows_of(splits)
    if callable(spec.data):
        # Each run loads the data after seeding by its own seed, and all are to be judged on the same rows.
        with seeded(max(0, spec.seed) + 1):
            again = rows_of(resolve_data(spec))
        for split in rows:
            if again[split] != rows[split]:
                raise DataError(
                    f"The data's factory gives other {split} rows each time that it is called, so that runs could not "
                    "be compared; draw them with a generator of its own and a fixed seed."
                )
    return rows
