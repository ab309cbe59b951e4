"""What each augmentation does to an image or a row of features, against slow loops and the laws of its draws."""

import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from limbeck.data.augment import Compose, HorizontalFlip, Mask, Noise, RandomApply, RandomCrop, Shift, keys_apart
from limbeck.errors import ArgumentError, DataError
from limbeck.keyed import row_keys, uniforms

OF_IMAGES = (
    Shift(2),
    RandomCrop(2),
    HorizontalFlip(),
    Mask(0.3),
    Compose((Shift(1), HorizontalFlip(), Shift(2))),
    RandomApply(Compose((Shift(1), HorizontalFlip())), 0.7),
)
OF_FLOATS = (*OF_IMAGES, Noise(0.1), Compose([Noise(0.1), Noise(0.2)]))


def keys_of(count, seed=3, view=1):
    return row_keys(seed, view, torch.arange(count) * 7 + 11)


def images(*shape, dtype=torch.uint8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 200, shape, generator=generator).to(dtype)  # no zeros: what comes in shows


def changed(augment, values, keys):
    return augment({"image": values}, keys)["image"]


def offsets(keys, padding):
    """How far down and to the right each image moves: (B, 2) whole numbers in [-padding, padding]."""
    return padding - (uniforms(keys, 2).numpy() * (2 * padding + 1)).astype(int)


def moved_slowly(picture, down, right):
    moved = np.zeros_like(picture)
    height, width = picture.shape[-2:]
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                moved[..., y, x] = picture[..., y - down, x - right]
    return moved


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 4),
    channels=st.sampled_from([(), (1,), (3,)]),
    height=st.integers(2, 7),
    width=st.integers(2, 7),
    data=st.data(),
    seed=st.integers(0, 2**40),
)
def test_a_shift_is_what_a_loop_over_pixels_does(rows, channels, height, width, data, seed):
    pixels = data.draw(st.integers(1, min(height, width) - 1))
    before, keys = images(rows, *channels, height, width, seed=seed), keys_of(rows, seed=seed)
    after = changed(Shift(pixels), before, keys)
    assert after.shape == before.shape
    for picture, found, (down, right) in zip(before.numpy(), after.numpy(), offsets(keys, pixels), strict=True):
        assert (found == moved_slowly(picture, down, right)).all()


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 4), height=st.integers(2, 7), width=st.integers(2, 7), data=st.data())
def test_a_crop_is_a_window_of_the_image_that_numpy_continues_by_reflection(rows, height, width, data):
    padding = data.draw(st.integers(1, min(height, width) - 1))
    before, keys = images(rows, 3, height, width), keys_of(rows)
    after = changed(RandomCrop(padding), before, keys)
    for picture, found, (down, right) in zip(before.numpy(), after.numpy(), offsets(keys, padding), strict=True):
        padded = np.pad(picture, ((0, 0), (padding, padding), (padding, padding)), mode="reflect")
        top, left = padding - down, padding - right
        assert (found == padded[:, top : top + height, left : left + width]).all()


def test_a_flip_swaps_left_and_right_of_the_chosen_and_leaves_the_rest():
    before, keys = images(50, 3, 5, 7), keys_of(50)
    after = changed(HorizontalFlip(0.3), before, keys)
    chosen = uniforms(keys, 1)[:, 0] < 0.3
    assert torch.equal(after[chosen], before[chosen].flip(-1))
    assert torch.equal(after[~chosen], before[~chosen])
    assert torch.equal(changed(HorizontalFlip(1.0), before, keys), before.flip(-1))
    assert torch.equal(changed(HorizontalFlip(0.0), before, keys), before)


@pytest.mark.parametrize("augment", OF_FLOATS, ids=repr)
@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(11)), count=st.integers(1, 11))
def test_a_row_comes_out_the_same_whatever_stands_beside_it(augment, order, count):
    before, keys, chosen = images(11, 1, 5, 7, dtype=torch.float32), keys_of(11), list(order)[:count]
    whole = changed(augment, before, keys)
    assert torch.equal(changed(augment, before[chosen], keys[chosen]), whole[chosen])


@pytest.mark.parametrize("augment", OF_FLOATS, ids=repr)
def test_other_views_and_other_seeds_give_other_rows_and_the_argument_stays(augment):
    before = images(11, 1, 5, 7, dtype=torch.float32)
    copy = before.clone()
    found = [changed(augment, before, keys_of(11, seed, view)) for seed, view in ((0, 1), (0, 2), (1, 1))]
    assert all(not torch.equal(one, other) for one, other in ((found[0], found[1]), (found[0], found[2])))
    assert torch.equal(before, copy)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("augment", OF_IMAGES, ids=repr)
def test_the_dtype_stays_and_does_not_matter(augment, dtype):
    before, keys = images(11, 3, 5, 7), keys_of(11)
    after = changed(augment, before.to(dtype), keys)
    assert after.dtype == dtype
    assert torch.equal(after, changed(augment, before, keys).to(dtype))


