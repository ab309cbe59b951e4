import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import rel_entr

from limbeck.errors import ArgumentError, DataError, MismatchError
from limbeck.functional import forward_kl
from limbeck.targets.imports.arrays import predictions
from limbeck.targets.imports.classes import columns_by_name
from limbeck.targets.imports.floors import floor_of, logits_of_probs
from tolerances import TOLERANCE, assert_close

IDS = [7, 3, 11]
PROBS = [[0.5, 0.25, 0.25], [0.125, 0.75, 0.125], [0.25, 0.25, 0.5]]
NAMES = ["oak", "ash", "elm"]


def checked(**changes):
    fields = {"ids": IDS, "probabilities": PROBS, "classes": NAMES} | changes
    return predictions(fields.pop("ids"), **fields)


def changed(row, column, value):
    probs = np.array(PROBS)
    probs[row, column] = value
    return probs


def test_rows_are_kept_in_ascending_order_of_their_ids():
    found = checked(contents=[70, 30, 110])
    assert found.ids.tolist() == [3, 7, 11]
    assert found.contents.tolist() == [30, 70, 110]
    assert_close(found.logits.exp(), np.array(PROBS)[[1, 0, 2]])
    assert (found.classes, found.head, found.notes) == (tuple(NAMES), "softmax", ())


def test_probabilities_answer_a_temperature_by_the_definition():
    found = checked(ids=[0, 1, 2])
    raised = np.array(PROBS) ** (1 / 4)
    assert_close((found.logits / 4).softmax(1), raised / raised.sum(1, keepdims=True))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, ">f8"])
def test_logits_are_kept_as_they_are(dtype):
    logits = np.array([[1.5, -2.0, 0.25], [0.0, 300.0, -4.0], [1.0, 1.0, -np.inf]], dtype)
    found = checked(ids=[0, 1, 2], probabilities=None, logits=logits)
    assert found.logits.dtype == torch.float32
    assert found.logits.tolist() == logits.tolist()


def test_arrays_that_cannot_be_written_to_or_run_backwards_are_read():
    probs = np.array(PROBS)[::-1]
    probs.flags.writeable = False
    assert_close(checked(ids=[0, 1, 2], probabilities=probs).logits.exp(), probs.copy())


def test_a_tensor_an_array_and_a_list_give_the_same():
    forms = (PROBS, np.array(PROBS), torch.tensor(PROBS, dtype=torch.float64))
    first, *others = (checked(probabilities=form).logits for form in forms)
    assert all(torch.equal(first, other) for other in others)


def test_whole_numbers_are_probabilities_of_zero_and_one():
    found = checked(ids=[0, 1, 2], probabilities=np.eye(3, dtype=int))
    assert found.logits.argmax(1).tolist() == [0, 1, 2]


def test_numpys_names_and_numbers_name_classes():
    assert checked(classes=np.array(["a", "b", "c"])).classes == ("a", "b", "c")
    assert checked(classes=np.arange(3)).classes == ("0", "1", "2")


def test_rows_within_the_tolerance_are_divided_by_their_sum():
    found = checked(probabilities=np.array(PROBS) * 1.0005)
    assert_close(found.logits.exp().sum(1), torch.ones(3))


# zeros


def test_zeros_become_half_of_the_smallest_positive_probability():
    assert floor_of(torch.tensor([[1.0, 0.0], [0.992, 0.008]], dtype=torch.float64), "softmax") == 0.004


def test_the_floor_is_never_above_a_hundredth_over_all_classes():
    assert floor_of(torch.eye(5, dtype=torch.float64), "softmax") == 0.002


def test_a_row_with_a_zero_by_hand():
    found = checked(ids=[0], probabilities=[[0.5, 0.5, 0.0]], floor=0.25)
    assert_close(found.logits.exp(), [[0.4, 0.4, 0.2]])
    assert found.notes == ("1 of 3 probabilities had no logarithm: zeros became 0.25 before the rows were divided.",)


@st.composite
def rows_with_zeros(draw):
    classes = draw(st.integers(2, 17))
    weights = draw(st.lists(st.lists(st.integers(0, 9), min_size=classes, max_size=classes), min_size=1, max_size=7))
    counts = torch.tensor([row if any(row) else [1] * classes for row in weights], dtype=torch.float64)
    return counts / counts.sum(1, keepdim=True)


