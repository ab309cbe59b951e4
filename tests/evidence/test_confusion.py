"""Confusions counted by hand, and cut where there are too many classes."""

import json

import pytest
import torch

from evidence.written_runs import sure_of, write_run
from limbeck.errors import MismatchError
from limbeck.evidence.confusion import MOST_CLASSES, confusion, most_confused

LABELS = {"test": [0, 0, 1, 2]}


def arms(tmp_path, **changes):
    def run(name, given, **more):
        answers = {"student-test": sure_of(3, *given), **more}
        return write_run(tmp_path / name, answers, labels=LABELS, **changes)

    teacher = {"teacher-test": sure_of(3, 0, 0, 1, 2)}
    return {
        "distilled": {0: run("d0", (0, 0, 1, 1), **teacher), 1: run("d1", (0, 1, 1, 2), **teacher)},
        "alone": {0: run("a0", (2, 2, 2, 2)), 1: run("a1", (2, 2, 2, 2))},
    }


def test_rows_are_labels_columns_are_answers_and_seeds_are_averaged(tmp_path):
    found = confusion(arms(tmp_path, classes=["oak", "ash", "elm"]))
    assert found == {
        "classes": ["oak", "ash", "elm"],
        "distilled": [[1.5, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 0.5]],
        "alone": [[0.0, 0.0, 2.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]],
        "teacher": [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        "cut": False,
    }
    json.dumps(found, allow_nan=False)


def test_classes_without_names_are_numbered(tmp_path):
    assert confusion(arms(tmp_path))["classes"] == ["0", "1", "2"]


def test_only_the_most_confused_of_many_classes_are_shown(tmp_path):
    classes, labels = 41, torch.arange(41)
    given = labels.clone()
    given[[3, 17, 40]] = torch.tensor([17, 40, 3])
    run = write_run(tmp_path / "run", {"student-test": sure_of(classes, *given)}, labels={"test": labels})
    found = confusion({"distilled": {0: run}})
    assert found["cut"] is True
    assert len(found["classes"]) == len(found["distilled"]) == len(found["distilled"][0]) == MOST_CLASSES
    assert {"3", "17", "40"} < set(found["classes"])
    at = found["classes"].index
    assert found["distilled"][at("3")][at("17")] == 1


def test_the_most_confused_are_those_that_err_and_those_that_are_given_in_error():
    matrix = torch.zeros(7, 7)
    matrix[2, 5], matrix[0, 0] = 3.0, 99.0
    assert most_confused(matrix, most=2).tolist() == [2, 5]


def test_without_labels_or_with_many_labels_a_row_nothing_is_counted(tmp_path):
    assert confusion({"distilled": {0: write_run(tmp_path / "a", {"student-test": sure_of(3, 1)})}}) is None
    many = write_run(
        tmp_path / "b", {"student-test": torch.ones(1, 3)}, labels={"test": [[1.0, 0.0, 1.0]]}, head="sigmoid"
    )
    assert confusion({"distilled": {0: many}}) is None
    assert confusion({"distilled": {0: write_run(tmp_path / "c", {})}}) is None


def test_runs_of_other_rows_are_refused(tmp_path):
    found = arms(tmp_path)
    answers = {"student-test": sure_of(3, 0, 0, 1, 2)}
    found["alone"][1] = write_run(tmp_path / "other", answers, labels=LABELS, ids={"test": [0, 1, 2, 9]})
    with pytest.raises(MismatchError, match=r"^A run \(alone\) did not answer 1 of the 4 rows .* \(the first id: 3\);"):
        confusion(found)