@pytest.mark.parametrize("augment", OF_FLOATS, ids=repr)
def test_no_rows_stay_no_rows(augment):
    assert changed(augment, torch.zeros(0, 1, 5, 7), keys_of(0)).shape == (0, 1, 5, 7)


@pytest.mark.parametrize("augment", OF_FLOATS, ids=repr)
def test_no_global_generator_is_read_or_moved(augment):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = changed(augment, images(5, 5, 7, dtype=torch.float32), keys_of(5))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(changed(augment, images(5, 5, 7, dtype=torch.float32), keys_of(5)), one)


MANY = 20_000
"""Rows from which the laws of the draws are told. The keys are fixed: a test that passes passes always."""


def test_shifts_are_uniform_over_a_square():
    dots = torch.zeros(MANY, 5, 5)
    dots[:, 2, 2] = 1
    moved = changed(Shift(2), dots, keys_of(MANY))
    assert (moved.sum((1, 2)) == 1).all()
    assert stats.chisquare(moved.sum(0).flatten().numpy()).pvalue > 1e-3


def test_the_shifts_of_two_parts_are_independent():
    line = torch.zeros(MANY, 3, 9)
    line[:, 1, 4] = 1
    total = changed(Compose((Shift(1), Shift(1))), line, keys_of(MANY))[:, :, 2:7].sum((0, 1))
    # The sum of two uniform steps of -1, 0, 1, where neither went off the three lines.
    expected = torch.tensor([1, 2, 3, 2, 1]) / 9 * total.sum()
    assert stats.chisquare(total.numpy(), expected.numpy(), sum_check=False).pvalue > 1e-3


def test_a_flip_has_its_probability_and_so_have_two_parts_together():
    arrow = torch.tensor([[0.0, 1.0]]).expand(MANY, 1, 2)
    once = changed(HorizontalFlip(0.3), arrow, keys_of(MANY))[:, 0, 0]
    assert stats.binomtest(int(once.sum()), MANY, 0.3).pvalue > 1e-3
    twice = changed(Compose((HorizontalFlip(0.5), HorizontalFlip(0.5))), arrow, keys_of(MANY))[:, 0, 0]
    assert stats.binomtest(int(twice.sum()), MANY, 0.5).pvalue > 1e-3


@pytest.mark.parametrize("width", [1, 2, 7])
def test_noise_is_normal_and_independent_from_value_to_value(width):
    noise = changed(Noise(0.25), torch.zeros(MANY, width, dtype=torch.float64), keys_of(MANY)).numpy()
    assert stats.kstest(noise.flatten(), stats.norm(0, 0.25).cdf).pvalue > 1e-3
    correlations = np.corrcoef(noise, rowvar=False).reshape(width, width) - np.eye(width)
    assert np.abs(correlations).max() < 4 / MANY**0.5


def test_a_mask_hides_its_share_of_every_value_independently():
    hidden = 1 - changed(Mask(0.2), torch.ones(MANY, 5), keys_of(MANY)).numpy()
    assert all(stats.binomtest(int(count), MANY, 0.2).pvalue > 1e-3 for count in hidden.sum(0))
    assert np.abs(np.corrcoef(hidden, rowvar=False) - np.eye(5)).max() < 4 / MANY**0.5
    assert changed(Mask(1.0), torch.ones(3, 5), keys_of(3)).sum() == 0


@given(probability=st.sampled_from([0.0, 0.2, 0.5, 1.0]), seed=st.integers(0, 2**40), rows=st.integers(0, 40))
def test_random_apply_changes_some_rows_as_the_part_would_and_no_others(probability, seed, rows):
    columns = {"image": images(rows, 5, 5, seed=seed), "text": [str(row) for row in range(rows)]}
    keys = keys_of(rows, seed=seed)

    def part(columns, keys):
        names = [f"{text} changed" for text in columns["text"]]
        return {**Mask(1.0, column="image")(columns, keys), "text": names}

    after = RandomApply(part, probability)(columns, keys)
    touched = [text.endswith("changed") for text in after["text"]]
    assert [text.split()[0] for text in after["text"]] == columns["text"]
    for row, was in enumerate(touched):
        expected = torch.zeros(5, 5, dtype=torch.uint8) if was else columns["image"][row]
        assert torch.equal(after["image"][row], expected)
    assert all(touched) if probability == 1 else (probability > 0 or not any(touched))


def test_random_apply_is_independent_of_what_it_applies_and_of_another_within_it():
    half = RandomApply(lambda columns, _: {"x": columns["x"] + 1}, 0.5)
    keys = keys_of(MANY)
    once = changed_x(half, keys)
    assert stats.binomtest(int(once.sum()), MANY, 0.5).pvalue > 1e-3
    twice = changed_x(RandomApply(half, 0.5), keys)
    assert stats.binomtest(int(twice.sum()), MANY, 0.25).pvalue > 1e-3
    # What the part draws does not depend on whether it is applied, nor the first on the second.
    noise = RandomApply(Noise(1.0), 0.5)({"x": torch.zeros(MANY, 1)}, keys)["x"][:, 0]
    assert stats.kstest(noise[noise != 0].numpy(), stats.norm(0, 1).cdf).pvalue > 1e-3


