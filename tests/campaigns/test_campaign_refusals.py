"""What a campaign must not be told: numbers of other runs, other rows, other students, or of looks out of order."""

import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from torch import nn

import limbeck.campaigns.campaign as campaign_file
import tiny
from limbeck.campaigns.campaign import run_campaign
from limbeck.campaigns.means import Means
from limbeck.campaigns.plan import Campaign, Record
from limbeck.campaigns.space import Range
from limbeck.data.splits import Splits
from limbeck.errors import (
    ArgumentError,
    DataError,
    MismatchError,
    NonFiniteLoss,
    NotImportable,
    ResumeError,
    RunError,
    SpecificationError,
)
from limbeck.evidence.answers import targets_of
from limbeck.evidence.campaign import facts_of_comparison
from limbeck.evidence.comparison import of_campaign, of_runs, wrong_of
from limbeck.evidence.question import Question
from limbeck.files import read_json, write_json
from limbeck.objective import HardLabels, SoftTargets
from limbeck.training.distill import distill
from limbeck.training.evaluate import Predictions
from limbeck.training.progress import Silent
from limbeck.training.run import Run

ADAM = partial(torch.optim.Adam, lr=1e-2, weight_decay=0.0)
MEANS = Means(watcher=Silent(), parallel=1, engine="apart")


def taught(**changes):
    return tiny.specification(**{"data": tiny.splits, "optimizer": ADAM, "validation": 0.1, "epochs": 1, **changes})


def plan(**changes):
    fields = {
        "distilled": taught(),
        "seeds": (0, 1),
        "selection_seeds": (),
        "trials": 0,
        "rivals": ("alone", "pseudo-labels"),
        "ablations": ("permuted",),
    }
    return Campaign(**{**fields, **changes})


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("refusals") / "campaign"
    run_campaign(plan(), out, MEANS)
    return out


@pytest.fixture
def copy(finished, tmp_path):
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def begun(folder):
    """Make a finished campaign one that was killed before its last run."""
    record = read_json(folder / "campaign.json")
    record["looks"][-1]["finished"] = None
    del record["runs"]
    write_json(folder / "campaign.json", record)
    shutil.rmtree(folder / "runs" / "alone-1")
    return folder


def drawn_anew():
    """Other test rows at each call, from torch's own generator."""
    count = len(tiny.rows(40))
    return Splits(
        train=tiny.rows(), validation=tiny.rows(19, seed=1), test=tiny.rows(40).subset(torch.randperm(count)[:17])
    )


def saw_the_test_rows():
    return tiny.alone(data=tiny_test_rows, validation=None, epochs=1, seed=9)


def tiny_test_rows():
    return tiny.splits().test


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"rivals": ("longest",)}, SpecificationError, "did you mean 'longer'"),
        ({"ablations": ("hard",)}, SpecificationError, "did you mean 'hard-labels'"),
        ({"seeds": (-1, 0)}, ArgumentError, "seed must be a whole number"),
        ({"seeds": (0.5,)}, ArgumentError, "seed must be a whole number"),
        ({"cap": 0.5}, ArgumentError, "cap must be a number of at least 1"),
        ({"cap": float("nan")}, ArgumentError, "cap must be a number of at least 1"),
        ({"space": {"epochs": Range(1.0, 9.0, whole=True)}}, SpecificationError, "train for the same epochs"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused_before_anything_is_trained(changes, error, said):
    with pytest.raises(error, match=said):
        plan(**changes)


def test_all_and_none_name_controls_as_on_the_command_line():
    asked = plan(rivals="all", ablations="none")
    assert len(asked.rivals) == 6
    assert asked.ablations == ()


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"data": drawn_anew}, DataError, "other test rows each time"),
        ({"student": lambda: tiny.student()}, NotImportable, "cannot be found by name"),
        ({"data": tiny.splits()}, NotImportable, "cannot be rebuilt"),
    ],
)
def test_what_its_runs_could_not_be_made_from_is_refused_before_the_teacher_is_asked(tmp_path, changes, error, said):
    with pytest.raises(error, match=said):
        run_campaign(plan(distilled=taught(**changes)), tmp_path / "c", MEANS)
    assert not (tmp_path / "c").exists()


def test_a_student_that_cannot_learn_alone_is_told_in_one_sentence(tmp_path):
    def unlabelled():
        return replace(tiny.splits(), train=tiny.unlabelled_rows())

    here = globals()
    here["unlabelled"] = unlabelled
    unlabelled.__qualname__ = "unlabelled"
    with pytest.raises(SpecificationError, match=r"nothing can be judged\. The rows have no labels to learn from\.$"):
        run_campaign(
            plan(distilled=taught(data=unlabelled, objective=SoftTargets(temperature=4.0))), tmp_path / "c", MEANS
        )


