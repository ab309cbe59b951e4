"""A specification is told in words, from its record alone."""

from functools import partial

import pytest
import torch
from torch import nn

from limbeck.evidence.facts import in_words
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation, EnsembleOf, to_json


def network(width):
    return nn.Linear(3, width)


def test_an_objective_is_told_with_its_weights_and_settings():
    objective = 0.75 * SoftTargets(temperature=2.0) + 0.25 * HardLabels(smoothing=0.1)
    told = in_words(to_json(objective))
    assert told == "0.75 · SoftTargets(temperature=2.0, divergence=forward_kl) + 0.25 · HardLabels(smoothing=0.1)"


def test_an_ensemble_is_told_by_its_mean_and_what_its_members_are():
    member = Distillation(data=network, student=partial(network, 5), objective=HardLabels())
    told = in_words(to_json(EnsembleOf(members=(member, member), mean="geometric")))
    assert told == "geometric mean of 2 × network(5), trained first"


@pytest.mark.parametrize(
    ("value", "told"),
    [(partial(torch.optim.SGD, lr=0.5), "SGD(lr=0.5)"), (network, "network"), (3, 3), (["a", "b"], "a, b")],
)
def test_factories_and_plain_values_are_told_as_one_would_write_them(value, told):
    assert in_words(to_json(value)) == told
