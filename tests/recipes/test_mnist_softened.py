import math
from types import SimpleNamespace

import pytest
import torch

from limbeck.data.tensors import TensorSet
from limbeck.training.evaluate import Predictions
from limbeck_recipes.reproductions.mnist_softened import softened

ROWS = (
    # label, what else it is like, its probability; the rest share a thousandth of that
    (2, 3, 0.4),
    (2, 3, 1e-6),
    (2, 3, 1e-5),
    (2, 3, 1e-4),
    (2, 7, 1e-7),
    (9, 4, 1e-8),
    (9, 4, 0.3),
    (4, 9, 0.6),  # taken for a 9
)


def logits_of(label, like, probability):
    rest = probability / 1000
    row = torch.full((10,), math.log(rest / 8), dtype=torch.float64)
    row[like] = math.log(probability)
    row[label] = math.log(1 - probability - rest)
    return row


@pytest.fixture
def told():
    labels = torch.tensor([label for label, *_ in ROWS])
    # The teacher learnt from every other row of the set, and answers these.
    ids = 2 * torch.arange(len(ROWS))
    images = (torch.arange(2 * len(ROWS), dtype=torch.uint8)[:, None, None, None] + 100).expand(-1, 1, 28, 28)
    answers = Predictions(ids=ids, logits=torch.stack([logits_of(*row) for row in ROWS]), labels=labels)
    run = SimpleNamespace(finished=True, predictions=lambda who, split: answers)
    every = labels.repeat_interleave(2)
    rows = TensorSet({"image": images.contiguous()}, labels=every, classes=tuple("0123456789"))
    return softened(("teacher", 0), lambda: rows, SimpleNamespace(run=lambda name, seed: run))


def test_the_digit_of_a_class_that_the_teacher_is_least_sure_of_and_gets_right(told):
    assert [(entry["id"], entry["label"]) for entry in told["softened"]] == [(0, 2), (12, 9)]
    first = told["softened"][0]
    assert first["pixels"] == [[100] * 28] * 28
    assert first["probabilities"]["1"][3] == pytest.approx(0.4)
    assert told["softened"][1]["pixels"] == [[112] * 28] * 28
    row = logits_of(*ROWS[0])
    assert first["probabilities"]["20"] == pytest.approx((row / 20).softmax(-1).tolist())


def test_what_sure_digits_are_like_is_counted(told):
    sure = told["sure"]
    expected = [[0] * 10 for _ in range(10)]
    expected[2][3], expected[2][7], expected[9][4] = 3, 1, 1
    assert sure["most_like"] == expected
    assert (sure["least"], sure["rows"]) == (0.999, 8)
    assert sure["median_of_most_like"] == pytest.approx(1e-6)


def test_of_a_likeness_the_digit_in_the_middle_is_shown(told):
    assert [entry["id"] for entry in told["sure"]["digits"]] == [4, 8]


def test_nothing_is_shown_of_a_teacher_that_is_not_trained():
    run = SimpleNamespace(finished=False)
    assert softened(("teacher", 0), lambda: None, SimpleNamespace(run=lambda name, seed: run)) == {}
