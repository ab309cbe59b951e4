"""A row's view is a function of (seed, view, id): in any batch, order, worker and epoch, for all models."""

import random
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from limbeck.data.augment import Compose, HorizontalFlip, Mask, Noise, RandomCrop, Shift
from limbeck.data.loader import Loader
from limbeck.data.mapstyle import MapStyleSet
from limbeck.data.prepare import plain_features
from limbeck.data.tensors import TensorSet
from limbeck.data.views import require_deterministic, view_of
from limbeck.errors import ArgumentError, DataError, NotImportable, SpecificationError
from limbeck.keyed import row_keys, uniforms

COUNT = 17
IMAGES = torch.randint(1, 200, (COUNT, 1, 5, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
AUGMENT = Compose((Shift(2), HorizontalFlip()))


def seventeen():
    return TensorSet({"image": IMAGES}, labels=torch.arange(COUNT) % 3, ids=torch.arange(COUNT) + 100)


def raw(columns):
    return columns["image"]


def doubled(columns):
    return columns["image"].to(torch.int64) * 2


def loader(**changes):
    arguments = {"prepares": [raw, doubled], "batch_size": 5, "augment": AUGMENT, "view_seed": 9}
    return Loader(seventeen(), **(arguments | changes))


def seen(batches):
    """What became of each row: by id, the view and the pixels."""
    found = {}
    for batch in batches:
        assert torch.equal(batch.inputs[doubled], batch.inputs[raw].to(torch.int64) * 2)  # all models see the same
        for row, image in zip(batch.ids.tolist(), batch.inputs[raw], strict=True):
            found[row] = (batch.view, image.tolist())
    return found


def expected(view, seed=9):
    """The same from the augmentation itself, row by row."""
    ids = torch.arange(COUNT) + 100
    images = [IMAGES[row : row + 1] for row in range(COUNT)]
    if view:
        images = [AUGMENT({"i": images[row]}, row_keys(seed, view, ids[row : row + 1]))["i"] for row in range(COUNT)]
    return {int(ids[row]): (view, images[row][0].tolist()) for row in range(COUNT)}


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 99),
    epoch=st.integers(0, 6),
    views=st.none() | st.integers(1, 4),
    size=st.integers(1, 20),
    ranks=st.integers(1, 3),
    parts=st.integers(1, 3),
)
def test_an_epoch_shows_every_row_in_its_view_however_it_is_shuffled_cut_and_dealt(
    seed, epoch, views, size, ranks, parts
):
    shown = loader(batch_size=size, views=views)
    batches = [shown.epoch(seed, epoch, rank=rank, ranks=ranks, microbatches=parts) for rank in range(ranks)]
    view = epoch if views is None else epoch % views
    assert seen(batch for part in batches for batch in part) == expected(view)
    assert shown.view_at(epoch) == view


def test_workers_show_the_same_views_and_say_which():
    apart = loader(workers=2, views=3)
    assert seen(apart.epoch(0, 5)) == expected(2)
    assert seen(apart.epoch(0, 3)) == expected(0)
    assert seen(apart.sequential(view=4)) == expected(4)


def test_rows_in_order_are_raw_unless_another_view_is_asked_for():
    assert seen(loader().sequential()) == expected(0)
    assert seen(loader(views=2).sequential(torch.arange(COUNT).flip(0), batch_size=3, view=4)) == expected(4)


def test_view_zero_is_the_raw_row_and_the_augmentation_is_not_called():
    def forbidden(columns, keys):
        raise AssertionError

    assert seen(loader(augment=forbidden, views=1).epoch(0, 7)) == expected(0)


def test_views_of_one_row_differ_and_so_do_those_of_two_seeds():
    views = [expected(1), expected(2), expected(1, seed=10)]
    for one, other in ((0, 1), (0, 2)):
        same = sum(views[one][row][1] == views[other][row][1] for row in views[0])
        assert same < COUNT / 3  # one in fifty would be: 25 shifts, two directions


def test_without_an_augmentation_every_epoch_is_raw():
    plain = loader(augment=None)
    assert [plain.view_at(epoch) for epoch in range(3)] == [0, 0, 0]
    assert seen(plain.epoch(0, 2)) == expected(0)


def test_starting_late_shows_what_would_have_been_shown():
    whole, late = list(loader().epoch(1, 3)), list(loader().epoch(1, 3, start=2))
    assert seen(late) == seen(whole[2:])


@pytest.mark.parametrize("workers", [0, 1])
def test_a_batch_without_rows_has_the_view_and_shapes_of_the_others(workers):
    empty = [batch for batch in loader(workers=workers, batch_size=2).epoch(0, 3, rank=2, ranks=3) if not len(batch)]
    assert empty
    assert all((batch.view, batch.inputs[raw].shape) == (3, (0, 1, 5, 7)) for batch in empty)
    assert empty[0].to(torch.device("meta")).view == 3


