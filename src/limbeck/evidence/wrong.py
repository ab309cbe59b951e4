"""Which rows each run got wrong: the form in which all comparisons take predictions.

Shape legend, this file:  S seeds, N test rows.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limbeck.errors import ArgumentError, MismatchError

Wrong = NDArray[np.bool_]
"""(S, N): row n was answered wrongly by the run with seed s."""


def wrong_matrix(caller: str, name: str, wrong: NDArray[Any]) -> Wrong:
    """Return the matrix (S, N); one run may be given as (N,).

    Raises: ArgumentError for another shape, no runs, no rows, or values that are not true or false.
    """
    found = np.asarray(wrong)
    found = found[None] if found.ndim == 1 else found
    if found.ndim != 2 or not found.size:
        raise ArgumentError(f"{caller}: {name} must be a matrix of seeds by rows. Got the shape {found.shape}.")
    if found.dtype != np.bool_:
        raise ArgumentError(f"{caller}: {name} must say of each row whether it is wrong (bool). Got {found.dtype}.")
    return found


def paired_matrices(caller: str, **named: NDArray[Any]) -> tuple[Wrong, ...]:
    """Return matrices of the same rows whose seeds pair, in the order given.

    Raises: MismatchError where they do not; ArgumentError as `wrong_matrix`.
    """
    found = {name: wrong_matrix(caller, name, wrong) for name, wrong in named.items()}
    first, *others = found.values()
    for other in others:
        if other.shape[1] != first.shape[1]:
            got = " and ".join(f"{matrix.shape[1]:,} of {name}" for name, matrix in found.items())
            raise MismatchError(f"{caller}: the arms must have answered the same rows. Got {got}.")
        if len(other) != len(first):
            got = " and ".join(f"{len(matrix)} of {name}" for name, matrix in found.items())
            raise MismatchError(f"{caller}: seeds pair only where each arm ran all of them. Got {got}.")
    return tuple(found.values())


def differences_in_points(distilled_SN: Wrong, other_SN: Wrong) -> NDArray[np.float64]:
    """Error rate of the other minus that of the distilled, per seed, in percentage points.  -> (S,).

    Counts are subtracted before they are scaled, so that equal differences are equal to the last bit.
    """
    points_S: NDArray[np.float64] = 100 * (other_SN.sum(1) - distilled_SN.sum(1)) / distilled_SN.shape[1]
    return points_S
