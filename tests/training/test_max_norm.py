"""The max-norm constraint: by hand, against a slow loop, against plain PyTorch, through stops and resumes."""

import json
import math
from dataclasses import replace
from functools import partial

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from limbeck.errors import ResumeError, SpecificationError
from limbeck.files import read_tensors
from limbeck.specification import from_json, hash_of, to_json
from limbeck.training.distill import distill
from limbeck.training.max_norm import hidden_weights, project
from limbeck.training.progress import Silent
from plain import plain_training, soft_loss
from tiny import ADAM, CLASSES, FEATURES, double, double_student, double_teacher, features, rows, specification, student
from tolerances import assert_close

LIMIT = 0.6
"""Below what the hidden units of `tiny.student` come to by themselves."""
FAST = partial(torch.optim.Adam, lr=0.1)


def bits(tensor):
    return tensor.numpy().tobytes()


def test_a_unit_of_a_linear_layer_is_scaled_to_the_limit():
    layer = nn.Linear(2, 3)
    layer.weight.data = torch.tensor([[3.0, 4.0], [0.6, 0.8], [0.0, -2.5]])
    bias = layer.bias.detach().clone()
    project([layer.weight], 2.5)
    assert layer.weight.tolist() == [[1.5, 2.0], torch.tensor([0.6, 0.8]).tolist(), [0.0, -2.5]]
    assert torch.equal(layer.bias, bias)


def test_a_unit_of_a_convolution_is_all_that_comes_in_to_it():
    weight = torch.stack([torch.full((3, 2, 2), 1.0), torch.full((3, 2, 2), 0.25)])  # norms √12 and √12 / 4
    project([weight], math.sqrt(3))
    assert_close(weight, torch.stack([torch.full((3, 2, 2), 0.5), torch.full((3, 2, 2), 0.25)]))


def test_a_stack_has_a_limit_for_each_replica():
    stack = torch.tensor([[[3.0, 4.0], [6.0, 8.0]]]).repeat(3, 1, 1)
    project([stack], torch.tensor([2.5, math.inf, 7.5], dtype=torch.float64))
    assert stack.tolist() == [[[1.5, 2.0]] * 2, [[3.0, 4.0], [6.0, 8.0]], [[3.0, 4.0], [4.5, 6.0]]]


numbers = st.floats(-9, 9, width=32)


@given(
    units=st.lists(st.lists(numbers, min_size=8, max_size=8), min_size=1, max_size=5),
    limit=st.floats(0.1, 12),
    shape=st.sampled_from([(8,), (2, 4), (2, 2, 2)]),
)
def test_shorter_units_keep_their_bits_and_longer_ones_their_direction(units, limit, shape):
    before = torch.tensor(units).reshape(-1, *shape)
    after = before.clone()
    project([after], limit)
    for old, new in zip(before, after, strict=True):
        length = math.sqrt(sum(float(value) ** 2 for value in old.flatten()))
        if length < limit * (1 - 1e-6):
            assert bits(new) == bits(old)
        else:
            torch.testing.assert_close(new, old * (limit / length), rtol=1e-6, atol=1e-7)


@given(length=st.floats(0.0625, 4096, width=32))
def test_a_unit_of_just_the_limit_keeps_its_bits_beside_a_longer_one(length):
    weight = torch.tensor([[length], [2 * length]])
    project([weight], length)
    assert bits(weight[0]) == bits(torch.tensor([length]))
    assert weight[1].item() == pytest.approx(length, rel=1e-6)


def test_memory_in_another_order_changes_nothing():
    weight = torch.randn(5, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    expected, found = weight.clone(), weight.clone(memory_format=torch.channels_last)
    project([expected], 1.0)
    project([found], 1.0)
    assert_close(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)
    assert not torch.equal(expected, weight)


def test_a_weight_of_zeros_stays_zero_beside_a_longer_one():
    weight = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    project([weight], 1.0)
    assert_close(weight, torch.tensor([[0.0, 0.0], [0.6, 0.8]]))


class HeadFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(7, CLASSES)
        self.body = nn.Linear(FEATURES, 7)


class Tied(nn.Module):
    """Words in, words out: the logits are products with the embedding."""

    def __init__(self):
        super().__init__()
        self.words = nn.Embedding(CLASSES, 7)
        self.recurrent = nn.LSTM(7, 7)
        self.attention = nn.MultiheadAttention(7, 1)
        self.last = nn.Linear(7, 7)


def narrow():
    """A hidden layer with as many units as there are classes."""
    return nn.Sequential(nn.Linear(FEATURES, CLASSES), nn.ReLU(), nn.Linear(CLASSES, CLASSES))


def convolutions():
    layers = [nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ConvTranspose2d(4, 5, 2), nn.Conv1d(4, 6, 1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(9, 7), nn.LayerNorm(7), nn.Linear(7, CLASSES))


def frozen():
    net = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 11), nn.Linear(11, CLASSES))
    net[0].requires_grad_(False)
    return net


def shared():
    """One layer used twice, and one that shares its weights with the layer of the logits."""
    one, head = nn.Linear(CLASSES, CLASSES), nn.Linear(CLASSES, CLASSES)
    echo, twin = nn.Linear(CLASSES, CLASSES), nn.Linear(CLASSES, CLASSES)
    echo.weight, twin.weight = head.weight, one.weight
    return nn.Sequential(one, twin, echo, head)


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (student, ["0.weight"]),
        (HeadFirst, ["body.weight"]),
        (Tied, ["attention.out_proj.weight", "last.weight"]),
        (narrow, ["0.weight"]),
        (convolutions, ["0.weight", "3.weight", "5.weight"]),
        (frozen, ["1.weight"]),
        (shared, ["0.weight"]),
    ],
)
def test_hidden_are_all_layers_but_the_one_that_makes_the_logits(make, names):
    net = make()
    found = hidden_weights(net, CLASSES)
    assert list(found) == names
    assert all(weight is net.get_parameter(name) for name, weight in found.items())


