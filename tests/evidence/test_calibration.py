"""Calibration of stored answers against slow loops, and the fitted temperature against a grid."""

import json

import pytest
import torch

import tiny
from evidence.written_runs import write_run
from limbeck.evidence.calibration import BINS, calibration
from limbeck.functional.calibration import fitted_temperature
from limbeck.training.distill import distill
from limbeck.training.progress import Silent


def answers(rows, seed, *, scale=1.0, classes=5):
    """Logits and labels: of noise 1 and a signal of 2, the log-odds are twice the logit; that is the scale of 1."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (rows,), generator=generator)
    logits = torch.randn(rows, classes, generator=generator)
    logits[torch.arange(rows), labels] += 2.0
    return 2 * scale * logits, labels


def run_of(folder, seed, scale=4.0, **without):
    test, labels = answers(211, seed, scale=scale)
    validation, known = answers(101, seed + 50, scale=scale)
    given = {"student-test": test, "student-validation": validation}
    given = {name: logits for name, logits in given.items() if name not in without.get("without", ())}
    return write_run(folder, given, labels={"test": labels, "validation": known})


def slow_ece(logits, labels):
    """Guo et al. 2017, equation 3, bin by bin."""
    probs, total = logits.double().softmax(-1), 0.0
    for k in range(BINS):
        inside = [row for row in range(len(labels)) if k < probs[row].max().item() * BINS <= k + 1]
        right = sum(int(probs[row].argmax() == labels[row]) for row in inside)
        sure = sum(probs[row].max().item() for row in inside)
        total += abs(right - sure)
    return total / len(labels)


def slow_scores(logits, labels):
    probs = logits.double().softmax(-1)
    rows = range(len(labels))
    nats = -sum(probs[row, labels[row]].log().item() for row in rows) / len(labels)
    brier = sum(sum((probs[row, c].item() - float(c == labels[row])) ** 2 for c in range(5)) for row in rows)
    return {"ece": slow_ece(logits, labels), "nll": nats, "brier": brier / len(labels)}


def test_scores_before_and_after_are_means_over_seeds_of_a_slow_reference(tmp_path):
    runs = {seed: run_of(tmp_path / str(seed), seed) for seed in (3, 1)}
    found = calibration({"distilled": runs})["distilled"]
    best = []
    for seed in (1, 3):
        logits, labels = answers(101, seed + 50, scale=4.0)
        grid = torch.logspace(-1, 1, 2001, dtype=torch.float64)
        nats = [torch.nn.functional.cross_entropy(logits.double() / t, labels).item() for t in grid]
        best.append(grid[torch.tensor(nats).argmin()].item())
    assert found["temperature"] == pytest.approx(sum(best) / 2, rel=3e-3)  # as close as the grid is fine
    assert 3 < found["temperature"] < 6  # four times too sure
    for when, temperatures in (("before", (1.0, 1.0)), ("after", best)):
        scored = [
            slow_scores(answers(211, seed, scale=4.0)[0] / t, answers(211, seed, scale=4.0)[1])
            for seed, t in zip((1, 3), temperatures, strict=True)
        ]
        for name, value in found[when].items():
            rough = 1e-6 if when == "before" else 2e-2
            assert value == pytest.approx(sum(one[name] for one in scored) / 2, rel=rough), (when, name)
    assert found["after"]["nll"] < found["before"]["nll"]
    assert found["after"]["ece"] < found["before"]["ece"] / 2


def test_the_diagram_is_pooled_over_seeds_and_holds_the_calibration_error(tmp_path):
    runs = {seed: run_of(tmp_path / str(seed), seed) for seed in (1, 2)}
    diagram = calibration({"distilled": runs})["distilled"]["reliability"]
    assert sum(diagram["rows"]) == 2 * 211
    assert 0 in diagram["rows"]  # of five classes none is preferred with less than a fifth
    total = 0.0
    for k, (sure, right, rows) in enumerate(zip(*diagram.values(), strict=True)):
        assert (sure is None) == (right is None) == (rows == 0)
        if rows:
            assert k < sure * BINS <= k + 1
            total += rows * abs(sure - right)
    pooled = [torch.cat(parts) for parts in zip(*(answers(211, seed, scale=4.0) for seed in (1, 2)), strict=True)]
    assert total / 422 == pytest.approx(slow_ece(*pooled))


def test_the_diagram_after_is_of_each_seeds_answers_divided_by_its_own_temperature(tmp_path):
    runs = {seed: run_of(tmp_path / str(seed), seed, scale=scale) for seed, scale in ((1, 4.0), (2, 0.5))}
    found = calibration({"distilled": runs})["distilled"]
    divided = []
    for seed, scale in ((1, 4.0), (2, 0.5)):
        (logits, labels), (validation, known) = answers(211, seed, scale=scale), answers(101, seed + 50, scale=scale)
        temperature = fitted_temperature(validation.double(), known)
        divided.append((logits.double() / temperature, labels))
    pooled = [torch.cat(parts) for parts in zip(*divided, strict=True)]
    after = found["reliability_after"]
    assert sum(after["rows"]) == 2 * 211
    assert after != found["reliability"]
    gaps = [rows * abs(sure - right) for sure, right, rows in zip(*after.values(), strict=True) if rows]
    assert sum(gaps) / 422 == pytest.approx(slow_ece(*pooled))


def test_the_temperature_comes_from_the_validation_rows_alone(tmp_path):
    sure, labels = answers(211, 1, scale=4.0)
    validation, known = answers(101, 51, scale=0.5)
    run = write_run(
        tmp_path / "run",
        {"student-test": sure, "student-validation": validation},
        labels={"test": labels, "validation": known},
    )
    found = calibration({"distilled": {0: run}})["distilled"]
    assert found["temperature"] < 1  # what suits these, and makes the test rows worse
    assert found["after"]["nll"] > found["before"]["nll"]


def test_without_validation_rows_nothing_is_fitted(tmp_path):
    run = run_of(tmp_path / "run", 1, without=("student-validation",))
    found = calibration({"distilled": {0: run}})["distilled"]
    assert found["temperature"] is None
    assert found["after"] is None
    assert found["reliability_after"] is None
    assert found["before"]["nll"] > 0


def test_without_labelled_test_rows_or_with_independent_labels_there_is_nothing_to_say(tmp_path):
    assert calibration({"distilled": {0: run_of(tmp_path / "a", 1, without=("student-test",))}}) is None
    assert calibration({"distilled": {0: write_run(tmp_path / "b", {"student-test": torch.ones(2, 3)})}}) is None
    many = write_run(
        tmp_path / "c", {"student-test": torch.ones(1, 3)}, labels={"test": [[1.0, 0.0, 1.0]]}, head="sigmoid"
    )
    assert calibration({"distilled": {0: many}}) is None


def test_of_real_runs_teacher_and_both_arms_are_scored(tmp_path):
    taught = distill(tiny.specification(data=tiny.splits, validation=0.1), tmp_path / "taught", watcher=Silent())
    alone = distill(tiny.alone(data=tiny.splits, validation=0.1), tmp_path / "alone", watcher=Silent())
    found = calibration({"distilled": {0: taught}, "alone": {0: alone}})
    assert list(found) == ["teacher", "distilled", "alone"]
    for name, run in (("distilled", taught), ("alone", alone)):
        for score, value in found[name]["before"].items():
            assert value == pytest.approx(run.summary["student"]["test"][score], rel=1e-5)
    assert found["teacher"]["before"]["nll"] == pytest.approx(taught.summary["teacher"]["test"]["nll"], rel=1e-5)
    json.dumps(found, allow_nan=False)
