"""A sweep: every value at the same seeds, the student alone beside it, what fails is told, what was killed goes on."""

import json
import math
import os
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
from scipy import stats

import tiny
from limbeck.campaigns.means import Means
from limbeck.campaigns.settings import applied
from limbeck.campaigns.sweep import run_sweep
from limbeck.data.splits import Splits
from limbeck.data.tensors import TensorSet
from limbeck.errors import ArgumentError, DataError, LimbeckError, MismatchError, ResumeError, RunError
from limbeck.evidence.sweep_facts import read_sweep
from limbeck.files import read_json
from limbeck.objective import HardLabels, SoftTargets
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck.training.run import Run

MEANS = Means(watcher=Silent(), parallel=1, engine="apart")
STACKED = Means(watcher=Silent(), parallel=1, engine="stacked")
SEEDS = (3, 4, 5)


def spec(**changes):
    return tiny.specification(**{"data": tiny.splits, "validation": 0.1, **changes})


def swept(out, over="temperature", values=(1, 4, 20), changes=None, **more):
    return run_sweep(spec(**(changes or {})), over, values, **{"seeds": SEEDS, "out": out, "means": MEANS, **more})


@pytest.fixture(scope="module")
def temperatures(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "temperatures"
    return swept(out, values=(20, 1, 4)), read_sweep(out)


@pytest.fixture(scope="module")
def shares(tmp_path_factory):
    out = tmp_path_factory.mktemp("sweep") / "shares"
    return swept(out, "rows", (0.3, 1, 0.6), {"data": tiny.rows, "split_seed": 2, "validation": 0.3}), read_sweep(out)


def by_hand(folder, name, split):
    found = Run.open(folder / "runs" / name).predictions("student", split)
    pairs = zip(found.logits.tolist(), found.labels.tolist(), strict=True)
    wrong = [max(range(3), key=lambda c, row=row: row[c]) != label for row, label in pairs]
    return 100 * sum(wrong) / len(wrong)


def test_errors_are_those_of_the_raw_predictions_and_intervals_those_of_scipy(temperatures):
    sweep, facts = temperatures
    assert [point["value"] for point in facts["points"]] == [1, 4, 20]
    means = {}
    for told in facts["points"]:
        errors = [by_hand(sweep.folder, f"temperature-{told['value']:g}-{seed}", "validation") for seed in SEEDS]
        assert told["errors"] == pytest.approx(errors)
        assert told["mean"] == pytest.approx(np.mean(errors))
        assert told["sd"] == pytest.approx(np.std(errors, ddof=1))
        interval = stats.t.interval(0.95, 2, loc=np.mean(errors), scale=stats.sem(errors))
        assert told["interval"] == pytest.approx(interval)
        means[told["value"]] = errors
    assert facts["best"] == min(means, key=lambda value: (np.mean(means[value]), value))
    for told in facts["points"]:
        differences = np.subtract(means[told["value"]], means[facts["best"]])
        test = stats.ttest_rel(means[told["value"]], means[facts["best"]])
        assert told["difference"]["mean"] == pytest.approx(differences.mean())
        if differences.std():
            interval = test.confidence_interval(0.95)
            assert told["difference"]["interval"] == pytest.approx([interval.low, interval.high])


def test_a_point_is_what_distill_alone_makes_of_it(temperatures, tmp_path):
    sweep, facts = temperatures
    ours = Run.open(sweep.folder / "runs" / "temperature-20-4")
    plain = distill(replace(applied(spec(), {"temperature": 20}), seed=4), tmp_path / "run", watcher=Silent())
    scores = plain.summary["student"]["validation"]
    assert facts["points"][2]["errors"][1] == pytest.approx(100 * (1 - scores["accuracy"]))
    assert ours.summary["student"]["validation"] == pytest.approx(scores)
    logits = [run.predictions("student", "validation").logits for run in (ours, plain)]
    torch.testing.assert_close(*logits)  # the teacher answered in other batches
    assert (facts["points"][2]["steps"], plain.summary["steps"]) == (14, 14)


def test_a_share_of_rows_is_what_distill_alone_makes_of_it(shares, tmp_path):
    sweep, facts = shares
    given = spec(data=tiny.rows, split_seed=2, validation=0.3)
    told = facts["points"][0]
    thinned = replace(applied(given, {"rows": 0.3}), epochs=told["epochs"], seed=5, targets=sweep.folder / "targets")
    plain = distill(thinned, tmp_path / "run", watcher=Silent())
    assert told["errors"][2] == pytest.approx(100 * (1 - plain.summary["student"]["validation"]["accuracy"]))
    assert (plain.summary["steps"], plain.spec["data"]["train"]["rows"]) == (told["steps"], told["rows"])
    assert torch.equal(
        Run.open(sweep.folder / "runs" / "rows-0.3-5").predictions("student", "validation").logits,
        plain.predictions("student", "validation").logits,
    )


def ids(run, split):
    return set(run.predictions("student", split).ids.tolist())


def test_shares_are_nested_judged_on_the_same_rows_and_as_long(shares):
    sweep, facts = shares
    runs = [Run.open(sweep.folder / "runs" / f"rows-{share:g}-3") for share in (0.3, 0.6, 1)]
    small, middle, whole = (ids(run, "train") for run in runs)
    assert small < middle < whole
    assert len({frozenset(ids(run, "validation")) for run in runs}) == 1
    assert not whole & ids(runs[0], "validation")
    assert [point["rows"] for point in facts["points"]] == [len(small), len(middle), len(whole)] == [11, 22, 37]
    steps = [run.summary["steps"] for run in runs]
    assert [point["steps"] for point in facts["points"]] == steps
    assert max(steps) - min(steps) <= math.ceil(22 / 8)  # to the nearest epoch
    for seed in SEEDS:  # the same rows at every seed, and in the student alone
        assert ids(Run.open(sweep.folder / "runs" / f"rows-0.3-{seed}"), "train") == small
        assert ids(Run.open(sweep.folder / "runs" / f"alone-rows-0.3-{seed}"), "train") == small
    alone = Run.open(sweep.folder / "runs" / "alone-rows-0.3-3")
    assert alone.spec["teacher"] is None and alone.summary["steps"] == steps[0]
    assert facts["follows"] and [point["value"] for point in facts["alone"]] == [0.3, 0.6, 1]
    for told, own in zip(facts["alone"], facts["points"], strict=True):
        assert told["difference"]["mean"] == pytest.approx(told["mean"] - own["mean"])


def test_epochs_may_stay_instead_of_steps(tmp_path):
    sweep = swept(tmp_path / "s", "rows", (0.5, 1), seeds=[0], fixed="epochs")
    assert [(point.rows, point.epochs, point.steps) for point in sweep.points] == [(26, 2, 8), (53, 2, 14)]
    assert sweep.points[0].interval is None and sweep.points[0].sd is None
    assert read_sweep(tmp_path / "s")["fixed"] == "epochs"


def test_the_student_alone_stands_once_beside_temperatures_at_the_same_seeds(temperatures):
    sweep, facts = temperatures
    (alone,) = facts["alone"]
    assert not facts["follows"]
    errors = [by_hand(sweep.folder, f"alone-{seed}", "validation") for seed in SEEDS]
    assert alone["errors"] == pytest.approx(errors)
    best = next(point for point in facts["points"] if point["value"] == facts["best"])
    assert alone["difference"]["mean"] == pytest.approx(np.mean(errors) - best["mean"])
    run = Run.open(sweep.folder / "runs" / "alone-3").spec["specification"]["fields"]
    assert (run["epochs"], run["targets"], run["teacher"]) == (2, None, None)


def test_without_soft_terms_or_labels_there_is_nobody_beside(tmp_path):
    plain = run_sweep(tiny.alone(data=tiny.splits, validation=0.1), "rate", (0.01, 0.1), seeds=[0], out=tmp_path / "a")
    assert (plain.alone, plain.why_not_alone) == ((), None)
    assert not (tmp_path / "a" / "targets").exists()
    unlabelled = partial(_with, tiny.unlabelled_rows)
    bare = run_sweep(
        spec(data=unlabelled, objective=SoftTargets()), "temperature", (1, 4), seeds=[0], out=tmp_path / "b"
    )
    assert bare.alone == ()
    assert bare.why_not_alone == "The rows have no labels to learn from."


def _with(train):
    return replace(tiny.splits(), train=train())


def test_no_run_has_the_test_rows_unless_they_are_scored(temperatures, tmp_path):
    sweep, facts = temperatures
    assert facts["scorings"] == 0
    assert all(Run.open(run.parent).spec["data"]["test"] is None for run in sweep.folder.glob("runs/*/spec.json"))
    scored = swept(tmp_path / "s", values=(1, 4), seeds=[0, 1], score="test")
    told = read_sweep(tmp_path / "s")
    assert told["scorings"] == 6 == len(list(scored.folder.glob("runs/*/ledger.jsonl")))
    assert scored.points[0].errors[1] == pytest.approx(by_hand(scored.folder, "temperature-1-1", "test"))


def fragile(optimizer, steps):
    """Breaks what has a rate above 1."""
    rate = optimizer.param_groups[0]["lr"]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if rate < 1 or step < 3 else 1e30)


