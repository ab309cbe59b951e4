"""A whole campaign on a real Ray cluster ends with the same table as on local processes, and as stacked."""

from dataclasses import replace

import pytest
from test_campaign import plan

from limbeck.campaigns.campaign import run_campaign
from limbeck.campaigns.means import Means
from limbeck.evidence.campaign import facts_of_comparison
from limbeck.evidence.comparison import wrong_rows
from limbeck.training.progress import Silent
from ray_cluster import ray_cluster

pytestmark = pytest.mark.slow


def small():
    return replace(plan(), rivals=("alone",), ablations=("permuted",), seeds=(0, 1))


def test_loky_and_ray_agree(tmp_path, monkeypatch):
    pytest.importorskip("ray", reason="Ray is not installed (the extra `cluster`)")
    means = Means(watcher=Silent(), parallel=2, engine="apart")
    local = run_campaign(small(), tmp_path / "loky", means)
    with ray_cluster() as address:
        monkeypatch.setenv("RAY_ADDRESS", address)
        there = run_campaign(small(), tmp_path / "ray", replace(means, backend="ray"))
    for name, arm in local.arms.items():
        for seed, run in arm.runs.items():
            ours, theirs = (
                run.predictions("student", "test"),
                there.arms[name].runs[seed].predictions("student", "test"),
            )
            assert ours.logits.equal(theirs.logits), (name, seed)
    tables = [facts_of_comparison(found)["verdict"] for found in (local, there)]
    assert tables[0] == tables[1]


def test_stacked_students_give_the_same_verdict_as_those_trained_one_by_one(tmp_path):
    found = {
        engine: run_campaign(small(), tmp_path / engine, Means(watcher=Silent(), parallel=1, engine=engine))
        for engine in ("apart", "stacked")
    }
    for name, arm in found["apart"].arms.items():
        other = found["stacked"].arms[name]
        assert (wrong_rows(arm.runs) == wrong_rows(other.runs)).all(), name
        assert arm.settings == other.settings
