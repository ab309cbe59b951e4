"""What may share a stack, what each run of one leaves behind, and what is refused before anything is written."""

import json
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from limbeck.data.tensors import TensorSet
from limbeck.errors import CannotStack, DataError, MismatchError, RunError
from limbeck.files import read_json
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import EnsembleOf
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.evaluate import Predictions, scores, scores_of_many
from limbeck.training.place import find_place
from limbeck.training.progress import Silent
from limbeck.training.rebuild import load_student
from limbeck.training.recording import record
from limbeck.training.stacking.distill import Shared, distill_stacked
from limbeck.training.stacking.reasons import why_not_stacked
from tiny import (
    ADAM,
    CLASSES,
    FEATURES,
    alone,
    multilabel_rows,
    specification,
    splits,
    student,
    teacher,
    unlabelled_rows,
)


def stacked(specs, folder, **more):
    jobs = [(spec, folder / str(number)) for number, spec in enumerate(specs)]
    return distill_stacked(jobs, watcher=Silent(), **more)


def seeds(count=2, **changes):
    return [alone(data=splits, validation=0.1, seed=seed, **changes) for seed in range(count)]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """The same run out of a stack, and by itself."""
    folder = tmp_path_factory.mktemp("pair")
    record(specification(data=splits), folder / "store", watcher=Silent())
    base = specification(data=splits, teacher=None, targets=folder / "store", validation=0.1, probe_rows=5, log_every=3)
    first, _ = stacked([base, replace(base, objective=HardLabels(), seed=1)], folder, origin={"command": "limbeck …"})
    return first, distill(base, folder / "alone", watcher=Silent(), origin={"command": "limbeck …"})


def test_the_folder_holds_the_same_files(pair):
    ours, theirs = ({str(path.relative_to(run.path)) for path in run.path.rglob("*")} for run in pair)
    assert ours == theirs
    assert "ledger.jsonl" in ours and "predictions/teacher-test.safetensors" in ours


def without_numbers(value):
    """Names and the kinds of what is there."""
    if isinstance(value, dict):
        return {name: without_numbers(item) for name, item in value.items()}
    return type(value).__name__


@pytest.mark.parametrize("name", ["spec.json", "summary.json", "student/config.json"])
def test_the_files_hold_the_same_keys(pair, name):
    ours, theirs = (read_json(run.path / name) for run in pair)
    assert without_numbers(ours) == without_numbers(theirs)
    if name != "summary.json":
        assert ours == theirs


def test_the_test_rows_are_scored_once(pair):
    for run in pair:
        (entry,) = map(json.loads, (run.path / "ledger.jsonl").read_text().splitlines())
        assert entry["student"] == run.summary["student"]["fingerprint"]
        assert entry["rows"] == 17


def test_the_records_come_in_the_same_order_with_the_same_parts(pair):
    ours, theirs = ([without_numbers(record) for record in run.records()] for run in pair)
    assert ours == theirs
    ours, theirs = ([(record["step"], record["epoch"]) for record in run.records()] for run in pair)
    assert ours == theirs


def test_the_student_can_be_loaded_and_answers_as_was_kept(pair):
    run, _ = pair
    model = load_student(run)
    with torch.no_grad():
        found = model(splits().test.rows(torch.arange(17)).columns["features"])
    torch.testing.assert_close(found, run.predictions("student", "test").logits, rtol=1e-5, atol=1e-6)


def test_every_specification_is_as_old_as_the_beginning_of_the_stack(tmp_path):
    before = time.time()
    runs = stacked([alone(data=splits, seed=0, epochs=3), alone(data=splits, seed=1)], tmp_path)
    began = {(run.path / "spec.json").stat().st_mtime for run in runs}
    assert len(began) == 1 and before <= min(began) < min((run.path / "summary.json").stat().st_mtime for run in runs)


