"""What would teach from wrong answers without a word: each is refused, before it is stored or learnt from."""

import re
import shutil
from dataclasses import replace

import pytest
import torch
from torch import nn

import tiny
from limbeck.data.augment import Noise
from limbeck.data.prepare import plain_features
from limbeck.errors import (
    ArgumentError,
    MismatchError,
    ObjectiveError,
    ResumeError,
    RunError,
    SpecificationError,
    StoreError,
)
from limbeck.objective import SoftTargets
from limbeck.schedules import Linear
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record


def recorded(out, **more):
    changes = {name: more.pop(name) for name in ("form", "features") if name in more}
    return record(tiny.specification(**more), out, batch_size=8, shard_rows=8, watcher=Silent(), **changes)


class Odd(nn.Module):
    """The tiny teacher, whose logits go through a function."""

    def __init__(self, change):
        super().__init__()
        self.inner, self.change, self.part = tiny.teacher(), change, nn.Identity()

    def forward(self, rows):
        return self.change(self.inner(rows))


class Inner(nn.Module):
    """The tiny teacher, with a submodule that gives what a function makes of the rows."""

    def __init__(self, change):
        super().__init__()
        self.inner, self.part = tiny.teacher(), Odd(change)
        self.part.inner = nn.Identity()

    def forward(self, rows):
        self.part(rows)
        return self.inner(rows)


ONE_ANSWER_FOR_ALL = {
    "one answer for all rows": lambda z: z.mean(0, keepdim=True),
    "a class more in large batches": lambda z: z if len(z) < 8 else torch.cat((z, z[:, :1]), 1),
    "a row more in large batches": lambda z: z if len(z) < 8 else torch.cat((z, z[:1])),
    "an answer for each of four positions": lambda z: z.unsqueeze(1).expand(-1, 4, -1),
    "one answer for all rows of large batches": lambda z: z if len(z) < 8 else z.mean(0, keepdim=True),
}


@pytest.mark.parametrize("form", [Form(), Form(encoding="top-k", k=2)], ids=["dense", "top-k"])
@pytest.mark.parametrize("change", ONE_ANSWER_FOR_ALL.values(), ids=ONE_ANSWER_FOR_ALL)
def test_answers_that_are_not_one_a_row_are_refused_and_not_stored(change, form, tmp_path):
    with pytest.raises(MismatchError, match="must return logits of shape"):
        recorded(tmp_path / "store", teacher=Odd(change), form=form)
    assert not list(tmp_path.rglob("train-*.safetensors"))


@pytest.mark.parametrize(
    "change",
    [lambda x: x.mean(0, keepdim=True), lambda x: x.mean(), lambda x: x.mT, lambda x: x.expand(4, -1, -1)],
    ids=["one for all rows", "a number", "columns first", "positions first"],
)
def test_features_whose_first_axis_is_not_the_rows_are_refused(change, tmp_path):
    with pytest.raises(MismatchError, match="rows as their first axis"):
        recorded(tmp_path / "store", teacher=Inner(change), features=("part",))


