"""Ablations: one thing replaced and nothing else, the same start and order, and what cannot be altered told."""

import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

import tiny
from limbeck.campaigns.ablations import SELF_SEED, ablations
from limbeck.campaigns.arms import ABLATIONS
from limbeck.campaigns.objectives import Total, on_labels_alone, on_targets_alone, temperature_asked
from limbeck.data.augment import Noise
from limbeck.data.digits import digits
from limbeck.data.splits import without_test
from limbeck.errors import SpecificationError
from limbeck.functional.divergences import reverse_kl
from limbeck.objective import HardLabels, LogitMatching, SoftTargets
from limbeck.schedules import Linear
from limbeck.specification import Distillation, EnsembleOf, require_importable, to_json
from limbeck.targets.store import Targets
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck.training.run import Run


def small():
    return nn.Sequential(nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))


def rows():
    return digits(train_rows=200)


def member(seed):
    return Distillation(
        data=partial(without_test, digits), student=small, objective=HardLabels(), epochs=1, seed=seed, device="cpu"
    )


def recorded(spec, folder, **form):
    record(spec, folder / "targets", form=Form(**form), watcher=Silent(), parallel=1)
    return replace(spec, targets=folder / "targets")


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Digits, an ensemble of two whose members are recorded, two epochs, two views."""
    folder = tmp_path_factory.mktemp("ablations")
    spec = Distillation(
        data=rows,
        student=small,
        teacher=EnsembleOf(members=(member(11), member(12))),
        objective=0.7 * SoftTargets(temperature=4.0) + 0.3 * HardLabels(),
        optimizer=partial(torch.optim.Adam, lr=3e-3),
        augment=Noise(0.05),
        views=2,
        epochs=2,
        batch_size=32,
        device="cpu",
        probe_rows=0,
    )
    taught = replace(recorded(spec, folder, encoding="members"), views=None)
    return taught, folder, ablations(taught, folder / "altered", "all")


CHANGED = {
    "hard-labels": {"teacher", "targets", "objective", "views"},
    "edited": {"teacher", "targets", "objective"},
}


def test_one_thing_is_replaced_and_every_setting_inherited(bench):
    taught, _, found = bench
    assert [arm.name for arm in found.arms] == list(ABLATIONS)
    assert found.left_out == {}
    for arm in found.arms:
        assert (arm.kind, arm.space) == ("ablation", None)
        assert arm.title
        assert arm.about.endswith(".")
        before, now = to_json(taught)["fields"], require_importable(arm.spec)["fields"]
        differ = {name for name in before if before[name] != now[name]}
        assert differ == CHANGED.get(arm.name, {"teacher", "targets"}), arm.name
        assert arm.spec.views == (2 if arm.name == "hard-labels" else None)


def test_every_ablation_passes_the_checks_of_a_run_and_starts_alike(bench, tmp_path, monkeypatch):
    taught, _, found = bench
    drawn = {}

    def watched(spec, name):
        from limbeck.training import loop

        start, seen = {}, []
        run_epoch, evaluate = loop.Fit._run_epoch, loop.Fit._evaluate

        def first(fit):
            start.setdefault("weights", {key: value.clone() for key, value in fit.student.state_dict().items()})
            run_epoch(fit)

        def look(fit, batch):
            seen.append((batch.view, batch.ids.tolist()))
            return evaluate(fit, batch)

        with monkeypatch.context() as patch:
            patch.setattr(loop.Fit, "_run_epoch", first)
            patch.setattr(loop.Fit, "_evaluate", look)
            distill(replace(spec, seed=5), tmp_path / name, watcher=Silent())
        return start["weights"], seen

    for name, spec in {
        "distilled": replace(taught, teacher=None),
        **{arm.name: arm.spec for arm in found.arms},
    }.items():
        drawn[name] = watched(spec, name)
    weights, seen = drawn["distilled"]
    assert {view for view, _ in seen} == {0, 1}
    for name, (other, order) in drawn.items():
        assert order == seen, name
        assert all(torch.equal(other[key], value) for key, value in weights.items()), name
    ends = {name: Run.open(tmp_path / name).summary["student"]["fingerprint"] for name in drawn}
    assert len(set(ends.values())) == len(ends)  # and each learns something else


def test_altered_targets_hold_every_view_of_the_training_rows_and_none_that_are_held_out(bench):
    taught, _, found = bench
    source = Targets.open(taught.targets)
    for arm in found.arms:
        if arm.name in ("hard-labels", "self-distilled"):
            continue
        store = Targets.open(arm.spec.targets)
        assert store.parts == ("train",)
        assert store.manifest.parts["train"].views == 2
        assert store.manifest.parts["train"].fingerprint == source.manifest.parts["train"].fingerprint
        assert store.manifest.transform == source.manifest.transform
        assert store.manifest.teacher["kind"] == "altered"
        assert store.manifest.teacher["store"] == source.fingerprint


def test_the_student_that_teaches_itself_never_saw_the_test_rows_nor_a_campaigns_seed(bench):
    taught, folder, found = bench
    (run,) = (Run(path.parent) for path in (folder / "altered" / "teachers").glob("*/spec.json"))
    fields = run.spec["specification"]["fields"]
    assert run.spec["data"]["test"] is None
    assert (fields["epochs"], fields["batch_size"], fields["seed"]) == (2, 32, SELF_SEED)
    assert fields["optimizer"] == to_json(taught)["fields"]["optimizer"]
    own = Targets.open(found.arms[-1].spec.targets)
    assert own.manifest.teacher["fingerprint"] == run.summary["student"]["fingerprint"]


def names_left_out(spec, folder, names="all"):
    return ablations(spec, folder / "altered", names).left_out


def tiny_spec(**changes):
    return tiny.specification(**{"data": tiny.splits, "validation": 0.1, **changes})


def test_parts_of_answers_are_told_and_their_choices_still_used(tmp_path):
    spec = recorded(tiny_spec(), tmp_path, encoding="top-k", k=2, temperatures=(1.0, 4.0))
    found = ablations(spec, tmp_path / "altered", "all")
    assert [arm.name for arm in found.arms] == ["hard-labels", "teacher-labels", "self-distilled"]
    assert set(found.left_out) == {"matched-smoothing", "permuted", "shuffled", "edited"}
    for why in found.left_out.values():
        assert why == "The targets hold a part of each answer only (top-k), and the whole of it must be altered."


@pytest.mark.parametrize(
    ("objective", "said"),
    [
        (SoftTargets(temperature=Linear(start=8.0, stop=4.0, steps=9)) + HardLabels(), "changes with the step"),
        (SoftTargets(temperature=4.0) + SoftTargets(temperature=2.0, name="two"), "temperatures 2 and 4"),
        (SoftTargets(temperature=4.0) + LogitMatching(), "temperatures 1 and 4"),
    ],
)
def test_objectives_that_ask_at_more_than_one_temperature_are_told(tmp_path, objective, said):
    spec = recorded(tiny_spec(objective=objective), tmp_path)
    left_out = names_left_out(spec, tmp_path)
    for name in ("matched-smoothing", "permuted", "shuffled", "edited"):
        assert said in left_out[name], name
    assert "hard-labels" not in left_out
    assert "self-distilled" not in left_out


def test_a_divergence_that_allows_no_class_to_be_ruled_out_is_told(tmp_path):
    spec = recorded(tiny_spec(objective=SoftTargets(divergence=reverse_kl) + HardLabels()), tmp_path)
    left_out = names_left_out(spec, tmp_path, ("teacher-labels", "permuted"))
    assert set(left_out) == {"teacher-labels"}
    assert "no finite value where the targets rule a class out" in left_out["teacher-labels"]


def test_rows_without_labels_keep_what_needs_none(tmp_path):
    spec = recorded(tiny.specification(data=tiny.unlabelled_rows, objective=SoftTargets(temperature=4.0)), tmp_path)
    found = ablations(spec, tmp_path / "altered", "all")
    assert [arm.name for arm in found.arms] == ["teacher-labels", "permuted", "shuffled"]
    assert set(found.left_out.values()) == {"The rows have no labels."}
    for arm in found.arms:
        distill(arm.spec, tmp_path / arm.name, watcher=Silent())


def test_of_a_sigmoid_head_what_has_a_meaning_is_run(tmp_path):
    spec = recorded(tiny.specification(data=tiny.multilabel_rows), tmp_path)
    found = ablations(spec, tmp_path / "altered", "all")
    assert [arm.name for arm in found.arms] == ["hard-labels", "matched-smoothing", "shuffled", "self-distilled"]
    assert all("sigmoid head" in why for why in found.left_out.values())
    for arm in found.arms:
        distill(arm.spec, tmp_path / arm.name, watcher=Silent())


def test_labels_without_a_term_of_their_own_correct_the_teacher(tmp_path):
    spec = recorded(tiny_spec(objective=SoftTargets(temperature=4.0)), tmp_path)
    arm = ablations(spec, tmp_path / "altered", "edited").arms[0]
    assert 0 < arm.notes["rows_exchanged"] < tiny.ROWS
    ids = torch.arange(tiny.ROWS)
    before, now = (Targets.open(path).knowledge(ids).at(4.0).logits for path in (spec.targets, arm.spec.targets))
    assert torch.equal(now.argmax(-1), tiny.rows().labels)
    assert torch.equal(now.sort(-1).values, before.sort(-1).values)
    assert int((now != before).any(-1).sum()) == arm.notes["rows_exchanged"]


class RightOnAllRows(nn.Module):
    """Knows the rule by which the tiny rows were labelled."""

    def forward(self, inputs):
        return inputs @ tiny.rule()


def test_a_teacher_that_is_right_leaves_nothing_to_correct(tmp_path):
    spec = recorded(tiny_spec(objective=SoftTargets(temperature=4.0), teacher=RightOnAllRows), tmp_path)
    assert "the teacher's choice on all 53 training rows" in names_left_out(spec, tmp_path, "edited")["edited"]


def test_two_classes_leave_nothing_to_permute(tmp_path):
    spec = recorded(tiny_spec(data=two_classes, student=two_logits, teacher=two_logits), tmp_path)
    found = ablations(spec, tmp_path / "altered", "permuted")
    assert "nothing to permute" in found.left_out["permuted"]


def two_classes():
    from limbeck.data.tensors import TensorSet

    return TensorSet(tiny.features(), labels=(tiny.features()[:, 0] > 0).long(), classes=("no", "yes"))


def two_logits():
    return nn.Linear(tiny.FEATURES, 2)


def test_without_recorded_targets_there_is_nothing_to_alter(tmp_path):
    with pytest.raises(SpecificationError, match="Only recorded targets can be altered"):
        ablations(tiny_spec(), tmp_path, "permuted")
    with pytest.raises(SpecificationError, match="did you mean 'permuted'"):
        ablations(tiny_spec(), tmp_path, "permutated")


def test_what_is_dropped_leaves_its_weight_to_the_others():
    both = 0.7 * SoftTargets(temperature=4.0) + 0.3 * HardLabels(smoothing=0.1)
    assert on_labels_alone(both) == 1.0 * HardLabels(smoothing=0.1)
    assert on_targets_alone(both) == 1.0 * SoftTargets(temperature=4.0)
    assert on_labels_alone(2.0 * SoftTargets() + LogitMatching()) == 3.0 * HardLabels()
    two = 1.0 * HardLabels() + 3.0 * HardLabels(name="more") + 4.0 * SoftTargets()
    assert on_labels_alone(two) == 2.0 * HardLabels() + 6.0 * HardLabels(name="more")
    fading = Linear(start=1.0, stop=0.0, steps=10)
    kept = on_labels_alone(fading * SoftTargets() + 0.5 * HardLabels())
    assert [kept.parts[0].weight(step) for step in (0, 5, 99)] == [1.5, 1.0, 0.5]
    assert isinstance(kept.parts[0].weight, Total)
    assert math.isclose(temperature_asked(both), 4.0)
