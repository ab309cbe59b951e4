"""A folder as a newcomer has it: a file of models, a file of specifications, a few tables; and `limbeck` at hand."""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
from newcomer import MODEL, SPEC, content, write_csv

from limbeck.cli.main import main


class Said(NamedTuple):
    """What a command said and how it ended."""

    status: int
    out: str
    err: str


@pytest.fixture(scope="module", autouse=True)
def nobody_elses_models(tmp_path_factory):
    """What spec.py imports is the model.py beside it, not one that a test of another folder left behind."""
    sys.modules.pop("model", None)
    others = str(tmp_path_factory.getbasetemp())
    sys.path[:] = [folder for folder in sys.path if not folder.startswith(others)]


@pytest.fixture
def limbeck(capsys):
    """Run a command in this process: `limbeck("distill spec.py:small", "--out", "a folder")`."""

    def run(line="", *words):
        capsys.readouterr()
        try:
            status = main([*line.split(), *map(str, words)])
        except SystemExit as leaving:  # --help
            status = leaving.code or 0
        return Said(status, *capsys.readouterr())

    return run


@pytest.fixture
def refused(limbeck, folder):
    """Run a command that must be refused: status 2, one sentence, and nothing in the folder is new or other."""

    def run(*words):
        before = content(folder)
        said = limbeck(*words)
        assert (said.status, said.out) == (2, ""), said
        assert re.fullmatch(r"limbeck: \S[^\n]*[.?]\n", said.err), said.err
        assert content(folder) == before
        return said.err.removeprefix("limbeck: ").rstrip("\n")

    return run


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory: model.py, spec.py and train.csv, 40 rows of a, b, c and a label in {0, 1}."""
    monkeypatch.chdir(tmp_path)
    forget_siblings(monkeypatch)
    Path("model.py").write_text(MODEL, encoding="utf-8")
    Path("spec.py").write_text(SPEC, encoding="utf-8")
    write_csv("train.csv")
    return tmp_path


def forget_siblings(monkeypatch):
    """Let `from model import …` find this test's model.py, not the one of the test before."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "model", raising=False)