SGD = partial(torch.optim.SGD, lr=0.1)


def test_a_value_whose_loss_breaks_is_kept_as_failed(tmp_path):
    changes = {"optimizer": SGD, "schedule": fragile}
    sweep = swept(tmp_path / "s", "rate", (0.01, 0.1, 5), changes, seeds=[0, 1])
    facts = read_sweep(tmp_path / "s")
    lost = facts["points"][2]
    assert (lost["value"], lost["errors"], lost["mean"], lost["interval"]) == (5, [None, None], None, None)
    assert all("became" in why for why in lost["failed"].values()) and list(lost["failed"]) == ["0", "1"]
    assert facts["best"] in (0.01, 0.1) and lost["difference"] is None
    assert all(None not in point["errors"] for point in facts["points"][:2])
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts
    assert sweep.best is not None
    again = swept(tmp_path / "s", "rate", (0.01, 0.1, 5), changes, seeds=[0, 1])
    assert again == sweep


def test_a_stack_gives_the_same_numbers_but_for_rounding(temperatures, tmp_path):
    _, facts = temperatures
    swept(tmp_path / "s", values=(1, 4), seeds=SEEDS[:2], means=STACKED)
    found = read_sweep(tmp_path / "s")
    for ours, theirs in zip(found["points"], facts["points"][:2], strict=True):
        assert ours["errors"] == pytest.approx(theirs["errors"][:2], abs=100 / 19 + 1e-6)  # a row at most


