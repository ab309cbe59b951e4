"""`limbeck report`: the page of a run, made again."""

from pathlib import Path

import pytest


@pytest.fixture
def done(limbeck, folder):
    """A finished run in the folder `run`."""
    pytest.importorskip("plotly")
    assert limbeck("distill spec.py:small --out run").status == 0
    return folder / "run"


def test_report_remakes_the_page_from_the_records(limbeck, done):
    page = (done / "report.html").read_bytes()
    for name in ("report.html", "facts.json"):
        (done / name).unlink()
    said = limbeck("report run")
    assert (said.status, said.out, said.err) == (0, "run/report.html\n", "")
    assert (done / "report.html").read_bytes() == page
    assert (done / "facts.json").is_file()


def test_the_page_may_go_elsewhere(limbeck, done):
    page = (done / "report.html").read_bytes()
    assert limbeck("report run --out pages/one.html").out == "pages/one.html\n"
    assert Path("pages/one.html").read_bytes() == page


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("", "Name the folder of a run, as in: limbeck report runs/NAME."),
        ("nosuch", "nosuch is not a run: it holds no spec.json."),
        ("train.csv", "train.csv is not a run: it holds no spec.json."),
        (".", ". is not a run: it holds no spec.json."),
        ("run more", "The word 'more' belongs to no flag; `limbeck report --help` lists the flags."),
        ("run --outt x", "There is no flag --outt. Did you mean --out?"),
        ("--out", "--out needs a value."),
    ],
)
def test_what_is_no_run_has_no_page(refused, words, sentence):
    assert refused(f"report {words}") == sentence


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("summary.json", "The run run has not finished; go on with --resume."),
        ("samples/rows.safetensors", "There is no rows.safetensors in run/samples."),
        ("metrics.jsonl", "There is no metrics.jsonl in run."),
    ],
)
def test_a_page_needs_whole_records(refused, done, name, sentence):
    (done / name).unlink()
    assert refused("report run") == sentence


def test_a_campaign_that_has_not_finished_has_no_page(refused, folder):
    Path("proof").mkdir()
    Path("proof/campaign.json").write_text("{}")
    assert refused("report proof") == "The campaign proof has not finished; go on with --resume."