def plain_adam(parameters):
    return torch.optim.Adam(parameters, lr=1e-2)


def test_without_trials_the_optimiser_may_be_any_function(tmp_path):
    asked = plan(distilled=taught(optimizer=plain_adam), rivals=(), ablations=(), seeds=(0,))
    assert len(run_campaign(asked, tmp_path / "c", MEANS).arms) == 2


def test_rivals_look_for_a_rate_as_widely_as_the_distilled_student(tmp_path):
    space = {"rate": Range(1e-3, 1e-1, log=True), "temperature": Range(1.0, 9.0)}
    asked = plan(space=space, trials=1, selection_seeds=(100,), seeds=(0,), rivals=("pseudo-labels",), ablations=())
    run_campaign(asked, tmp_path / "c", MEANS)
    found = read_json(tmp_path / "c" / "campaign.json")["search"]
    assert found.keys() == {"distilled", "alone", "pseudo-labels"}
    assert all((one["space"]["rate"]["low"], one["space"]["rate"]["high"]) == (1e-3, 1e-1) for one in found.values())
    assert "temperature" not in found["alone"]["space"]


def test_a_run_in_the_place_of_another_is_found_out(copy):
    shutil.rmtree(copy / "runs" / "distilled-1")
    shutil.copytree(copy / "runs" / "distilled-0", copy / "runs" / "distilled-1")
    with pytest.raises(MismatchError, match=r"distilled-1 is not that of 'distilled' at the seed 1"):
        of_campaign(copy)
    shutil.rmtree(copy / "runs" / "distilled-1")
    shutil.copytree(copy / "runs" / "alone-1", copy / "runs" / "distilled-1")
    with pytest.raises(MismatchError, match=r"distilled-1 is not that of 'distilled' at the seed 1"):
        of_campaign(copy)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p: replace(p, labels=(p.labels + 1) % 3), "was judged by other labels"),
        (lambda p: replace(p, ids=p.ids + 1), "answered other test rows"),
        (lambda p: replace(p, ids=p.ids.clamp(max=15)), "answered other test rows"),
    ],
)
def test_answers_that_were_edited_are_found_out(copy, change, said):
    path = copy / "runs" / "alone-1" / "predictions" / "student-test.safetensors"
    change(Predictions.load(path)).save(path)
    with pytest.raises(MismatchError, match=said):
        facts_of_comparison(of_campaign(copy))


def test_a_row_answered_with_nan_is_wrong():
    logits = torch.tensor([[float("nan"), 0.0], [1.0, 0.0]])
    found = wrong_of(Predictions(ids=torch.arange(2), logits=logits, labels=torch.tensor([0, 0])))
    assert found.tolist() == [True, False]


def test_a_look_is_finished_before_another_is_begun(tmp_path):
    first = plan(question=Question(looks=2))
    out = (tmp_path / "c").resolve()
    Record(first, out, None)
    with pytest.raises(ResumeError, match="has not finished its look at the seeds 0, 1"):
        Record(replace(first, seeds=(0, 1, 2)), out, None)


def test_two_processes_do_not_work_on_one_campaign(tmp_path):
    (tmp_path / "c").mkdir()
    with FileLock(tmp_path / "c" / "campaign.json.lock"), pytest.raises(RunError, match="Another process is at work"):
        run_campaign(plan(), tmp_path / "c", MEANS)


def test_a_campaign_goes_on_from_another_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_campaign(plan(), "runs/c", MEANS)
    begun(tmp_path / "runs" / "c")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(run_campaign(plan(), "../runs/c", MEANS).arms["alone"].runs) == 2


def test_a_campaign_that_was_moved_before_its_end_is_refused(copy):
    with pytest.raises(ResumeError, match="move it back"):
        run_campaign(plan(), begun(copy), MEANS)


def test_a_campaign_that_was_moved_is_judged_from_its_own_targets(finished, copy):
    run = Run(copy / "runs" / "distilled-0")
    there = finished / "targets"
    away = there.rename(finished / "away")
    try:
        assert targets_of(run).path == copy / "targets"
        (copy / "targets").rename(copy / "hidden")
        run_campaign(plan(distilled=taught(teacher=tiny.student)), finished.parent / "other", MEANS)
        shutil.copytree(finished.parent / "other" / "targets", there)
        assert targets_of(run) is None  # another teacher's store in the place of its own
    finally:
        shutil.rmtree(there, ignore_errors=True)
        away.rename(there)