def single_layer():
    return nn.Linear(FEATURES, CLASSES)


def normed():
    return nn.Sequential(weight_norm(nn.Linear(FEATURES, 7)), nn.ReLU(), nn.Linear(7, CLASSES))


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (single_layer, "and the student Linear trains none; leave max_norm out."),
        (normed, "layer '0': its weights are computed from others in each call"),
    ],
)
def test_what_cannot_be_constrained_is_refused_before_anything_is_written(make, sentence, tmp_path):
    with pytest.raises(SpecificationError, match=sentence):
        distill(specification(student=make, max_norm=LIMIT), tmp_path / "run", watcher=Silent())
    assert not (tmp_path / "run").exists()
    assert distill(specification(student=make, epochs=1), tmp_path / "run", watcher=Silent()).finished


def trained(spec, out, **flags):
    return read_tensors(distill(spec, out, watcher=Silent(), **flags).weights)


def test_a_constrained_student_ends_where_plain_torch_ends(tmp_path):
    def shorten(model):
        with torch.no_grad():
            for unit in model[0].weight:
                unit *= min(1.0, LIMIT / unit.norm().item())

    def loss(z, v, y, step):
        return 0.7 * soft_loss(z, v, 4.0) + 0.3 * F.cross_entropy(z, y)

    plain = {"inputs": features().double(), "labels": rows().labels, "loss": loss, "epochs": 3, "batch_size": 8}
    plain |= {"student": double_student, "teacher": double_teacher(), "optimizer": ADAM}
    expected = plain_training(**plain, after=shorten).state_dict()
    found = trained(double(epochs=3, max_norm=LIMIT), tmp_path / "run")
    for name, tensor in found.items():
        assert_close(tensor, expected[name])
    assert not torch.allclose(found["0.weight"], plain_training(**plain).state_dict()["0.weight"])


SEEN = []


class Watched(nn.Module):
    """Notes the longest weights of both layers at each training step."""

    def __init__(self):
        super().__init__()
        self.layers = student()

    def forward(self, inputs):
        if self.training:
            SEEN.append([layer.weight.detach().norm(dim=1).max().item() for layer in (self.layers[0], self.layers[2])])
        return self.layers(inputs)


def test_no_hidden_unit_is_longer_than_the_limit_after_any_step(tmp_path):
    SEEN.clear()
    found = trained(specification(student=Watched, max_norm=LIMIT, optimizer=FAST, epochs=3), tmp_path / "run")
    hidden, logits = zip(*SEEN[1:], strict=True)  # the first step sees the weights as they were drawn
    assert len(hidden) == 3 * 7 - 1
    assert max(hidden) <= LIMIT * (1 + 1e-6)
    assert min(hidden) > 0.9 * LIMIT  # it binds
    assert max(logits) > LIMIT  # those of the logits are free
    assert found["layers.0.weight"].norm(dim=1).max() <= LIMIT * (1 + 1e-6)


def test_a_limit_that_nothing_reaches_changes_no_bit(tmp_path):
    free, loose = (trained(specification(max_norm=most), tmp_path / str(most)) for most in (None, 1e6))
    assert all(torch.equal(free[name], loose[name]) for name in free)


def test_a_resumed_run_ends_on_the_bits_of_one_that_was_not_stopped(tmp_path):
    spec = specification(max_norm=LIMIT, optimizer=FAST, epochs=4)
    expected = trained(spec, tmp_path / "whole")
    trained(replace(spec, epochs=2), tmp_path / "parts")
    found = trained(spec, tmp_path / "parts", resume=True)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def without_the_field(encoded):
    """As it was written before there was such a field, in teachers within too."""
    if isinstance(encoded, dict):
        return {key: without_the_field(part) for key, part in encoded.items() if key != "max_norm"}
    return [without_the_field(part) for part in encoded] if isinstance(encoded, list) else encoded


def test_a_specification_of_before_loads_and_has_the_hash_that_it_had():
    spec = specification(teacher=specification())
    before = without_the_field(to_json(spec))
    assert "max_norm" not in json.dumps(before)
    assert from_json(before).max_norm is None
    assert hash_of(before) == spec.hash == from_json(before).hash
    assert replace(spec, max_norm=LIMIT).hash != spec.hash


def test_a_run_of_before_is_gone_on_with(tmp_path):
    trained(specification(epochs=1), tmp_path / "run")
    path = tmp_path / "run" / "spec.json"
    path.write_text(json.dumps(without_the_field(json.loads(path.read_text()))))
    found = trained(specification(epochs=2), tmp_path / "run", resume=True)
    expected = trained(specification(epochs=2), tmp_path / "whole")
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize(("before", "after"), [(None, LIMIT), (LIMIT, None), (LIMIT, 2 * LIMIT)])
def test_another_limit_is_another_specification(before, after, tmp_path):
    trained(specification(max_norm=before, epochs=1), tmp_path / "run")
    with pytest.raises(ResumeError, match=r"what differs is: max_norm\."):
        trained(specification(max_norm=after, epochs=1), tmp_path / "run", resume=True)
