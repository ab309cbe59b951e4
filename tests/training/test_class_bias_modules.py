"""Biases in a model's last layer or around it: what the copy answers, what it keeps, what it leaves alone."""

import copy
import doctest
import pickle

import pytest
import torch
from torch import nn

import tiny
from limbeck import ClassBias, with_class_bias
from limbeck.errors import ArgumentError, MismatchError
from limbeck.models import caller_of, fingerprint, logits_of
from limbeck.training import class_bias
from limbeck.training.class_bias import layer_of_logits
from tolerances import assert_close

BIAS = torch.tensor([0.0, 3.5, -7.6])


def rows():
    return tiny.features(11, seed=3)


class HeadFirst(nn.Module):
    """No Sequential, and its last layer is the first that is made."""

    classes = tiny.NAMES

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(7, tiny.CLASSES)
        self.body = nn.Linear(tiny.FEATURES, 7)
        self.gate = nn.Linear(tiny.CLASSES, tiny.CLASSES)
        self.drop = nn.Dropout()

    def prepare(self, columns):
        return columns["features"] * 2

    def forward(self, x):
        return self.head(self.drop(self.body(x).relu()))


class Pooled(nn.Module):
    """Logits are the mean of a convolution's maps over all places."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(1)
        self.maps = nn.Conv1d(1, tiny.CLASSES, 3)

    def forward(self, x):
        return {"logits": self.maps(self.norm(x.unsqueeze(1))).mean(-1), "loss": None}


class Rectified(nn.Module):
    """Logits are clipped after the last layer: a bias in it is not one of the logits."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(tiny.FEATURES, tiny.CLASSES)

    def forward(self, x):
        return (self.body(x) + 50).relu()  # none of the rows is clipped


