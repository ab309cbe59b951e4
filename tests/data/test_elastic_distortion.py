"""What `Elastic` does to an image, against SciPy, by hand, and the law of its displacements; the same in any batch."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

import tiny
from limbeck.data import Compose, Elastic, HorizontalFlip, TensorSet, require_deterministic
from limbeck.data.elastic import read_at, smooth_fields
from limbeck.errors import ArgumentError, DataError
from limbeck.keyed import row_keys, uniforms
from limbeck.specification import from_json, to_json

CPU = torch.device("cpu")
ALL = Elastic(1.4, rotation=12.0, scaling=0.15, shift=1.5)
KINDS = (Elastic(1.0), Elastic(0.0, rotation=20.0), Elastic(0.0, scaling=0.2), Elastic(0.0, shift=2.0), ALL)


def keys_of(count, seed=3, view=1):
    return row_keys(seed, view, torch.arange(count) * 7 + 11)


def images(*shape, dtype=torch.uint8, seed=0):
    return torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def changed(augment, values, keys):
    return augment({"image": values}, keys)["image"]


def ramps(count, height, width):
    """Images whose two channels are each pixel's own place, to the right and downwards: they show where it was read."""
    down, right = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack((right, down)).to(torch.float32).expand(count, 2, height, width)


def displacements(augment, keys, size, margin):
    """How far off its place each inner pixel was read: (B, 2, …) pixels to the right and downwards."""
    before = ramps(len(keys), size, size)
    return (changed(augment, before, keys) - before)[:, :, margin:-margin, margin:-margin]


def itself(height, width):
    """Places that change nothing: (1, 2, H, W) pixels from the centre."""
    return ramps(1, height, width) - torch.tensor([(width - 1) / 2, (height - 1) / 2])[:, None, None]


@settings(max_examples=40, deadline=None)
@given(
    rows=st.integers(1, 3),
    channels=st.integers(1, 3),
    height=st.integers(1, 8),
    width=st.integers(1, 8),
    far=st.sampled_from([0.0, 0.7, 5.0]),
    seed=st.integers(0, 99),
)
def test_reading_at_any_places_is_what_scipy_reads(rows, channels, height, width, far, seed):
    before = images(rows, channels, height, width, dtype=torch.float32, seed=seed)
    moves = far * torch.randn(rows, 2, height, width, generator=torch.Generator().manual_seed(seed))
    found = read_at(before, itself(height, width) + moves).numpy()
    right, down = np.moveaxis((ramps(rows, height, width) + moves).numpy().astype(np.float64), 1, 0)
    for row in range(rows):
        for channel in range(channels):
            expected = ndimage.map_coordinates(
                before[row, channel].numpy().astype(np.float64), (down[row], right[row]), order=1, mode="grid-constant"
            )
            np.testing.assert_allclose(found[row, channel], expected, atol=3e-3)  # of 255, at places in float32


def test_whole_pixels_and_quarter_turns_are_those_made_by_hand():
    before = images(2, 3, 5, 5)
    plain = itself(5, 5).expand(2, 2, 5, 5)
    assert torch.equal(read_at(before, plain), before)
    moved = torch.zeros_like(before)
    moved[:, :, 2:, :4] = before[:, :, :3, 1:]  # two down, one to the left
    assert torch.equal(read_at(before, plain + torch.tensor([1.0, -2.0])[:, None, None]), moved)
    # What stands at (x, y) after a quarter turn against the clock was at (-y, x): y points downwards.
    turned = torch.stack((-plain[:, 1], plain[:, 0]), dim=1)
    assert torch.equal(read_at(before, turned), torch.rot90(before, 1, dims=(2, 3)))
    between = read_at(before.float(), plain + torch.tensor([0.5, 0.0])[:, None, None])
    beyond = torch.nn.functional.pad(before.float(), (0, 1))
    torch.testing.assert_close(between, (beyond[..., :-1] + beyond[..., 1:]) / 2)


@pytest.mark.parametrize("size", [(7, 7), (6, 9), (1, 5)])
@pytest.mark.parametrize("augment", [KINDS[1], KINDS[2], KINDS[3], Elastic(0, rotation=180, scaling=0.5, shift=3)])
def test_turn_stretch_and_shift_are_the_affine_map_that_scipy_inverts(augment, size):
    before, keys = images(20, *size, dtype=torch.float32), keys_of(20)
    after = changed(augment, before, keys).numpy()
    centre = (np.array(size) - 1) / 2
    for picture, found, draws in zip(before.numpy(), after, 2 * uniforms(keys, 5, stream=1).numpy() - 1, strict=True):
        angle = np.radians(augment.rotation) * draws[0]
        # Clockwise as one sees it. Rows first here: (y, x).
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        forward = turn @ np.diag(1 + augment.scaling * draws[[2, 1]])
        back = np.linalg.inv(forward)
        offset = centre - back @ (centre + augment.shift * draws[[4, 3]])
        expected = ndimage.affine_transform(picture.astype(np.float64), back, offset, order=1, mode="grid-constant")
        np.testing.assert_allclose(found, expected, atol=5e-3)


