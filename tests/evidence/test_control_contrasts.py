"""Controls: what explains a gain, by an intersection-union test; Holm only for rankings."""

import json

import numpy as np
import pytest
from judged import plain_verdict, wrong_with

from limbeck.errors import MismatchError
from limbeck.evidence.controls import controls, holm

DISTILLED = [100, 103, 99, 101, 98, 102, 104, 97]
WORSE, BARELY = [130, 128, 131, 127, 133, 129, 126, 132], [106, 104, 98, 109, 105, 107, 103, 101]
LABELS = {
    "hard-labels": {"kind": "ablation", "title": "labels only", "about": "No soft targets."},
    "permuted": {"kind": "ablation", "title": "other classes permuted", "about": "No dark knowledge."},
    "alone": {"kind": "rival", "title": "student alone", "about": "No teacher."},
}


def compared(**others):
    matrices = {name.replace("_", "-"): wrong_with(counts) for name, counts in others.items()}
    return controls(wrong_with(DISTILLED), matrices, LABELS)


def test_better_than_every_ablation_is_explained_by_none():
    found = compared(hard_labels=WORSE, permuted=[d + 12 for d in DISTILLED], alone=BARELY)
    assert found.explained.outcome == "explained by none of the controls"
    assert found.explained.p_value == 2 / 2**8
    assert "Explained by none of the 2 controls" in found.explained.sentence
    one = compared(hard_labels=WORSE)
    assert "Not explained by the one control" in one.explained.sentence


def test_one_ablation_that_does_as_well_is_enough_to_show_nothing():
    found = compared(hard_labels=WORSE, permuted=BARELY)
    largest = plain_verdict(wrong_with(DISTILLED), wrong_with(BARELY), None)["p_value"]
    assert found.explained.outcome == "not shown"
    assert found.explained.p_value == largest > 0.05
    assert "not shown to be better than “other classes permuted”, which may explain it." in found.explained.sentence


def test_a_better_ablation_counts_as_one_whatever_its_p_value():
    found = compared(hard_labels=WORSE, permuted=[d - 20 for d in DISTILLED])
    assert found.controls["permuted"].outcome == "control better"
    assert found.explained.p_value == 1.0
    assert found.explained.outcome == "not shown"


def test_rivals_explain_nothing():
    assert compared(alone=WORSE).explained is None
    assert compared(alone=BARELY, hard_labels=WORSE).explained.outcome == "explained by none of the controls"


def test_the_record_is_that_of_the_facts():
    found = compared(hard_labels=WORSE, alone=DISTILLED[::-1]).as_json()
    json.dumps(found, allow_nan=False)
    assert list(found) == ["controls", "explained"]
    assert list(found["controls"]["hard-labels"]) == [
        "kind", "title", "about", "mean", "interval", "p_value", "p_holm", "outcome", "errors"
    ]  # fmt: skip
    assert found["controls"]["hard-labels"]["outcome"] == "distilled better"
    assert found["controls"]["alone"]["outcome"] == "cannot tell"
    assert found["controls"]["hard-labels"]["errors"] == pytest.approx(
        {"mean": np.mean(WORSE) / 10, "sd": np.std(WORSE, ddof=1) / 10}
    )
    few = controls(wrong_with([3]), {"alone": wrong_with([4])}, LABELS).as_json()
    assert few["controls"]["alone"]["interval"] == [None, None]
    assert few["controls"]["alone"]["errors"]["sd"] is None


def test_holm_by_hand():
    # 4 · 0.005, 3 · 0.01, 2 · 0.03, then the largest so far
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx(
        {"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06}
    )
    assert holm({}) == {}
    found = compared(hard_labels=WORSE, permuted=WORSE, alone=WORSE)
    assert found.controls["alone"].p_holm == pytest.approx(3 * 2 / 2**8)


def test_seeds_that_do_not_pair_name_the_control():
    with pytest.raises(MismatchError, match=r"Got 8 of distilled and 7 of alone\."):
        compared(alone=WORSE[:7])
