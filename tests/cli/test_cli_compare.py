"""`limbeck compare` on runs that were made one by one, and each thing that keeps runs from being compared."""

import json
import shutil
from dataclasses import replace

import pytest

import tiny
from limbeck.training.distill import distill
from limbeck.training.progress import Silent


def taught(**changes):
    return tiny.specification(**{"data": tiny.splits, "validation": 0.1, **changes})


def alone(**changes):
    return tiny.alone(**{"data": tiny.splits, "validation": 0.1, **changes})


def other_splits():
    return replace(tiny.splits(), test=tiny.rows(13, seed=5))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Six pairs of runs, and some that do not belong to them."""
    folder = tmp_path_factory.mktemp("runs")
    for seed in range(6):
        distill(taught(seed=seed), folder / f"taught-{seed}", watcher=Silent())
        distill(alone(seed=seed), folder / f"alone-{seed}", watcher=Silent())
    distill(alone(seed=0, data=other_splits), folder / "elsewhere-0", watcher=Silent())
    distill(alone(seed=9), folder / "alone-9", watcher=Silent())
    return folder


def pairs(folder, count=6):
    return [folder / f"{arm}-{seed}" for arm in ("taught", "alone") for seed in range(count)]


def test_runs_made_one_by_one_get_both_verdicts_and_a_page(runs, tmp_path, limbeck):
    said = limbeck("compare", *pairs(runs), "--worth", 5, "--within", 5, "--out", tmp_path / "c")
    assert said.status == 0, said.err
    facts = json.loads((tmp_path / "c" / "facts.json").read_text())
    assert facts["verdict"]["pairs"] == 6
    assert facts["verdict"]["coverage"] == pytest.approx(0.96875)
    differences = facts["verdict"]["differences"]
    assert facts["verdict"]["interval"] == pytest.approx([min(differences), max(differences)])
    assert facts["verdict"]["sentence"] in said.out
    assert "with this teacher" in said.out
    assert (tmp_path / "c" / "summary.json").is_file()


def damaged(runs, tmp_path, change):
    folder = tmp_path / "runs"
    shutil.copytree(runs, folder)
    change(folder)
    return folder


def no_predictions(folder):
    (folder / "alone-2" / "predictions" / "student-test.safetensors").unlink()


def not_finished(folder):
    (folder / "alone-2" / "summary.json").unlink()


def corrupt(folder):
    (folder / "alone-2" / "spec.json").write_text('{"specification": ')


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_predictions, "holds no answers of the student to the test rows"),
        (not_finished, "has not finished; go on with --resume"),
        (corrupt, "spec.json is damaged"),
    ],
)
def test_runs_that_cannot_be_read_are_named(runs, tmp_path, limbeck, change, said):
    found = limbeck("compare", *pairs(damaged(runs, tmp_path, change)), "--out", tmp_path / "c")
    assert found.status == 2
    assert said in found.err
    assert "alone-2" in found.err
    assert found.err.count("\n") == 1


def test_seeds_that_do_not_pair_are_refused(runs, tmp_path, limbeck):
    found = limbeck("compare", *pairs(runs), runs / "alone-9", "--out", tmp_path / "c")
    assert found.status == 2
    assert "The seeds do not pair" in found.err


def test_runs_of_other_rows_are_refused(runs, tmp_path, limbeck):
    found = limbeck("compare", runs / "taught-0", runs / "elsewhere-0", "--out", tmp_path / "c")
    assert found.status == 2
    assert "other test rows" in found.err


def test_one_seed_says_what_cannot_be_said(runs, tmp_path, limbeck):
    found = limbeck("compare", *pairs(runs, 1), "--out", tmp_path / "c")
    assert found.status == 0
    assert json.loads((tmp_path / "c" / "facts.json").read_text())["verdict"]["outcome"] == "refused"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("taught-0 taught-1", "Got 1 specification with a teacher and 0 specifications without one"),
        ("taught-0 taught-0 alone-0", "the same specification with the same seed"),
        ("nowhere", "is not a run"),
        ("taught-0 alone-0 --worth 0", "positive"),
        ("taught-0 alone-0 --wort 1", "--worth"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_sentence(runs, tmp_path, limbeck, words, said):
    named = [word if word.startswith("--") or word.isdigit() else runs / word for word in words.split()]
    found = limbeck("compare", *named, "--out", tmp_path / "c")
    assert found.status == 2
    assert said in found.err
    assert found.err.count("\n") == 1


def test_without_any_run_it_says_what_to_name(limbeck):
    found = limbeck("compare")
    assert found.status == 2
    assert "Name a campaign" in found.err
