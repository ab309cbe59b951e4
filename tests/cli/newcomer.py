"""What a newcomer has: a file of models, a file of specifications, a few tables."""

import subprocess
import sys
from pathlib import Path

import torch

PROGRAM = "from limbeck.cli.main import script; script()"

MODEL = """
import torch
from torch import nn

def student():
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))

def teacher():
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(3, 16), nn.ReLU(), nn.Linear(16, 2))

def wide(): return nn.Linear(5, 2)
def three(): return nn.Linear(3, 3)

def three_named():
    module = nn.Linear(3, 3)
    module.classes = ("cat", "dog", "ant")
    return module

class Hidden(nn.Module):
    def forward(self, x):
        return {"hidden": x}

def raising(): raise KeyError("no weights")
def nothing(): return None

number = 3
live = teacher()
"""

SPEC = '''
import os
import time
from functools import partial

import torch
from torch import nn

from limbeck import Distillation, EnsembleOf, FrozenTeacher, HardLabels, SoftTargets, TensorSet
from limbeck.data.prepare import plain_features
from model import student, teacher

LAMBDA = lambda: student()

def rows(count=40, broken=False):
    features = torch.randn(count, 3, generator=torch.Generator().manual_seed(0))
    labels = (features.sum(1) > 0).long()
    if broken:
        features[7] = torch.nan
    return TensorSet(features, labels=labels, ids=torch.arange(100, 100 + count))

def fields(**changes):
    common = {"data": rows, "student": student, "teacher": teacher, "epochs": 1, "batch_size": 16, "probe_rows": 0}
    return {**common, "objective": 0.9 * SoftTargets(temperature=4.0) + 0.1 * HardLabels(), **changes}

def net(width):
    return nn.Sequential(nn.Linear(3, width), nn.ReLU(), nn.Linear(width, 2))

def small(width: int = 4, hot: bool = False) -> Distillation:
    """A small student.

    Args:
        width: hidden units.
        hot: whether it is hot.
    """
    return Distillation(**fields(student=partial(net, width)))

def needy(width: int) -> Distillation:
    return small(width)

def colder(temperature: float = 0.0) -> Distillation:
    return Distillation(**fields(objective=SoftTargets(temperature=temperature)))

def weighted(soft: float = 0.0, hard: float = 0.0) -> Distillation:
    return Distillation(**fields(objective=soft * SoftTargets() + hard * HardLabels()))

def untyped(width):
    return small(width)

def slowly() -> Distillation:
    """Waits at each batch where the environment asks for it, so that a test can interrupt."""
    return Distillation(**fields(prepare=pausing, epochs=12, validation=0.2))

def pausing(columns):
    time.sleep(float(os.environ.get("PAUSE", "0")))
    return columns["features"]

def number():
    return 3

def raising():
    raise KeyError("boom")

def clashing(epochs: int = 3):
    return small()

def claiming(out: str = "x"):
    return small()

def featured(name: str) -> Distillation:
    return Distillation(**fields(teacher=FrozenTeacher(teacher(), prepare=plain_features, features=[name])))

def broken() -> Distillation:
    return Distillation(**fields(data=partial(rows, broken=True), validation=None, checkpoint_seconds=0))

def breaking() -> Distillation:
    """Whole for two epochs, then the rate jumps."""
    return Distillation(**fields(validation=None, epochs=4, checkpoint_seconds=0, schedule=exploding,
                                 optimizer=partial(torch.optim.SGD, lr=1e-3)))

def exploding(optimizer, steps):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0 if step < 6 else 1e38)

def anonymous_members() -> Distillation:
    members = [Distillation(**fields(student=LAMBDA, teacher=None, objective=HardLabels(), seed=s)) for s in (0, 1)]
    return Distillation(**fields(teacher=EnsembleOf(members=members)))

def anonymous() -> Distillation:
    return Distillation(**fields(student=LAMBDA))

def lists(sizes: tuple[int, ...] = (1, 2), *widths: int) -> Distillation:
    return small(sum(sizes) + sum(widths))
'''


def content(folder):
    """Every file's bytes, and every folder, below a folder; what Python compiled aside."""
    paths = [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return {path: path.read_bytes() if path.is_file() else None for path in paths}


def write_csv(path, labels=("0", "1"), count=40, columns=("a", "b", "c", "label")):
    """Write a table whose label says which of as many directions its features point to."""
    features = torch.randn(count, 3, generator=torch.Generator().manual_seed(1))
    directions = torch.randn(3, len(labels), generator=torch.Generator().manual_seed(2))
    chosen = (features @ directions).argmax(-1).tolist()
    lines = [
        ",".join([*(f"{value:.6f}" for value in row), labels[label]])
        for row, label in zip(features, chosen, strict=True)
    ]
    Path(path).write_text("\n".join([",".join(columns), *lines]) + "\n", encoding="utf-8")


def in_another_process(line):
    """Run `limbeck` to its end in a process of its own."""
    words = [sys.executable, "-c", PROGRAM, *line.split()]
    return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
