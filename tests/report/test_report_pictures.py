"""Rows as pictures: which columns are drawn, and that the bytes are the PNG files that others write."""

import base64
import io

import pytest
from facts_by_hand import colour_images, vectors

from limbeck.report.pictures import pictures, png

LEVELS = {
    "grey": [[[0], [128]], [[255], [7]], [[1], [2]]],
    "colour": [[[255, 0, 0], [0, 255, 0], [9, 8, 7]], [[0, 0, 255], [1, 2, 3], [4, 5, 6]]],
}


def opened(address):
    image = pytest.importorskip("PIL.Image", reason="Pillow, of the extra hub, reads the files back")
    return image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,"))))


@pytest.mark.parametrize("levels", LEVELS.values(), ids=LEVELS)
def test_another_reader_finds_the_levels_that_were_written(levels):
    image = pytest.importorskip("PIL.Image", reason="Pillow, of the extra hub, reads the files back")
    found = image.open(io.BytesIO(png(levels)))
    assert found.size == (len(levels[0]), len(levels))
    assert list(found.tobytes()) == [value for line in levels for pixel in line for value in pixel]


def test_a_vector_of_64_is_a_picture_of_8_by_8_dark_where_it_is_high():
    row = [0.0] * 64
    row[8 + 2] = 1.0
    found = opened(pictures([row])[0])
    assert found.size == (8, 8)
    assert found.getpixel((2, 1)) == 0
    assert found.getpixel((0, 0)) == 255


def test_channels_may_come_first_or_last():
    first = colour_images()
    last = [[[[channel[y][x] for channel in image] for x in range(9)] for y in range(6)] for image in first]
    assert pictures(first) == pictures(last)
    assert opened(pictures(first)[0]).getpixel((4, 3)) == tuple(channel[3][4] for channel in first[0])


def test_grey_values_below_256_keep_their_brightness():
    assert opened(pictures([[[0, 100], [200, 50]]])[0]).getpixel((1, 0)) == 100


def test_values_on_no_known_scale_are_stretched_over_the_column():
    found = [opened(address) for address in pictures([[[-2.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]])]
    assert [image.getpixel((0, 0)) for image in found] == [0, 255]


@pytest.mark.parametrize(
    "column",
    [[], ["a text"], [1.0, 2.0], vectors(length=5), vectors(length=16), vectors(length=65), [[[[0.5] * 2] * 2] * 5]],
    ids=["nothing", "texts", "numbers", "5 features", "16 features", "65 features", "5 channels"],
)
def test_other_columns_are_not_drawn(column):
    assert pictures(column) is None