def test_a_shift_moves_everything_alike_and_is_uniform_along_both_axes():
    moves = displacements(Elastic(0.0, shift=3.0), keys_of(2000), 9, 4)
    assert moves.shape == (2000, 2, 1, 1)
    for axis in (0, 1):
        assert stats.kstest(moves[:, axis].flatten().numpy(), stats.uniform(-3, 6).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(moves[:, 0, 0, 0], moves[:, 1, 0, 0])[0, 1]) < 4 / 2000**0.5


def test_displacements_have_the_standard_deviation_asked_for_and_are_normal():
    moves = displacements(Elastic(0.7, smoothness=2.0), keys_of(3000), 11, 5)[..., 0, 0].numpy()
    for axis in (0, 1):
        assert stats.kstest(moves[:, axis], stats.norm(0, 0.7).cdf).pvalue > 1e-3
    assert abs(np.corrcoef(moves.T)[0, 1]) < 4 / 3000**0.5


MANY = 4000
"""Keys from which covariances are told. They are fixed: a test that passes passes always."""


@pytest.mark.parametrize("smoothness", [0.2, 0.5, 0.8, 2.0, 4.0, 50.0])
def test_displacements_of_two_points_have_the_covariance_of_smoothed_white_noise(smoothness):
    fields = smooth_fields(keys_of(MANY), 7, 12, smoothness, CPU).double().numpy()
    found = np.einsum("bcij,bdkl->cdijkl", fields[:, :, ::3, ::3], fields[:, :, ::2, ::3], optimize=True) / MANY
    height, width, others = np.arange(0, 7, 3), np.arange(0, 12, 3), np.arange(0, 7, 2)
    down = (height[:, None] - others)[:, None, :, None] ** 2
    right = (width[:, None] - width)[None, :, None, :] ** 2
    expected = np.exp(-(down + right) / (4 * smoothness**2))
    # A mean of products of two normals of correlation r has the variance (1 + r²) / n.
    limit = 4.5 * np.sqrt((1 + expected**2) / MANY)
    assert (np.abs(found[0, 0] - expected) < limit).all()
    assert (np.abs(found[1, 1] - expected) < limit).all()
    assert (np.abs(found[0, 1]) < 4.5 / MANY**0.5).all()


@pytest.mark.parametrize("smoothness", [0.1, 0.3, 0.5, 0.7, 1.0, 4.0, 30.0])
@pytest.mark.parametrize("pixels", [1, 8, 29])
def test_the_covariance_is_the_formula_up_to_rounding_not_by_chance_alone(monkeypatch, smoothness, pixels):
    """With one unit of noise at a time the fields are the factor of the covariance along an axis itself."""
    seen = []

    def units(keys, draws):
        seen.append(draws)
        return torch.eye(draws, dtype=torch.float64)[: len(keys)]

    monkeypatch.setattr("limbeck.data.elastic.normals", units)
    smooth_fields(keys_of(1), 1, pixels, smoothness, CPU)
    factor = smooth_fields(keys_of(seen[0] // 2), 1, pixels, smoothness, CPU)[:, 0, 0].double()
    places = torch.arange(pixels)
    expected = torch.exp(-((places[:, None] - places) ** 2) / (4 * smoothness**2))
    torch.testing.assert_close(factor.T @ factor, expected.double(), rtol=0, atol=0.01)


def test_the_settings_of_simard_steinkraus_and_platt_are_those_of_the_docstring():
    noise = np.random.default_rng(0).uniform(-1, 1, (700, 700))
    smoothed = 34 * ndimage.gaussian_filter(noise, 4, mode="wrap")
    assert smoothed.std() == pytest.approx(34 / (3**0.5 * 2 * np.pi**0.5 * 4), rel=0.05) == pytest.approx(1.4, rel=0.05)
    distant = (smoothed * np.roll(smoothed, 5, axis=0)).mean() / smoothed.var()
    assert distant == pytest.approx(np.exp(-25 / 64), abs=0.05)


def test_a_row_is_bent_alike_whether_or_not_it_is_shifted_too():
    keys = keys_of(30)
    alone = displacements(Elastic(0.5), keys, 15, 5)
    between = displacements(Elastic(0.5, shift=1.5), keys, 15, 5) - alone
    constant = between.mean((2, 3), keepdim=True).expand_as(between)
    torch.testing.assert_close(between, constant, rtol=0, atol=1e-4)
    assert between.abs().max() > 1


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("augment", KINDS, ids=repr)
@settings(max_examples=10, deadline=None)
@given(order=st.permutations(range(11)), count=st.integers(1, 11))
def test_a_row_comes_out_bit_for_bit_the_same_whatever_stands_beside_it(augment, dtype, order, count):
    before, keys, chosen = images(11, 1, 13, 28, dtype=dtype), keys_of(11), list(order)[:count]
    assert torch.equal(changed(augment, before[chosen], keys[chosen]), changed(augment, before, keys)[chosen])


def test_the_rows_of_large_batches_are_those_of_small_ones():
    before, keys = images(600, 1, 28, 28, dtype=torch.float32), keys_of(600)
    whole = changed(ALL, before, keys)
    parts = [changed(ALL, before[start : start + 37], keys[start : start + 37]) for start in range(0, 600, 37)]
    assert torch.equal(torch.cat(parts), whole)
    require_deterministic(Compose((ALL, HorizontalFlip())), TensorSet({"image": before.to(torch.uint8)}), seed=0)


def test_the_displacements_of_a_key_are_the_same_bits_on_every_machine_and_in_every_version():
    """Recorded views would become others without a word: a change of this digest needs another name or a new field."""
    fields = smooth_fields(row_keys(0, 1, torch.arange(100)), 28, 28, 4.0, CPU)
    exact = fields.double() * 2**19
    assert torch.equal(exact, exact.round())
    assert hashlib.sha256(exact.to(torch.int32).numpy().astype("<i4").tobytes()).hexdigest()[:16] == "2dbf29c17492696d"


def test_other_views_and_seeds_bend_otherwise_and_neither_argument_nor_generators_are_touched():
    before = images(11, 9, 9, dtype=torch.float32)
    copy, state = before.clone(), torch.get_rng_state()
    found = [changed(ALL, before, keys_of(11, seed, view)) for seed, view in ((0, 1), (0, 2), (1, 1))]
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(before, copy)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bfloat16, torch.float64])
def test_the_dtype_stays_and_whole_numbers_are_rounded(dtype):
    before, keys = images(11, 3, 9, 9), keys_of(11)
    exact = changed(ALL, before.to(torch.float32), keys)
    after = changed(ALL, before.to(dtype), keys)
    assert after.dtype == dtype
    assert torch.equal(after, exact.to(dtype) if dtype.is_floating_point else exact.round().to(dtype))


