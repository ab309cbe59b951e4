import torch
from torch import nn
from torch.testing import assert_close

from limbeck_recipes.mnist import MEAN, SPREAD, convolutional_network, pixels, standardised_pixels
from limbeck_recipes.reproductions.mnist_settings import Settings
from limbeck_recipes.reproductions.mnist_training import specification

IMAGES = torch.randint(0, 256, (6, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_standardised_pixels_are_grey_values_less_their_mean_by_their_spread():
    assert_close(standardised_pixels({"image": IMAGES}), (IMAGES.view(6, 784).double() / 255 - MEAN).float() / SPREAD)
    for asked, prepare in ((False, pixels), (True, standardised_pixels)):
        assert specification(Settings(standardised=asked), dict, 0).prepare is prepare


def test_pooling_before_rectifying_changes_nothing():
    torch.manual_seed(0)
    ours = convolutional_network(16).eval()
    convolutions = [layer for layer in ours if isinstance(layer, nn.Conv2d)]
    linear = [layer for layer in ours if isinstance(layer, nn.Linear)]
    values = pixels({"image": IMAGES})
    expected = values.view(6, 1, 28, 28)
    for convolution in convolutions:
        expected = nn.functional.max_pool2d(convolution(expected).relu(), 2)
    expected = linear[1](linear[0](expected.flatten(1)).relu())
    assert_close(ours(values), expected)
    assert sum(one.numel() for one in ours.parameters()) == 416 + 12_832 + 1568 * 16 + 16 + 170
