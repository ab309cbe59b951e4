"""The tables and the plot of docs/encodings.md are those of its record."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import encodings_page

    yield encodings_page
    sys.modules.pop("encodings_page")


@pytest.fixture
def record():
    return json.loads((ROOT / "results" / "encodings.json").read_text(encoding="utf-8"))


def test_the_tables_are_those_of_the_record(page, record):
    assert page.block(record) in (ROOT / "docs" / "encodings.md").read_text(encoding="utf-8")


def test_the_plot_is_that_of_the_record(page, record):
    assert page.plot(record) == (ROOT / "docs" / "encodings.svg").read_text(encoding="utf-8")


def test_a_small_encoding_keeps_nine_tenths_of_what_dense_targets_give(page, record):
    best = record["best_small"]
    assert best["bytes"] <= page.LIMIT
    assert record["gain"]["interval"][0] > 0
    assert best["share_lost"]["interval"][1] <= 0.1
