"""`--out`, `--resume` and `--overwrite`: what may stand where a run goes."""

import json
from pathlib import Path

import pytest
from newcomer import content

RUN = "distill spec.py:small --out run"


@pytest.fixture
def done(limbeck, folder):
    """A finished run in the folder `run`."""
    assert limbeck(RUN).status == 0
    return folder / "run"


def epochs_of(run):
    return json.loads((run / "summary.json").read_text())["epochs"]


def test_a_folder_that_holds_a_run_is_left_alone(refused, done):
    sentence = "run is not empty: use --resume to go on, --overwrite to start again, or choose another --out."
    assert refused(RUN) == sentence


@pytest.mark.parametrize("flag", ["", "--resume", "--overwrite"])
def test_a_folder_that_holds_something_else_is_left_alone(refused, folder, flag):
    Path("run").mkdir()
    Path("run/thesis.tex").write_text("ten years of work")
    assert refused(f"{RUN} {flag}") == "run is not empty: it holds no run; choose another --out."


@pytest.mark.parametrize("flag", ["", "--resume", "--overwrite"])
def test_a_file_is_no_folder(refused, folder, flag):
    assert refused(f"distill spec.py:small --out train.csv {flag}") == "train.csv is a file; a run needs a folder."
    sentence = f"{folder}/train.csv is a file, so no run can be written to train.csv/deep/run; choose another --out."
    assert refused(f"distill spec.py:small --out train.csv/deep/run {flag}") == sentence


def test_a_folder_that_cannot_be_written_to_is_refused_before_training(refused, folder, monkeypatch):
    monkeypatch.setattr("limbeck.training.run.os.access", lambda *_: False)  # root may write everywhere
    assert refused(RUN) == f"{folder} is not writable, so no run can be written to run; choose another --out."


def test_a_disk_error_is_one_sentence(refused, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device", "run/spec.json")

    monkeypatch.setattr("limbeck.training.distill.write_json", full)
    monkeypatch.setattr(Path, "mkdir", lambda *_, **__: None)
    assert refused(RUN) == "run/spec.json cannot be read or written: No space left on device."


def test_an_empty_folder_and_one_below_folders_to_be_made_will_do(limbeck, folder):
    Path("run").mkdir()
    assert limbeck(RUN).status == 0
    assert limbeck("distill spec.py:small --out a/b/c").status == 0
    assert Path("a/b/c/summary.json").is_file()


def test_a_finished_run_is_shown_again_by_a_resume(limbeck, done):
    before = content(done)
    said = limbeck(f"{RUN} --resume")
    assert (said.status, said.err) == (0, "")
    assert "student: run/student" in said.out
    assert content(done) == before


def test_a_resume_may_raise_the_number_of_epochs_and_not_lower_it(limbeck, refused, done):
    assert limbeck(f"{RUN} --resume --epochs 3").status == 0
    assert epochs_of(done) == 3
    sentence = "A resume may raise the number of epochs, not lower it: 3 before, now 2."
    assert refused(f"{RUN} --resume --epochs 2") == sentence


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ("--batch-size 8", "batch_size"),
        ("--objective.soft.temperature 3", "objective"),
        ("--optimizer.lr 0.5", "optimizer"),
        ("--width 5", "student"),
        ("--seed 1 --validation None", "validation, seed"),
    ],
)
def test_a_resume_under_another_specification_names_what_differs(refused, done, words, field):
    assert refused(f"{RUN} --resume {words}") == (
        f"The run run was begun with another specification; what differs is: {field}. Resume it with the specification "
        "that it was begun with, or choose another --out."
    )


def test_a_resume_of_a_damaged_run_says_what_is_damaged(refused, done):
    (done / "spec.json").write_text('{"specification": ')
    assert refused(f"{RUN} --resume --epochs 2").startswith("run/spec.json is damaged: ")


@pytest.mark.parametrize("flags", ["--overwrite", "--overwrite --resume"])
def test_overwrite_begins_anew(limbeck, done, flags):
    (done / "notes.txt").write_text("mine")
    assert limbeck(f"{RUN} {flags} --width 5").status == 0
    assert json.loads((done / "spec.json").read_text())["specification"]["fields"]["student"]["args"] == [5]
    assert not (done / "notes.txt").exists()


def test_what_cannot_be_run_overwrites_nothing(refused, done):
    assert refused(f"{RUN} --overwrite --optimizer.lr -1").startswith("The optimiser's factory raised ValueError")
    assert refused("distill spec.py:raising --out run --overwrite").startswith("spec.py:raising raised KeyError")