@given(rows_with_zeros())
def test_the_floor_costs_less_than_a_hundredth_of_a_nat_and_keeps_the_order(probs):
    floored = logits_of_probs(probs, "softmax")
    logits = floored.logits.double()
    zeros = (probs == 0).sum(1).double()
    oracle = torch.from_numpy(rel_entr(probs.numpy(), logits.exp().numpy()).sum(1))
    assert (oracle < 0.01 + TOLERANCE[torch.float32]).all()
    torch.testing.assert_close(oracle, torch.log1p(zeros * floored.floor), rtol=1e-4, atol=TOLERANCE[torch.float32])
    assert_close(forward_kl(logits, probs.log(), temperature=1.0), oracle, precision=torch.float32)
    above = probs[:, :, None] > probs[:, None, :]
    assert (logits[:, :, None] > logits[:, None, :])[above].all()
    assert floored.zeros == int(zeros.sum())
    assert_close(logits.exp().sum(1), torch.ones(len(probs)), precision=torch.float32)


def test_the_smallest_numbers_have_a_floor_too():
    probs = torch.tensor([[1.0, 5e-324, 0.0]], dtype=torch.float64)
    assert logits_of_probs(probs, "softmax").logits.isfinite().all()


def test_labels_of_a_sigmoid_head_are_log_odds():
    found = checked(ids=[0], probabilities=[[0.5, 0.75, 0.2]], head="sigmoid")
    assert_close(found.logits, [[0.0, math.log(3), -math.log(4)]])


def test_a_sure_label_of_a_sigmoid_head_is_floored_from_both_sides():
    found = checked(ids=[0], probabilities=[[0.0, 1.0, 0.5]], head="sigmoid")
    assert_close(found.logits, [[math.log(0.005), -math.log(0.005), 0.0]])


# classes


def test_columns_follow_the_names_of_the_datas_classes():
    found = checked(expected_classes=["elm", "oak", "ash"])
    assert found.classes == ("elm", "oak", "ash")
    assert_close(found.logits[0].exp(), [0.125, 0.125, 0.75])


@given(st.permutations(NAMES))
def test_any_order_of_the_columns_gives_the_same_targets(order):
    probs = np.array(PROBS)[:, [NAMES.index(name) for name in order]]
    found = checked(probabilities=probs, classes=order, expected_classes=NAMES)
    assert torch.equal(found.logits, checked().logits)


def test_predictions_without_names_can_be_used_by_position_if_that_is_said():
    found = checked(classes=None).matched_to(NAMES, by_position=True)
    assert found.classes == tuple(NAMES)
    assert torch.equal(found.logits, checked().logits)


def test_many_missing_classes_are_counted():
    with pytest.raises(MismatchError, match="lacks the data's '0', '1', '2', '3', '4' and 3 more"):
        columns_by_name("It", ["8"], [str(digit) for digit in range(9)])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"expected_classes": ["oak", "ash", "fir"]}, "It lacks the data's 'fir' and has 'elm', unknown to the data"),
        ({"expected_classes": ["oak", "ash"]}, "must have the classes of the data. It has 'elm', unknown to the data"),
        ({"expected_classes": [*NAMES, "fir"]}, "must have the classes of the data. It lacks the data's 'fir'"),
        (
            {"classes": None, "expected_classes": NAMES},
            r"no class names, so that its columns cannot be matched with the data's 3 classes \('oak', 'ash', 'elm'\)",
        ),
    ],
)
def test_other_classes_are_refused(changes, sentence):
    with pytest.raises(MismatchError, match=sentence):
        checked(**changes)


def test_a_wrong_number_of_columns_is_refused_by_position_too():
    with pytest.raises(DataError, match=r"a column for each of the 2 classes. Got 3 columns"):
        checked(classes=None).matched_to(["oak", "ash"], by_position=True)