def failing(columns, keys):
    raise ValueError("no crops today")


@pytest.mark.parametrize("workers", [0, 1])
def test_an_augmentation_that_fails_is_named_with_the_rows(workers):
    sentence = r"The augmentation 'failing' failed on a batch of 5 rows \(ids 1.*\): ValueError: no crops today"
    with pytest.raises(DataError, match=sentence):
        list(loader(augment=failing, workers=workers).epoch(0, 1))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"views": 0}, r"^Loader: views must be a whole number from 1 up\. Got 0\.$"),
        ({"view_seed": -1}, r"^Loader: view_seed must be a whole number from 0 up\. Got -1\.$"),
        ({"augment": 3}, r"^Loader: augment must be a function of columns and keys\. Got 3\.$"),
    ],
)
def test_arguments_out_of_range_are_refused(changes, sentence):
    with pytest.raises(ArgumentError, match=sentence):
        loader(**changes)


def test_a_view_that_is_not_there_is_refused():
    with pytest.raises(
        ArgumentError, match=r"without an augmentation there is only view 0, the raw rows\. Got view 2\."
    ):
        loader(augment=None).sequential(view=2)
    with pytest.raises(ArgumentError, match="view must be a whole number from 0 up"):
        loader().sequential(view=-1)


def test_an_augmentation_that_workers_cannot_import_is_refused(monkeypatch):
    def unreachable(*arguments, **named):
        raise AttributeError("Can't pickle local object")

    monkeypatch.setattr("limbeck.data.loader.DataLoader.__iter__", unreachable)
    with pytest.raises(
        NotImportable, match="1 workers need rows, prepares and an augmentation that another process can"
    ):
        list(loader(workers=1, augment=lambda columns, keys: columns).epoch(0, 1))


def with_images(change):
    """An augmentation from a change of the images, given their keys."""

    def augmentation(columns, keys):
        return {**columns, "image": change(columns["image"], keys)}

    return augmentation


COUNTER = iter(range(10**9))
GENERATOR = np.random.default_rng(0)


def by_torch(images, keys):
    return images + torch.randint(0, 2, images.shape, dtype=torch.uint8)


def one_coin_a_batch(images, keys):
    return images.flip(-1) if torch.rand(()) < 0.5 else images


def by_numpy(images, keys):
    return images + torch.from_numpy(np.random.randint(0, 2, images.shape)).to(torch.uint8)


def by_python(images, keys):
    return images.flip(-1) if random.random() < 0.5 else images


def by_a_generator_of_its_own(images, keys):
    return images + torch.from_numpy(GENERATOR.integers(0, 2, images.shape)).to(torch.uint8)


def by_a_count_of_calls(images, keys):
    return images + next(COUNTER) % 2


def by_place(images, keys):
    return images + torch.arange(len(images), dtype=torch.uint8)[:, None, None, None]


def by_a_generator_seeded_anew(images, keys):
    noise = torch.randint(0, 2, images.shape, generator=torch.Generator().manual_seed(0))
    return images + noise.to(torch.uint8)


def by_the_batch_as_a_whole(images, keys):
    return images - images.float().mean(0).to(torch.uint8)


def by_a_neighbour(images, keys):
    return images // 2 + images.roll(1, 0) // 2


def by_the_first_key(images, keys):
    return images.flip(-1) if uniforms(keys[:1], 1) < 0.5 else images


AGAIN = (by_torch, one_coin_a_batch, by_numpy, by_python, by_a_generator_of_its_own, by_a_count_of_calls)
ELSEWHERE = (by_place, by_a_generator_seeded_anew, by_the_batch_as_a_whole, by_a_neighbour, by_the_first_key)


@pytest.mark.parametrize("count", [2, 3, 17])
@pytest.mark.parametrize("change", [*AGAIN, *ELSEWHERE])
def test_what_is_not_a_function_of_a_row_and_its_key_is_refused(change, count):
    when = "when the same batch came again" if change in AGAIN else "in another batch"
    sentence = (
        "^The augmentation '.*augmentation' is not a function of a row and its key: column 'image' of the row with id "
        rf"1\d\d came out differently {when}; take every random number from `limbeck\.keyed\.uniforms\(keys, …\)`, and "
        r"look at no other row\.$"
    )
    with pytest.raises(SpecificationError, match=sentence):
        require_deterministic(with_images(change), seventeen().subset(torch.arange(count)), seed=0)


def by_key(images, keys):
    chosen = (uniforms(keys, 1)[:, 0] < 0.5)[:, None, None, None]
    return torch.where(chosen, images.flip(-1), images)


def in_place(images, keys):
    images[uniforms(keys, 1)[:, 0] < 0.5] += 1
    return images


def the_same_for_all(images, keys):
    return 255 - images


