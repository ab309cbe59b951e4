"""Transfer sets of MNIST's section: who is in them, and that held-out rows never are."""

from functools import partial
from pathlib import Path

import pytest
import torch

from limbeck.data.open import load
from limbeck.errors import DataError
from limbeck_recipes.reproductions import mnist_rows as digits
from recipes.small_digits import write_small_mnist


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("digits")
    return str(digits.unpack(str(write_small_mnist(folder / "mnist")), folder / "digits.safetensors"))


def test_unpacked_rows_are_those_of_the_folder(images: str, tmp_path: Path) -> None:
    splits = load(write_small_mnist(tmp_path))
    for rows, found in ((splits.train, digits.training_rows(images)), (splits.test, digits.test_rows(images))):
        read = rows.rows(torch.arange(len(rows)))
        assert torch.equal(next(iter(read.columns.values())).reshape(-1, 1, 28, 28), found.columns["image"])
        assert torch.equal(read.labels, found.labels)


def test_development_and_held_out_rows_part_the_training_rows(images: str) -> None:
    kept, held = digits.development_rows(images), digits.held_out_rows(images)
    assert sorted([*kept.ids.tolist(), *held.ids.tolist()]) == digits.training_rows(images).ids.tolist()
    assert len(held) == 100


def test_classes_are_left_out_or_kept_alone(images: str) -> None:
    source = partial(digits.training_rows, images)
    without, only = digits.without_classes(source, (3,)), digits.only_classes(source, (7, 8))
    assert 3 not in without.labels.tolist() and len(without) + int((source().labels == 3).sum()) == 600
    assert set(only.labels.tolist()) == {7, 8}
    assert torch.equal(source().labels[without.ids], without.labels)  # ids are those of the whole set


def test_a_share_has_each_class_in_proportion(images: str) -> None:
    source = partial(digits.training_rows, images)
    counts, whole = digits.share_of(source, 0.5).labels.bincount(), source().labels.bincount()
    assert ((counts - whole / 2).abs() <= 1).all()


def test_a_smaller_share_lies_in_a_larger_one(images: str) -> None:
    source = partial(digits.training_rows, images)
    small, large = (set(digits.share_of(source, share).ids.tolist()) for share in (0.1, 0.3))
    assert small < large and len(small) == 60


def test_noise_has_no_labels_and_the_digits_shape(images: str) -> None:
    source = partial(digits.training_rows, images)
    whole = source().columns["image"]
    for make in (digits.uniform_noise, digits.pixel_noise, digits.overlaid):
        noise = make(source)
        assert not noise.labelled and noise.columns["image"].shape == whole.shape
        assert torch.equal(noise.columns["image"], make(source).columns["image"])  # the same in every process
    marginal = digits.pixel_noise(source).columns["image"].double().mean(0)
    assert (
        torch.equal(marginal == 0, whole.double().mean(0) == 0) or (marginal - whole.double().mean(0)).abs().max() < 20
    )


def test_data_that_are_no_digits_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b,label\n" + "".join(f"{i},{i},{i % 2}\n" for i in range(8)))
    with pytest.raises(DataError, match="has no test split"):
        digits.unpack(str(tmp_path / "rows.csv"), tmp_path / "out.safetensors")
