"""Views made by `Elastic` are recorded once, and teach as the live teacher does that sees the same images."""

from dataclasses import replace

import pytest
import torch
from torch import nn

import tiny
from limbeck.data.elastic import Elastic
from limbeck.data.tensors import TensorSet
from limbeck.errors import MismatchError
from limbeck.files import read_tensors
from limbeck.training import distill as distilling
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record

BENT = Elastic(0.8, smoothness=1.5, rotation=10.0, scaling=0.1, shift=0.5)


def pictures():
    generator = torch.Generator().manual_seed(0)
    values = torch.randint(0, 256, (tiny.ROWS, 1, 7, 5), generator=generator, dtype=torch.uint8)
    return TensorSet({"image": values}, labels=torch.arange(tiny.ROWS) % tiny.CLASSES, classes=tiny.NAMES)


def student():
    return nn.Sequential(nn.Flatten(), nn.Linear(35, tiny.CLASSES))


def teacher():
    torch.manual_seed(7)
    return nn.Sequential(nn.Flatten(), nn.Linear(35, 11), nn.Tanh(), nn.Linear(11, tiny.CLASSES))


def test_a_student_learns_the_same_from_recorded_views_as_from_the_teacher_beside_it(tmp_path):
    spec = tiny.specification(
        data=pictures, student=student, teacher=teacher, augment=BENT, views=3, epochs=4, batch_size=tiny.ROWS
    )
    targets = record(spec, tmp_path / "store", watcher=Silent(), batch_size=16)
    assert targets.part("train").views == 3
    from_store = replace(spec, teacher=None, targets=tmp_path / "store")
    live, replayed, raw = (
        read_tensors(distill(each, tmp_path / name, watcher=Silent()).weights)
        for name, each in {"live": spec, "replayed": from_store, "raw": replace(spec, augment=None, views=None)}.items()
    )
    for name in live:
        torch.testing.assert_close(replayed[name], live[name], rtol=1e-5, atol=1e-6)
        assert not torch.allclose(raw[name], live[name], rtol=1e-3)
    with pytest.raises(MismatchError, match=r"changed by Elastic\(pixels=0\.8, .*Elastic\(pixels=0\.9, "):
        distill(replace(from_store, augment=replace(BENT, pixels=0.9)), tmp_path / "refused", watcher=Silent())


def test_views_that_are_kept_teach_as_those_that_are_made_again(tmp_path, monkeypatch):
    made = []

    def counted(columns, keys):
        made.append(len(keys))
        return BENT(columns, keys)

    spec = tiny.specification(
        data=pictures, student=student, teacher=teacher, augment=counted, views=2, epochs=6, validation=None
    )
    weights = {}
    for name, memory in {"kept": distilling.memory_for_views(1), "made again": 0}.items():
        monkeypatch.setattr(distilling, "memory_for_views", lambda runs, memory=memory: memory)
        made.clear()
        weights[name] = read_tensors(distill(spec, tmp_path / name, watcher=Silent()).weights)
        weights[f"{name}: rows"] = sum(made)
    for name, value in weights["kept"].items():
        assert torch.equal(value, weights["made again"][name])
    # View 1 is shown in three epochs of six; a few rows more are augmented to see that it can be done again.
    assert weights["made again: rows"] - weights["kept: rows"] == 2 * tiny.ROWS