def test_bytes_neither_wrap_round_nor_lose_white():
    white = torch.full((300, 15, 15), 255, dtype=torch.uint8)
    assert (changed(ALL, white, keys_of(300))[:, 7, 7] == 255).all()
    assert changed(ALL, white > 0, keys_of(300))[:, 7, 7].all()
    assert int(changed(Elastic(0, shift=2.0), white, keys_of(300))[:, :, 0].min()) == 0  # zero comes in


def test_channels_move_together_and_an_image_needs_none():
    before, keys = images(5, 9, 9), keys_of(5)
    alone = changed(ALL, before, keys)
    assert alone.shape == before.shape
    assert torch.equal(changed(ALL, before[:, None].repeat(1, 3, 1, 1), keys), alone[:, None].repeat(1, 3, 1, 1))
    assert changed(ALL, torch.zeros(0, 1, 9, 9), keys_of(0)).shape == (0, 1, 9, 9)
    columns = {"image": before, "text": list("abcde")}
    assert Elastic(1.0, column="image")(columns, keys)["text"] is columns["text"]


@pytest.mark.parametrize("augment", [*KINDS, Compose((ALL, HorizontalFlip()))], ids=repr)
def test_they_are_records_that_a_specification_holds_and_other_processes_are_sent(augment):
    again = pickle.loads(pickle.dumps(augment))
    assert (again, hash(again)) == (augment, hash(augment))
    spec = tiny.specification(augment=augment, views=3)
    rebuilt = from_json(to_json(spec))
    assert rebuilt.augment == augment
    assert rebuilt.hash == spec.hash != tiny.specification(augment=Elastic(9.0), views=3).hash


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        (
            {"a": torch.zeros(2, 4)},
            r"^Elastic: column 'a' must hold images \(H, W\) or \(C, H, W\)\. Got rows \(4,\)\.$",
        ),
        ({"a": ["x", "y"]}, r"^Elastic: column 'a' is a list, not a tensor"),
        ({"a": torch.zeros(2, 8, 8, 3)}, r"^Elastic: .* with the channels last"),
        ({"a": torch.zeros(2, 8, 8), "b": torch.zeros(2)}, r"^Elastic: rows have the columns a, b; say which one is"),
    ],
)
def test_columns_that_hold_no_images_are_refused(columns, sentence):
    with pytest.raises(DataError, match=sentence):
        ALL(columns, keys_of(2))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"pixels": -1.0}, r"^Elastic: pixels must be finite and not negative\. Got -1\.0\.$"),
        ({"pixels": float("inf")}, r"^Elastic: pixels must be finite and not negative\. Got inf\.$"),
        ({"pixels": 1.0, "rotation": float("nan")}, r"^Elastic: rotation must be finite and not negative\. Got nan\.$"),
        ({"pixels": 1.0, "shift": -0.5}, r"^Elastic: shift must be finite and not negative"),
        ({"pixels": 1.0, "scaling": 1.0}, r"^Elastic: scaling must lie in \[0, 1\)\. Got 1\.0\.$"),
        ({"pixels": 1.0, "smoothness": 0.0}, r"^Elastic: smoothness must be a positive finite number\. Got 0\.0\.$"),
        ({"pixels": 0.0}, r"^Elastic: at least one of pixels, rotation, scaling, shift must be above zero\.$"),
    ],
)
def test_settings_out_of_range_are_refused(fields, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        Elastic(**fields)
