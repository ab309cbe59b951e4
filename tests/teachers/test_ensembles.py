"""Ensembles against means of distributions written in NumPy, in float64."""

import numpy as np
import pytest
import torch
from torch import nn

from limbeck.data.prepare import plain_features
from limbeck.errors import ArgumentError, MismatchError
from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.types import Batch, LogitKnowledge
from tiny import FEATURES, NAMES, doubled, features
from tolerances import assert_close

MEMBERS, ROWS, CLASSES = 3, 7, 5
WEIGHTS = (0.5, 2.0, 1.0)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def arithmetic(p_MBC, w_M):
    return np.tensordot(w_M, p_MBC, 1)


def geometric(p_MBC, w_M):
    """The weighted geometric mean of distributions along the last axis, scaled to sum to 1."""
    product = np.prod(p_MBC ** w_M[:, None, None], axis=0)
    return product / product.sum(-1, keepdims=True)


def geometric_of_labels(p_MBC, w_M):
    yes, no = (np.prod(p ** w_M[:, None, None], axis=0) for p in (p_MBC, 1 - p_MBC))
    return yes / (yes + no)


ORACLES = {
    ("softmax", "arithmetic"): (softmax, arithmetic),
    ("softmax", "geometric"): (softmax, geometric),
    ("sigmoid", "arithmetic"): (sigmoid, arithmetic),
    ("sigmoid", "geometric"): (sigmoid, geometric_of_labels),
}


class Recorded:
    """A teacher of a user's own making: fixed logits."""

    prepares = ()
    classes = None

    def __init__(self, logits_BC, head="softmax"):
        self.logits_BC = logits_BC
        self.head = head
        self.fingerprint = str(hash(bytes(logits_BC.numpy())))

    def __call__(self, batch):
        return LogitKnowledge(self.logits_BC[batch.ids], self.head)

    def to(self, device):
        return self


def logits_of_members():
    return 3 * torch.randn(MEMBERS, ROWS, CLASSES, dtype=torch.float64, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0, 20.0])
@pytest.mark.parametrize(("head", "mean"), ORACLES)
def test_an_ensemble_answers_with_the_mean_of_its_members_distributions(head, mean, temperature, weights):
    z_MBC = logits_of_members()
    ids = torch.tensor([6, 0, 3])
    ensemble = Ensemble([Recorded(z_BC, head) for z_BC in z_MBC], mean=mean, weights=weights)
    answer = ensemble(Batch({}, None, ids)).at(temperature)

    probabilities, mixture = ORACLES[head, mean]
    w_M = np.ones(MEMBERS) if weights is None else np.array(weights)
    expected = mixture(probabilities(z_MBC.numpy() / temperature), w_M / w_M.sum())[ids]
    tempered = answer.logits / temperature
    assert answer.head == head
    assert_close(tempered.softmax(-1) if head == "softmax" else tempered.sigmoid(), expected)


def test_a_geometric_mean_has_the_mean_logits_and_one_member_is_itself():
    z_MBC = logits_of_members()
    batch = Batch({}, None, torch.arange(ROWS))
    ensemble = Ensemble([Recorded(z_BC) for z_BC in z_MBC], mean="geometric")
    for temperature in (1.0, 8.0):
        assert_close(ensemble(batch).at(temperature).logits, z_MBC.mean(0))
    alone = Ensemble([Recorded(z_MBC[0])])(batch).at(3.0).logits / 3
    assert_close(alone.softmax(-1), (z_MBC[0] / 3).softmax(-1))


def test_a_member_of_weight_zero_has_no_say():
    z_MBC = logits_of_members()
    batch = Batch({}, None, torch.arange(ROWS))
    for mean in ("arithmetic", "geometric"):
        some = Ensemble([Recorded(z_BC) for z_BC in z_MBC], mean=mean, weights=(1.0, 0.0, 3.0))(batch)
        others = Ensemble([Recorded(z_MBC[0]), Recorded(z_MBC[2])], mean=mean, weights=(1.0, 3.0))(batch)
        assert_close(some.at(2.0).logits, others.at(2.0).logits)


def network(seed, width=7):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(FEATURES, width), nn.BatchNorm1d(width), nn.Tanh(), nn.Linear(width, 3))
    net[1].running_mean.normal_()
    net[1].running_var.uniform_(0.5, 2)
    return net.double()


def frozen(*modules, prepare=doubled, **more):
    return [FrozenTeacher(module, prepare=prepare, **more) for module in modules]


def batch_for(*prepares):
    columns = {"features": features(11)}
    return Batch({prepare: prepare(columns) for prepare in prepares}, None, torch.arange(11))


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
def test_stacked_members_answer_like_members_called_one_by_one(mean):
    def ensemble(stacked):
        return Ensemble(frozen(*map(network, range(4))), mean=mean, weights=(1, 2, 3, 4), stacked=stacked)

    batch = batch_for(doubled)
    for temperature in (1.0, 5.0):
        one_call, four_calls = (ensemble(stacked)(batch).at(temperature).logits for stacked in (True, False))
        assert_close(one_call, four_calls)
    assert ensemble(True).fingerprint == ensemble(False).fingerprint


