"""Whether models are right as often as they are sure: before and after one temperature, fitted on validation rows.

Shape legend, this file:  N rows, C classes, K bins, S seeds.
"""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import torch
from torch import Tensor

from limbeck.evidence.comparison import ALONE, DISTILLED
from limbeck.functional.calibration import fitted_temperature
from limbeck.functional.quality import brier, expected_calibration_error, nll
from limbeck.training.evaluate import Predictions
from limbeck.training.run import Run

BINS = 15
"""Of equal width, by the probability of the preferred class: those of `expected_calibration_error`."""


def calibration(arms: Mapping[str, Mapping[int, Run]]) -> dict[str, Any] | None:
    """Score how well `teacher`, `distilled` and `alone` are calibrated on the test rows, means over the seeds.

    For each: `before`, {"ece", "nll", "brier"} of the answers as they are; `temperature` and `after`, each seed's
    answers divided by the temperature that fits its validation rows best (None without validation rows); `reliability`,
    of the answers as they are, pooled over seeds: by bin, the mean `confidence`, the `accuracy` (None in an empty bin)
    and the number of `rows`; `reliability_after`, the same of the divided answers (None without a temperature). An
    ensemble is scaled as one model: the logs of its mean probabilities, divided.
    Returns: None for a sigmoid head, and where there are no labelled test rows.
    Reference: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.
    """
    taught = arms[DISTILLED]
    asked = {"teacher": (taught, "teacher"), DISTILLED: (taught, "student"), ALONE: (arms.get(ALONE, {}), "student")}
    found = {name: told for name, (runs, who) in asked.items() if (told := _calibration(runs, who)) is not None}
    return found or None


def _calibration(runs: Mapping[int, Run], who: str) -> dict[str, Any] | None:
    chosen = [runs[seed] for seed in sorted(runs)][: 1 if who == "teacher" else None]  # it answers all seeds alike
    tests = [_labelled(run.predictions(who, "test")) for run in chosen]
    answers = [one for one in tests if one is not None]
    if not answers or len(answers) < len(tests):
        return None
    temperatures = [_temperature(_labelled(run.predictions(who, "validation"))) for run in chosen]
    known = [temperature for temperature in temperatures if temperature is not None]
    fitted = len(known) == len(chosen)
    return {
        "temperature": mean(known) if fitted else None,
        "before": _means([_scores(one, 1.0) for one in answers]),
        "after": _means([_scores(one, t) for one, t in zip(answers, known, strict=True)]) if fitted else None,
        "reliability": _reliability(answers),
        "reliability_after": _reliability(list(map(_divided, answers, known))) if fitted else None,
    }


def _divided(answers: Predictions, temperature: float) -> Predictions:
    return Predictions(ids=answers.ids, logits=answers.logits / temperature, labels=answers.labels)


def _labelled(answers: Predictions | None) -> Predictions | None:
    """Answers that can be judged row by row: of a softmax head, with labels, and at least one."""
    if answers is None or answers.labels is None or answers.labels.ndim != 1 or not len(answers.ids):
        return None
    return Predictions(ids=answers.ids, logits=answers.logits.double(), labels=answers.labels)


def _temperature(answers: Predictions | None) -> float | None:
    return None if answers is None else float(fitted_temperature(answers.logits, _labels(answers)))


def _scores(answers: Predictions, temperature: float) -> dict[str, float]:
    logits, labels = answers.logits / temperature, _labels(answers)
    return {
        "ece": float(expected_calibration_error(logits, labels, bins=BINS)),
        "nll": float(nll(logits, labels).mean()),
        "brier": float(brier(logits, labels).mean()),
    }


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    return {name: mean(one[name] for one in scores) for name in scores[0]}


def _reliability(answers: Sequence[Predictions]) -> dict[str, list[Any]]:
    confidence, preferred = torch.cat([one.logits for one in answers]).softmax(-1).max(-1)
    right = (preferred == torch.cat([_labels(one) for one in answers])).double()
    bin_of_row = ((confidence * BINS).ceil().long() - 1).clamp(0, BINS - 1)
    rows = bin_of_row.bincount(minlength=BINS)
    return {
        "confidence": _bin_means(confidence, bin_of_row, rows),
        "accuracy": _bin_means(right, bin_of_row, rows),
        "rows": rows.tolist(),
    }


def _bin_means(values: Tensor, bin_of_row: Tensor, rows: Tensor) -> list[float | None]:
    sums = values.new_zeros(BINS).index_add(0, bin_of_row, values)
    return [total / count if count else None for total, count in zip(sums.tolist(), rows.tolist(), strict=True)]


def _labels(answers: Predictions) -> Tensor:
    assert answers.labels is not None  # `_labelled` has looked
    return answers.labels
