"""Figures in README are those of the records, and a record says how to get it again."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RECORDS = sorted((ROOT / "results").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.name)
def test_a_record_tells_its_command_commit_seeds_versions_and_machine(path):
    record = json.loads(path.read_text(encoding="utf-8"))
    assert {"command", "commit", "versions", "machine"} <= record.keys()
    if "rows" in record and record["command"].startswith("limbeck reproduce "):  # made in pieces, each with its seed
        assert all(row["seeds"] == [piece["seed"] for piece in row["pieces"]] for row in record["rows"])
        return
    assert "seeds" in record
    assert record["command"].startswith("python benchmarks/")
    assert (ROOT / record["command"].split()[1]).is_file()


@pytest.mark.parametrize(("page", "module"), [("README.md", "readme"), ("docs/evidence.md", "evidence_page")])
def test_a_page_holds_the_figures_of_the_records(monkeypatch, page, module):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    written = importlib.import_module(module).block(ROOT / "results")
    sys.modules.pop(module)
    assert written in (ROOT / page).read_text(encoding="utf-8")
