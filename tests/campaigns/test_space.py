"""Which numbers a search may change, and what a specification becomes when they are changed."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import tiny
from limbeck.campaigns.space import (
    SETTINGS,
    Choice,
    Range,
    answerable,
    applied,
    check_space,
    default_space,
    own_settings,
    space_from_json,
    space_to_json,
)
from limbeck.errors import ArgumentError, LimbeckError, MismatchError, SpecificationError
from limbeck.objective import HardLabels, LogitMatching, SoftTargets
from limbeck.schedules import Linear
from limbeck.specification import EnsembleOf, to_json
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record

RISING = Linear(start=1.0, stop=2.0, steps=3)


def weights(spec):
    return {name: weight for name, (weight, _) in spec.goal.terms.items()}


def two_teachers():
    return EnsembleOf(members=[tiny.teacher, tiny.student])


def test_each_setting_is_read_and_set():
    spec = tiny.specification(objective=0.7 * SoftTargets(temperature=3.0) + 0.3 * HardLabels(smoothing=0.1))
    own = {name: setting.own(spec) for name, setting in SETTINGS.items()}
    assert own == {
        "rate": 0.01,
        "weight_decay": 0.0,
        "temperature": 3.0,
        "hard_weight": pytest.approx(0.3),
        "smoothing": 0.1,
        "epochs": 2.0,
        "rows": 1.0,
    }
    asked = {"rate": 0.2, "weight_decay": 0.01, "temperature": 2.0, "hard_weight": 0.5, "smoothing": 0.2, "epochs": 3.0}
    asked |= {"rows": 0.5}
    changed = applied(spec, asked)
    assert {name: setting.own(changed) for name, setting in SETTINGS.items()} == asked
    assert changed.optimizer.keywords == {"lr": 0.2, "weight_decay": 0.01}
    assert changed.epochs == 3 and isinstance(changed.epochs, int)
    built = changed.optimizer(tiny.student().parameters())
    assert built.defaults["weight_decay"] == 0.01


def test_a_specification_is_changed_in_nothing_else():
    spec = tiny.specification(optimizer=tiny.MOMENTUM)
    changed = applied(spec, {"rate": 0.3})
    assert changed.optimizer.func is torch.optim.SGD
    assert changed.optimizer.keywords == {"lr": 0.3, "momentum": 0.9}
    assert to_json(replace(changed, optimizer=spec.optimizer)) == to_json(spec)
    assert to_json(applied(spec, {})) == to_json(spec)


def test_the_temperature_is_that_of_every_soft_term():
    spec = tiny.specification(objective=SoftTargets() + 0.5 * SoftTargets(name="other") + HardLabels())
    temperatures = {
        name: getattr(term, "temperature", None)
        for name, (_, term) in applied(spec, {"temperature": 7}).goal.terms.items()
    }
    assert temperatures == {"soft": 7.0, "other": 7.0, "hard": None}


def test_the_share_of_labels_keeps_the_sum_and_the_proportions():
    spec = tiny.specification(objective=3.0 * SoftTargets() + 1.0 * LogitMatching() + 2.0 * HardLabels())
    assert SETTINGS["hard_weight"].own(spec) == pytest.approx(1 / 3)
    assert weights(applied(spec, {"hard_weight": 0.5})) == pytest.approx({"soft": 2.25, "logits": 0.75, "hard": 3.0})
    assert weights(applied(spec, {"hard_weight": 0.0})) == pytest.approx({"soft": 4.5, "logits": 1.5, "hard": 0.0})


def test_terms_without_a_weight_share_equally():
    spec = tiny.specification(objective=1.0 * SoftTargets() + 0.0 * HardLabels() + 0.0 * HardLabels(name="more"))
    assert weights(applied(spec, {"hard_weight": 0.5})) == pytest.approx({"soft": 0.5, "hard": 0.25, "more": 0.25})


@given(st.floats(0, 1), st.lists(st.floats(0.01, 10), min_size=2, max_size=2))
def test_any_share_keeps_the_sum(share, pair):
    spec = tiny.specification(objective=pair[0] * SoftTargets() + pair[1] * HardLabels())
    found = weights(applied(spec, {"hard_weight": share}))
    assert sum(found.values()) == pytest.approx(sum(pair))
    assert found["hard"] == pytest.approx(share * sum(pair))


REFUSED = [
    ({"temprature": 2.0}, {}, "There is no setting 'temprature' to change. Did you mean 'temperature'?"),
    ({"colour": 2.0}, {}, "There is no setting 'colour' to change. There are: rate, weight_decay,"),
    ({"rate": 0.0}, {}, "rate must be a positive finite number. Got 0.0."),
    (
        {"rate": 0.1},
        {"optimizer": torch.optim.Adam},
        "The optimiser must be a functools.partial for its rate to be set",
    ),
    (
        {"weight_decay": 0.1},
        {"optimizer": partial(torch.optim.LBFGS, lr=0.1)},
        "The optimiser LBFGS has no number 'weight_decay', so its weight decay cannot be set.",
    ),
    ({"weight_decay": -1.0}, {}, "weight_decay must be finite and not negative. Got -1.0."),
    ({"temperature": 0.0}, {}, "temperature must be a positive finite number. Got 0.0."),
    (
        {"temperature": 2.0},
        {"objective": SoftTargets(temperature=RISING)},
        "The temperature of the term 'soft' changes with the step; give a number for it to be set.",
    ),
    (
        {"temperature": 2.0},
        {"objective": SoftTargets(temperature=2.0) + SoftTargets(temperature=3.0, name="other")},
        "The soft terms have the temperatures 2 and 3, and one is set for all; give them the same.",
    ),
    ({"temperature": 2.0}, {"objective": HardLabels()}, "The objective has no SoftTargets, so there is no temperature"),
    ({"hard_weight": 0.5}, {"objective": SoftTargets()}, "The objective has no HardLabels, so there is no share of"),
    ({"hard_weight": 0.5}, {"objective": HardLabels()}, "The objective has no soft term, so there is no share of"),
    ({"hard_weight": 1.5}, {}, r"hard_weight must lie in \[0, 1\]. Got 1.5."),
    (
        {"hard_weight": 0.5},
        {"objective": RISING * SoftTargets() + HardLabels()},
        "The weight of the term 'soft' changes with the step; give a number for it to be set.",
    ),
    ({"smoothing": 0.1}, {"objective": SoftTargets()}, "The objective has no HardLabels, so there are no labels to"),
    ({"smoothing": 2.0}, {}, r"smoothing must lie in \[0, 1\]. Got 2.0."),
    ({"epochs": 2.5}, {}, "epochs must be a whole number. Got 2.5."),
    ({"epochs": 0.0}, {}, "epochs must be a whole number of at least 1. Got 0."),
]


@pytest.mark.parametrize(("settings", "changes", "sentence"), REFUSED, ids=[sentence[:40] for *_, sentence in REFUSED])
def test_a_setting_that_a_specification_cannot_take_is_refused(settings, changes, sentence):
    spec = tiny.specification(**changes)
    with pytest.raises(LimbeckError, match=sentence):
        applied(spec, settings)
    [(name, value)] = settings.items()
    with pytest.raises(LimbeckError, match=sentence):
        check_space(spec, {name: Choice((value,))})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: Range(2.0, 1.0), "low must be below high, both finite. Got 2.0 and 1.0."),
        (lambda: Range(1.0, 1.0), "low must be below high"),
        (lambda: Range(1.0, math.inf), "both finite"),
        (lambda: Range(0.0, 1.0, log=True), "a logarithmic range begins above zero. Got low 0.0."),
        (lambda: Range(0.5, 3.0, whole=True), "a range of whole numbers has whole bounds. Got 0.5 and 3.0."),
        (lambda: Choice(()), r"values must be finite and distinct, at least one. Got \[\]."),
        (lambda: Choice((1, 1.0)), "distinct"),
    ],
)
def test_a_range_that_is_none_is_refused(make, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        make()


def test_a_bound_out_of_range_is_refused_before_anything_is_run():
    with pytest.raises(ArgumentError, match=r"hard_weight must lie in \[0, 1\]. Got 2.0."):
        check_space(tiny.specification(), {"hard_weight": Range(0.0, 2.0)})


def test_a_search_begins_at_the_nearest_that_is_allowed():
    spec = tiny.specification(epochs=9)
    space = {
        "rate": Range(0.1, 0.5),
        "temperature": Choice((1, 3)),
        "epochs": Range(2, 6, whole=True),
        "hard_weight": Range(0, 0.9),
    }
    assert own_settings(spec, space) == {"rate": 0.1, "temperature": 3.0, "epochs": 6.0, "hard_weight": 0.3}


def test_a_space_is_read_back_from_json():
    space = {"rate": Range(1e-4, 1e-1, log=True), "epochs": Range(1, 5, whole=True), "temperature": Choice((1, 4))}
    assert space_from_json(space_to_json(space)) == space
    with pytest.raises(SpecificationError, match=r"There is no setting 'rates' to change. Did you mean 'rate'?"):
        space_from_json({"rates": {"low": 1, "high": 2}})
    with pytest.raises(
        SpecificationError, match=r"The part 'rate' of a space must have low and high, or values. Got 3."
    ):
        space_from_json({"rate": 3})


def test_the_default_space_holds_the_specification_itself():
    for spec in (
        tiny.specification(),
        tiny.alone(),
        tiny.specification(optimizer=tiny.MOMENTUM, teacher=two_teachers()),
    ):
        space = default_space(spec)
        check_space(spec, space)
        own = own_settings(spec, space)
        assert own == pytest.approx({name: SETTINGS[name].own(spec) for name in space})
    assert set(default_space(tiny.specification())) == {"rate", "weight_decay", "temperature", "hard_weight"}


def test_the_default_space_leaves_out_what_there_is_not():
    assert set(default_space(tiny.alone())) == {"rate", "weight_decay"}
    assert set(default_space(tiny.alone(objective=HardLabels(smoothing=0.1)))) == {"rate", "weight_decay", "smoothing"}
    assert set(default_space(tiny.specification(objective=SoftTargets(temperature=RISING)))) == {"rate", "weight_decay"}
    assert set(default_space(tiny.alone(optimizer=partial(torch.optim.LBFGS)))) == {"rate"}
    with pytest.raises(SpecificationError, match=r"must be a functools.partial"):
        default_space(tiny.alone(optimizer=torch.optim.Adam))


@pytest.fixture
def recorded(tmp_path):
    """Record the teacher in a form; return a specification that is taught from it."""

    def make(teacher=tiny.teacher, **form):
        spec = tiny.specification(teacher=teacher, data=tiny.splits)
        record(spec, tmp_path / "store", form=Form(**form), watcher=Silent(), parallel=1)
        return replace(spec, teacher=None, targets=tmp_path / "store")

    return make


def test_every_temperature_can_be_asked_of_all_logits(recorded):
    spec = recorded()
    assert answerable(spec) is None
    assert default_space(spec)["temperature"] == Range(1.0, 20.0, log=True)
    check_space(spec, {"temperature": Range(0.5, 50.0)})


def test_only_recorded_temperatures_are_searched(recorded):
    spec = recorded(encoding="top-k", k=2, temperatures=(1, 4, 8))
    assert answerable(spec) == (1.0, 4.0, 8.0)
    assert default_space(spec)["temperature"] == Choice((1, 4, 8))
    check_space(spec, {"temperature": Choice((4, 8))})
    with pytest.raises(MismatchError) as refused:
        check_space(spec, {"temperature": Choice((2, 4))})
    said = str(refused.value)
    assert "answer exactly at the temperatures 1, 4 and 8 only, and the search asks for 2; record them with" in said
    assert said.endswith("`limbeck record … --temperatures 1 2 4 8`.")
    with pytest.raises(MismatchError, match=r"the search asks for any from 1 to 8; search among those, or record what"):
        check_space(spec, {"temperature": Range(1, 8)})


def test_one_recorded_temperature_is_no_choice(recorded):
    spec = recorded(encoding="top-k", k=2, temperatures=(4,))
    assert "temperature" not in default_space(spec)


def test_members_that_are_kept_apart_answer_at_every_temperature(recorded):
    assert answerable(recorded(two_teachers(), encoding="members")) is None


def test_an_averaged_ensemble_answers_where_it_was_recorded(recorded):
    spec = recorded(two_teachers(), encoding="dense", temperatures=(2, 4))
    assert default_space(spec)["temperature"] == Choice((2, 4))


def test_predictions_in_a_file_answer_what_they_say(tmp_path):
    probs = torch.full((tiny.ROWS, 3), 1 / 3)
    np.savez(
        tmp_path / "theirs.npz", ids=np.arange(tiny.ROWS), logits=probs.log().numpy(), classes=np.array(tiny.NAMES)
    )
    spec = tiny.specification(teacher=None, targets=tmp_path / "theirs.npz")
    assert answerable(spec) is None


def test_targets_that_stand_in_the_place_of_a_teacher_are_seen(recorded):
    spec = recorded(encoding="top-k", k=2, temperatures=(1, 4))
    named = replace(spec, teacher=spec.targets, targets=None)
    assert answerable(named) == (1.0, 4.0)