def test_data_that_changed_since_are_found_out(copy):
    record = read_json(copy / "campaign.json")
    record["plan"]["rows"]["test"]["fingerprint"] = "0" * 64
    write_json(copy / "campaign.json", record)
    with pytest.raises(ResumeError, match="begun with another rows"):
        run_campaign(plan(), copy, MEANS)


def test_a_teacher_that_saw_the_test_rows_gets_no_conclusion_at_all(tmp_path):
    asked = plan(distilled=taught(teacher=saw_the_test_rows()), question=Question(within=5.0))
    facts = facts_of_comparison(run_campaign(asked, tmp_path / "c", MEANS))
    assert facts["teacher"]["saw"]["test"] == "yes"
    assert (facts["verdict"]["outcome"], facts["replace"]["outcome"]) == ("refused", "refused")
    assert facts["explained"] is None
    assert facts["gap"]["closed"] is None
    assert {one["outcome"] for one in facts["controls"].values()} == {"cannot tell"}


def test_every_file_of_a_campaign_is_json(finished):
    def refused(word):
        raise AssertionError(word)

    for path in finished.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"), parse_constant=refused)


def multilabel():
    columns = tiny.multilabel_rows()
    return Splits(train=columns, validation=columns.subset(torch.arange(19)), test=columns.subset(torch.arange(17)))


def test_validation_errors_of_many_labels_are_points_too(tmp_path):
    asked = plan(distilled=taught(data=multilabel), rivals=(), ablations=())
    facts = facts_of_comparison(run_campaign(asked, tmp_path / "c", MEANS))
    for arm in facts["arms"]:
        run = Run(tmp_path / "c" / "runs" / f"{arm['name']}-0")
        assert 0 <= arm["validation"] <= 100
        assert max(facts["curves"][arm["name"]]["high"]) <= 100
        assert run.summary["student"]["validation"]["rows"] == 19


def wide_student():
    return nn.Linear(tiny.FEATURES, tiny.CLASSES)


@pytest.mark.parametrize(
    ("field", "value"), [("student", wide_student), ("epochs", 2), ("batch_size", 16), ("max_norm", 2.0)]
)
def test_runs_by_hand_of_other_students_are_not_compared(tmp_path, field, value):
    other = taught(teacher=None, objective=HardLabels(), **{field: value})
    runs = [distill(taught(), tmp_path / "a", watcher=Silent()), distill(other, tmp_path / "b", watcher=Silent())]
    with pytest.raises(MismatchError, match=f"differ in {field.replace('_', ' ')}, not only in their teaching"):
        of_runs(runs, Question(), tmp_path)


def test_runs_by_hand_whose_teacher_saw_the_test_rows_get_no_verdict(tmp_path):
    student = taught(teacher=tmp_path / "teacher")
    distill(saw_the_test_rows(), tmp_path / "teacher", watcher=Silent())
    arms = {"taught": student, "alone": replace(student, teacher=None, objective=HardLabels())}
    specs = {f"{name}-{seed}": replace(spec, seed=seed) for name, spec in arms.items() for seed in (0, 1)}
    runs = [distill(spec, tmp_path / name, watcher=Silent()) for name, spec in specs.items()]
    facts = facts_of_comparison(of_runs(runs, Question(), tmp_path))
    assert facts["verdict"]["outcome"] == "refused"
    assert "was trained on these test rows" in facts["verdict"]["sentence"]


def test_an_ablation_whose_loss_breaks_is_left_out_and_the_others_are_judged(tmp_path, monkeypatch):
    real = campaign_file.executor

    def fragile(folder, means):
        execute = real(folder, means)

        def executed(specs, what):
            if any(name.startswith("permuted") for name in specs):
                execute({name: spec for name, spec in specs.items() if not name.startswith("permuted")}, what)
                raise NonFiniteLoss("Term 'soft' became NaN at step 3.")
            return execute(specs, what)

        return executed

    monkeypatch.setattr(campaign_file, "executor", fragile)
    facts = facts_of_comparison(run_campaign(plan(), tmp_path / "c", MEANS))
    assert facts["left_out"]["permuted"] == "It did not train at every seed. Term 'soft' became NaN at step 3."
    assert [arm["name"] for arm in facts["arms"]] == ["distilled", "alone", "pseudo-labels"]


def test_a_distilled_student_whose_loss_breaks_is_named(tmp_path):
    hot = taught(optimizer=partial(torch.optim.SGD, lr=1e30))
    with pytest.raises(NonFiniteLoss, match=r"cannot be judged without 'distilled'\. Term 'soft' became"):
        run_campaign(plan(distilled=hot), tmp_path / "c", MEANS)