@pytest.mark.parametrize("count", [1, 2, 17])
@pytest.mark.parametrize(
    "augment", [AUGMENT, RandomCrop(2), Mask(0.5), *map(with_images, (by_key, in_place, the_same_for_all))]
)
def test_what_is_one_is_accepted(augment, count):
    require_deterministic(augment, seventeen().subset(torch.arange(count)), seed=0)


def blurred(columns, keys):
    """A sum whose order may change with the size of the batch, and values that are no numbers."""
    mixed = columns["features"] @ torch.ones(31, 31) + uniforms(keys, 31).float()
    return {"features": mixed.where(uniforms(keys, 31, stream=1) < 0.9, torch.nan)}


@pytest.mark.parametrize("augment", [Noise(0.1), blurred])
def test_floats_may_differ_by_rounding(augment):
    require_deterministic(augment, TensorSet(torch.randn(40, 31, generator=torch.Generator().manual_seed(0))), seed=0)


def test_noise_that_is_small_is_no_rounding():
    def shaken(columns, keys):
        return {"features": columns["features"] + 1e-4 * torch.rand(())}

    with pytest.raises(SpecificationError, match="is not a function of a row and its key"):
        require_deterministic(shaken, TensorSet(torch.ones(40, 31)), seed=0)


SIZES = MapStyleSet([torch.full((1, 2, 2 + number % 3), number, dtype=torch.uint8) for number in range(1, 12)])


def mirrored(columns, keys):
    chosen = (uniforms(keys, 1)[:, 0] < 0.5).tolist()
    images = columns["features"]
    return {"features": [image.flip(-1) if flip else image for image, flip in zip(images, chosen, strict=True)]}


def brightened_in_place(columns, keys):
    return {"features": [image.add_(1) for image in columns["features"]]}


def test_lists_of_images_of_several_sizes_are_looked_at_row_by_row():
    require_deterministic(mirrored, SIZES, seed=0)
    with pytest.raises(DataError, match="Shift: column 'features' is a list, not a tensor"):
        require_deterministic(Shift(1), SIZES, seed=0)


def test_what_changes_the_datasets_own_rows_is_refused():
    rows = TensorSet({"features": [torch.zeros(1, 2, 2), torch.zeros(1, 2, 3), torch.zeros(1, 3, 3)]})
    with pytest.raises(SpecificationError, match="changes what column 'features' holds in place"):
        require_deterministic(brightened_in_place, rows, seed=0)


def test_text_can_be_augmented():
    def shortened(columns, keys):
        cuts = (uniforms(keys, 1)[:, 0] * 3).long().tolist()
        return {"text": [text[cut:] for text, cut in zip(columns["text"], cuts, strict=True)]}

    def shuffled(columns, keys):
        return {"text": random.sample(columns["text"], len(columns["text"]))}

    rows = TensorSet({"text": [f"number {number}" for number in range(30)]})
    require_deterministic(shortened, rows, seed=0)
    with pytest.raises(SpecificationError, match="column 'text' of the row with id"):
        require_deterministic(shuffled, rows, seed=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            lambda columns, keys: {"picture": columns["image"]},
            "must keep the columns of a row, image. It gave picture.",
        ),
        (
            lambda columns, keys: {"image": columns["image"] / 255},
            "made 6 rows of torch.float32 of column 'image', 6 rows",
        ),
        (
            lambda columns, keys: {"image": columns["image"][1:]},
            "made 5 rows of torch.uint8 of column 'image', 6 rows of",
        ),
        (
            lambda columns, keys: {"image": columns["image"][:6]},
            "made 6 rows of torch.uint8 of column 'image', 12 rows of",
        ),
        (
            lambda columns, keys: {"image": list(columns["image"])},
            "made a list of 6 of column 'image', 6 rows of torch",
        ),
    ],
)
def test_columns_dtypes_and_the_number_of_rows_must_stay(change, sentence):
    with pytest.raises(SpecificationError, match=re.escape(sentence)):
        require_deterministic(change, seventeen(), seed=0)


def test_the_global_generators_are_as_they_were():
    def states():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    before = states()
    require_deterministic(AUGMENT, seventeen(), seed=0)
    assert states() == before
    with pytest.raises(SpecificationError):
        require_deterministic(with_images(by_torch), seventeen(), seed=0)
    assert states() == before


def test_a_view_of_rows_can_be_had_without_a_loader():
    rows = seventeen().rows(torch.tensor([3, 8]))
    found = view_of(rows, 2, augment=AUGMENT, seed=9)["image"]
    assert [(2, image.tolist()) for image in found] == [expected(2)[103], expected(2)[108]]
    assert view_of(rows, 0, augment=AUGMENT, seed=9) is rows.columns
    assert view_of(rows, 2, augment=None, seed=9) is rows.columns
    assert plain_features({"image": found}).dtype == torch.float32
