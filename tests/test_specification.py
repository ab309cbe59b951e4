"""The description of a run: to JSON and back, its hash, and what it refuses."""

import json
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import tiny
from limbeck.data.augment import Compose, HorizontalFlip, Mask, Noise, RandomCrop
from limbeck.data.digits import digits
from limbeck.errors import ArgumentError, NotImportable, SpecificationError
from limbeck.functional import jensen_shannon
from limbeck.objective import HardLabels, LogitMatching, SoftTargets
from limbeck.references import load
from limbeck.schedules import Cosine, Linear
from limbeck.specification import (
    WITHOUT_EFFECT,
    Distillation,
    EnsembleOf,
    from_json,
    identity,
    require_importable,
    to_json,
)
from limbeck.teachers.frozen import FrozenTeacher
from tiny import ADAM, alone, cosine, doubled, specification


def ramp(step):
    return min(1.0, 0.1 * (step + 1))


@dataclass(frozen=True)
class Setting:
    """A record of a user's own making, as an argument of a factory."""

    width: int
    names: tuple[str, ...] = ()


def net(width=7, setting=None, dtype=torch.float32, table=None):
    return nn.Linear(tiny.FEATURES, tiny.CLASSES, dtype=dtype)


VALUES = {
    "none": None,
    "numbers": [True, 3, 0.1 + 0.2, 1e-300, float("inf")],
    "text": "ü · π",
    "function": tiny.student,
    "class": nn.Linear,
    "partial": partial(net, 11, setting=Setting(3, ("a", "b"))),
    "partial of a partial": partial(partial(net, 11), dtype=torch.float64),
    "mapping with any keys": partial(net, table={1: "one", "two": 2, (3, 4): None}),
    "record": Setting(5),
    "type of a tensor": torch.bfloat16,
    "number of numpy": partial(net, np.int64(11), table={"rate": np.float32(0.5)}),
    "term": SoftTargets(temperature=2.0),
    "augmentation": Compose((RandomCrop(4), HorizontalFlip(probability=0.25), Noise(0.1, column="image"))),
    "objective": 0.5 * SoftTargets(temperature=Cosine(start=8.0, stop=1.0, steps=9)) + ramp * HardLabels(smoothing=0.1),
    "divergence": SoftTargets(divergence=partial(jensen_shannon, beta=0.3)) + LogitMatching(name="matched"),
    "specification": specification(track=("tensorboard",), clip_norm=1.0, schedule=cosine, prepare=doubled),
    "ensemble": specification(teacher=EnsembleOf(members=[tiny.teacher, alone(), "runs/a"], weights=(1, 2, 3))),
    "teacher's specification": specification(teacher=alone(seed=1, data=partial(tiny.rows, 47))),
    "weight that changes": Linear(start=0, stop=1, steps=5) * SoftTargets() + HardLabels(),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_goes_to_json_comes_back_as_it_was(name):
    encoded = to_json(VALUES[name])
    written = json.loads(json.dumps(encoded))
    assert written == encoded
    assert to_json(from_json(written)) == encoded


def test_every_field_comes_back():
    spec = VALUES["specification"]
    back = from_json(to_json(spec))
    for field in fields(Distillation):
        if field.name != "optimizer":  # partials are equal only to themselves
            assert getattr(back, field.name) == getattr(spec, field.name), field.name
    assert (back.optimizer.func, back.optimizer.keywords) == (ADAM.func, ADAM.keywords)
    assert back.hash == spec.hash
    again = from_json(to_json(VALUES["objective"]))
    assert again == VALUES["objective"]
    assert from_json(to_json(VALUES["ensemble"])).teacher.weights == (1, 2, 3)
    assert from_json(to_json(VALUES["mapping with any keys"])).keywords["table"] == {1: "one", "two": 2, (3, 4): None}
    assert from_json(to_json(Path("runs/teacher"))) == "runs/teacher"


CHANGES = {
    "data": tiny.splits,
    "student": tiny.dropout_student,
    "objective": 0.6 * SoftTargets(temperature=4.0) + 0.3 * HardLabels(),
    "teacher": tiny.double_teacher,
    "targets": "store-of-targets",
    "optimizer": partial(torch.optim.Adam, lr=2e-2),
    "schedule": cosine,
    "prepare": doubled,
    "teacher_prepare": doubled,
    "augment": Mask(share=0.1),
    "views": 3,
    "view_seed": 1,
    "epochs": 3,
    "batch_size": 9,
    "microbatches": 2,
    "clip_norm": 1.0,
    "max_norm": 2.0,
    "precision": "bfloat16",
    "validation": 0.2,
    "seed": 1,
    "split_seed": 1,
    "device": "meta",
    "workers": 1,
    "log_every": 7,
    "probe_rows": 3,
    "checkpoint_seconds": 5.0,
    "keep_every": 2,
    "track": ("tensorboard",),
}


def test_the_changes_below_speak_of_every_field():
    assert set(CHANGES) == {field.name for field in fields(Distillation)}


@pytest.mark.parametrize("name", sorted(set(CHANGES) - set(WITHOUT_EFFECT)))
def test_the_hash_changes_with_what_changes_the_student(name):
    spec = specification(augment=Noise(scale=0.1))  # without it there are no views to count
    assert replace(spec, **{name: CHANGES[name]}).hash != spec.hash


@pytest.mark.parametrize("name", WITHOUT_EFFECT)
def test_the_hash_does_not_change_with_what_does_not(name):
    spec = specification()
    changed = replace(spec, **{name: CHANGES[name]})
    assert to_json(changed) != to_json(spec)
    assert changed.hash == spec.hash
    assert specification(teacher=replace(alone(), **{name: CHANGES[name]})).hash == specification(teacher=alone()).hash


@pytest.mark.parametrize(
    "other",
    [
        0.7 * SoftTargets(temperature=4.5) + 0.3 * HardLabels(),
        0.7 * SoftTargets(temperature=4.0, divergence=jensen_shannon) + 0.3 * HardLabels(),
        0.7 * SoftTargets(temperature=4.0) + 0.3 * HardLabels(smoothing=0.1),
        0.7 * SoftTargets(temperature=Linear(start=4, stop=4, steps=1)) + 0.3 * HardLabels(),
        0.7 * SoftTargets(temperature=4.0) + 0.3 * LogitMatching(),
    ],
)
def test_the_hash_sees_every_part_of_the_objective(other):
    assert specification(objective=other).hash != specification().hash


def test_the_hash_sees_live_content():
    def hashed(rows):
        return specification(data=rows, teacher=None, objective=HardLabels()).hash

    assert hashed(tiny.rows()) == hashed(tiny.rows()) != hashed(tiny.rows(seed=5))
    nets = [nn.Linear(2, 2), nn.Linear(2, 2)]
    one, other, again = (specification(teacher=module).hash for module in (*nets, nets[0]))
    assert one == again != other
    assert specification(teacher=FrozenTeacher(nets[0], prepare=doubled)).hash != one


def test_the_hash_sees_the_mean_the_weights_and_the_order_of_an_ensemble():
    members = [tiny.teacher, tiny.double_teacher]
    plans = [
        EnsembleOf(members=members),
        EnsembleOf(members=members, mean="geometric"),
        EnsembleOf(members=members, weights=(1, 2)),
        EnsembleOf(members=members[:1]),
        EnsembleOf(members=[tiny.teacher, alone()]),
        EnsembleOf(members=[tiny.teacher, alone(seed=1)]),
    ]
    assert len({specification(teacher=plan).hash for plan in plans}) == len(plans)


FILE = """
from torch import nn

class Net(nn.Linear):
    pass

def net():
    return Net(5, 3)
"""


def test_the_hash_follows_the_factorys_source_and_not_its_folder(tmp_path):
    def hashed(folder, text):
        path = tmp_path / folder / "model.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        return specification(student=load(f"{path}:net"), teacher=load(f"{path}:net")).hash

    before = hashed("one", FILE)
    assert hashed("other", FILE) == before
    assert hashed("one", FILE.replace("pass", "settings = 1")) != before
    assert hashed("one", FILE) == before


def test_the_hash_sees_what_a_lambda_does():
    def with_rate(rate):
        return specification(optimizer=lambda weights: torch.optim.SGD(weights, lr=rate)).hash

    assert with_rate(0.1) == with_rate(0.1) != with_rate(0.2)


class Builder:
    def __init__(self, width):
        self.width = width

    def build(self):
        return nn.Linear(5, self.width)


def test_the_hash_does_not_take_one_instance_for_another():
    assert specification(student=Builder(3).build).hash != specification(student=Builder(4).build).hash


def test_a_lambda_can_be_described_and_not_rebuilt():
    encoded = to_json(specification(student=lambda: tiny.student()))
    assert encoded["fields"]["student"]["$opaque"].partition(" (test_specification.py, line ")[1]
    with pytest.raises(NotImportable, match=r"<lambda> \(test_specification\.py, line \d+\) cannot be found by name, "):
        from_json(encoded)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"student": lambda: tiny.student()}, "cannot be found by name"),
        ({"data": tiny.rows()}, r"A live TensorSet cannot be rebuilt from a record; give an importable factory\."),
        ({"teacher": tiny.teacher()}, "A live Sequential cannot be rebuilt from a record"),
        ({"teacher": FrozenTeacher(tiny.teacher(), prepare=doubled)}, "A live FrozenTeacher cannot be rebuilt"),
        ({"teacher": EnsembleOf(members=[tiny.teacher, lambda: tiny.teacher()])}, "cannot be found by name"),
        ({"student": Builder(3).build}, "something else stands there"),
    ],
)
def test_what_another_process_could_not_rebuild_is_refused(changes, sentence):
    with pytest.raises(NotImportable, match=sentence):
        require_importable(specification(**changes))


