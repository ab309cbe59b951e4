"""Whatever a specification may call its teacher, resolved, trained once and used again."""

import signal
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from limbeck.data.prepare import plain_features
from limbeck.errors import DataError, Interrupted, NotImportable, RunError, SpecificationError
from limbeck.files import read_tensors
from limbeck.models import fingerprint
from limbeck.objective import HardLabels, SoftTargets
from limbeck.references import load
from limbeck.specification import EnsembleOf
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.distill import distill, train_teacher
from limbeck.training.progress import Silent
from limbeck.training.rebuild import load_student
from limbeck.training.run import Run
from limbeck.types import LogitKnowledge
from processes import environment
from tiny import (
    NAMES,
    alone,
    double,
    doubled,
    features,
    rows,
    specification,
    splits,
    student,
    teacher,
    unlabelled_rows,
)
from tolerances import assert_close


def train(spec, out, **flags):
    return distill(spec, out, watcher=Silent(), **flags)


def weights(run):
    return read_tensors(run.weights)


def assert_equal_weights(run, expected):
    ours, theirs = weights(run), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


class FixedAnswers:
    """A teacher of a user's own making: answers looked up by the rows' ids."""

    head = "softmax"
    classes = NAMES
    prepares = ()
    fingerprint = "answers of the tiny teacher"

    def __init__(self):
        with torch.no_grad():
            self.logits = teacher()(features())

    def __call__(self, batch):
        return LogitKnowledge(self.logits[batch.ids])

    def to(self, device):
        return self


def teacher_with_classes(*names):
    net = teacher()
    net.classes = names
    return net


TEACHER_FILE = """
import torch
from torch import nn

def made(width=13):
    torch.manual_seed(7)
    net = nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3))
    with torch.no_grad():
        net[2].weight.mul_(5)
    return net
"""


@pytest.fixture
def sources(tmp_path):
    """Six ways to name one and the same teacher."""
    (tmp_path / "teacher.py").write_text(TEACHER_FILE)
    return {
        "factory": teacher,
        "partial": partial(teacher_with_classes, *NAMES),
        "module": teacher(),
        "function of a file": load(f"{tmp_path / 'teacher.py'}:made"),
        "factory of a teacher": partial(FrozenTeacher, teacher(), prepare=plain_features),
        "teacher": FrozenTeacher(teacher(), prepare=plain_features, classes=NAMES),
        "teacher of one's own": FixedAnswers(),
        "ensemble of one": EnsembleOf(members=[teacher], mean="geometric"),
    }


def test_one_teacher_named_in_many_ways_teaches_alike(sources, tmp_path):
    expected = train(specification(), tmp_path / "expected")
    for name, source in sources.items():
        run = train(specification(teacher=source), tmp_path / name)
        for ours, theirs in zip(weights(run).values(), weights(expected).values(), strict=True):
            assert_close(ours, theirs)
    assert expected.spec["teacher"] == {"fingerprint": fingerprint(teacher())}


def test_a_finished_runs_student_is_a_teacher_by_its_folder(tmp_path):
    taught = train(double(teacher=None, objective=HardLabels()), tmp_path / "teacher")
    for source in (taught.path, str(taught.path)):
        run = train(specification(teacher=source), tmp_path / type(source).__name__)
        assert run.spec["teacher"] == {"fingerprint": fingerprint(load_student(taught))}
        # It reads the rows through its own prepare, and is scored as it was when it was trained.
        assert run.summary["teacher"]["train"]["nll"] == pytest.approx(taught.summary["student"]["train"]["nll"])


def test_a_run_that_has_not_finished_is_no_teacher(tmp_path):
    taught = train(alone(epochs=1), tmp_path / "teacher")
    (taught.path / "summary.json").unlink()
    with pytest.raises(RunError, match=r"has not finished; go on with --resume\."):
        train(specification(teacher=taught.path), tmp_path / "run")


def test_a_teachers_specification_is_trained_once_and_found_again_by_its_hash(tmp_path):
    plan = alone(seed=3)
    first = train(specification(teacher=plan), tmp_path / "first")
    folder = tmp_path / "teachers" / plan.hash[:16]
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    assert Run(folder).finished

    second = train(specification(teacher=replace(plan, log_every=9), seed=1), tmp_path / "second")
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == stamps
    assert second.spec["teacher"] == first.spec["teacher"]
    assert [path.name for path in (tmp_path / "teachers").iterdir() if path.is_dir()] == [plan.hash[:16]]

    train(specification(teacher=replace(plan, seed=4)), tmp_path / "third")
    assert len(list((tmp_path / "teachers").glob("*/summary.json"))) == 2
    apart = train(plan, tmp_path / "apart" / "teacher")
    assert_equal_weights(Run(folder), apart)