def files_of(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_whole_sweep_is_not_run_again_and_more_values_and_seeds_are_added(tmp_path):
    out = tmp_path / "s"
    first = swept(out, values=(1, 4), seeds=[0, 1])
    before = files_of(out)
    assert swept(out, values=(1, 4), seeds=[0, 1]) == first
    assert files_of(out) == before
    more = swept(out, values=(1, 4, 8), seeds=[0, 1, 2])
    assert [point.errors[:2] for point in more.points[:2]] == [point.errors for point in first.points]
    after = files_of(out / "runs")
    assert {path: after[path] for path in before if path in after} == {
        path: when for path, when in before.items() if out / "runs" in path.parents
    }
    with pytest.raises(ResumeError, match=r"was begun with the values 1, 4 and 8; go on with these, or with more\."):
        swept(out, values=(1, 4), seeds=[0, 1, 2])
    for changes, more_words, called in (
        ({"epochs": 3}, {}, "specification (or code that it names has changed)"),
        ({}, {"score": "test"}, "score"),
        ({}, {"over": "hard_weight", "values": (0.1, 0.2)}, "over"),
    ):
        with pytest.raises(ResumeError) as error:
            swept(out, changes=changes, **{"values": (1, 4, 8), "seeds": [0, 1, 2], **more_words})
        assert f"was begun with another {called}; go on with what it was begun with" in str(error.value)


KILLED = """
import sys
from pathlib import Path
import test_sweep
test_sweep.swept(Path(sys.argv[1]), values=(20, 1, 4))
"""


@pytest.mark.slow
def test_a_killed_sweep_ends_with_the_same_facts(temperatures, tmp_path):
    _, facts = temperatures
    out, here = tmp_path / "sweep", Path(__file__).parent
    where = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (here, here.parent)))}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(out)], env=where)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if len(list(out.glob("runs/*/summary.json"))) >= 4:
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not read_json(out / "sweep.json")["finished"]
    with pytest.raises(RunError, match="has not finished; go on with --resume"):
        read_sweep(out)
    done = {path: when for path, when in files_of(out / "runs").items() if path.name == "summary.json"}
    swept(out, values=(20, 1, 4))
    found = read_sweep(out)
    assert [found[name] for name in ("points", "alone", "best")] == [
        facts[name] for name in ("points", "alone", "best")
    ]
    after = files_of(out / "runs")
    assert {path: after[path] for path in done} == done


