"""What soft targets tell beyond the label: by hand, by slow loops, and from a recorded ensemble."""

import json
import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import entropy

import tiny
from evidence.written_runs import logs, write_run
from limbeck.evidence.confusion import MOST_CLASSES
from limbeck.evidence.dark_knowledge import HISTOGRAM_BINS, dark_knowledge
from limbeck.specification import EnsembleOf
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record


def written(folder, teacher, labels, **more):
    answers = {"student-train": torch.zeros_like(teacher), "teacher-train": teacher}
    return write_run(folder, answers, labels={"train": labels}, **more)


def test_two_rows_of_a_class_by_hand(tmp_path):
    run = written(tmp_path / "run", logs((0.5, 0.5), (1.0, 0.0), (0.2, 0.8)), [0, 0, 1], classes=["oak", "ash"])
    found = dark_knowledge(run, None, 1.0)
    assert found["classes"] == ["oak", "ash"]
    assert found["similarity"] == [pytest.approx([0.75, 0.25]), pytest.approx([0.2, 0.8])]
    # KL((1/2, 1/2) || (3/4, 1/4)) = 1/2 log(4/3), and KL((1, 0) || (3/4, 1/4)) = log(4/3).
    assert found["within"] == {"oak": pytest.approx(0.75 * math.log(4 / 3)), "ash": pytest.approx(0.0, abs=1e-7)}
    coin = -(0.2 * math.log(0.2) + 0.8 * math.log(0.8))
    assert found["entropy"]["mean"] == pytest.approx((math.log(2) + 0 + coin) / 3)
    assert found["cut"] is False
    json.dumps(found, allow_nan=False)


def test_slow_loops_agree_and_within_is_what_rows_tell_beyond_their_class(tmp_path):
    generator = torch.Generator().manual_seed(0)
    teacher, labels = 3 * torch.randn(61, 5, generator=generator), torch.randint(5, (61,), generator=generator)
    found = dark_knowledge(written(tmp_path / "run", teacher, labels), None, 2.5)
    # One network's answers at another temperature need its samples; these lie at T = 1, and the run has none.
    assert found is None
    found = dark_knowledge(written(tmp_path / "at one", teacher / 2.5, labels), None, 1.0)
    probs = (teacher.double() / 2.5).softmax(-1)
    for c in range(5):
        rows = [row.numpy() for row, label in zip(probs, labels.tolist(), strict=True) if label == c]
        middle = sum(rows) / len(rows)
        assert found["similarity"][c] == pytest.approx(list(middle), rel=1e-5)
        told = entropy(middle) - sum(entropy(row) for row in rows) / len(rows)  # H(mean) - mean H
        assert found["within"][str(c)] == pytest.approx(told, rel=1e-4)
        assert found["within"][str(c)] > 0.01
    assert found["entropy"]["mean"] == pytest.approx(float(entropy(probs.numpy(), axis=-1).mean()), rel=1e-5)


def test_the_histogram_holds_every_row_between_nothing_and_log_c(tmp_path):
    teacher = torch.cat([torch.zeros(3, 4), 99 * torch.eye(4)])  # as unsure as can be, and as sure as can be
    found = dark_knowledge(written(tmp_path / "run", teacher, [0, 1, 2, 0, 1, 2, 3]), None, 1.0)["entropy"]
    assert len(found["edges"]) == HISTOGRAM_BINS + 1
    assert (found["edges"][0], found["edges"][-1]) == (0.0, pytest.approx(math.log(4)))
    assert (found["counts"][0], found["counts"][-1], sum(found["counts"])) == (4, 3, 7)


def test_targets_that_say_the_same_of_every_row_of_a_class_tell_nothing_within(tmp_path):
    labels = torch.tensor([0, 1, 2] * 5)
    smoothed = torch.full((3, 3), 0.05).fill_diagonal_(0.9).log()
    found = dark_knowledge(written(tmp_path / "run", smoothed[labels], labels), None, 1.0)
    assert list(found["within"].values()) == pytest.approx([0.0] * 3, abs=1e-6)


def test_a_class_without_rows_has_no_numbers(tmp_path):
    found = dark_knowledge(written(tmp_path / "run", torch.randn(4, 3), [0, 0, 2, 2]), None, 1.0)
    assert found["similarity"][1] == [None] * 3
    assert found["within"]["1"] is None
    json.dumps(found, allow_nan=False)


def test_of_many_classes_those_are_shown_that_are_mixed_most(tmp_path):
    probs = torch.eye(41)
    probs[7], probs[7, 7], probs[7, 33] = 0.0, 0.6, 0.4
    run = written(tmp_path / "run", probs.log(), torch.arange(41))
    found = dark_knowledge(run, None, 1.0)
    assert found["cut"] is True
    assert len(found["classes"]) == len(found["similarity"]) == len(found["within"]) == MOST_CLASSES
    at = found["classes"].index
    assert found["similarity"][at("7")][at("33")] == pytest.approx(0.4)


def test_without_labels_teacher_or_one_class_a_row_there_is_nothing_to_say(tmp_path):
    teacher = torch.randn(3, 2)
    assert dark_knowledge(write_run(tmp_path / "a", {"student-train": teacher}), None, 1.0) is None
    unlabelled = write_run(tmp_path / "b", {"student-train": teacher, "teacher-train": teacher})
    assert dark_knowledge(unlabelled, None, 1.0) is None
    many = written(tmp_path / "c", teacher, [[1.0, 0.0]] * 3, head="sigmoid")
    assert dark_knowledge(many, None, 1.0) is None


def other_teacher():
    torch.manual_seed(8)
    return tiny.student()


def test_a_recorded_mixture_is_looked_at_at_the_temperature_itself(tmp_path):
    spec = tiny.specification(teacher=EnsembleOf(members=(tiny.teacher, other_teacher)))
    record(spec, tmp_path / "store", form=Form(encoding="members"), watcher=Silent())
    run = distill(replace(spec, teacher=None, targets=tmp_path / "store"), tmp_path / "run", watcher=Silent())
    found = dark_knowledge(run, None, 4.0)
    with torch.no_grad():
        probs = sum((network(tiny.features()) / 4).softmax(-1) for network in (tiny.teacher(), other_teacher())) / 2
    labels = tiny.rows().labels
    for c, name in enumerate(tiny.NAMES):
        assert found["similarity"][c] == pytest.approx(probs[labels == c].mean(0).tolist(), rel=1e-5)
        assert found["within"][name] > 0
