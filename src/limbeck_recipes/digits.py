"""scikit-learn's bundled digits: ten small networks teach a much smaller one that sees 256 rows."""

from functools import partial

import torch
from torch import nn

from limbeck.campaigns.plan import Campaign
from limbeck.data.digits import digits as digit_rows
from limbeck.data.splits import without_test
from limbeck.evidence.question import Question
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation, EnsembleOf

MEMBERS = 10
ROWS = 256


def member(*, hidden: int = 128, dropout: float = 0.2) -> nn.Module:
    """One network of the ensemble: 64-hidden-hidden-10, ReLU, dropout."""
    layers = [nn.Linear(64, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, hidden), nn.ReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(hidden, 10))


def student(*, hidden: int = 16) -> nn.Module:
    """The student: 64-hidden-hidden-10, ReLU."""
    return nn.Sequential(nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 10))


def teacher(*, members: int = MEMBERS, epochs: int = 30) -> EnsembleOf:
    """The ensemble: `members` networks that differ in their seeds alone, trained on all training rows."""
    return EnsembleOf(
        members=tuple(
            Distillation(
                data=partial(without_test, digit_rows),
                student=member,
                objective=HardLabels(),
                optimizer=partial(torch.optim.Adam, lr=3e-3),
                epochs=epochs,
                batch_size=64,
                seed=1000 + seed,
                probe_rows=0,
            )
            for seed in range(members)
        )
    )


def digits(*, rows: int = ROWS, hidden: int = 16, members: int = MEMBERS) -> Distillation:
    """The student of `rows` rows, taught by the ensemble."""
    return Distillation(
        data=partial(digit_rows, train_rows=rows),
        student=partial(student, hidden=hidden),
        teacher=teacher(members=members),
        objective=0.9 * SoftTargets(temperature=4.0) + 0.1 * HardLabels(),
        optimizer=partial(torch.optim.Adam, lr=1e-2),
        epochs=60,
        batch_size=32,
    )


def campaign(
    *, rows: int = ROWS, hidden: int = 16, members: int = MEMBERS, seeds: int = 8, trials: int = 16
) -> Campaign:
    """The same student, distilled, by every rival and with one thing replaced at a time, over `seeds` paired seeds."""
    return Campaign(
        distilled=digits(rows=rows, hidden=hidden, members=members),
        question=Question(worth=1.0, within=1.0),
        seeds=tuple(range(seeds)),
        selection_seeds=(1000, 1001),
        trials=trials,
        rivals=("alone", "smoothed", "pseudo-labels", "longer"),
    )
