"""Every scoring of test rows is counted, wherever below a campaign it was made and however its line ended."""

import json

import pytest

from limbeck.evidence.ledger import Scorings, enter, scorings
from limbeck.files import append_json
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from tiny import alone, splits


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Two scored runs, one of them resumed for a second look, one run without test rows, and a teacher."""
    folder = tmp_path_factory.mktemp("campaign")
    for name, spec in {
        "runs/one": alone(data=splits, epochs=1),
        "runs/two": alone(data=splits, epochs=1, seed=1),
        "runs/blind": alone(epochs=1),
        "targets/teachers/abc": alone(data=splits, epochs=1, seed=2),
    }.items():
        distill(spec, folder / name, watcher=Silent())
    distill(alone(data=splits, epochs=2), folder / "runs" / "one", resume=True, watcher=Silent())
    return folder


def test_looks_are_counted_over_all_runs_and_their_teachers(campaign):
    assert scorings(campaign) == Scorings(count=4, runs=3)
    assert scorings(campaign / "runs" / "one") == Scorings(count=2, runs=1)
    assert scorings(campaign / "runs" / "blind") == Scorings(count=0, runs=0)


def test_a_look_outside_a_run_is_a_look_and_no_run(tmp_path):
    enter(tmp_path / "new", rows=17, who="members of the teacher")
    enter(tmp_path / "new", rows=17, who="the ensemble")
    assert scorings(tmp_path) == Scorings(count=2, runs=0)
    first = json.loads((tmp_path / "new" / "ledger.jsonl").read_text().splitlines()[0])
    assert (first["split"], first["rows"], first["who"]) == ("test", 17, "members of the teacher")


def test_a_line_that_a_kill_cut_short_is_a_look_and_swallows_no_other(tmp_path):
    ledger = tmp_path / "ledger.jsonl"
    enter(tmp_path, rows=17, who="one")
    whole = ledger.read_bytes()
    for length in range(1, len(whole)):
        ledger.write_bytes(whole + whole[:length])
        assert scorings(tmp_path).count == 2
        enter(tmp_path, rows=17, who="three")
        assert scorings(tmp_path).count == 3


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"3\n", b"{}\n", b"\0\0\0\n", b'{"rows": 2}\n'])
def test_a_line_that_says_nothing_is_a_look(tmp_path, content):
    (tmp_path / "ledger.jsonl").write_bytes(content)
    assert scorings(tmp_path) == Scorings(count=1, runs=0)


def test_other_splits_and_empty_lines_are_no_looks(tmp_path):
    append_json(tmp_path / "ledger.jsonl", {"split": "validation"})
    with (tmp_path / "ledger.jsonl").open("a") as ledger:
        ledger.write("\n\n")
    assert scorings(tmp_path).count == 0
    assert scorings(tmp_path / "nowhere").count == 0
