"""One network as a teacher."""

import pytest
import torch
from torch import nn

from limbeck.data.prepare import plain_features
from limbeck.errors import MismatchError
from limbeck.models import fingerprint
from limbeck.teachers.frozen import FrozenTeacher, prepare_of
from limbeck.types import Batch
from tiny import NAMES, doubled, dropout_student, features, student


def batch(prepare=plain_features):
    return Batch({prepare: prepare({"features": features(4)})}, None, torch.arange(4))


def test_a_teacher_neither_learns_nor_drops_units_out():
    module = dropout_student().train()
    teacher = FrozenTeacher(module, prepare=plain_features)
    first, second = (teacher(batch()).at(1.0).logits for _ in range(2))
    assert torch.equal(first, second)
    assert not first.requires_grad
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_what_a_teacher_answers_can_be_saved_for_the_students_backward_pass():
    logits = FrozenTeacher(student(), prepare=plain_features)(batch()).logits
    weight = torch.ones(4, 3, requires_grad=True)
    (weight * logits).sum().backward()
    assert torch.equal(weight.grad, logits)


def test_a_teacher_has_the_same_logits_at_every_temperature():
    knowledge = FrozenTeacher(student(), prepare=plain_features)(batch())
    assert knowledge.at(1.0).logits is knowledge.at(20.0).logits


def test_features_travel_with_the_knowledge_when_asked_for():
    module = student()
    answer = FrozenTeacher(module, prepare=plain_features, features=("0", "1"))(batch())
    assert torch.equal(answer.features["1"], module[0](features(4)).relu())
    assert set(answer.features) == {"0", "1"}
    assert not FrozenTeacher(module, prepare=plain_features)(batch()).features


def test_a_wrong_feature_is_refused_before_the_first_batch():
    with pytest.raises(MismatchError, match="Sequential has no submodule named 'hidden'"):
        FrozenTeacher(student(), prepare=plain_features, features=("hidden",))


def test_it_reads_what_its_own_prepare_made():
    module = student().double()
    teacher = FrozenTeacher(module, prepare=doubled, head="sigmoid", classes=list(NAMES))
    assert teacher.prepares == (doubled,)
    assert (teacher.head, teacher.classes) == ("sigmoid", NAMES)
    answer = teacher(batch(doubled)).at(2.0)
    assert (answer.head, answer.logits.dtype) == ("sigmoid", torch.float64)


def test_its_fingerprint_is_the_modules():
    module = student()
    assert FrozenTeacher(module, prepare=plain_features).fingerprint == fingerprint(module)


class Own(nn.Module):
    def prepare(self, columns):
        return columns["features"]


def test_a_given_prepare_goes_before_the_modules_own_and_that_before_the_default():
    own = Own()
    assert prepare_of(own, doubled, plain_features) is doubled
    assert prepare_of(own, None, plain_features) == own.prepare
    assert prepare_of(student(), None, plain_features) is plain_features


def test_a_teacher_moves_and_returns_itself():
    teacher = FrozenTeacher(student(), prepare=plain_features)
    assert teacher.to(torch.device("meta")) is teacher
    assert next(teacher.module.parameters()).device.type == "meta"
