"""What has changed since a run was trained is noticed: its rows, the code that its specification names."""

from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim.lr_scheduler import LinearLR, MultiStepLR, SequentialLR

from limbeck.data.splits import Splits
from limbeck.data.tensors import TensorSet
from limbeck.errors import DataError, RunError
from limbeck.files import read_tensors
from limbeck.objective import HardLabels
from limbeck.references import load, source_hash
from limbeck.specification import Distillation
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from tiny import NAMES, features, rows, specification, splits, student

ADAM = partial(torch.optim.SGD, lr=1.0)


def read_rows(path):
    return TensorSet(features(), labels=torch.load(path, weights_only=True), classes=NAMES)


def warm_then_steps(optimizer, _steps):
    warm = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    return SequentialLR(optimizer, [warm, MultiStepLR(optimizer, milestones=[3, 5], gamma=0.1)], milestones=[2])


def test_a_teacher_whose_rows_have_changed_since_is_not_reused_in_silence(tmp_path):
    path = tmp_path / "labels.pt"
    torch.save(rows().labels, path)
    taught_by = Distillation(data=partial(read_rows, path), student=student, objective=HardLabels(), epochs=1)
    distill(specification(teacher=taught_by), tmp_path / "first", watcher=Silent())
    distill(specification(teacher=taught_by), tmp_path / "second", watcher=Silent())
    torch.save((rows().labels + 1) % 3, path)
    with pytest.raises(RunError, match="was trained on other rows than its specification now leads to"):
        distill(specification(teacher=taught_by), tmp_path / "third", watcher=Silent())
    assert not (tmp_path / "third").exists()


MODEL = """
from functools import partial
from torch import nn
import {parts}

WIDTH = {{"hidden": {width}}}

def student():
    return {parts}.block(WIDTH["hidden"])
"""
PARTS = """
from torch import nn

def block(width):
    return nn.Sequential(nn.Linear(3, width), nn.{activation}(), nn.Linear(width, 2))
"""


def test_the_hash_of_a_factory_follows_constants_and_other_modules_of_the_user(tmp_path):
    def hashed(number, width=4, activation="ReLU"):
        folder = tmp_path / str(number)
        folder.mkdir()
        parts = f"parts_{number}"
        (folder / f"{parts}.py").write_text(PARTS.format(activation=activation))
        (folder / "model.py").write_text(MODEL.format(parts=parts, width=width))
        found = load(f"{folder / 'model.py'}:student")
        return source_hash(found), found

    texts = {
        name: hashed(number, **changes)[0]
        for number, (name, changes) in enumerate(
            {
                "plain": {},
                "wider": {"width": 5},
                "tanh": {"activation": "Tanh"},
            }.items()
        )
    }
    assert len(set(texts.values())) == 3


def test_the_hash_of_a_specification_holds_the_source_of_a_users_term(tmp_path):
    text = """
from dataclasses import dataclass
from limbeck.objective import Term

@dataclass(frozen=True, kw_only=True)
class Mine(Term):
    name: str = "mine"
    def __call__(self, student, teacher, labels, step):
        return student.at(1.0).logits.square().sum(-1) * {factor}
"""
    hashes = []
    for factor in (1, 50):
        path = tmp_path / f"{factor}" / "terms.py"
        path.parent.mkdir()
        path.write_text(text.format(factor=factor))
        hashes.append(specification(teacher=None, objective=load(f"{path}:Mine")()).hash)
    assert hashes[0] != hashes[1]


def test_a_rate_schedule_of_schedules_goes_on_where_it_was(tmp_path):
    spec = specification(optimizer=ADAM, schedule=warm_then_steps, epochs=3, batch_size=16, checkpoint_seconds=0.0)
    whole = distill(spec, tmp_path / "whole", watcher=Silent())
    half = tmp_path / "half"
    with pytest.raises(KeyboardInterrupt):
        distill(replace(spec, prepare=Stopper(9)), half, watcher=Silent())
    distill(replace(spec, prepare=Stopper(10**9)), half, resume=True, watcher=Silent())
    ours, theirs = (read_tensors(path / "student" / "model.safetensors") for path in (half, whole.path))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


class Stopper:
    """A `prepare` that ends the process's patience after some calls."""

    calls = 0

    def __init__(self, most):
        self.most = most
        self.calls = 0

    fingerprint = "0"

    def __call__(self, columns):
        self.calls += 1
        if self.calls > self.most:
            raise KeyboardInterrupt
        return columns["features"]


def test_unlabelled_validation_rows_without_a_teacher_are_refused(tmp_path):
    blind = Splits(train=rows(), validation=TensorSet(features(11), classes=NAMES))
    with pytest.raises(DataError, match="validation rows have no labels, and there is no teacher"):
        spec = specification(data=blind, teacher=None, objective=HardLabels(), validation=0.1)
        distill(spec, tmp_path / "run", watcher=Silent())
    assert not (tmp_path / "run").exists()


def test_the_ledger_has_its_line_before_the_test_rows_are_scored(tmp_path):
    run = distill(specification(data=splits), tmp_path / "run", watcher=Silent())
    assert len((run.path / "ledger.jsonl").read_text().splitlines()) == 1
    assert (run.path / "ledger.jsonl").stat().st_mtime_ns <= (
        run.path / "predictions" / "student-test.safetensors"
    ).stat().st_mtime_ns