def test_a_bare_tensor_is_refused():
    with pytest.raises(NotImportable, match="cannot hold a bare tensor; wrap it in a TensorSet or a factory"):
        to_json(specification(student=partial(net, setting=torch.zeros(3))))


def test_the_whole_specification_is_importable_if_its_parts_are():
    assert require_importable(specification()) == to_json(specification())


def test_a_record_whose_function_is_gone_says_so():
    encoded = to_json(specification())
    encoded["fields"]["student"]["$ref"] = "tiny:gone"
    with pytest.raises(SpecificationError, match="tiny defines no 'gone'"):
        from_json(encoded)


def test_identity_drops_what_it_is_told_of_the_outermost_only():
    spec = specification(teacher=alone())
    longer, other = replace(spec, epochs=9), replace(spec, teacher=alone(epochs=9))
    assert identity(to_json(longer), leave_out=("epochs",)) == identity(to_json(spec), leave_out=("epochs",))
    assert identity(to_json(other), leave_out=("epochs",)) != identity(to_json(spec), leave_out=("epochs",))


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"epochs": 0}, ArgumentError, r"^Distillation: epochs must be a whole number of at least 1\. Got 0\.$"),
        ({"epochs": 2.0}, ArgumentError, r"epochs must be a whole number of at least 1\. Got 2\.0\."),
        ({"epochs": True}, ArgumentError, "epochs must be a whole number"),
        ({"batch_size": 0}, ArgumentError, "batch_size must be a whole number of at least 1"),
        ({"microbatches": -1}, ArgumentError, "microbatches must be a whole number of at least 1"),
        ({"log_every": 0}, ArgumentError, "log_every must be a whole number of at least 1"),
        ({"workers": -1}, ArgumentError, "workers must be a whole number of at least 0"),
        ({"probe_rows": -1}, ArgumentError, "probe_rows must be a whole number of at least 0"),
        ({"seed": -1}, ArgumentError, "seed must be a whole number of at least 0"),
        ({"split_seed": 0.5}, ArgumentError, "split_seed must be a whole number of at least 0"),
        ({"keep_every": 0}, ArgumentError, "keep_every must be a whole number of at least 1"),
        ({"augment": doubled, "views": 0}, ArgumentError, "views must be a whole number of at least 1"),
        ({"view_seed": -1}, ArgumentError, "view_seed must be a whole number of at least 0"),
        ({"augment": 2}, ArgumentError, r"augment must be a function of columns and keys, or None\. Got 2\."),
        ({"views": 2}, SpecificationError, "views are made by an augmentation; give `augment`, or leave `views` out"),
        (
            {"checkpoint_seconds": -1.0},
            ArgumentError,
            r"checkpoint_seconds must be finite and not negative",
        ),
        ({"checkpoint_seconds": float("nan")}, ArgumentError, "checkpoint_seconds must be finite and not negative"),
        ({"clip_norm": 0.0}, ArgumentError, r"clip_norm must be a positive finite number\. Got 0\.0\."),
        ({"max_norm": 0.0}, ArgumentError, r"^Distillation: max_norm must be a positive finite number\. Got 0\.0\.$"),
        ({"max_norm": float("inf")}, ArgumentError, r"max_norm must be a positive finite number\. Got inf\."),
        ({"max_norm": float("nan")}, ArgumentError, r"max_norm must be a positive finite number\. Got nan\."),
        ({"validation": 0.0}, ArgumentError, r"validation must lie in \(0, 1\) or be None\. Got 0\.0\."),
        ({"validation": 1.0}, ArgumentError, r"validation must lie in \(0, 1\) or be None\. Got 1\.0\."),
        ({"precision": "float16"}, ArgumentError, "precision must be float32, bfloat16 or auto. Got 'float16'"),
        ({"teacher": None}, SpecificationError, "has soft terms, which need a teacher; give one"),
        (
            {"objective": 0.0 * HardLabels()},
            ArgumentError,
            "at least one term of the objective must have a",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_when_it_is_written(changes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        specification(**changes)


def test_a_specification_is_frozen_and_its_defaults_need_no_teacher():
    spec = Distillation(data=digits, student=tiny.student, objective=HardLabels())
    assert spec.goal == 1.0 * HardLabels()
    with pytest.raises(AttributeError):
        spec.epochs = 3
    with pytest.raises(TypeError):
        Distillation(digits, tiny.student, HardLabels())