# refusals


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"ids": [7, 3]}, "there must be one id for each row of probabilities. Got 2 ids, 3 rows"),
        ({"ids": [7, 3, 7]}, "ids must be distinct. Id 7 comes 2 times."),
        (
            {"ids": [7, 3, 7, 3, 3], "probabilities": PROBS + PROBS[:2]},
            "Id 3 comes 3 times, and so do 1 others",
        ),
        ({"ids": [7.0, 3.0, 11.5]}, "ids must be whole numbers. Got an array of float64"),
        ({"ids": ["7", "3", "11"]}, "ids must be whole numbers. Got an array of <U2"),
        ({"ids": [True, False, True]}, "ids must be whole numbers. Got an array of bool"),
        ({"ids": np.array([1, 2, 2**64 - 1], np.uint64)}, "ids must be whole numbers. Got an array of uint64"),
        ({"ids": [[7, 3, 11]]}, r"ids must be \(N,\), one for each row. Got shape \(1, 3\)"),
        ({"contents": [1, 2]}, "one hash of contents for each of 3 rows. Got 2"),
        ({"probabilities": changed(1, 2, np.nan)}, "probabilities must not be NaN. Got nan for id 3 in column 2"),
        ({"probabilities": changed(2, 0, np.inf)}, "probabilities must be finite. Got inf for id 11 in column 0"),
        (
            {"probabilities": changed(0, 1, -0.25)},
            "must not be negative. Got -0.25 for id 7 in column 1; if they are lo",
        ),
        (
            {"probabilities": changed(0, 1, 25)},
            "must be at most 1. Got 25 for id 7 in column 1; if they are percentages",
        ),
        ({"probabilities": changed(1, 0, 0.5)}, r"must sum to 1 within 0.001. Those of id 3 sum to 1.375\."),
        ({"probabilities": np.array(PROBS) / 2}, "Those of id 7 sum to 0.5, and 2 other rows are off too"),
        ({"probabilities": [row[:2] for row in PROBS]}, "a column for each of the 3 classes. Got 2 columns"),
        ({"probabilities": [0.5, 0.5, 0.5]}, r"must be \(N, C\), a row for each id and a column .* Got shape \(3,\)"),
        ({"probabilities": np.zeros((0, 3)), "ids": []}, r"must be \(N, C\).* Got shape \(0, 3\)"),
        ({"probabilities": [["a", "b", "c"]] * 3}, "probabilities must be numbers. Got an array of <U1"),
        ({"probabilities": [[0.5], [0.5, 0.5], [1.0]]}, "probabilities must be numbers. Got rows of unequal length"),
        ({"probabilities": torch.ones(3, 3, dtype=torch.bool)}, "probabilities must be numbers. Got torch.bool"),
        ({"classes": ["oak", "ash", "oak"]}, "class names must be distinct. 'oak' comes 2 times"),
        ({"classes": "oak"}, "classes must be a list of names. Got 'oak'"),
        ({"classes": []}, "there must be at least one class name"),
        ({"classes": ["oak", "ash", 1.5]}, "class names must be text or whole numbers. Got 1.5"),
    ],
)
def test_what_probabilities_cannot_be_is_refused(changes, sentence):
    with pytest.raises(DataError, match=sentence):
        checked(**changes)


@pytest.mark.parametrize(
    ("row", "changes", "sentence"),
    [
        ([np.nan, 0, 0], {}, "logits must not be NaN. Got nan for id 5 in column 0"),
        ([0, np.inf, 0], {}, r"logits must not be \+inf. Got inf for id 5 in column 1"),
        ([-np.inf] * 3, {}, "logits of a row must not be -inf for every class. Those of id 5 are"),
        (
            [0, -np.inf, 0],
            {"head": "sigmoid"},
            "logits of a sigmoid head must be finite. Got -inf for id 5 in column 1",
        ),
        ([0, 1e39, 0], {}, r"logits must fit float32. Got 1e\+39 for id 5 in column 1"),
        ([0.5, 0.25, 0.25], {}, "every row of logits is in .0, 1. and sums to 1, as probabilities do"),
    ],
)
def test_what_logits_cannot_be_is_refused(row, changes, sentence):
    with pytest.raises(DataError, match=sentence):
        checked(ids=[5], probabilities=None, logits=[row], **changes)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"logits": PROBS}, "give either probabilities or logits. Got both"),
        ({"probabilities": None}, "give either probabilities or logits. Got neither"),
        ({"head": "linear"}, "head must be softmax or sigmoid. Got 'linear'"),
        ({"marks": ["out of fold"]}, "marks must be a list of 'out-of-fold' or 'in-sample'. Got .'out of fold'."),
        ({"marks": "out-of-fold"}, "marks must be a list of 'out-of-fold' or 'in-sample'. Got 'out-of-fold'"),
        ({"tolerance": -1}, r"tolerance must lie in \[0, 1\]. Got -1"),
        ({"floor": 0.0}, "floor must be a positive finite number. Got 0"),
        ({"floor": 2.0}, r"floor must lie in \[0, 1\]. Got 2"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        checked(**changes)