def test_the_callers_generators_are_left_as_they_were(tmp_path):
    torch.manual_seed(4)
    before = torch.get_rng_state()
    stacked(seeds(epochs=1), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def live():
    return FrozenTeacher(teacher())


def own_optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"microbatches": 2}, "their batches are split into micro-batches"),
        ({"precision": "bfloat16"}, "their forward passes may be in bfloat16"),
        ({"track": ("tensorboard",)}, "the trackers tensorboard follow one run at a time"),
        ({"teacher": teacher, "objective": SoftTargets()}, "their teacher is not recorded"),
        ({"teacher": EnsembleOf(members=[teacher]), "objective": SoftTargets()}, "their teacher is not recorded"),
        ({"optimizer": own_optimizer}, "their optimiser is made by own_optimizer, which is none of torch.optim"),
        ({"optimizer": partial(torch.optim.LBFGS, lr=1.0)}, "their optimiser is made by LBFGS"),
        ({"optimizer": partial(torch.optim.SGD, *(), lr=0.1)}, None),
        ({"optimizer": torch.optim.Adam}, None),
        ({"teacher": teacher}, None),  # which no term asks
    ],
)
def test_specifications_tell_why_they_cannot_be_stacked(changes, reason):
    found = why_not_stacked(seeds(**changes))
    assert found is None if reason is None else found.startswith(reason)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size", 5),
        ("data", partial(multilabel_rows)),
        ("validation", 0.2),
        ("log_every", 9),
        ("prepare", lambda c: c),
    ],
)
def test_what_all_have_in_common_is_named_where_it_differs(name, value):
    first, second = seeds()
    assert why_not_stacked([first, replace(second, **{name: value})]).startswith(f"they differ in {name!r}")