class TakesAMapping(nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.net = network(seed)

    def forward(self, left, right):
        return {"logits": self.net(left) - self.net(right)}


def two_inputs(columns):
    return {"right": columns["features"].double(), "left": 2 * columns["features"].double()}


def test_stacked_members_may_take_mappings_and_return_them():
    batch = batch_for(two_inputs)
    members = frozen(TakesAMapping(0), TakesAMapping(1), prepare=two_inputs)
    stacked, plain = (Ensemble(members, stacked=stacked)(batch).at(2.0).logits for stacked in (True, False))
    assert_close(stacked, plain)


def test_members_may_read_the_rows_in_different_ways():
    wide = network(1).float()
    members = [*frozen(network(0)), *frozen(wide, prepare=plain_features)]
    ensemble = Ensemble(members, mean="geometric")
    assert ensemble.prepares == (doubled, plain_features)
    batch = batch_for(doubled, plain_features)
    expected = (members[0](batch).logits + members[1](batch).logits.double()) / 2
    torch.testing.assert_close(ensemble(batch).at(1.0).logits.double(), expected, rtol=1e-5, atol=1e-5)


def test_a_fingerprint_depends_on_members_mean_and_shares():
    members = frozen(network(0), network(1))
    prints = [
        Ensemble(members).fingerprint,
        Ensemble(members, mean="geometric").fingerprint,
        Ensemble(members, weights=(1, 3)).fingerprint,
        Ensemble(frozen(network(0), network(2))).fingerprint,
        Ensemble(members[:1]).fingerprint,
    ]
    assert len(set(prints)) == len(prints)
    assert Ensemble(members, weights=(2, 2)).fingerprint == Ensemble(members).fingerprint


def test_classes_that_some_members_know_are_the_ensembles():
    assert Ensemble([*frozen(network(0)), *frozen(network(1), classes=NAMES)]).classes == NAMES
    assert Ensemble(frozen(network(0))).classes is None


def sigmoid_and_softmax():
    return Ensemble([Recorded(torch.zeros(2, 3)), Recorded(torch.zeros(2, 3), "sigmoid")])


def two_orders():
    return Ensemble([*frozen(network(0), classes=NAMES), *frozen(network(1), classes=NAMES[::-1])])


def two_sizes():
    batch = Batch({}, None, torch.tensor([0]))
    return Ensemble([Recorded(torch.zeros(2, 3)), Recorded(torch.zeros(2, 4))])(batch)


def nested():
    batch = Batch({}, None, torch.tensor([0]))
    return Ensemble([Ensemble([Recorded(torch.zeros(2, 3))]), Recorded(torch.zeros(2, 3))])(batch)


@pytest.mark.parametrize(
    ("build", "kind", "sentence"),
    [
        (lambda: Ensemble([]), MismatchError, r"there must be at least one member\."),
        (sigmoid_and_softmax, MismatchError, "some members have a softmax head and some a sigmoid head; all must have"),
        (two_orders, MismatchError, r"disagree on the classes or their order: \('elm', .*\) against \('oak', .*\)\."),
        (two_sizes, MismatchError, r"members must have the same classes\. Numbers of classes: \[3, 4\]\."),
        (nested, MismatchError, "one answers with a MixtureKnowledge; of an ensemble within an ensemble, give"),
        (lambda: Ensemble(frozen(network(0)), mean="harmonic"), MismatchError, "mean must be one of arithmetic, geome"),
        (lambda: Ensemble(frozen(network(0)), weights=(1, 2)), ArgumentError, "one weight for each of 1. Got 2 weight"),
        (lambda: Ensemble(frozen(network(0)), weights=()), ArgumentError, "one weight for each of 1. Got 0 weights"),
        (lambda: Ensemble(frozen(network(0)), weights=(-1,)), ArgumentError, "must be finite and not negative"),
        (lambda: Ensemble(frozen(network(0)), weights=(0,)), ArgumentError, "at least one weight must be above zero"),
        (
            lambda: Ensemble(frozen(network(0), network(1, width=8)), stacked=True),
            MismatchError,
            "stacked members must have one architecture; leave `stacked` off for others",
        ),
        (
            lambda: Ensemble([*frozen(network(0)), Recorded(torch.zeros(2, 3))], stacked=True),
            MismatchError,
            "stacked members must be frozen modules with one and the same `prepare`",
        ),
        (
            lambda: Ensemble([*frozen(network(0)), *frozen(network(1), prepare=plain_features)], stacked=True),
            MismatchError,
            "stacked members must be frozen modules with one and the same `prepare`",
        ),
    ],
)
def test_members_that_cannot_answer_together_are_refused(build, kind, sentence):
    with pytest.raises(kind, match=f"^Ensemble: .*{sentence}"):
        build()
