"""Calling any module, finding its logits, capturing features, fingerprints."""

from collections import OrderedDict
from collections.abc import Mapping
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from limbeck.errors import MismatchError
from limbeck.models import (
    arranger_of,
    bytes_of,
    caller_of,
    captured,
    fingerprint,
    knowledge_of,
    logits_of,
    parameter_count,
)
from tiny import FEATURES, dropout_student, student

X = torch.arange(10.0).reshape(2, FEATURES)
Y = X + 100


class OneArgument(nn.Module):
    def forward(self, x):
        return ("x", x)


class NamedArguments(nn.Module):
    def forward(self, left, right, *, scale=1.0):
        return ("left, right", left, right, scale)


class Optional(nn.Module):
    def forward(self, input_ids=None, attention_mask=None):
        return ("ids, mask", input_ids, attention_mask)


class OpenEnded(nn.Module):
    def forward(self, x, **more):
        return ("x, more", x, more)


class AMapping(nn.Module):
    def forward(self, batch, scale=1.0):
        return ("batch", batch, scale)


@pytest.mark.parametrize(
    ("module", "inputs", "expected"),
    [
        (OneArgument(), X, ("x", X)),
        (OneArgument(), (X,), ("x", X)),
        (OneArgument(), {"x": X}, ("x", X)),
        (NamedArguments(), (X, Y), ("left, right", X, Y, 1.0)),
        (NamedArguments(), {"right": Y, "left": X, "scale": 2.0}, ("left, right", X, Y, 2.0)),
        (Optional(), {"attention_mask": Y, "input_ids": X}, ("ids, mask", X, Y)),
        (OpenEnded(), {"x": X, "extra": Y}, ("x, more", X, {"extra": Y})),
        (AMapping(), {"left": X, "right": Y}, ("batch", {"left": X, "right": Y}, 1.0)),
        (AMapping(), OrderedDict(left=X), ("batch", {"left": X}, 1.0)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_tensor_a_tuple_or_a_mapping_reaches_any_signature(module, inputs, expected):
    assert caller_of(module)(inputs) == expected


def test_the_signature_inside_a_wrapper_counts():
    class Wrapper(nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, *args, **kwargs):
            return self.inner(*args, **kwargs)

    inner = AMapping()
    assert caller_of(Wrapper(inner), inside=inner)({"left": X}) == ("batch", {"left": X}, 1.0)


def test_a_scripted_module_is_called_like_any_other():
    with pytest.warns(DeprecationWarning):  # torch's own, of scripting
        scripted = torch.jit.script(student())
    assert caller_of(scripted)(X).shape == (2, 3)


def test_a_mapping_that_is_no_dict_becomes_keyword_arguments():
    class Encoded(Mapping):
        def __init__(self, **items):
            self.items_ = items

        def __getitem__(self, key):
            return self.items_[key]

        def __iter__(self):
            return iter(self.items_)

        def __len__(self):
            return len(self.items_)

    assert arranger_of(Optional())(Encoded(input_ids=X)) == ((), {"input_ids": X})


@pytest.mark.parametrize(
    "output",
    [X, (X, Y), [X, Y], {"logits": X, "loss": Y}, SimpleNamespace(logits=X, loss=Y)],
    ids=["tensor", "tuple", "list", "mapping", "object"],
)
def test_logits_are_found_in_whatever_a_model_returns(output):
    assert logits_of(output) is X


@pytest.mark.parametrize("output", [None, (), {"scores": X}, SimpleNamespace(logits="many"), ("text", X)])
def test_an_output_without_logits_is_refused_by_its_type(output):
    with pytest.raises(MismatchError, match=f"^No logits in what the model returned, a {type(output).__name__}: "):
        logits_of(output)


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
    ],
)
def test_logits_are_float32_at_least(dtype, kept):
    assert knowledge_of(lambda inputs: inputs.to(dtype), X).logits.dtype == kept


def test_features_are_captured_by_name_and_anew_at_each_call():
    model = nn.Sequential(OrderedDict(body=nn.Sequential(nn.Linear(5, 7), nn.ReLU()), head=nn.Linear(7, 3)))
    with captured(model, ["body.0", "body"]) as features:
        for inputs in (X, Y):
            model(inputs)
            expected = model.body[0](inputs)
            assert set(features) == {"body.0", "body"}
            assert torch.equal(features["body.0"], expected)
            assert torch.equal(features["body"], expected.relu())
    features.clear()
    model(X)
    assert not features, "the hooks are still there"


def test_hooks_are_removed_after_an_error():
    model = student()
    with pytest.raises(RuntimeError), captured(model, ["0"]):
        model(torch.zeros(2, 99))
    assert not model[0]._forward_hooks


def test_of_a_tuple_or_a_mapping_the_first_part_is_the_feature():
    class Recurrent(nn.Module):
        def __init__(self, as_mapping):
            super().__init__()
            self.as_mapping = as_mapping
            self.inner = nn.Identity() if as_mapping else nn.LSTM(5, 7)
            if as_mapping:
                self.inner.forward = lambda x: {"hidden": x + 1, "other": x}

        def forward(self, x):
            return self.inner(x)

    for as_mapping, width in ((False, 7), (True, 5)):
        model = Recurrent(as_mapping)
        with captured(model, ["inner"]) as features:
            model(X)
        assert features["inner"].shape == (2, width)


def test_a_feature_that_is_no_tensor_is_refused_by_name():
    model = nn.Sequential(nn.Identity())
    model[0].forward = lambda x: "text"
    with captured(model, ["0"]), pytest.raises(MismatchError, match="The submodule '0' returns a str, not a tensor"):
        model(X)


def test_a_name_that_is_missing_is_refused_with_those_close_to_it():
    model = nn.Sequential(OrderedDict(encoder=nn.Linear(5, 7), decoder=nn.Linear(7, 3)))
    with pytest.raises(MismatchError) as caught, captured(model, ["encodr"]):
        pass
    assert str(caught.value) == (
        "Sequential has no submodule named 'encodr' to take features from (close to it: encoder, decoder)."
    )


def test_a_name_like_no_other_is_refused_with_the_first_that_there_are():
    with pytest.raises(MismatchError, match=r"\(close to it: 0, 1, 2\)"), captured(student(), ["zzzzz"]):
        pass
    with pytest.raises(MismatchError, match=r"\(it has no submodules\)"), captured(nn.Linear(5, 3), ["body"]):
        pass
    with pytest.raises(MismatchError, match="no submodule named ''"), captured(student(), [""]):
        pass


def same_weights(make):
    torch.manual_seed(0)
    return make()


def test_equal_models_have_equal_fingerprints():
    assert fingerprint(same_weights(student)) == fingerprint(same_weights(student))
    assert fingerprint(same_weights(student).eval()) == fingerprint(same_weights(student).train())


def test_a_fingerprint_sees_one_bit_of_one_weight():
    one, other = same_weights(student), same_weights(student)
    with torch.no_grad():
        bits = other[2].bias.view(torch.int32)
        bits[1] ^= 1
    assert fingerprint(one) != fingerprint(other)


def test_a_fingerprint_sees_buffers_settings_and_types():
    normed = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7))
    before = fingerprint(normed)
    normed[1].running_mean[0] += 1
    assert fingerprint(normed) != before
    thinner = same_weights(dropout_student)
    thinner[2] = nn.Dropout(0.4)
    assert fingerprint(thinner) != fingerprint(same_weights(dropout_student))
    assert fingerprint(same_weights(student).double()) != fingerprint(same_weights(student))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_bytes_are_those_of_the_tensor_in_c_order(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(dtype)
    assert len(bytes_of(tensor)) == 6 * tensor.element_size()
    assert bytes_of(tensor.t().contiguous().t()) == bytes_of(tensor)
    assert len(bytes_of(tensor[0, 0])) == tensor.element_size()


def test_shared_parameters_are_counted_once():
    tied = nn.Sequential(nn.Linear(5, 5), nn.Linear(5, 5))
    tied[1].weight = tied[0].weight
    assert parameter_count(tied) == 25 + 5 + 5
