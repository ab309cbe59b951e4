"""Rows, models and specifications that train in a blink, importable from any process.

Sizes are primes, so that mistaken axes show: 53 rows of 5 features, 3 classes.
"""

import os
import time
from functools import partial

import torch
from torch import nn

from limbeck.data.splits import Splits, without_test
from limbeck.data.tensors import TensorSet
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation

ROWS, FEATURES, CLASSES = 53, 5, 3
NAMES = ("oak", "ash", "elm")


def features(count=ROWS, seed=0):
    return torch.randn(count, FEATURES, generator=torch.Generator().manual_seed(seed))


def rule():
    return torch.randn(FEATURES, CLASSES, generator=torch.Generator().manual_seed(99))


def rows(count=ROWS, seed=0):
    columns = features(count, seed)
    return TensorSet(columns, labels=(columns @ rule()).argmax(-1), classes=NAMES)


def unlabelled_rows():
    return TensorSet(features(), classes=NAMES)


def multilabel_rows():
    columns = features()
    return TensorSet(columns, labels=(columns @ rule() > 0).float(), classes=NAMES)


def splits():
    return Splits(train=rows(), validation=rows(19, seed=1), test=rows(17, seed=2))


def splits_alone():
    """The same rows without those that are tested on: what a teacher may see."""
    return without_test(splits)


def doubled(columns):
    """A `prepare` in float64, where two ways to sum agree to ten digits."""
    return columns["features"].double()


def slow(columns):
    """A `prepare` that takes its time where the environment asks for it, so that a test can interrupt."""
    time.sleep(float(os.environ.get("TINY_PAUSE", "0")))
    return columns["features"]


def student():
    return nn.Sequential(nn.Linear(FEATURES, 7), nn.ReLU(), nn.Linear(7, CLASSES))


def double_student():
    return student().double()


def dropout_student():
    return nn.Sequential(nn.Linear(FEATURES, 11), nn.ReLU(), nn.Dropout(0.3), nn.Linear(11, CLASSES))


def channels_last_student():
    """A student with a weight whose order in memory is not that of its axes."""
    layers = nn.Sequential(
        nn.Linear(FEATURES, 36),
        nn.Unflatten(1, (4, 3, 3)),
        nn.Conv2d(4, 7, 2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(28, CLASSES),
    )
    return layers.to(memory_format=torch.channels_last)


def teacher():
    torch.manual_seed(7)
    net = nn.Sequential(nn.Linear(FEATURES, 13), nn.Tanh(), nn.Linear(13, CLASSES))
    with torch.no_grad():
        net[2].weight.mul_(5)  # sharp enough that temperatures matter
    return net


def double_teacher():
    return teacher().double()


FUSED = partial(torch.optim.AdamW, lr=0.01, fused=True)
"""Its kernels walk through parameter, gradient and moments as they lie in memory."""
ADAM = partial(torch.optim.Adam, lr=1e-2)
MOMENTUM = partial(torch.optim.SGD, lr=5e-2, momentum=0.9)


def cosine(optimizer, steps):
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)


def both():
    return 0.7 * SoftTargets(temperature=4.0) + 0.3 * HardLabels()


def specification(**changes):
    """Taught by `teacher` with soft and hard terms, 7 steps an epoch, on the CPU; any field may be changed."""
    fields = {
        "data": rows,
        "student": student,
        "teacher": teacher,
        "objective": both(),
        "optimizer": ADAM,
        "epochs": 2,
        "batch_size": 8,
        "validation": None,
        "device": "cpu",
        "probe_rows": 0,
    }
    return Distillation(**{**fields, **changes})


def alone(**changes):
    """The same on labels alone."""
    return specification(**{"teacher": None, "objective": HardLabels(), **changes})


def double(**changes):
    """The same with student and teacher in float64."""
    fields = {"student": double_student, "teacher": double_teacher, "prepare": doubled, "teacher_prepare": doubled}
    return specification(**{**fields, **changes})


def between_epochs():
    """A run that is saved at the end of each epoch, with all that has a state: Adam, dropout, a schedule, a best."""
    return specification(
        data=splits,
        student=dropout_student,
        schedule=cosine,
        prepare=slow,
        validation=0.1,
        epochs=23,
        log_every=3,
        probe_rows=5,
        checkpoint_seconds=0,
        keep_every=9,
    )


def within_epochs():
    """A run that is saved every 20 ms, in the midst of epochs, of micro-batches apart."""
    return specification(
        data=splits,
        student=dropout_student,
        optimizer=MOMENTUM,
        prepare=slow,
        validation=0.1,
        epochs=23,
        log_every=4,
        microbatches=2,
        clip_norm=1.0,
        checkpoint_seconds=0.02,
    )
