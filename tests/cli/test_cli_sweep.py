"""`limbeck sweep`: a table, a page and a record; one sentence for what cannot be swept; and it goes on."""

import re
from pathlib import Path

import pytest

from limbeck.campaigns.sweep import run_sweep
from limbeck.cli.sweep import over_of
from limbeck.errors import Interrupted
from limbeck.evidence.sweep_facts import read_sweep

SWEEP = "sweep spec.py:small --validation 0.3 --seeds 2 --out swept --parallel 1 --over"


def test_a_sweep_prints_its_table_and_where_things_are(limbeck, folder):
    said = limbeck(f"{SWEEP} temperature=4,1 --engine apart")
    assert said.status == 0, said
    assert "Wrong on the validation rows over the temperature, 2 seeds" in said.out
    for name in ("1", "4", "student alone"):
        assert re.search(rf"│ {name} +│ +\d+\.\d\d ± \d+\.\d\d │ +\[", said.out), said.out
    assert re.search(r"^The fewest validation rows are wrong at the temperature [14]: ", said.out, re.MULTILINE)
    assert "sweep:   swept\npage:    swept/report.html\n" in said.out
    assert "Recording the teacher's answers" in said.err
    facts = read_sweep(Path("swept"))
    assert facts["seeds"] == [1000, 1001] and facts["scorings"] == 0
    assert facts["origin"] == {
        "command": f"limbeck {SWEEP} temperature=4,1 --engine apart",
        "specification": "spec.py:small",
    }
    again = limbeck(f"{SWEEP} temperature=4,1 --engine apart --resume")
    assert (again.status, again.out) == (0, said.out)
    page = Path("swept/report.html").read_bytes()
    Path("swept/report.html").unlink()
    made = limbeck("report swept")
    assert (made.status, made.out, made.err) == (0, "swept/report.html\n", "")
    assert Path("swept/report.html").read_bytes() == page
    occupied = limbeck(f"{SWEEP} temperature=4,1")
    assert "swept is not empty: use --resume to go on, --overwrite to start again, or choose" in occupied.err
    other = limbeck(f"{SWEEP} temperature=4,1 --resume --epochs 2")
    assert "The sweep swept" not in other.out and "was begun with another specification" in other.err


def test_a_data_sweep_says_how_long_each_share_was_trained(limbeck, folder):
    said = limbeck(f"{SWEEP} rows=0.5,1 --engine apart")
    assert said.status == 0, said
    assert "14 rows in 2 epochs and 28 rows in 1 epoch." in said.out
    assert "alone minus" in said.out and "50 %" in said.out.replace("\u00a0", " ")
    assert limbeck(f"{SWEEP} rows=0.5,1 --engine apart --overwrite --fixed epochs").status == 0
    assert [point["epochs"] for point in read_sweep(Path("swept"))["points"]] == [1, 1]


def test_the_folder_is_named_after_specification_and_number(limbeck, folder):
    said = limbeck("sweep spec.py:small --seeds 1 --over hard-weight=0.1,0.5 --parallel 1")
    assert said.status == 0, said
    assert Path("runs/spec-over-hard-weight/sweep.json").is_file()


def test_a_stopped_sweep_says_how_it_goes_on(limbeck, folder, monkeypatch):
    def stopped(*args, **named):
        raise Interrupted("Stopped.")

    monkeypatch.setattr("limbeck.cli.sweep.run_sweep", stopped)
    said = limbeck(f"{SWEEP} rate=0.1,0.2 --overwrite")
    assert said.status == 130
    assert said.err.endswith(f"Stopped. Go on with: limbeck {SWEEP} rate=0.1,0.2 --resume\n")
    monkeypatch.setattr("limbeck.cli.sweep.run_sweep", run_sweep)
    assert limbeck(f"{SWEEP} rate=0.1,0.2 --resume").status == 0


REFUSED = {
    "": "--over takes a number's name and its values, as in --over temperature=1,2,4,8,20. There is none.",
    "--over temperature": "--over takes a number's name and its values, as in --over temperature=1,2,4,8,20. Got temp",
    "--over temperature=1,,2": "--over takes a number's name and its values, as in",
    "--over colour=1,2": "There is no setting 'colour' to change. There are: rate, weight_decay, temperature,",
    "--over temperature=4": "A sweep needs at least two values of temperature. Got 1.",
    "--over temperature=-1,1": "SoftTargets: temperature must be a positive finite number. Got -1.0.",
    "--over rows=0.01,1": "A share of 0.01 leaves 1 of 36 training rows, and none of the class",
    "--over rate=1,2 --fixed epochs": "What stays fixed is a question of a sweep over rows, and this one is over rate;",
    "--over rate=1,2 --seeds 0": "--seeds must be a whole number of at least 1. Got 0.",
    "--over rate=1,2 --score test": "The data bring no test rows to count errors on; give a test split, or score val",
    "--over rate=1,2 --sore test": "There is no flag --sore. Did you mean --score?",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_wrong_word_is_refused_before_anything_is_written(refused, words):
    assert refused(f"sweep spec.py:small {words}").startswith(REFUSED[words])


def test_names_are_read_with_dashes_too():
    assert over_of("weight-decay=0,1e-4") == ("weight_decay", (0.0, 1e-4))


def test_a_sweep_that_has_not_finished_has_no_page(refused, folder):
    Path("swept").mkdir()
    Path("swept/sweep.json").write_text('{"kind": "sweep", "finished": false, "plan": {}}')
    assert refused("report swept") == "The sweep swept has not finished; go on with --resume."


def test_its_help_tells_its_flags(limbeck, folder):
    for said in (limbeck("sweep --help"), limbeck("sweep spec.py:small --help")):
        assert said.status == 0
        assert all(flag in said.out for flag in ("--over", "--score", "--fixed", "--resume", "--optimizer.lr"))
    assert "rate, weight_decay, temperature, hard_weight, smoothing, epochs, rows" in said.out
