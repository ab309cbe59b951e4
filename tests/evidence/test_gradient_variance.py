"""The variance of rows' gradients under any loss, against a backward pass a row, by hand, and by its laws."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import tiny
from limbeck.data.prepare import plain_features
from limbeck.errors import ArgumentError, ObjectiveError, SpecificationError
from limbeck.evidence.gradient_variance import GradientVariance, gradient_variance
from limbeck.objective import HardLabels, Loss, SoftTargets
from limbeck.schedules import Linear
from limbeck.types import Batch, LogitKnowledge


def batch_of(inputs, labels):
    return Batch({plain_features: inputs}, labels, torch.arange(len(labels)))


def some_rows(count=23):
    rows = tiny.rows(count)
    return batch_of(tiny.features(count).double(), rows.labels)


def taught(batch):
    with torch.no_grad():
        return LogitKnowledge(tiny.double_teacher()(batch.inputs[plain_features]))


def double_student(make=tiny.student):
    torch.manual_seed(1)
    return make().double()


def slow(loss, student, batch, knowledge, step=0):
    """Mean gradient and covariance from their definitions, with a backward pass for each row."""
    rows = []
    for index in range(len(batch)):
        one = batch_of(batch.inputs[plain_features][index : index + 1], batch.labels[index : index + 1])
        known = None if knowledge is None else LogitKnowledge(knowledge.logits[index : index + 1])
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        parts = torch.autograd.grad(loss(student, one, known, step).total, parameters)
        rows.append(torch.cat([part.flatten() for part in parts]))
    gradients = torch.stack(rows)
    trace = float(torch.cov(gradients.T).trace())
    return trace, float(gradients.mean(0).square().sum()) - trace / len(batch)


LOSSES = {"soft": 1.0 * SoftTargets(temperature=4.0), "hard": 1.0 * HardLabels(), "both": tiny.both()}


@pytest.mark.parametrize("name", LOSSES)
def test_it_is_what_one_backward_pass_a_row_gives(name):
    batch, student, loss = some_rows(), double_student(), Loss(LOSSES[name], plain_features)
    found = gradient_variance(loss, student, batch, taught(batch))
    trace, squared = slow(loss, student, batch, taught(batch))
    assert (found.variance, found.squared_mean, found.rows) == (pytest.approx(trace), pytest.approx(squared), 23)
    assert found.noise == pytest.approx(trace / squared)


def test_rows_taken_in_parts_give_the_same(monkeypatch):
    batch, student, loss = some_rows(), double_student(), Loss(tiny.both(), plain_features)
    whole = gradient_variance(loss, student, batch, taught(batch))
    monkeypatch.setattr("limbeck.evidence.gradient_variance._AT_ONCE", 300)
    parts = gradient_variance(loss, student, batch, taught(batch))
    assert (parts.variance, parts.squared_mean) == pytest.approx((whole.variance, whole.squared_mean))


def test_two_rows_by_hand():
    # Weights of zero: both classes have 1/2. Gradients (q - y) xᵀ: ((-½, ½) · 2, (½, -½) · 1) = ∓ of norms² 2 and ½,
    # opposite: mean norm² = (√2 - √½)² / 4 = 1/8, variance = 2 + ½ - 2 / 8 = 9/4.
    student = nn.Linear(1, 2, bias=False).double()
    nn.init.zeros_(student.weight)
    batch = batch_of(torch.tensor([[2.0], [1.0]], dtype=torch.float64), torch.tensor([0, 1]))
    found = gradient_variance(Loss(1.0 * HardLabels(), plain_features), student, batch, None)
    assert found.variance == pytest.approx(9 / 4)
    assert found.squared_mean == pytest.approx(1 / 8 - 9 / 8)
    assert found.noise == math.inf


@given(st.floats(0.01, 100.0))
@settings(deadline=None, max_examples=10)
def test_a_loss_c_times_as_large_has_c_squared_the_variance_and_the_same_noise(factor):
    batch, student = some_rows(11), double_student()
    one = gradient_variance(Loss(tiny.both(), plain_features), student, batch, taught(batch))
    other = gradient_variance(Loss(factor * tiny.both(), plain_features), student, batch, taught(batch))
    assert other.variance == pytest.approx(factor**2 * one.variance)
    assert other.squared_mean == pytest.approx(factor**2 * one.squared_mean)
    assert other.noise == pytest.approx(one.noise)


def test_equal_rows_have_no_variance():
    inputs = tiny.features(1).double().expand(13, -1)
    found = gradient_variance(
        Loss(1.0 * HardLabels(), plain_features), double_student(), batch_of(inputs, torch.ones(13).long()), None
    )
    assert found.variance == pytest.approx(0.0, abs=1e-12)
    assert found.squared_mean > 0.01
    assert GradientVariance(variance=0.0, squared_mean=0.0, rows=2).noise == 0.0


def test_both_estimates_are_unbiased():
    # The variance is the mean of |g_i - g_j|² / 2 over all pairs of different rows, the squared mean that of g_i · g_j.
    batch, student, loss = some_rows(7), double_student(), Loss(1.0 * HardLabels(), plain_features)
    inputs, labels = batch.inputs[plain_features], batch.labels
    pairs = [
        gradient_variance(loss, student, batch_of(inputs[[i, j]], labels[[i, j]]), None)
        for i in range(7)
        for j in range(7)
        if i != j
    ]
    whole = gradient_variance(loss, student, batch, None)
    assert sum(pair.variance for pair in pairs) / len(pairs) == pytest.approx(whole.variance)
    assert sum(pair.squared_mean for pair in pairs) / len(pairs) == pytest.approx(whole.squared_mean)


def test_weights_and_temperatures_are_those_of_the_step():
    batch, student = some_rows(), double_student()
    moving = Loss(Linear(start=1.0, stop=3.0, steps=10) * HardLabels(), plain_features)
    start, end = (gradient_variance(moving, student, batch, None, step) for step in (0, 10))
    assert end.variance == pytest.approx(9 * start.variance)


def test_the_student_stays_as_it_was_and_is_asked_in_eval_mode():
    batch, student = some_rows(), double_student(tiny.dropout_student)
    student[0].requires_grad_(False)
    student[2].eval()
    loss = Loss(1.0 * HardLabels(), plain_features)
    before, modes = {k: v.clone() for k, v in student.state_dict().items()}, [m.training for m in student.modules()]
    found = gradient_variance(loss, student, batch, None)
    assert modes == [module.training for module in student.modules()]
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())
    trace, _ = slow(loss, student.eval(), batch, None)
    assert found.variance == pytest.approx(trace)  # of the parameters that learn, without dropout


class Undecided(nn.Module):
    """Its way depends on the values."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(tiny.FEATURES, tiny.CLASSES)

    def forward(self, x):
        return self.body(x) if x.sum().item() > -1e9 else self.body(-x)


def test_what_cannot_be_measured_is_refused():
    batch, loss = some_rows(), Loss(tiny.both(), plain_features)
    one = batch_of(batch.inputs[plain_features][:1], batch.labels[:1])
    with pytest.raises(ArgumentError, match=r"^gradient_variance: there must be at least two rows\. Got 1\.$"):
        gradient_variance(loss, double_student(), one, taught(one))
    with pytest.raises(ObjectiveError, match=r"^Term 'soft' cannot be computed: there is no teacher"):
        gradient_variance(loss, double_student(), batch, None)
    with pytest.raises(SpecificationError, match=r"^The student, row by row, raised RuntimeError"):
        gradient_variance(loss, double_student(Undecided), batch, taught(batch))