def changed_x(augment, keys):
    return augment({"x": torch.zeros(len(keys), 1)}, keys)["x"][:, 0]


def test_random_apply_refuses_what_it_cannot_mix():
    def refused(part):
        columns = {"x": torch.zeros(50, 4), "text": ["a"] * 50}
        with pytest.raises(DataError) as caught:
            RandomApply(lambda columns, _: {**columns, **part(columns)}, 0.5)(columns, keys_of(50))
        return str(caught.value)

    was = "RandomApply: the augmentation must leave column 'x' as the rows have it that it does not touch, a tensor ("
    assert refused(lambda columns: {"x": columns["x"][:, :2]}).startswith(was)
    assert refused(lambda columns: {"x": columns["x"].double()}).endswith("of float64.")
    assert refused(lambda columns: {"x": columns["x"][1:]}).startswith(was)
    assert "Got a list of" in refused(lambda columns: {"x": columns["x"].tolist()})
    assert "'text'" in refused(lambda columns: {"text": columns["text"][1:]})
    assert refused(lambda columns: {"more": columns["x"]}).startswith(
        "RandomApply: the augmentation must leave column 'more' as the rows have it that it does not touch, absent."
    )
    with pytest.raises(DataError, match=r"column 'x' as the rows have it .* Got absent\."):
        RandomApply(lambda columns, _: {}, 0.5)({"x": torch.zeros(50, 4)}, keys_of(50))
    with pytest.raises(ArgumentError, match="part must be an augmentation"):
        RandomApply(0.5, Shift(1))
    with pytest.raises(ArgumentError, match="probability"):
        RandomApply(Shift(1), 1.5)


def test_keys_apart_differ_from_place_to_place_and_from_their_own():
    keys = keys_of(1000)
    every = np.concatenate([keys, *(keys_apart(keys, place) for place in range(5))])
    assert len(np.unique(every)) == 6000


def test_other_columns_are_left_as_they_are():
    columns = {"image": images(3, 5, 5), "text": ["a", "b", "c"]}
    after = Shift(1, column="image")(columns, keys_of(3))
    assert list(after) == ["image", "text"]
    assert after["text"] is columns["text"]
    assert torch.equal(after["image"], changed(Shift(1), columns["image"], keys_of(3)))


@pytest.mark.parametrize("augment", OF_FLOATS, ids=repr)
def test_they_are_records_that_other_processes_can_be_sent(augment):
    again = pickle.loads(pickle.dumps(augment))
    assert (again, hash(again)) == (augment, hash(augment))


@pytest.mark.parametrize(
    ("augment", "columns", "sentence"),
    [
        (
            Shift(1),
            {"image": [torch.zeros(1, 4, 4)] * 2},
            r"^Shift: column 'image' is a list, not a tensor, as text and ",
        ),
        (Mask(0.5), {"text": ["a", "b"]}, r"^Mask: column 'text' is a list, not a tensor"),
        (Shift(1), {"image": torch.zeros(2, 4, 4, 3, 2)}, r"must hold images \(H, W\) or \(C, H, W\)\. Got rows \(4, "),
        (Noise(1.0), {"a": torch.zeros(2), "b": torch.zeros(2)}, r"^Noise: rows have the columns a, b; say which one "),
        (RandomCrop(1, "x"), {"a": torch.zeros(2, 4, 4)}, r"^RandomCrop: rows have no column 'x'; they have: a\.$"),
        (
            Noise(1.0),
            {"a": torch.zeros(2, dtype=torch.uint8)},
            r"^Noise: column 'a' must hold floats\. Got torch\.uint8;",
        ),
        (HorizontalFlip(), {"a": torch.zeros(2, 28, 28, 3)}, r"shape \(28, 28, 3\), with the channels last; they must"),
        (
            RandomCrop(4),
            {"a": torch.zeros(2, 1, 4, 9)},
            r"4 × 9 pixels, must be larger than the 4 pixels to move them by",
        ),
    ],
)
def test_columns_that_they_cannot_change_are_refused(augment, columns, sentence):
    with pytest.raises(DataError, match=sentence):
        augment(columns, keys_of(2))


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda: Shift(0), r"^Shift: pixels must be a whole number of pixels from 1 up\. Got 0\.$"),
        (lambda: RandomCrop(1.5), r"^RandomCrop: padding must be a whole number of pixels from 1 up\. Got 1\.5\.$"),
        (lambda: HorizontalFlip(1.1), r"^HorizontalFlip: probability must lie in \[0, 1\]\. Got 1\.1\.$"),
        (lambda: Mask(-0.1), r"^Mask: share must lie in \[0, 1\]"),
        (lambda: Noise(0.0), r"^Noise: scale must be a positive finite number"),
        (lambda: Compose(()), r"^Compose: parts must be a sequence of at least one augmentation\.$"),
        (lambda: Compose(Shift(1)), r"^Compose: parts must be a sequence"),
        (lambda: Compose((Shift(1), 3)), r"^Compose: parts must be a sequence"),
    ],
)
def test_settings_out_of_range_are_refused(made, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        made()
