"""Rivals: what a user would do instead, with spaces to be tuned in and lengths by operations."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import tiny
from limbeck.campaigns.arms import RIVALS, chosen_names
from limbeck.campaigns.rivals import on_choices, rivals
from limbeck.campaigns.space import Range, applied
from limbeck.campaigns.warm_start import started_from
from limbeck.data.digits import digits
from limbeck.errors import ArgumentError, SpecificationError
from limbeck.files import read_tensors, write_tensors
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation, EnsembleOf, require_importable, to_json
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record

ADAM = partial(torch.optim.Adam, lr=1e-2, weight_decay=0.0)


def small():
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))


def deeper():
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 300), nn.ReLU(), nn.Linear(300, 10))


def rows():
    return digits(train_rows=64)


def alone(**changes):
    fields = {
        "data": digits,
        "student": deeper,
        "objective": HardLabels(),
        "optimizer": ADAM,
        "epochs": 1,
        "batch_size": 128,
        "device": "cpu",
        "probe_rows": 0,
    }
    return Distillation(**{**fields, **changes})


def taught(**changes):
    fields = {
        "data": rows,
        "student": small,
        "teacher": alone(),
        "objective": 0.9 * SoftTargets(temperature=4.0) + 0.1 * HardLabels(),
        "epochs": 2,
        "batch_size": 16,
    }
    return alone(**{**fields, **changes})


def recorded(spec, folder):
    record(spec, folder / "targets", watcher=Silent(), parallel=1)
    return replace(spec, targets=folder / "targets")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rivals")
    spec = recorded(taught(), folder)
    return spec, folder, rivals(spec, folder / "altered")


def arms_of(found):
    return {arm.name: arm for arm in found.arms}


def test_all_rivals_can_be_run_and_are_tuned(bench):
    _, _, found = bench
    assert [arm.name for arm in found.arms] == list(RIVALS)
    assert found.left_out == {}
    for arm in found.arms:
        assert arm.kind == "rival"
        assert {"rate", "weight_decay"} <= arm.space.keys(), arm.name
        assert arm.spec.teacher is None
        assert require_importable(arm.spec)
        for name, part in arm.space.items():
            assert applied(arm.spec, {name: part.ends[0]}), (arm.name, name)
    arms = arms_of(found)
    assert arms["alone"].space.keys() == {"rate", "weight_decay"}
    assert arms["smoothed"].space.keys() == {"rate", "weight_decay", "smoothing"}
    assert arms["pseudo-labels"].space.keys() == {"rate", "weight_decay", "hard_weight"}
    assert arms["longer"].space["epochs"] == Range(2.0, float(arms["longer"].spec.epochs), whole=True)


def test_rivals_learn_from_labels_on_the_same_terms(bench):
    spec, _, found = bench
    free = {"teacher", "targets", "objective", "student", "epochs"}
    names = [name for name in Distillation.__dataclass_fields__ if name not in free]
    for arm in found.arms:
        assert {name: to_json(getattr(arm.spec, name)) for name in names} == {
            name: to_json(getattr(spec, name)) for name in names
        }
    assert arms_of(found)["alone"].spec.goal == (1.0 * HardLabels())
    assert arms_of(found)["smoothed"].spec.goal == (1.0 * HardLabels(smoothing=0.1))


def test_every_rival_trains_from_the_same_weights_but_the_one_that_starts_from_the_teacher(bench, tmp_path):
    _, folder, found = bench
    teacher = next((folder / "teachers").glob("*/student/model.safetensors"))
    torch.manual_seed(3)
    drawn = small().state_dict()
    for arm in found.arms:
        torch.manual_seed(3)
        own = arm.spec.student().state_dict()
        if arm.name == "warm-start":
            # of 64-8-10 and 64-8-300-10 only the first layer agrees: the last has another width
            theirs = read_tensors(teacher)
            for name in own:
                same = theirs if name.startswith("0.") else drawn
                assert torch.equal(own[name], same[name])
        else:
            assert all(torch.equal(own[name], drawn[name]) for name in own)
        length = {"epochs": 1} if "longer" in arm.name else {}
        run = distill(replace(arm.spec, seed=3, **length), tmp_path / arm.name, watcher=Silent())
        assert run.summary["student"]["test"]["rows"] == 350


def test_the_longer_schedule_takes_as_many_operations(bench):
    _, _, found = bench
    arm = arms_of(found)["longer"]
    step = 2 * (2 * (64 * 8 + 8 * 10)) + 2 * 8 * 10
    answer = 2 * (64 * 8 + 8 * 300 + 300 * 10)
    ratio = 1 + answer / (2 * step)
    assert arm.notes["compute"] == pytest.approx(ratio)
    assert arm.notes["epochs_wanted"] == int(2 * ratio)
    assert arm.notes["flops"] == pytest.approx(64 * (2 * step + answer))


@pytest.mark.parametrize(("cap", "epochs"), [(10.0, 20), (3.0, 6)])
def test_the_teachers_training_counts_where_it_is_known_up_to_the_cap(bench, cap, epochs):
    spec, folder, _ = bench
    arm = rivals(spec, folder / "altered", "longer-with-teacher", cap=cap).arms[0]
    assert arm.spec.epochs == epochs
    assert arm.notes["capped"]
    assert arm.notes["epochs_cap"] == cap
    assert arm.notes["epochs_wanted"] > 20


def test_two_lengths_that_come_to_the_same_are_one_arm(bench):
    spec, folder, _ = bench
    found = rivals(spec, folder / "altered", ("longer", "longer-with-teacher"), teacher_flops=1.0)
    assert [arm.name for arm in found.arms] == ["longer"]
    assert found.left_out == {"longer-with-teacher": "It comes to the same 6 epochs as 'longer'."}
    capped = rivals(spec, folder / "altered", ("longer", "longer-with-teacher"), cap=3.0)
    assert "6 epochs as 'longer', the cap of 3 times the distilled" in capped.left_out["longer-with-teacher"]


def test_what_cannot_be_run_is_told_in_a_sentence(bench, tmp_path):
    spec, folder, _ = bench
    bare = rivals(replace(spec, teacher=None), folder / "altered")
    assert bare.left_out == {
        "warm-start": "The teacher's weights are not known: there is nothing but its recorded answers.",
        "longer": "The targets were recorded elsewhere, and what the teacher took for them is not known.",
        "longer-with-teacher": "What the teacher's training took is not known: there is nothing but its recorded "
        "answers.",
    }
    assert arms_of(rivals(replace(spec, teacher=None), folder / "altered", "longer-with-teacher", teacher_flops=1e9))
    both = rivals(replace(spec, teacher=EnsembleOf(members=(alone(),))), folder / "altered", "warm-start")
    assert "is an ensemble" in both.left_out["warm-start"]
    unlike = recorded(tiny.specification(data=tiny.splits, validation=0.1), tmp_path)
    found = rivals(unlike, tmp_path / "altered", ("warm-start", "longer", "longer-with-teacher"))
    assert "have the name and the shape" in found.left_out["warm-start"]
    assert "less than one epoch more" in found.left_out["longer"]
    assert "neither a specification nor a run" in found.left_out["longer-with-teacher"]
    capped = rivals(spec, folder / "altered", "longer-with-teacher", cap=1.0)
    assert "leaves no epoch more" in capped.left_out["longer-with-teacher"]


def test_rows_without_labels_leave_the_teachers_choices(tmp_path):
    spec = tiny.specification(data=tiny.unlabelled_rows, objective=SoftTargets(temperature=4.0))
    found = rivals(recorded(spec, tmp_path), tmp_path / "altered")
    assert [arm.name for arm in found.arms] == ["pseudo-labels"]
    assert found.left_out["alone"] == "The rows have no labels to learn from."
    assert found.arms[0].space.keys() == {"rate", "weight_decay"}


def test_the_teachers_choices_take_the_place_of_soft_targets():
    both = 0.7 * SoftTargets(temperature=4.0) + 0.3 * HardLabels()
    assert on_choices(both, labelled=True) == 0.7 * SoftTargets(temperature=1.0) + 0.3 * HardLabels()
    halves = on_choices(1.0 * SoftTargets(), labelled=True)
    assert halves == 0.5 * SoftTargets(temperature=1.0) + 0.5 * HardLabels()
    assert on_choices(1.0 * SoftTargets(), labelled=False) == 1.0 * SoftTargets(temperature=1.0)


def test_rivals_without_targets_see_as_many_views_as_were_recorded(tmp_path):
    from limbeck.data.augment import Noise

    spec = tiny.specification(data=tiny.splits, validation=0.1, augment=Noise(0.1), views=3, epochs=2)
    targets = recorded(spec, tmp_path)
    found = rivals(replace(targets, views=None), tmp_path / "altered", ("alone", "smoothed", "pseudo-labels", "longer"))
    alone_, smoothed, choices, longer = found.arms
    for arm in (alone_, smoothed, longer):
        assert (arm.spec.targets, arm.spec.views) == (None, 3)
    for arm in (alone_, choices):
        distill(arm.spec, tmp_path / arm.name, watcher=Silent())


def test_a_warm_start_copies_what_agrees_and_nothing_else(tmp_path):
    write_tensors(tmp_path / "w.safetensors", {"0.weight": torch.ones(7, 5), "2.weight": torch.ones(4, 7)})
    torch.manual_seed(0)
    plain = tiny.student().state_dict()
    torch.manual_seed(0)
    own = started_from(tiny.student, str(tmp_path / "w.safetensors")).state_dict()
    assert (own["0.weight"] == 1).all()
    assert all(torch.equal(own[name], plain[name]) for name in ("0.bias", "2.weight", "2.bias"))


def test_live_modules_and_factories_give_their_weights(bench, tmp_path):
    spec, _, _ = bench
    module = small()
    for teacher in (module, small):
        found = rivals(replace(spec, teacher=teacher), tmp_path / "altered", "warm-start")
        assert found.arms[0].notes["share"] == 1.0
    assert (tmp_path / "altered" / "weights-of-the-teacher.safetensors").is_file()


def test_names_are_chosen_and_a_wrong_one_is_told_with_the_closest():
    assert chosen_names("all", RIVALS) == RIVALS
    assert chosen_names("none") == ()
    assert chosen_names(("longer", "alone", "longer")) == ("alone", "longer")
    with pytest.raises(SpecificationError, match="no control named 'shufled'; did you mean 'shuffled'"):
        chosen_names("shufled")


@pytest.mark.parametrize("cap", [0.5, float("nan"), float("inf")])
def test_a_cap_below_one_is_refused(bench, cap):
    spec, folder, _ = bench
    with pytest.raises(ArgumentError, match="at least 1"):
        rivals(spec, folder / "altered", cap=cap)
