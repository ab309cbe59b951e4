"""`limbeck distill SPEC --controls …`: the teaching put to the proof from the command line."""

import json
from pathlib import Path

import pytest

from limbeck.cli.distill import folder_of, specification_of

SPEC = """
from functools import partial

import tiny
import torch

from limbeck import Distillation


def small():
    return tiny.specification(
        data=tiny.splits, validation=0.1, optimizer=partial(torch.optim.Adam, lr=1e-2), probe_rows=0
    )
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "spec.py"
    path.write_text(SPEC, encoding="utf-8")
    return f"{path}:small"


def test_a_campaign_of_a_specification_ends_in_both_verdicts(spec, tmp_path, limbeck):
    out = tmp_path / "campaign"
    words = "--controls alone smoothed permuted --seeds 3 --trials 2 --worth 5 --within 5 --engine apart --parallel 1"
    said = limbeck("distill", spec, *words.split(), "--out", out)
    assert said.status == 0, said.err
    summary = json.loads((out / "summary.json").read_text())
    assert summary["controls"].keys() == {"alone", "smoothed", "permuted"}
    assert summary["verdict"] == "cannot tell"
    assert "with this teacher" in said.out
    card = next(line for line in said.out.splitlines() if line.startswith("student:"))
    assert "distilled-" in card
    again = limbeck("distill", spec, *words.split(), "--out", out, "--resume")
    assert again.status == 0
    other = limbeck("distill", spec, *words.replace("--worth 5", "--worth 4").split(), "--out", out, "--resume")
    assert other.status == 2
    assert "begun with another question" in other.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--controls permutated", "did you mean 'permuted'"),
        ("--worth 1", "--worth is a setting of --controls"),
        ("--controls all --seeds 0", "--seeds must be a whole number of at least 1"),
        ("--controls all --worth -1", "--worth must be a number of percentage points above 0 and below 100. Got -1."),
        ("--controls all --within nan", "--within must be a number of percentage points"),
        ("--controls all --trials -1", "--trials must be a whole number of at least 0. Got -1."),
        ("--controls all --looks 0", "--looks must be a whole number of at least 1. Got 0."),
        ("--controls", "--controls needs a word: all, none, or names"),
        ("--controls all alone", "all and none stand alone"),
        ("--controls all --engine quick", "--engine"),
    ],
)
def test_what_a_campaign_cannot_be_asked_is_said_in_one_sentence(spec, tmp_path, limbeck, words, said):
    found = limbeck("distill", spec, *words.split(), "--out", tmp_path / "out")
    assert found.status == 2
    assert said in found.err
    assert found.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_campaign_stands_beside_the_run_of_the_same_specification(spec):
    assert folder_of(specification_of([spec])) == Path("runs/spec")
    assert folder_of(specification_of([spec, "--controls", "all"])) == Path("runs/spec-proof")


def test_a_folder_that_holds_something_else_says_what_it_is(spec, tmp_path, limbeck):
    out = tmp_path / "taken"
    out.mkdir()
    (out / "campaign.json").write_text("{}")
    said = limbeck("distill", spec, "--out", out)
    assert (said.status, said.err) == (2, f"limbeck: {out} is not empty: it holds a campaign; choose another --out.\n")
    parts = ["--data", "nowhere.csv", "--student", spec, "--teacher", out, "--out", tmp_path / "new"]
    said = limbeck("distill", *parts)
    best = out / "runs" / "distilled-0"
    assert (said.status, said.err) == (2, f"limbeck: {out} is a campaign; name one of its runs, such as {best}.\n")
    assert not (tmp_path / "new").exists()