def lone_class():
    """One class of two rows among many."""
    labels = torch.tensor([0] * 30 + [1] * 21 + [2] * 2)
    return Splits(train=TensorSet(tiny.features(), labels=labels, classes=tiny.NAMES), validation=tiny.rows(19, seed=1))


LONE = {"data": lone_class}
REFUSED = {
    "unknown": (
        ("temprature", (1, 2)),
        {},
        {},
        "There is no setting 'temprature' to change. Did you mean 'temperature'",
    ),
    "one value": (("temperature", (1,)), {}, {}, "A sweep needs at least two values of temperature. Got 1."),
    "twice": (
        ("temperature", (1, 4, 4)),
        {},
        {},
        "A sweep takes each value once. Got 4 of temperature more th",
    ),
    "nan": (("rate", (1, math.nan)), {}, {}, "A sweep's values must be finite numbers. Got 1 and nan of rate."),
    "cold": (("temperature", (0, 1)), {}, {}, "SoftTargets: temperature must be a positive finite number. Got 0.0."),
    "share": (("rows", (0.5, 1.2)), {}, {}, "applied: rows must lie in (0, 1]. Got 1.2."),
    "no rows": (("rows", (0, 1)), {}, {}, "applied: rows must lie in (0, 1]. Got 0.0."),
    "half an epoch": (("epochs", (1, 2.5)), {}, {}, "applied: epochs must be a whole number. Got 2.5."),
    "lone class": (
        ("rows", (0.1, 1)),
        LONE,
        {},
        "A share of 0.1 leaves 5 of 53 training rows, and none of the class ",
    ),
    "no term": (("smoothing", (0, 0.1)), {"objective": SoftTargets()}, {}, "The objective has no HardLabels, so there"),
    "no validation": (("rate", (1, 2)), {"validation": None}, {}, "Errors are counted on validation rows, which valid"),
    "no test": (("rate", (1, 2)), {"data": tiny.rows}, {"score": "test"}, "The data bring no test rows to count err"),
    "fixed": (("rate", (1, 2)), {}, {"fixed": "epochs"}, "What stays fixed is a question of a sweep over rows, and"),
    "seeds": (("rate", (1, 2)), {}, {"seeds": (1, 1)}, "A sweep's seeds must be distinct, and at least one. Got [1,"),
    "score": (("rate", (1, 2)), {}, {"score": "train"}, "run_sweep: score must be validation or test. Got 'train'."),
    "lambda": (("rate", (1, 2)), {"student": lambda: tiny.student()}, {}, "cannot be found by name"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_swept_is_refused_in_a_sentence_before_anything_is_written(name, tmp_path):
    (over, values), changes, more, said = REFUSED[name]
    with pytest.raises(LimbeckError) as error:
        swept(tmp_path / "s", over, values, changes, **more)
    assert str(error.value).startswith(said) or said in str(error.value)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "s").exists()


def test_temperatures_that_recorded_targets_cannot_answer_are_refused(tmp_path):
    store = tmp_path / "store"
    record(spec(), store, form=Form(encoding="top-k", k=2, temperatures=(1.0, 4.0)), watcher=Silent())
    with pytest.raises(MismatchError, match="exactly at the temperatures 1 and 4 only, and the sweep asks for 2;"):
        swept(tmp_path / "s", values=(1, 2), changes={"targets": store})
    assert not (tmp_path / "s").exists()
    assert len(swept(tmp_path / "s", values=(1, 4), changes={"targets": store}, seeds=[0]).points) == 2
    assert not (tmp_path / "s" / "targets").exists()


class Fickle:
    """Other rows each time."""

    calls = 0


def fickle():
    Fickle.calls += 1
    return replace(tiny.splits(), train=tiny.rows(seed=Fickle.calls))


def test_rows_that_differ_each_time_are_refused(tmp_path):
    with pytest.raises(DataError, match="The data's factory gives other train rows each time that it is called"):
        swept(tmp_path / "s", changes={"data": fickle})


def test_unlabelled_rows_have_no_errors(tmp_path):
    data = partial(_validated_by, tiny.unlabelled_rows)
    with pytest.raises(DataError, match="counted on labelled validation rows, and the data's have no labels"):
        swept(tmp_path / "s", changes={"data": data, "objective": SoftTargets() + HardLabels()})
    with pytest.raises(ArgumentError, match="fixed must be steps or epochs"):
        swept(tmp_path / "s", "rows", (0.5, 1), fixed="time")


def _validated_by(validation):
    return replace(tiny.splits(), validation=validation())
