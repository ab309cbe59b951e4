"""docs/reliability.md is what its record says, and the record is that of a store that survives."""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ("reliability", "flips", "full_disk", "kills", "large_store", "record", "refusals", "small_stores")


@pytest.fixture
def reliability(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import reliability

    yield reliability
    for name in MODULES:
        sys.modules.pop(name)


@pytest.fixture
def record():
    return json.loads((ROOT / "results" / "reliability.json").read_text(encoding="utf-8"))


def test_the_page_is_that_of_the_record(reliability, record):
    assert reliability.page(record) == (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_kills_in_every_phase_damaged_nothing(record):
    kills = record["kills"]
    assert kills["kills"] >= 200
    assert min(*kills["states"].values(), *kills["traces"].values()) > 0
    assert (kills["shards_damaged"], kills["stores_different"]) == (0, 0)


def test_every_flipped_bit_was_refused_without_a_traceback(record):
    flips = record["flips"]
    assert flips["refused"] == flips["flips"] >= 1000
    assert flips["manifest_bits_refused"] == flips["manifest_bits"]
    assert flips["tracebacks"] == 0


def test_a_full_disk_cost_nothing(record):
    limited, filled = record["full_disk"]["limited"], record["full_disk"]["filled"]
    assert (limited["damaged"], limited["equal_after_resume"]) == (0, True)
    if filled is not None:  # where nobody may mount a disk
        assert (filled["damaged"], filled["equal_after_resume"]) == (0, filled["tries"])
        assert filled["full"] > 0


def test_a_million_rows_stayed_under_the_goal(record):
    memory = record["memory"]
    assert (memory["rows"], memory["classes"]) == (1_000_000, 1000)
    assert max(memory[what]["peak_gigabytes"] for what in ("recording", "reading")) < memory["goal_gigabytes"]


def test_everything_wrong_has_a_sentence_of_its_own(record):
    sentences = [sentence for part in record["refusals"].values() for sentence in part.values()]
    assert len(sentences) > 50
    assert len(set(sentences)) == len(sentences)
    assert not [sentence for sentence in sentences if "/tmp" in sentence or "Traceback" in sentence]
