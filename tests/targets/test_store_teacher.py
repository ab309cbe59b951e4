"""A teacher that is a file, and what it refuses to answer for."""

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from recordings import known

from limbeck.errors import MismatchError
from limbeck.targets.encodings.dense import DenseLogits
from limbeck.targets.encodings.topk import TopKLogProbs
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.types import Batch

PAGE = Path(__file__).parents[2] / "docs" / "targets.md"


@pytest.fixture(scope="module")
def made():
    return known()


@pytest.fixture(scope="module")
def folder(made, tmp_path_factory):
    return made.written(tmp_path_factory.mktemp("teacher") / "store")


@pytest.fixture(scope="module")
def teacher(folder):
    return RecordedTeacher(Targets.open(folder))


def in_memory(**changes):
    made = known(features=False, **changes)
    width = made.plan.layout.nbytes
    rows = {
        name: torch.zeros(len(part.ids), part.views, width, dtype=torch.uint8) for name, part in made.plan.parts.items()
    }
    return RecordedTeacher(Targets.in_memory(made.plan, rows))


def test_batches_are_answered_by_their_ids_and_view(made, teacher):
    batch = Batch({}, None, torch.tensor([152, 5, 8]), view=1)
    found = teacher(batch)
    assert found.at(3.0).logits.equal(made.logits["train"][[49, 0, 1], 1])
    assert found.features["layer.0"].equal(made.features["train"][[49, 0, 1], 1])
    assert found.at(3.0).head == "softmax"


def test_it_says_what_it_is(made, folder, teacher):
    assert teacher.fingerprint == Targets.open(folder).manifest.sha256
    assert (teacher.head, teacher.classes) == ("softmax", ("null", "eins", "zwö"))
    assert (teacher.prepares, teacher.temperatures, teacher.views) == ((), None, 2)
    assert teacher.knows_contents
    assert teacher.to(torch.device("cpu")) is teacher


def test_features_come_only_where_they_are_asked_for(folder):
    targets = Targets.open(folder)
    batch = Batch({}, None, torch.tensor([5]))
    assert not RecordedTeacher(targets, features=())(batch).features
    assert list(RecordedTeacher(targets, features=["layer.0"])(batch).features) == ["layer.0"]
    with pytest.raises(MismatchError, match="no features of 'layer'"):
        RecordedTeacher(targets, features=["layer"])


def test_a_split_of_its_own_is_answered_by_the_teacher_of_that_split(made, teacher):
    other = teacher.of("test")
    assert other(Batch({}, None, torch.tensor([6]))).at(1.0).logits.equal(made.logits["test"][6:7, 0])
    assert (other.views, other.knows_contents, teacher.views) == (1, False, 2)
    with pytest.raises(MismatchError, match="no answers to the split 'validation'"):
        teacher.of("validation")


def test_it_travels_to_another_process(made, teacher):
    again = pickle.loads(pickle.dumps(teacher))
    assert again(Batch({}, None, torch.tensor([8]))).at(1.0).logits.equal(made.logits["train"][1:2, 0])


def test_answers_travel_to_the_device_as_they_are_packed(teacher):
    away = RecordedTeacher(teacher.targets).to(torch.device("meta"))
    found = away(Batch({}, None, torch.tensor([8])))
    assert found.at(1.0).logits.device.type == "meta"
    assert found.features["layer.0"].device.type == "meta"


def test_the_rows_that_were_recorded_pass_in_any_order_and_number(made, teacher):
    part = made.plan.parts["train"]
    for positions in (torch.arange(50), torch.randperm(50), torch.tensor([3]), torch.tensor([], dtype=torch.int64)):
        teacher.require(part.ids[positions], part.contents[positions], 2)
    teacher.require(part.ids, None, 1)


def test_missing_rows_are_named(made, teacher):
    with pytest.raises(MismatchError, match="no answers to 2 of the rows asked for, with the ids 6, 155"):
        teacher.require(torch.tensor([5, 6, 155]), None, 1)


def test_other_rows_under_the_same_ids_are_refused(made, teacher):
    part = made.plan.parts["train"]
    contents = part.contents.clone()
    contents[4] += 1
    with pytest.raises(MismatchError, match=r"row with the id 17 is not the row that was recorded.* of 1 of 50 rows"):
        teacher.require(part.ids, contents, 1)
    with pytest.raises(MismatchError, match=r"row with the id 5 is not the row .* of 50 of 50 rows.* in another order"):
        teacher.require(part.ids, part.contents.flip(0), 1)


