"""Where a run may be written, and that nothing is written or deleted for a specification that is refused."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch import nn

from limbeck.data.splits import Splits
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError, LimbeckError, MismatchError, MissingExtra, RunError, SpecificationError
from limbeck.files import read_tensors
from limbeck.objective import HardLabels
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.run import claim
from tiny import (
    FEATURES,
    NAMES,
    alone,
    doubled,
    features,
    multilabel_rows,
    rows,
    specification,
    student,
    teacher,
    unlabelled_rows,
)


@pytest.fixture
def run(tmp_path):
    return distill(alone(epochs=1), tmp_path / "run", watcher=Silent())


def test_a_new_or_an_empty_folder_is_taken(tmp_path):
    (tmp_path / "empty").mkdir()
    for out in (tmp_path / "new" / "deep", tmp_path / "empty", str(tmp_path / "text")):
        assert distill(alone(epochs=1), out, watcher=Silent()).finished


def test_a_folder_that_holds_a_run_is_not_touched_unasked(run):
    before = run.summary
    with pytest.raises(RunError, match="is not empty: use --resume to go on, --overwrite to start again, or choose"):
        distill(alone(epochs=2), run.path)
    assert run.summary == before


def test_overwriting_leaves_nothing_of_the_run_before(run):
    before = run.summary["student"]["fingerprint"]
    (run.path / "notes").write_text("of the old run")
    after = distill(alone(epochs=1, seed=1), run.path, overwrite=True, watcher=Silent())
    assert after.summary["student"]["fingerprint"] != before
    assert not (run.path / "notes").exists()
    assert len(list(after.records())) == 1


def test_overwriting_wins_over_resuming(run):
    after = distill(alone(epochs=1, seed=1), run.path, overwrite=True, resume=True, watcher=Silent())
    assert after.spec["specification"]["fields"]["seed"] == 1


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}])
def test_what_is_no_run_is_never_overwritten(tmp_path, flags):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"is not empty: it holds no run; choose another --out\."):
        distill(alone(), tmp_path / "thesis", **flags)
    assert (tmp_path / "thesis" / "chapter.tex").read_text() == "years of work"


@pytest.mark.parametrize("flags", [{}, {"overwrite": True}, {"resume": True}])
def test_a_file_is_no_folder(tmp_path, flags):
    (tmp_path / "file").write_text("text")
    with pytest.raises(RunError, match="is a file; a run needs a folder"):
        distill(alone(), tmp_path / "file", **flags)


def four_logits():
    return nn.Linear(FEATURES, 4)


def three_axes():
    return nn.Sequential(nn.Linear(FEATURES, 3), nn.Unflatten(1, (1, 3)))


def no_logits():
    return nn.Sequential(nn.Linear(FEATURES, 3), _Nothing())


class _Nothing(nn.Module):
    def forward(self, x):
        return {"scores": x}


def named_teacher(*names):
    net = nn.Linear(FEATURES, len(names))
    net.classes = names
    return net


def sigmoid_teacher():
    return FrozenTeacher(teacher(), prepare=doubled, head="sigmoid")


def no_rows_to_spare():
    return TensorSet(features(1), labels=torch.tensor([0]), classes=NAMES)


def missing(columns):
    raise KeyError("features")


def a_string():
    return "mnist"


def on_plateau(optimizer, steps):
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)


REFUSED = {
    "a student with too many logits": (
        {"student": four_logits},
        MismatchError,
        r"must have the same classes\. Numbers of classes: the student 4, the data 3, the teacher 3\.",
    ),
    "a teacher with too many logits": (
        {"teacher": four_logits},
        MismatchError,
        r"Numbers of classes: the student 3, the data 3, the teacher 4\.",
    ),
    "logits of another shape": (
        {"student": three_axes},
        MismatchError,
        r"The student must return logits of shape \(rows, classes\)\. Got \(2, 1, 3\) for 2 rows\.",
    ),
    "no logits at all": ({"student": no_logits}, MismatchError, "No logits in what the model returned, a dict"),
    "the same classes in another order": (
        {"teacher": partial(named_teacher, "oak", "elm", "ash")},
        MismatchError,
        r"same classes in another order: class 1 is 'elm' for the teacher and 'ash' in the data\.",
    ),
    "another class": (
        {"teacher": partial(named_teacher, "oak", "ash", "yew")},
        MismatchError,
        r"must have the same classes\. The teacher has 3 and the data 3; only the data have 'elm'\.",
    ),
    "one class more": (
        {"teacher": partial(named_teacher, "oak", "ash", "elm", "yew")},
        MismatchError,
        r"The teacher has 4 and the data 3; only the teacher has 'yew'\.",
    ),
    "another head": (
        {"teacher": sigmoid_teacher},
        MismatchError,
        r"The teacher has a sigmoid head, and the data have a softmax head\.",
    ),
    "labels that are needed": (
        {"data": unlabelled_rows},
        DataError,
        "The training rows have no labels, which the term 'hard' needs; use soft terms alone",
    ),
    "too few rows": ({"data": no_rows_to_spare, "validation": 0.1}, DataError, "at least two rows"),
    "a prepare that fails": ({"prepare": missing}, DataError, r"The prepare 'missing' failed on a batch of 2 rows"),
    "data that are none": (
        {"data": a_string},
        SpecificationError,
        "`data` must be a transfer set, Splits or a factory of either; it gave an object of type str",
    ),
    "a teacher that is none": ({"teacher": 7}, SpecificationError, "An object of type int cannot be a teacher"),
    "a teacher's folder that is none": ({"teacher": "/nowhere"}, RunError, "is not a run: it holds no spec.json"),
    "a device that is not there": (
        {"device": "abacus"},
        SpecificationError,
        "The device 'abacus' cannot be used here: ",
    ),
    "a schedule that asks for a score": (
        {"schedule": on_plateau},
        SpecificationError,
        "The schedule's factory gave a ReduceLROnPlateau, which cannot be stepped without arguments: missing a",
    ),
    "an optimiser that asks for the loss": (
        {"optimizer": partial(torch.optim.LBFGS, lr=0.1)},
        SpecificationError,
        "The optimiser's factory gave a LBFGS, which cannot be stepped without arguments: missing a",
    ),
    "an optimiser that is none": (
        {"optimizer": list},
        SpecificationError,
        "The optimiser's factory gave a list, which cannot be stepped",
    ),
    "a tracker that is none": ({"track": ("paper",)}, (SpecificationError, MissingExtra), "no tracker 'paper'"),
}


@pytest.mark.parametrize("why", REFUSED)
def test_a_refused_specification_leaves_nothing_behind(tmp_path, why):
    changes, kind, sentence = REFUSED[why]
    with pytest.raises(kind, match=sentence) as caught:
        distill(specification(**changes), tmp_path / "out" / "run", watcher=Silent())
    assert isinstance(caught.value, LimbeckError)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("why", REFUSED)
def test_a_refused_specification_overwrites_nothing(run, why):
    changes, kind, _ = REFUSED[why]
    before = {path: path.stat().st_mtime_ns for path in run.path.rglob("*")}
    with pytest.raises(kind):
        distill(specification(**changes), run.path, overwrite=True, watcher=Silent())
    assert {path: path.stat().st_mtime_ns for path in run.path.rglob("*")} == before


def test_heads_of_data_and_labels_fit(tmp_path):
    assert distill(specification(data=multilabel_rows), tmp_path / "run", watcher=Silent()).spec["head"] == "sigmoid"


def test_the_validation_rows_that_the_data_bring_are_not_held_out_again(tmp_path):
    own = Splits(train=rows(), validation=rows(19, seed=1))
    run = distill(alone(data=own, validation=0.5, epochs=1), tmp_path / "own", watcher=Silent())
    assert run.spec["data"]["train"]["rows"] == 53
    held = distill(alone(data=rows(), validation=0.5, epochs=1), tmp_path / "held", watcher=Silent())
    parts = [held.predictions("student", split) for split in ("train", "validation")]
    assert sorted(torch.cat([part.ids for part in parts]).tolist()) == list(range(53))
    none = distill(alone(data=own, validation=None, epochs=1), tmp_path / "none", watcher=Silent())
    assert none.predictions("student", "validation") is None
    assert none.summary["kept"]["chosen_by"] == "last"


def test_the_best_on_the_validation_rows_is_kept_not_the_last(tmp_path):
    # A rate that spoils what the first epochs learnt.
    spec = alone(data=Splits(train=rows(), validation=rows(19, seed=1)), validation=0.1, epochs=9, schedule=spoils)
    run = distill(replace(spec, keep_every=1), tmp_path / "run", watcher=Silent())
    scores = {record["step"]: record["validation"] for record in run.records() if "validation" in record}
    best = min(scores, key=lambda step: (scores[step]["errors"], scores[step]["nll"]))
    assert best < max(scores)
    chosen = {"step": best, "epoch": best // 7, "rate": pytest.approx(0.01), "chosen_by": "validation"}
    assert run.summary["kept"] == chosen
    kept = read_tensors(run.checkpoints / f"kept-{best:08d}" / "student.safetensors")
    final = read_tensors(run.weights)
    assert all(torch.equal(final[name], kept[name]) for name in kept)
    assert run.summary["student"]["validation"]["errors"] == scores[best]["errors"]
    assert len(list(run.checkpoints.glob("kept-*"))) == 9


def spoils(optimizer, steps):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 42 else 1e4)


def test_the_hard_labels_alone_need_no_teacher(tmp_path):
    run = distill(specification(objective=HardLabels(), teacher=student, epochs=1), tmp_path / "run", watcher=Silent())
    assert run.summary["teacher"] is None


def test_a_folder_that_holds_a_lock_alone_is_as_good_as_empty(tmp_path):
    (tmp_path / "campaign.json.lock").touch()
    claim(tmp_path, resume=False, overwrite=False)