def test_several_processes_that_train_each_run_together_are_no_place_for_a_stack(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert why_not_stacked(seeds()) == "several processes train each run together"


def wide():
    return nn.Sequential(nn.Linear(FEATURES, 8), nn.ReLU(), nn.Linear(8, CLASSES))


class Scaled(nn.Module):
    """Holds a number that its description does not tell."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.inner = factor, student()

    def forward(self, x):
        return self.factor * self.inner(x)


class Drawing(nn.Module):
    """Drops out by a function rather than a layer."""

    def __init__(self):
        super().__init__()
        self.inner = student()

    def forward(self, x):
        return self.inner(F.dropout(x, 0.5, self.training))


class Recurrent(nn.Module):
    """Reads the features one by one."""

    def __init__(self):
        super().__init__()
        self.read, self.last = nn.GRU(1, 4, batch_first=True), nn.Linear(4, CLASSES)

    def forward(self, x):
        return self.last(self.read(x.unsqueeze(-1))[0][:, -1])


class Branching(nn.Module):
    """Goes another way where the rows say so."""

    def __init__(self):
        super().__init__()
        self.inner = student()

    def forward(self, x):
        return self.inner(x) if x.sum() > 0 else self.inner(-x)


def centred(columns):
    """A `prepare` that looks at the whole batch."""
    return columns["features"] - columns["features"].mean(0)


@pytest.mark.parametrize(
    ("specs", "reason"),
    [
        ([*seeds(1), *seeds(1, student=wide)], "their students are not of one architecture"),
        (
            [*seeds(1, student=partial(Scaled, 1.0)), *seeds(1, student=partial(Scaled, 2.0))],
            "in a stack their students answer otherwise than each alone",
        ),
        (seeds(student=Drawing), "in a stack their students raise RuntimeError: vmap: called random operation"),
        (seeds(student=Recurrent), "in a stack their students raise RuntimeError: Batching rule not implemented"),
        (seeds(student=Branching), "in a stack their students raise RuntimeError: vmap: It looks like you're"),
        (seeds(prepare=centred), "their `prepare` makes something else of a row when other rows stand beside it"),
    ],
    ids=["architectures", "scaled", "drawing", "recurrent", "branching", "centred"],
)
def test_what_turns_out_not_to_fit_is_refused_before_anything_is_written(tmp_path, specs, reason):
    with pytest.raises(CannotStack, match=reason):
        stacked(specs, tmp_path)
    assert not any(tmp_path.iterdir())


def test_students_that_differ_in_a_number_alone_may_share_a_stack_where_it_is_the_same(tmp_path):
    stacked([*seeds(1, student=partial(Scaled, 2.0)), *seeds(1, student=partial(Scaled, 2.0), epochs=1)], tmp_path)


def test_folders_are_claimed_as_for_one_run(tmp_path):
    first, second = seeds(epochs=1)
    distill(first, tmp_path / "0", watcher=Silent())
    with pytest.raises(RunError, match="0 is not empty: use --resume to go on"):
        stacked([first, second], tmp_path)
    runs = stacked([first, second], tmp_path, resume=True)
    assert all(run.finished for run in runs)


def test_what_does_not_fit_together_is_told_of_as_for_one_run(tmp_path):
    with pytest.raises(MismatchError, match=r"Numbers of classes: the student 4, the data 3\."):
        stacked(seeds(student=four), tmp_path)
    assert not any(tmp_path.iterdir())


def four():
    return nn.Linear(FEATURES, 4)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_scores_of_many_are_those_of_each(head):
    generator = torch.Generator().manual_seed(0)
    logits, theirs = torch.randn(4, 23, 5, generator=generator), torch.randn(23, 5, generator=generator)
    labels = torch.randint(0, 5, (23,), generator=generator) if head == "softmax" else (theirs > 0.3).float()
    ids = torch.arange(23)
    for own, taught in ((labels, theirs), (None, theirs), (labels, None)):
        teacher_said = None if taught is None else Predictions(ids=ids, logits=taught, labels=own)
        found = scores_of_many(logits, own, teacher_said, head)
        for one, many in zip(logits, found, strict=True):
            assert many == pytest.approx(scores(Predictions(ids=ids, logits=one, labels=own), teacher_said, head))


def test_sigmoid_heads(tmp_path):
    runs = stacked([alone(data=multilabel_rows, seed=seed, validation=0.2) for seed in range(2)], tmp_path)
    expected = distill(alone(data=multilabel_rows, validation=0.2), tmp_path / "alone", watcher=Silent())
    for split in ("train", "validation"):
        found = runs[0].predictions("student", split).logits
        torch.testing.assert_close(found, expected.predictions("student", split).logits, rtol=1e-5, atol=1e-5)


def normalised():
    return nn.Sequential(nn.Linear(FEATURES, 7), nn.BatchNorm1d(7), nn.Linear(7, CLASSES))


def few():
    return TensorSet(
        torch.randn(17, FEATURES, generator=torch.Generator().manual_seed(1)), labels=[0, 1, 2, 0] * 4 + [0]
    )


def test_a_step_that_fails_is_a_reason_to_go_apart(tmp_path):
    specs = [alone(data=few, student=normalised, seed=seed, optimizer=ADAM) for seed in range(2)]
    with pytest.raises(CannotStack, match="in a stack their students raise ValueError: Expected more than 1 value"):
        stacked(specs, tmp_path)


def other_rows():
    return TensorSet(
        torch.randn(53, FEATURES, generator=torch.Generator().manual_seed(3)), labels=[0, 1, 2] * 17 + [0, 1]
    )


def test_what_is_loaded_once_is_known_by_the_rows_that_it_is_of(tmp_path):
    record(specification(data=splits), tmp_path / "store", watcher=Silent())
    taught = specification(data=splits, teacher=None, targets=tmp_path / "store")
    found, place = Shared(), find_place("cpu", "float32")
    first = found.teachers(taught, tmp_path / "run", place, Silent())
    again = found.teachers(replace(taught, seed=4, objective=SoftTargets()), tmp_path / "other", place, Silent())
    assert again is first
    with pytest.raises(MismatchError, match="is not the row that was recorded"):
        found.teachers(replace(taught, data=other_rows), tmp_path / "run", place, Silent())


def test_rows_without_labels_are_refused_where_a_term_needs_them_though_another_does_not(tmp_path):
    record(specification(data=unlabelled_rows), tmp_path / "store", watcher=Silent())
    soft = specification(data=unlabelled_rows, teacher=None, targets=tmp_path / "store", objective=SoftTargets())
    with pytest.raises(DataError, match="The training rows have no labels, which the term 'hard' needs"):
        stacked([soft, replace(soft, objective=HardLabels())], tmp_path / "runs")
