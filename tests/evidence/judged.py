"""Rows right and wrong, made by hand, and a second, plain implementation of the verdicts that shares no code."""

from itertools import product
from math import sqrt

import numpy as np
from scipy import stats


def wrong_with(counts, rows=1000):
    """A matrix of runs of which each gets so many of the rows wrong, the first ones.  -> (S, N)."""
    return np.arange(rows)[None] < np.asarray(counts)[:, None]


def arms(differences, rows=1000, base=300):
    """Distilled and alone whose error counts differ by so many rows, seed by seed."""
    return wrong_with([base] * len(differences), rows), wrong_with([base + d for d in differences], rows)


def plain_verdict(distilled, alone, worth, level=0.95):
    """The outcome, the interval, the p-value and the mean, by loops over every pattern of signs."""
    differences = [100 * float(a.mean()) - 100 * float(d.mean()) for d, a in zip(distilled, alone, strict=True)]
    count = len(differences)
    total = sum(differences)
    patterns = list(product((False, True), repeat=count))
    extreme, means = 0, []
    for pattern in patterns:
        flipped = sum(-d if flip else d for d, flip in zip(differences, pattern, strict=True))
        extreme += abs(flipped) >= abs(total) - 1e-9
        if any(pattern):
            means.append(sum(d for d, flip in zip(differences, pattern, strict=True) if flip) / sum(pattern))
    means.sort()
    k = int((1 - level) * len(patterns) / 2 + 1e-9)
    low, high = (means[k - 1], means[-k]) if k else (-np.inf, np.inf)
    if worth is not None and low > -worth and high < worth:
        outcome = "no worthwhile difference"
    elif low > 1e-9:
        outcome = "helped"
    else:
        outcome = "harmed" if high < -1e-9 else "cannot tell"
    return {
        "outcome": outcome,
        "interval": (low, high),
        "p_value": extreme / len(patterns),
        "mean": total / count,
    }


def plain_upper_limit(student, teacher, level=0.95):
    """Upper limit of student minus teacher, by loops over runs and rows."""
    runs, rows = len(student), len(teacher)
    rates = [100 * sum(map(int, run)) / rows for run in student]
    by_row = [100 * (sum(int(run[n]) for run in student) / runs - int(teacher[n])) for n in range(rows)]
    by_row_and_two = [*by_row, 100.0, -100.0]
    of_seeds = np.var(rates, ddof=1) / runs
    of_rows = np.var(by_row_and_two, ddof=1) / (rows + 2)
    q_seeds, q_rows = (stats.t.ppf(0.5 + level / 2, df) for df in (runs - 1, rows + 1))
    quantile = q_seeds if runs == 2 else (of_seeds * q_seeds + of_rows * q_rows) / (of_seeds + of_rows)
    return float(np.mean(by_row)) + quantile * sqrt(of_seeds + of_rows)


def crossed(draw, runs, rows, rate=0.2, hard=0.3, spread=0.02):
    """Rows of varying difficulty, answered by runs of varying luck, and their own chance.  -> (S, N)."""
    difficulty = np.clip(rate + hard * draw.standard_normal(rows), 0.0, 1.0)
    luck = spread * draw.standard_normal(runs)
    return draw.random((runs, rows)) < difficulty[None] + luck[:, None]