class Twice(nn.Module):
    """The last layer works twice."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(tiny.FEATURES, tiny.CLASSES)
        self.again = nn.Linear(tiny.CLASSES, tiny.CLASSES)

    def forward(self, x):
        return self.again(self.again(self.body(x)))


def headless():
    return nn.Sequential(nn.Linear(tiny.FEATURES, 7), nn.ReLU(), nn.Linear(7, tiny.CLASSES, bias=False))


def log_softmax():
    return nn.Sequential(nn.Linear(tiny.FEATURES, tiny.CLASSES), nn.LogSoftmax(-1))


def asked(model, inputs):
    training = model.training
    with torch.no_grad():
        found = logits_of(caller_of(model.eval())(inputs))
    model.train(training)
    return found


INSIDE = {
    "sequential": (tiny.student, "2"),
    "head-first": (HeadFirst, "head"),
    "pooled": (Pooled, "maps"),
    "dropout": (tiny.dropout_student, "3"),
    "double": (lambda: nn.Linear(tiny.FEATURES, tiny.CLASSES), ""),
}
AROUND = {"headless": headless, "rectified": Rectified, "twice": Twice, "log-softmax": log_softmax}


@pytest.mark.parametrize("name", INSIDE)
def test_a_last_layer_with_a_bias_takes_it(name):
    make, layer = INSIDE[name]
    torch.manual_seed(0)
    model = make()
    before, kept = asked(model, rows()), fingerprint(model)
    found = with_class_bias(model, BIAS, example=rows())
    assert layer_of_logits(model, rows()) == layer
    assert type(found) is type(model)
    assert found.training == model.training
    assert_close(asked(found, rows()), before + BIAS)
    other = tiny.features(13, seed=4)
    assert_close(asked(found, other), asked(model, other) + BIAS)
    changed = [key for key, value in found.state_dict().items() if not torch.equal(value, model.state_dict()[key])]
    assert changed == [f"{layer}.bias" if layer else "bias"]
    assert fingerprint(model) == kept


@pytest.mark.parametrize("name", AROUND)
def test_other_models_are_wrapped(name):
    torch.manual_seed(0)
    model = AROUND[name]()
    before, kept = asked(model, rows()), fingerprint(model)
    found = with_class_bias(model, BIAS, example=rows())
    assert isinstance(found, ClassBias)
    assert layer_of_logits(model, rows()) is None
    assert_close(asked(found, rows()), before + BIAS)
    assert fingerprint(model) == kept == fingerprint(found.module)
    assert found.module is not model


def test_without_an_example_or_with_one_of_no_rows_nothing_is_known_of_a_layer():
    model = tiny.student()
    for example in (None, rows()[:0]):
        found = with_class_bias(model, BIAS, example=example)
        assert isinstance(found, ClassBias)
        assert_close(asked(found, rows()), asked(model, rows()) + BIAS)


def test_what_a_model_tells_of_itself_is_told_by_its_copy():
    model = HeadFirst()
    for found in (with_class_bias(model, BIAS, example=rows()), with_class_bias(model, BIAS)):
        assert found.classes == tiny.NAMES
        assert_close(found.prepare({"features": rows()}), 2 * rows())
        assert not hasattr(found, "config")
    assert not hasattr(with_class_bias(tiny.student(), BIAS), "prepare")


class Mapped(nn.Module):
    """Takes one mapping, under a name of its own."""

    def forward(self, batch):
        return batch["left"] + batch["right"]


class Keyed(nn.Module):
    """Takes keywords and returns a tuple."""

    def forward(self, left, right):
        return left + right, None


@pytest.mark.parametrize("model", [Mapped(), Keyed()], ids=lambda model: type(model).__name__)
def test_a_wrapper_is_called_as_what_is_in_it(model):
    inputs = {"left": torch.ones(5, 3), "right": torch.zeros(5, 3)}
    wrapped = ClassBias(model, BIAS)
    assert_close(caller_of(wrapped)(inputs), (1 + BIAS).expand(5, 3))
    if isinstance(model, Keyed):
        for found in (wrapped(**inputs), wrapped(*inputs.values()), wrapped(inputs["left"], right=inputs["right"])):
            assert_close(found, (1 + BIAS).expand(5, 3))


def test_a_wrapper_can_be_copied_pickled_saved_and_loaded():
    model = headless()
    wrapped = with_class_bias(model, BIAS)
    for found in (copy.deepcopy(wrapped), pickle.loads(pickle.dumps(wrapped))):
        assert_close(asked(found, rows()), asked(model, rows()) + BIAS)
    again = ClassBias(headless(), torch.zeros(3))
    again.load_state_dict(wrapped.state_dict())
    assert_close(asked(again, rows()), asked(wrapped, rows()))
    assert not any(parameter is wrapped.bias for parameter in wrapped.parameters())
    assert wrapped.training
    assert not ClassBias(model.eval(), BIAS).training


def test_models_of_half_types_have_their_layer_found_too():
    torch.manual_seed(0)
    model = tiny.student().bfloat16()
    assert layer_of_logits(model, rows().bfloat16()) == "2"
    assert layer_of_logits(Twice().bfloat16(), rows().bfloat16()) is None


def test_a_bias_that_does_not_fit_is_refused():
    for wrong in (torch.zeros(3, 1), torch.tensor([0, 1, 2]), torch.tensor([0.0, float("nan"), 0.0])):
        for make in (with_class_bias, ClassBias):
            with pytest.raises(ArgumentError, match=rf"^{make.__name__}: the bias must be finite floats \(C,\)\. Got "):
                make(tiny.student(), wrong)
    sentence = r"^The model has logits of 3 classes, and the bias is for 4; give one number for each class\.$"
    with pytest.raises(MismatchError, match=sentence):
        with_class_bias(tiny.student(), torch.zeros(4), example=rows())
    for model in (with_class_bias(tiny.student(), torch.zeros(4)), ClassBias(headless(), torch.zeros(4))):
        with pytest.raises(MismatchError, match=sentence):
            model(rows())
    with pytest.raises(MismatchError, match=r"^No logits in what the model returned"):
        with_class_bias(Keyed(), BIAS, example=([1.0], [2.0]))


def test_examples_run():
    assert doctest.testmod(class_bias).failed == 0