def test_contents_that_are_not_known_cannot_be_compared(teacher):
    teacher.of("test").require(torch.arange(7), torch.arange(7) + 100, 1)


def test_more_views_than_were_recorded_are_refused(made, teacher):
    with pytest.raises(MismatchError, match="to see 3 views of each row, and 2 were recorded"):
        teacher.require(made.plan.parts["train"].ids, None, 3)


def test_other_classes_are_refused(teacher):
    teacher.require_classes(["null", "eins", "zwö"])
    with pytest.raises(MismatchError, match="in another order: class 0 is 'null' in the targets and 'eins'"):
        teacher.require_classes(["eins", "null", "zwö"])
    with pytest.raises(MismatchError, match=r"of other classes .*class 2 is 'zwö' in the targets and 'drei' in"):
        teacher.require_classes(["null", "eins", "drei"])
    with pytest.raises(MismatchError, match="are of 3 classes, and the data have 2"):
        teacher.require_classes(["null", "eins"])


def test_classes_without_names_are_counted():
    nameless = in_memory(classes=None)
    nameless.require_classes(["a", "b", "c"])
    with pytest.raises(MismatchError, match="3 classes"):
        nameless.require_classes(["a"])


def test_temperatures_that_were_not_recorded_are_refused(teacher):
    teacher.require_temperatures([0.5, 20.0])
    some = in_memory(encoding=DenseLogits(temperatures=(1.0, 4.0)))
    some.require_temperatures([4.0])
    with pytest.raises(MismatchError, match="answer T = 1, 4, and T = 2 was asked for"):
        some.require_temperatures([4.0, 2.0])
    with pytest.raises(MismatchError, match="T = 1, 4 only; it was asked for T = 2"):
        some(Batch({}, None, torch.tensor([5]))).at(2.0)


def test_another_teacher_is_refused(teacher):
    teacher.require_teacher("a" * 64)
    with pytest.raises(MismatchError, match="recorded from the teacher aaaaaaaaaaaa, and the teacher is dddddddddddd"):
        teacher.require_teacher("d" * 64)
    unknown = {"fingerprint": None, "specification": None, "kind": "imported", "precision": "float32"}
    in_memory(teacher=unknown).require_teacher("d" * 64)


def test_another_transform_is_refused(teacher):
    teacher.require_transform({"seed": 0, "augment": "crop"})
    with pytest.raises(MismatchError, match=r'changed by {"augment": "crop", "seed": 0}, and .* changed by nothing'):
        teacher.require_transform(None)


def reader():
    """The reader that the page on the format gives to strangers."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (block,) = (block for block in blocks if "def answer" in block)
    names = {}
    exec(block, names)
    return block, names["answer"]


def test_the_reader_of_the_page_is_short_and_needs_numpy_only():
    block, _ = reader()
    lines = [line for line in block.splitlines() if line and not line.startswith("import")]
    assert len(lines) <= 25
    assert set(re.findall(r"^import (\w+)", block, re.MULTILINE)) == {"json", "numpy"}


def test_a_stranger_reads_the_stored_bits(made, folder):
    _, answer = reader()
    for row in (5, 17, 152):
        for view in (0, 1):
            assert np.array_equal(
                answer(folder, "train", row, view)["logits"], made.logits["train"][(row - 5) // 3, view].numpy()
            )
    assert np.array_equal(answer(folder, "test", 6)["logits"], made.logits["test"][6, 0].numpy())


def test_a_stranger_finds_all_fields_of_a_row(tmp_path):
    encoding = TopKLogProbs(k=2, temperatures=(1.0,), tempered=True)
    made = known(features=False, encoding=encoding)
    fields = {
        "log_probs": torch.randn(7, 2).half(),
        "tail_log_probs": torch.randn(7, 1).half(),
        "ids": torch.tensor([[0, 2]] * 7, dtype=torch.uint8),
    }
    packed = made.plan.layout.pack(fields).unsqueeze(1)
    train = torch.zeros(50, 2, packed.shape[-1], dtype=torch.uint8)
    Targets.in_memory(made.plan, {"test": packed, "train": train}).save(tmp_path / "store")
    found = reader()[1](tmp_path / "store", "test", 3)
    for name, values in fields.items():
        assert np.array_equal(found[name], values[3].numpy())