def test_a_teachers_own_teacher_lies_beside_it(tmp_path):
    grandteacher = alone(seed=5)
    middle = specification(teacher=grandteacher, objective=SoftTargets())
    train(specification(teacher=middle), tmp_path / "run")
    train(specification(teacher=grandteacher), tmp_path / "other")
    folders = {path.parent.name for path in (tmp_path / "teachers").rglob("summary.json")}
    assert folders == {grandteacher.hash[:16], middle.hash[:16]}


def test_training_the_teacher_does_not_change_the_students_start(tmp_path):
    plan = alone(seed=3)
    first = train(specification(teacher=plan), tmp_path / "first")
    again = train(specification(teacher=plan), tmp_path / "again")  # the teacher is there already
    assert_equal_weights(again, first)


class StopsTheTeacher:
    def start(self, what, total): ...
    def say(self, line): ...
    def end(self): ...

    def advance(self, done, note):
        signal.raise_signal(signal.SIGINT)


def test_a_half_trained_teacher_is_gone_on_with(tmp_path):
    plan = alone(epochs=3, log_every=4)
    spec = specification(teacher=plan)
    with pytest.raises(Interrupted, match="Stopped at step 4"):
        distill(spec, tmp_path / "run", watcher=StopsTheTeacher())
    assert not (tmp_path / "run").exists()
    run = train(spec, tmp_path / "run", resume=True)
    teacher_run = Run(tmp_path / "teachers" / plan.hash[:16])
    assert_equal_weights(teacher_run, train(plan, tmp_path / "whole"))
    assert run.finished


def test_two_commands_that_want_one_teacher_train_it_once(tmp_path):
    script = tmp_path / "train.py"
    script.write_text("""
import sys
from tiny import alone, slow, specification
from limbeck.training.distill import distill
distill(specification(teacher=alone(prepare=slow, epochs=9)), sys.argv[1])
""")
    started = [
        subprocess.Popen(
            [sys.executable, str(script), str(tmp_path / name)],
            env=environment(TINY_PAUSE="0.01"),
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "other")
    ]
    said = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    assert sum("Training a teacher into" in line for line in said) == 1
    assert Run(tmp_path / "one").spec["teacher"] == Run(tmp_path / "other").spec["teacher"]


def members(count=3, **changes):
    return [alone(seed=seed, epochs=1, **changes) for seed in range(count)]


def sown_student():
    torch.manual_seed(12)
    return student()


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_an_ensemble_of_whatever_may_be_a_teacher(tmp_path, mean):
    finished = train(alone(seed=8), tmp_path / "finished")
    plan, module = alone(seed=9), teacher()
    ensemble = EnsembleOf(members=[plan, finished.path, module, sown_student], mean=mean, weights=(1, 2, 3, 4))
    run = train(specification(teacher=ensemble), tmp_path / "run")

    models = [load_student(tmp_path / "teachers" / plan.hash[:16]), load_student(finished), module, sown_student()]
    with torch.no_grad():
        z_MBC = torch.stack([model(features()).double() for model in models])
    w_M = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64)
    p_MBC = z_MBC.softmax(-1) if mean == "arithmetic" else z_MBC
    expected = torch.einsum("mbc,m->bc", p_MBC, w_M)
    answers = run.predictions("teacher", "train").logits
    assert_close(
        answers.softmax(-1), expected if mean == "arithmetic" else expected.softmax(-1), precision=torch.float32
    )


def test_a_stacked_ensemble_teaches_like_one_that_is_not(tmp_path):
    torch.manual_seed(1)
    nets = [student().double() for _ in range(3)]
    one, three = (
        train(double(teacher=EnsembleOf(members=nets, stacked=stacked, weights=(1, 2, 3))), tmp_path / str(stacked))
        for stacked in (True, False)
    )
    for name, tensor in weights(one).items():
        assert_close(tensor, weights(three)[name])


def test_an_ensemble_without_members_is_refused():
    with pytest.raises(SpecificationError, match=r"^EnsembleOf: there must be at least one member\.$"):
        EnsembleOf(members=[])