@pytest.mark.parametrize("name", ["dense", "top-k", "sampled"])
def test_rows_whose_answer_is_no_distribution_are_named(name, tmp_path):
    def diverged(rows):
        return torch.where(rows[:, :1] > 2, torch.nan, tiny.rule().sum() * rows[:, :3])

    features = tiny.features()
    broken = features[:, 0].gt(2).nonzero()[:, 0].tolist()
    first = [row for row in broken if row // 8 == broken[0] // 8]
    with pytest.raises(ArgumentError, match=f"rows with the ids {', '.join(map(str, first))} cannot be recorded"):
        recorded(tmp_path / "store", teacher=Alone(diverged), form=Form(encoding=name, k=2))


class Alone(nn.Module):
    """A function of the rows."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, rows):
        return self.function(rows)


def test_a_teacher_that_fails_in_the_midst_is_one_sentence(tmp_path):
    calls = []

    def failing(logits):
        calls.append(len(logits))
        if len(calls) > 3:
            raise ValueError("out of ideas")
        return logits

    with pytest.raises(SpecificationError, match=r"rows with the ids 16, 17, .* raised ValueError: out of ideas"):
        recorded(tmp_path / "store", teacher=Odd(failing))
    assert len(list(tmp_path.rglob("train-*.safetensors"))) == 2  # what was whole is kept


def test_an_encoding_that_is_none_is_refused_and_not_taken_for_another():
    with pytest.raises(ArgumentError, match=re.escape("encoding must be one of dense, members, top-k")):
        Form(encoding="topk")


def test_whole_numbers_and_floats_are_the_same_temperature_in_the_same_bytes(tmp_path):
    stores = [
        recorded(tmp_path / str(number), form=Form(encoding="top-k", k=2, temperatures=temperatures))
        for number, temperatures in enumerate([(1, 4), (4.0, 1.0)])
    ]
    assert stores[0].fingerprint == stores[1].fingerprint


def held(store):
    return RecordedTeacher(Targets.open(store))


HOWEVER = {
    "object": held,
    "factory": lambda store: lambda: held(store),
    "member": lambda store: Ensemble([held(store), held(store)]),
}


@pytest.mark.parametrize("teacher", HOWEVER.values(), ids=HOWEVER)
@pytest.mark.parametrize("changes", [{"augment": Noise(2.0)}, {"augment": Noise(0.5), "view_seed": 1}], ids=str)
def test_answers_to_other_views_are_refused_however_they_came(teacher, changes, tmp_path):
    recorded(tmp_path / "store", augment=Noise(0.5), views=2)
    spec = tiny.specification(teacher=teacher(tmp_path / "store"), **changes)
    with pytest.raises(MismatchError, match="recorded on rows that were changed by Noise"):
        distill(spec, tmp_path / "run", watcher=Silent())


def test_predictions_without_names_are_refused_as_an_object_too(tmp_path):
    targets = Targets.from_arrays(range(tiny.ROWS), logits=tiny.features()[:, :3], classes=None)
    with pytest.raises(MismatchError, match="do not name their classes"):
        distill(tiny.specification(teacher=RecordedTeacher(targets)), tmp_path / "run", watcher=Silent())


def test_a_temperature_that_leaves_the_recorded_ones_is_refused_before_the_first_step(tmp_path):
    recorded(tmp_path / "store", form=Form(encoding="top-k", k=2, temperatures=(1.0, 4.0)))
    spec = tiny.specification(
        teacher=None,
        targets=tmp_path / "store",
        objective=SoftTargets(temperature=Linear(start=4.0, stop=1.0, steps=10)),
    )
    with pytest.raises(ObjectiveError, match=r"answers T = 1, 4 only; it was asked for T = 3\.7"):
        distill(spec, tmp_path / "run", watcher=Silent())
    assert not (tmp_path / "run").exists()


def other_teacher():
    torch.manual_seed(8)
    return tiny.student()


def taught_from(store, **changes):
    return tiny.specification(teacher=None, targets=store, **changes)


def test_a_finished_run_is_not_passed_off_as_taught_by_targets_that_were_replaced(tmp_path):
    store, run = tmp_path / "store", tmp_path / "run"
    recorded(store)
    distill(taught_from(store), run, watcher=Silent())
    shutil.rmtree(store)
    distill(taught_from(store), run, resume=True, watcher=Silent())  # they are gone, and no longer needed
    recorded(store, teacher=other_teacher)
    with pytest.raises(RunError, match="taught by other targets"):
        distill(taught_from(store), run, resume=True, watcher=Silent())


def test_a_student_of_targets_that_were_replaced_is_not_reused_as_a_teacher(tmp_path):
    store = tmp_path / "store"
    recorded(store)
    spec = tiny.specification(teacher=taught_from(store))
    distill(spec, tmp_path / "one", watcher=Silent())
    shutil.rmtree(store)
    recorded(store, teacher=other_teacher)
    with pytest.raises(RunError, match="taught by other targets"):
        distill(spec, tmp_path / "two", watcher=Silent())


def test_a_run_goes_on_from_targets_that_were_moved_and_from_no_others(tmp_path):
    store, moved, other = tmp_path / "store", tmp_path / "moved", tmp_path / "other"
    recorded(store)
    recorded(other, teacher=other_teacher)
    distill(taught_from(store), tmp_path / "run", watcher=Silent())
    store.rename(moved)
    run = distill(taught_from(moved, epochs=3), tmp_path / "run", resume=True, watcher=Silent())
    assert run.summary["epochs"] == 3
    with pytest.raises(ResumeError, match="another teacher"):
        distill(taught_from(other, epochs=4), tmp_path / "run", resume=True, watcher=Silent())


def test_targets_of_a_run_that_was_trained_anew_are_refused_and_those_of_its_copy_are_not(tmp_path):
    teacher, copy = tmp_path / "teacher", tmp_path / "copy"
    distill(tiny.alone(), teacher, watcher=Silent())
    recorded(tmp_path / "store", teacher=teacher)
    shutil.copytree(teacher, copy)
    shutil.rmtree(teacher)
    distill(tiny.alone(seed=9), teacher, watcher=Silent())
    spec = replace(taught_from(tmp_path / "store"), teacher=copy)
    distill(spec, tmp_path / "run", watcher=Silent())
    with pytest.raises(MismatchError, match="were recorded from the teacher"):
        distill(replace(spec, teacher=teacher), tmp_path / "another", watcher=Silent())


def twice(columns):
    return columns["features"] * 2


def test_a_teacher_that_reads_other_inputs_is_another_one_though_its_weights_are_the_same(tmp_path):
    one, other = (FrozenTeacher(tiny.teacher(), prepare=prepare) for prepare in (plain_features, twice))
    recorded(tmp_path / "store", teacher=one)
    with pytest.raises(MismatchError, match="were recorded from the teacher"):
        distill(tiny.specification(teacher=other, targets=tmp_path / "store"), tmp_path / "run", watcher=Silent())
    with pytest.raises(StoreError, match="another teacher"):
        record(tiny.specification(teacher=other), tmp_path / "store", batch_size=8, shard_rows=8, resume=True)
