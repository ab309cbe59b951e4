"""MNIST as in Hinton, Vinyals & Dean 2015, section 3: two layers of 1200 with dropout teach two layers of 800.

The paper gives neither rate, epochs, batch nor weights; those here are ours. This recipe is one student in minutes;
the paper's whole section, row by row and at several seeds, is `limbeck reproduce mnist`.
"""

from functools import partial

import torch
from torch import Tensor, nn

from limbeck.data.augment import Shift
from limbeck.data.open import load
from limbeck.data.prepare import plain_features
from limbeck.data.splits import without_test
from limbeck.errors import DataError
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation
from limbeck.types import Columns
from limbeck_recipes.layers.dropout import ByteDropout


def mnist(*, data: str | None = None, teacher_epochs: int = 5, rows_per_step: int = 256) -> Distillation:
    """A 2×800 student of 54,000 digits, taught at T = 20 by a 2×1200 network with dropout that is trained first.

    Of the 60,000 training rows 6,000 validate. The teacher learns from images jittered by up to two pixels, with the
    norms of its weights constrained; the student's own rows are not moved.

    Args:
        data: a folder with MNIST (Hugging Face layout or the four raw IDX files), or a hub id such as ylecun/mnist.
        teacher_epochs: passes of the teacher over its training rows.
        rows_per_step: rows of a step, for both.
    """
    if data is None:
        raise DataError(
            "The recipe mnist needs the digits: pass --data with a folder that holds MNIST (the four IDX files from "
            "yann.lecun.org/exdb/mnist, or the Hugging Face layout) or with the hub id ylecun/mnist."
        )
    rows = partial(load, data)
    shared = {"optimizer": partial(torch.optim.Adam, lr=1e-3), "prepare": pixels, "batch_size": rows_per_step}
    teacher = Distillation(
        data=partial(without_test, rows),
        student=teacher_network,
        objective=HardLabels(),
        epochs=teacher_epochs,
        augment=Shift(2),
        max_norm=2.0,
        **shared,  # type: ignore[arg-type]
    )
    return Distillation(
        data=rows,
        student=student_network,
        teacher=teacher,
        objective=0.9 * SoftTargets(temperature=20.0) + 0.1 * HardLabels(),
        epochs=5,
        **shared,  # type: ignore[arg-type]
    )


def pixels(columns: Columns) -> Tensor:
    """Flatten an image to a row of grey values in [0, 1]: (B, 1, 28, 28) uint8 -> (B, 784) float32."""
    images = plain_features(columns)
    if not isinstance(images, Tensor):
        raise DataError(f"MNIST has one column of images. Got the columns {', '.join(columns)}.")
    return images.flatten(1)


MEAN, SPREAD = 0.1307, 0.3081
"""Mean and standard deviation of the grey values of the 60,000 training images."""


def standardised_pixels(columns: Columns) -> Tensor:
    """Grey values less their mean, by their standard deviation: (B, 1, 28, 28) uint8 -> (B, 784) float32.

    A first layer that need not make up for inputs that are all positive learns faster; networks can be the same.
    """
    return pixels(columns).sub(MEAN).div(SPREAD)


def network(units: int, input_dropout: float = 0.0, dropout: float = 0.0) -> nn.Module:
    """784-units-units-10 with ReLU, and dropout of inputs and of hidden units where it is asked for."""
    return nn.Sequential(
        *_dropout(input_dropout),
        nn.Linear(784, units),
        nn.ReLU(),
        *_dropout(dropout),
        nn.Linear(units, units),
        nn.ReLU(),
        *_dropout(dropout),
        nn.Linear(units, 10),
    )


def _dropout(probability: float) -> list[nn.Module]:
    return [ByteDropout(probability)] if probability else []


def convolutional_network(units: int, dropout: float = 0.0) -> nn.Module:
    """Two 5×5 convolutions (16 and 32 maps), each pooled to half the size, `units` hidden units, 10 logits.

    What is pooled first is rectified at a quarter of the places, to the same numbers; with the channels last in memory
    a step on a CPU takes three fifths of the time.
    """
    layers = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)),
        nn.Conv2d(1, 16, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        *_dropout(dropout),
        nn.Linear(32 * 7 * 7, units),
        nn.ReLU(),
        nn.Linear(units, 10),
    )
    layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's overloads leave it out
    return layers


def teacher_network() -> nn.Module:
    """784-1200-1200-10, ReLU, dropout of 20 % of the inputs and half of the hidden units."""
    return network(1200, input_dropout=0.2, dropout=0.5)


def student_network() -> nn.Module:
    """784-800-800-10, ReLU."""
    return network(800)
