"""Floating-point operations, counted by hand on small networks."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import tiny
from limbeck.campaigns.compute import NotCounted, compute_of, forward_flops, step_flops, training_flops
from limbeck.objective import HardLabels
from limbeck.specification import EnsembleOf

# 5-7-3: 2 · (5·7 + 7·3) = 112 forward; backward the same for the weights, and 2 · 7·3 = 42 for the hidden activations:
# nobody asks for the gradient in the input.
FORWARD, STEP = 112, 112 + 112 + 42
# 5-13-3
TEACHER = 2 * (5 * 13 + 13 * 3)
TRAIN = 48
"""Of 53 rows, those that are not held out of the tiny data."""


def taught(**changes):
    return tiny.specification(epochs=3, **changes)


def test_a_perceptron_by_hand():
    assert forward_flops(tiny.student(), torch.zeros(2, 5)) == 2 * FORWARD
    assert step_flops(tiny.student(), torch.zeros(2, 5)) == 2 * STEP


def test_a_convolution_by_hand():
    # 4 channels of 3 × 3 over 2 channels, at 6 × 6 places
    assert forward_flops(nn.Sequential(nn.Conv2d(2, 4, 3), nn.Flatten()), torch.zeros(1, 2, 8, 8)) == 2 * 36 * 4 * 2 * 9


def test_counting_changes_neither_mode_nor_weights_nor_generators():
    module = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Linear(7, 3))
    module[1].eval()
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    state = torch.get_rng_state()
    forward_flops(module, torch.zeros(4, 5))
    compute_of(taught())
    assert torch.equal(torch.get_rng_state(), state)
    assert (module.training, module[1].training, module[2].training) == (True, False, True)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_live_teacher_answers_every_row_in_every_epoch():
    compute = compute_of(taught())
    assert (compute.step, compute.answer, compute.rows, compute.answers) == (STEP, TEACHER, 53, 3)
    assert compute.student == 3 * 53 * STEP
    assert compute.total == 3 * 53 * (STEP + TEACHER)


def test_recorded_answers_are_paid_once_for_each_view():
    compute = compute_of(replace(taught(), targets="anywhere"))
    assert compute.total == 53 * (3 * STEP + TEACHER)


def test_members_add_up_whatever_they_are():
    member = tiny.alone(data=tiny.rows, epochs=5)
    both = EnsembleOf(members=(member, replace(member, seed=1), tiny.teacher))
    assert compute_of(taught(teacher=both)).answer == 2 * FORWARD + TEACHER
    pair = EnsembleOf(members=(member, replace(member, seed=1)))
    assert training_flops(pair) == 2 * 5 * 53 * STEP


def test_without_a_teacher_there_is_none_to_pay():
    compute = compute_of(tiny.alone(epochs=3))
    assert (compute.answer, compute.total) == (0, 3 * 53 * STEP)


def test_a_finished_run_tells_what_its_training_took(tmp_path):
    from limbeck.training.distill import distill
    from limbeck.training.progress import Silent

    run = distill(tiny.alone(epochs=2), tmp_path / "run", watcher=Silent())
    assert training_flops(run.path) == 2 * 53 * STEP
    assert compute_of(taught(teacher=run.path)).answer == FORWARD


def no_products():
    return nn.Flatten()


def wrong_width():
    return nn.Linear(4, 3)


class Stranger:
    fingerprint, head, classes, prepares = "0" * 64, "softmax", None, ()

    def __call__(self, batch):
        raise AssertionError


def test_what_cannot_be_counted_is_told():
    with pytest.raises(NotCounted, match="no operations in Flatten"):
        compute_of(tiny.alone(student=no_products))
    with pytest.raises(NotCounted, match="Linear cannot be counted"):
        compute_of(tiny.alone(student=wrong_width))
    with pytest.raises(NotCounted, match="neither a specification nor a run"):
        training_flops(tiny.teacher)
    compute = compute_of(taught(teacher=Stranger()))
    assert compute.total is None
    assert "a Stranger" in compute.why
    elsewhere = compute_of(replace(taught(), teacher=None, targets="anywhere"))
    assert (elsewhere.answer, elsewhere.total) == (None, None)
    assert "recorded elsewhere" in elsewhere.why
    assert compute_of(tiny.alone(objective=HardLabels())).why is None