def test_members_trained_side_by_side_equal_members_trained_one_by_one(tmp_path):
    spec = specification(teacher=EnsembleOf(members=members()))
    apart = train(spec, tmp_path / "apart" / "run", parallel=3)
    here = train(spec, tmp_path / "here" / "run", parallel=1)
    assert_equal_weights(apart, here)
    assert apart.spec["teacher"] == here.spec["teacher"]
    for member in members():
        name = Path("teachers") / member.hash[:16]
        assert_equal_weights(Run(tmp_path / "apart" / name), Run(tmp_path / "here" / name))


def test_a_campaign_may_train_the_teacher_before_its_students(tmp_path):
    for source, trained in ((EnsembleOf(members=members(2)), 2), (alone(seed=6), 3), (teacher, 3)):
        spec = specification(teacher=source)
        train_teacher(spec, tmp_path / "teachers", watcher=Silent(), parallel=1)
        assert len(list((tmp_path / "teachers").glob("*/summary.json"))) == trained


def test_what_a_member_raises_in_a_worker_is_one_sentence_here(tmp_path):
    ensemble = EnsembleOf(members=members(2, data=unlabelled_rows))
    with pytest.raises(DataError, match=r"^The training rows have no labels") as caught:
        train(specification(teacher=ensemble), tmp_path / "run", parallel=2)
    assert "\n" not in str(caught.value)


def test_a_member_with_a_lambda_is_refused_where_another_process_needs_its_name(tmp_path):
    nameless = members(2, student=lambda: student())
    with pytest.raises(NotImportable, match=r"<lambda> \(test_teacher_sources\.py, line \d+\) cannot be found by name"):
        train(specification(teacher=EnsembleOf(members=nameless)), tmp_path / "run", parallel=2)
    nameless = members(2, optimizer=lambda weights: torch.optim.SGD(weights, lr=0.1))
    with pytest.raises(NotImportable, match="cannot be found by name, which another process or a resume needs"):
        train(specification(teacher=EnsembleOf(members=nameless)), tmp_path / "run", parallel=2)
    assert not list(tmp_path.rglob("spec.json"))
    # One by one they are trained here, where an optimiser needs no name.
    assert train(specification(teacher=EnsembleOf(members=nameless)), tmp_path / "run", parallel=1).finished


def test_members_with_rows_in_memory_are_trained_one_by_one(tmp_path):
    live = members(2, data=rows())
    with pytest.raises(NotImportable, match="A live TensorSet cannot be rebuilt from a record"):
        train(specification(teacher=EnsembleOf(members=live)), tmp_path / "run", parallel=2)
    assert train(specification(teacher=EnsembleOf(members=live)), tmp_path / "run", parallel=1).finished


def test_a_teacher_that_could_not_be_built_again_is_refused_before_it_is_trained(tmp_path):
    for nameless in ({"student": lambda: student()}, {"prepare": lambda columns: columns["features"]}):
        with pytest.raises(NotImportable, match="cannot be found by name"):
            train(specification(teacher=alone(**nameless)), tmp_path / "run")
    assert not list(tmp_path.rglob("spec.json"))


def test_students_may_be_lambdas_in_the_process_that_trains_them(tmp_path):
    run = train(specification(student=lambda: student(), prepare=lambda columns: columns["features"]), tmp_path / "run")
    assert run.finished


def test_a_teacher_is_scored_on_every_split(tmp_path):
    run = train(specification(data=splits, validation=0.1), tmp_path / "run")
    for split in ("train", "validation", "test"):
        answers = run.predictions("teacher", split)
        scored = run.summary["teacher"][split]
        assert scored["rows"] == len(answers.ids)
        assert scored["errors"] == (answers.logits.argmax(-1) != answers.labels).sum()
        ours = run.predictions("student", split)
        assert torch.equal(ours.ids, answers.ids)
        same = (ours.logits.argmax(-1) == answers.logits.argmax(-1)).double().mean()
        assert run.summary["student"][split]["agreement"] == pytest.approx(float(same))


def test_a_given_prepare_is_the_teachers(tmp_path):
    run = train(specification(teacher=teacher().double(), teacher_prepare=doubled), tmp_path / "run")
    expected = train(specification(), tmp_path / "expected")
    for name, tensor in weights(run).items():
        assert_close(tensor, weights(expected)[name])
