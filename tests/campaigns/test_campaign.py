"""A whole campaign, tiny: what it leaves, what it refuses, and that a killed one ends with the same table."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

import tiny
from limbeck.campaigns.campaign import run_campaign
from limbeck.campaigns.means import Means
from limbeck.campaigns.plan import Campaign
from limbeck.errors import DataError, ResumeError, SpecificationError
from limbeck.evidence.campaign import facts_of_comparison, summary_of_comparison
from limbeck.evidence.comparison import of_campaign
from limbeck.evidence.question import Question
from limbeck.files import read_json
from limbeck.objective import HardLabels
from limbeck.specification import Distillation, EnsembleOf
from limbeck.training.progress import Silent
from limbeck.training.run import Run

ADAM = partial(torch.optim.Adam, lr=1e-2, weight_decay=0.0)
ABLATIONS = ("hard-labels", "matched-smoothing", "teacher-labels", "permuted", "shuffled", "edited", "self-distilled")


def member(seed):
    return Distillation(
        data=tiny.splits_alone,
        student=tiny.student,
        objective=HardLabels(),
        epochs=3,
        batch_size=8,
        validation=0.1,
        seed=seed,
        device="cpu",
        probe_rows=0,
    )


def distilled(**changes):
    fields = {
        "data": tiny.splits,
        "teacher": EnsembleOf(members=(member(11), member(12))),
        "optimizer": ADAM,
        "validation": 0.1,
        "epochs": 3,
        "probe_rows": 8,
    }
    return tiny.specification(**{**fields, **changes})


def plan(**changes):
    fields = {
        "distilled": distilled(),
        "question": Question(worth=5.0, within=5.0),
        "seeds": (0, 1, 2),
        "selection_seeds": (100,),
        "trials": 2,
        "rivals": ("alone", "smoothed", "pseudo-labels"),
        "ablations": ABLATIONS,
    }
    return Campaign(**{**fields, **changes})


MEANS = Means(watcher=Silent(), parallel=1, engine="apart")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("campaign") / "campaign"
    run_campaign(plan(), out, MEANS)
    return out


@pytest.fixture(scope="module")
def facts(finished):
    return facts_of_comparison(of_campaign(finished))


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_every_arm_is_run_at_every_seed_and_the_record_says_which_run_is_which(finished):
    record = read_json(finished / "campaign.json")
    names = ["distilled", "alone", "smoothed", "pseudo-labels", *ABLATIONS]
    assert [arm["name"] for arm in record["arms"]] == names
    assert record["left_out"] == {}
    for name in names:
        assert record["runs"][name] == {str(seed): f"{name}-{seed}" for seed in (0, 1, 2)}
        for run in record["runs"][name].values():
            assert Run.open(finished / "runs" / run).summary["student"]["test"]["rows"] == 17


def test_runs_that_choose_settings_have_no_test_rows(finished):
    trials = [path for path in (finished / "trials").iterdir() if (path / "spec.json").is_file()]
    assert trials
    assert all(Run.open(path).spec["data"]["test"] is None for path in trials)


def test_all_are_searched_with_the_same_number_of_trials(finished):
    search = read_json(finished / "campaign.json")["search"]
    assert {name: len(found["trials"]) for name, found in search.items()} == dict.fromkeys(
        ("distilled", "alone", "smoothed", "pseudo-labels"), 2
    )


def test_arms_start_from_the_same_weights_and_see_the_same_rows_in_the_same_order(finished):
    runs = read_json(finished / "campaign.json")["runs"]
    specs = {name: Run.open(finished / "runs" / row["1"]).spec["specification"]["fields"] for name, row in runs.items()}
    first = specs["distilled"]
    for name in ABLATIONS:
        alike = ("data", "student", "optimizer", "epochs", "batch_size", "seed", "split_seed", "validation", "augment")
        assert {key: specs[name][key] for key in alike} == {key: first[key] for key in alike}, name


def test_the_facts_hold_both_verdicts_and_the_page_can_be_made(facts, tmp_path):
    pytest.importorskip("plotly")
    from limbeck.report.page import write_page

    assert facts["verdict"]["outcome"] in ("helped", "harmed", "no worthwhile difference", "cannot tell")
    assert facts["verdict"]["pairs"] == 3
    assert facts["replace"]["outcome"] in ("yes", "no", "cannot tell")
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert write_page(facts, tmp_path / "report.html").stat().st_size < 6_000_000
    summary = summary_of_comparison(facts)
    assert summary["verdict"] == facts["verdict"]["outcome"]
    assert summary["interval"] == facts["verdict"]["interval"]
    assert {"outcome", "within", "upper"} <= summary["replace"].keys()
    assert set(ABLATIONS) | {"smoothed", "pseudo-labels"} == summary["controls"].keys() - {"alone"}


def wrong_by_hand(finished, name, who="student"):
    """Right or wrong from the raw logits, row by row, as slowly as can be."""
    table = []
    for seed in (0, 1, 2):
        found = Run.open(finished / "runs" / f"{name}-{seed}").predictions(who, "test")
        order = sorted(range(17), key=lambda place: int(found.ids[place]))
        table.append([max(range(3), key=lambda c: float(found.logits[p, c])) != int(found.labels[p]) for p in order])
    return np.array(table)


def test_the_verdict_is_what_the_raw_predictions_say(finished, facts):
    taught, alone = wrong_by_hand(finished, "distilled"), wrong_by_hand(finished, "alone")
    differences = [100 * (b.mean() - a.mean()) for a, b in zip(taught, alone, strict=True)]
    assert facts["verdict"]["differences"] == pytest.approx(differences)
    assert facts["verdict"]["mean"] == pytest.approx(np.mean(differences))
    signs = np.array(np.meshgrid(*[[1, -1]] * 3)).reshape(3, -1).T
    p = np.mean(np.abs(signs @ differences) >= abs(sum(differences)) - 1e-9)
    assert facts["verdict"]["p_value"] == pytest.approx(p)
    assert facts["verdict"]["outcome"] == "cannot tell"  # with three pairs an exact test can say nothing else
    assert facts["verdict"]["interval"] == [None, None]
    assert facts["teacher"]["mean"] == pytest.approx(100 * wrong_by_hand(finished, "distilled", "teacher")[0].mean())


def test_every_scoring_of_test_rows_is_counted(finished, facts):
    lines = sum(len(path.read_text().splitlines()) for path in finished.rglob("ledger.jsonl"))
    assert facts["ledger"]["scorings"] == lines
    assert lines >= 3 * 11


def test_a_campaign_that_is_whole_is_not_run_again(finished):
    before = files_of(finished / "runs")
    table = facts_of_comparison(of_campaign(finished))["arms"]
    run_campaign(plan(), finished, MEANS)
    assert files_of(finished / "runs") == before
    again = facts_of_comparison(of_campaign(finished))["arms"]
    assert [{**arm, "seconds_per_row": 0} for arm in again] == [{**arm, "seconds_per_row": 0} for arm in table]


def test_a_run_that_is_gone_from_a_whole_campaign_is_run_again(finished, facts, tmp_path):
    out = tmp_path / "small"
    small = plan(trials=0, rivals=(), ablations=(), seeds=(0, 1), selection_seeds=())
    before = facts_of_comparison(run_campaign(small, out, MEANS))["arms"]
    shutil.rmtree(out / "runs" / "alone-1")
    after = facts_of_comparison(run_campaign(small, out, MEANS))["arms"]
    assert [arm["wrong"] for arm in after] == [arm["wrong"] for arm in before]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"question": Question(worth=1.0, within=5.0)}, "begun with another question"),
        ({"trials": 3}, "begun with another trials"),
        ({"distilled": distilled(epochs=4)}, "begun with another distilled"),
        ({"seeds": (0, 1, 2, 3)}, "has had its 1 planned look"),
        ({"seeds": (0, 1)}, "a later look keeps them all"),
    ],
)
def test_other_settings_and_looks_that_were_not_planned_are_refused(finished, changes, said):
    with pytest.raises(ResumeError, match=said):
        run_campaign(plan(**changes), finished, MEANS)


def test_a_later_look_that_was_planned_spends_what_is_left(tmp_path):
    small = plan(
        question=Question(worth=5.0, looks=2), trials=0, rivals=(), ablations=(), seeds=(0, 1), selection_seeds=()
    )
    run_campaign(small, tmp_path / "c", MEANS)
    first = facts_of_comparison(of_campaign(tmp_path / "c"))["verdict"]
    run_campaign(replace(small, seeds=(0, 1, 2)), tmp_path / "c", MEANS)
    second = facts_of_comparison(of_campaign(tmp_path / "c"))["verdict"]
    assert (first["look"], first["pairs"], second["look"], second["pairs"]) == (1, 2, 2, 3)
    assert first["looks"] == second["looks"] == 2
    assert 0 < first["alpha"] < 0.05


def test_a_plan_that_could_not_be_judged_is_refused():
    with pytest.raises(SpecificationError, match="cannot also judge"):
        plan(selection_seeds=(1,))
    with pytest.raises(SpecificationError, match="no soft term"):
        plan(distilled=tiny.alone(data=tiny.splits, validation=0.1))
    with pytest.raises(SpecificationError, match="validation=None"):
        plan(distilled=distilled(validation=None))


def test_data_without_test_rows_are_refused_before_anything_is_written(tmp_path):
    with pytest.raises(DataError, match="labelled test rows"):
        run_campaign(plan(distilled=distilled(data=tiny.rows)), tmp_path / "c", MEANS)
    assert not (tmp_path / "c").exists()


KILLED = """
import sys
from pathlib import Path
import test_campaign
from limbeck.campaigns.campaign import run_campaign
run_campaign(test_campaign.plan(), Path(sys.argv[1]), test_campaign.MEANS)
"""


@pytest.mark.slow
@pytest.mark.parametrize("parts", [2, 7])
def test_a_killed_campaign_ends_with_the_same_table(finished, facts, tmp_path, parts):
    out = tmp_path / "campaign"
    here = Path(__file__).parent
    where = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], env=where)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(out.glob("runs/*/summary.json"))) >= parts:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (read_json(out / "campaign.json")).get("runs")
    run_campaign(plan(), out, MEANS)
    found = facts_of_comparison(of_campaign(out))
    kept = ("name", "wrong", "mean", "sd", "nll", "ece", "settings", "validation")
    assert [{key: arm[key] for key in kept} for arm in found["arms"]] == [
        {key: arm[key] for key in kept} for arm in facts["arms"]
    ]
    assert found["verdict"] == facts["verdict"]
