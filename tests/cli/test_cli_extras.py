"""What is not installed is named with the `pip install` that brings it."""

import sys
from pathlib import Path

import pytest
from newcomer import write_csv

LEARN = "distill --student model.py:student --epochs 1 --out run --data"


def needs(what, extra):
    return f"{what} needs an extra that is not installed. Run: pip install 'limbeck[{extra}]'."


@pytest.mark.parametrize("name", ["train.csv", "train.parquet"])
def test_a_table_needs_pyarrow(refused, folder, monkeypatch, name):
    Path("train.parquet").write_bytes(b"PAR1")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refused(LEARN, name) == needs(f"Reading {name} with pyarrow", "tables")


def test_a_folder_and_an_id_of_the_hub_need_datasets(refused, folder, monkeypatch):
    Path("rows").mkdir()
    write_csv("rows/train.csv")
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert refused(LEARN, "rows") == needs("Reading a Hugging Face dataset", "hub")
    assert refused(LEARN, "owner/name") == needs("Reading a Hugging Face dataset", "hub")


@pytest.mark.parametrize("words", ["demo --out run", "distill digits --out run"])
def test_the_bundled_digits_need_scikit_learn(refused, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    assert refused(words) == needs("Reading the bundled digits with scikit-learn", "demo")


def test_tensorboard_is_an_extra(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    assert refused("distill spec.py:small --track tensorboard") == needs("Logging to TensorBoard", "track")


def test_a_run_without_the_extra_for_pages_says_so_and_is_whole(limbeck, refused, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    said = limbeck("distill spec.py:small --out run")
    assert said.status == 0
    assert needs("The page", "report") in said.out
    assert Path("run/facts.json").is_file()
    assert not Path("run/report.html").exists()
    assert refused("report run") == needs("The page", "report")


def test_tensorboard_gets_event_files(limbeck, folder):
    pytest.importorskip("tensorboard")
    assert limbeck("distill spec.py:small --out run --track tensorboard").status == 0
    assert list(Path("run/trackers").rglob("events.out.tfevents.*"))
