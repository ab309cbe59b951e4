"""A teacher that was recorded teaches like the live one; what does not match is refused."""

import hashlib
import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import tiny
from limbeck.data.augment import Noise
from limbeck.data.loader import Loader
from limbeck.data.prepare import plain_features
from limbeck.data.tensors import TensorSet
from limbeck.errors import LimbeckError, MismatchError, ObjectiveError, SpecificationError, StoreError
from limbeck.files import read_json, read_tensors
from limbeck.functional import soft_cross_entropy
from limbeck.objective import HardLabels, LogitMatching, SoftTargets
from limbeck.references import load
from limbeck.schedules import Linear
from limbeck.specification import EnsembleOf
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.targets.verify import verify
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from processes import free_port, run_script
from tolerances import assert_close

SGD = partial(torch.optim.SGD, lr=5e-2, momentum=0.9)


def recorded(spec, out, **more):
    return record(spec, out, watcher=Silent(), **more)


def weights(spec, out):
    return read_tensors(distill(spec, out, watcher=Silent()).weights)


def from_store(spec, store):
    return replace(spec, teacher=None, teacher_prepare=None, targets=store)


def other_teacher():
    torch.manual_seed(8)
    return tiny.student()


def third_teacher():
    torch.manual_seed(9)
    return tiny.student()


class Listening:
    """A watcher that keeps what it is told."""

    def __init__(self):
        self.said, self.notes = [], []

    def start(self, what, total):
        self.total = total

    def advance(self, done, note):
        self.notes.append((done, note))

    def say(self, line):
        self.said.append(line)

    def end(self):
        pass


MEMBERS = (tiny.teacher, other_teacher, third_teacher)


def digest(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(Path(folder).iterdir())}


def test_what_is_stored_is_what_the_teacher_said_to_the_bit(tmp_path):
    targets = recorded(tiny.specification(), tmp_path / "store", batch_size=16)
    teacher = FrozenTeacher(tiny.teacher(), prepare=plain_features)
    said = torch.cat(
        [teacher(batch).logits for batch in Loader(tiny.rows(), [plain_features], batch_size=16).sequential()]
    )
    assert torch.equal(targets.knowledge(torch.arange(tiny.ROWS)).at(3.0).logits, said)
    assert targets.manifest.classes == tiny.NAMES
    verify(targets)


MNIST_ROWS, MNIST_BATCH = 2_000, 128


def digit_student():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 32), nn.ReLU(), nn.Linear(32, 10))


def digit_teacher():
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))


@pytest.fixture(scope="module")
def digits(mnist):
    """One pass over some of MNIST, taught by a live network."""
    some = mnist.train.subset(torch.arange(MNIST_ROWS))
    return tiny.specification(
        data=some, student=digit_student, teacher=digit_teacher, optimizer=SGD, epochs=1, batch_size=MNIST_BATCH
    )


def test_mnist_is_learnt_to_the_bit_where_the_recorded_batches_are_those_of_training(digits, tmp_path):
    teacher = FrozenTeacher(digit_teacher(), prepare=plain_features)
    batches = list(Loader(digits.data, [plain_features], batch_size=MNIST_BATCH).epoch(seed=0, epoch=0))
    logits, ids = torch.cat([teacher(batch).logits for batch in batches]), torch.cat([batch.ids for batch in batches])
    order = ids.argsort()
    store = tmp_path / "store"
    recording = record(digits, store, batch_size=MNIST_BATCH, watcher=Silent())
    in_training_order = Targets.in_memory(recording.plan(), {"train": logits[order].view(torch.uint8).unsqueeze(1)})
    in_training_order.save(tmp_path / "stored")
    live = weights(digits, tmp_path / "live")
    replayed = weights(from_store(digits, tmp_path / "stored"), tmp_path / "replayed")
    assert all(torch.equal(live[name], replayed[name]) for name in live)


def test_mnist_is_learnt_up_to_rounding_where_they_are_others(digits, tmp_path):
    recorded(digits, tmp_path / "store", batch_size=500)
    live = weights(replace(digits, epochs=3), tmp_path / "live")
    replayed = weights(from_store(replace(digits, epochs=3), tmp_path / "store"), tmp_path / "replayed")
    for name in live:
        torch.testing.assert_close(replayed[name], live[name], rtol=1e-5, atol=1e-6)


def test_a_path_to_a_store_is_a_teacher_and_so_is_an_opened_one(tmp_path):
    spec = tiny.specification()
    targets = recorded(spec, tmp_path / "store")
    named = weights(replace(spec, teacher=str(tmp_path / "store")), tmp_path / "named")
    opened = weights(replace(spec, teacher=RecordedTeacher(targets)), tmp_path / "opened")
    stated = weights(replace(spec, targets=tmp_path / "store"), tmp_path / "stated")
    assert all(torch.equal(named[name], opened[name]) and torch.equal(named[name], stated[name]) for name in named)


def test_stores_can_be_the_members_of_an_ensemble(tmp_path):
    stores = []
    for number, teacher in enumerate(MEMBERS):
        stores.append(str(tmp_path / f"store-{number}"))
        recorded(tiny.specification(teacher=teacher), stores[-1], batch_size=8)
    live = tiny.specification(teacher=EnsembleOf(members=MEMBERS), optimizer=SGD)
    replayed = replace(live, teacher=EnsembleOf(members=stores))
    ours, theirs = weights(live, tmp_path / "live"), weights(replayed, tmp_path / "replayed")
    for name in ours:
        torch.testing.assert_close(theirs[name], ours[name], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mean", ["arithmetic", "geometric"])
@pytest.mark.parametrize("encoding", ["dense", "members"])
def test_an_ensemble_is_recorded_mixed_or_member_by_member(tmp_path, mean, encoding):
    spec = tiny.specification(teacher=EnsembleOf(members=MEMBERS, mean=mean, weights=(1, 2, 3)))
    targets = recorded(spec, tmp_path / "store", form=Form(encoding=encoding), batch_size=tiny.ROWS)
    ensemble = Ensemble(
        [FrozenTeacher(make(), prepare=plain_features) for make in MEMBERS], mean=mean, weights=(1, 2, 3)
    )
    batch = next(Loader(tiny.rows(), [plain_features], batch_size=tiny.ROWS).sequential())
    for temperature in (1.0, 4.0):
        found = targets.knowledge(batch.ids).at(temperature).logits
        assert torch.equal(found, ensemble(batch).at(temperature).logits)
    if encoding == "dense" and mean == "arithmetic":
        assert targets.temperatures == (1.0, 4.0)
        with pytest.raises(MismatchError, match=r"T = 1, 4.*T = 2"):
            targets.knowledge(batch.ids).at(2.0)
    else:
        assert targets.temperatures is None


def test_a_temperature_that_changes_needs_members(tmp_path):
    spec = tiny.specification(
        teacher=EnsembleOf(members=MEMBERS), objective=SoftTargets(temperature=Linear(start=8.0, stop=1.0, steps=9))
    )
    with pytest.raises(SpecificationError, match="'soft' changes with the step"):
        recorded(spec, tmp_path / "store")
    recorded(spec, tmp_path / "store", form=Form(encoding="members"))
    distill(from_store(spec, tmp_path / "store"), tmp_path / "run", watcher=Silent())


FORMS = {
    "float16": (Form(dtype="float16"), 1e-2),
    "bfloat16": (Form(dtype="bfloat16"), 5e-2),
    "top-k": (Form(encoding="top-k", k=2), 1e-2),
    "low-rank": (Form(encoding="low-rank", rank=2), 5e-2),
}


@pytest.mark.parametrize("name", FORMS)
def test_a_student_learns_from_every_form(tmp_path, name):
    form, tolerance = FORMS[name]
    spec = tiny.specification(data=tiny.splits, validation=0.1, epochs=5)
    recorded(spec, tmp_path / "store", form=form)
    live = distill(spec, tmp_path / "live", watcher=Silent())
    run = distill(from_store(spec, tmp_path / "store"), tmp_path / "run", watcher=Silent())
    for found, expected in zip(read_tensors(run.weights).values(), read_tensors(live.weights).values(), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
    assert set(run.summary["teacher"]) == {"fingerprint", "recorded", "train", "validation", "test"}
    assert run.summary["teacher"]["test"]["errors"] == live.summary["teacher"]["test"]["errors"]


def test_samples_teach_through_the_cross_entropy_and_cannot_be_scored(tmp_path):
    objective = SoftTargets(temperature=2.0, divergence=soft_cross_entropy) + 0.1 * HardLabels()
    spec = tiny.specification(data=tiny.splits, validation=0.1, objective=objective)
    recorded(spec, tmp_path / "store", form=Form(encoding="sampled", draws=64))
    run = distill(from_store(spec, tmp_path / "store"), tmp_path / "run", watcher=Silent())
    assert set(run.summary["teacher"]) == {"fingerprint", "recorded"}
    with pytest.raises(ObjectiveError, match="soft_cross_entropy"):
        distill(
            replace(from_store(spec, tmp_path / "store"), objective=SoftTargets(temperature=2.0)),
            tmp_path / "refused",
            watcher=Silent(),
        )
    assert not (tmp_path / "refused").exists()


def test_features_are_recorded_where_they_are_asked_for(tmp_path):
    targets = recorded(tiny.specification(), tmp_path / "store", features=("1",), batch_size=16)
    teacher = FrozenTeacher(tiny.teacher(), prepare=plain_features, features=("1",))
    ids = torch.tensor([40, 3, 17])
    batch = next(Loader(tiny.rows(), [plain_features], batch_size=3).sequential(ids))
    assert_close(RecordedTeacher(targets)(batch).features["1"], teacher(batch).features["1"])


def test_two_processes_write_what_one_writes(tmp_path):
    spec = tiny.specification(data=tiny.splits)
    recorded(spec, tmp_path / "one", batch_size=4, shard_rows=8)
    script = tmp_path / "script.py"
    script.write_text(
        "import os, sys, tiny\n"
        "from limbeck.training.progress import Silent\n"
        "from limbeck.training.recording import record\n"
        "record(tiny.specification(data=tiny.splits), sys.argv[1], batch_size=4, shard_rows=8, watcher=Silent())\n"
        "os._exit(0)\n"
    )
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={free_port()}")
    done = run_script(script, tmp_path / "two", launcher=launcher, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0
    assert digest(tmp_path / "two") == digest(tmp_path / "one")


def test_every_split_has_its_part_and_its_own_rows_are_told_from_the_training_rows(tmp_path):
    spec = tiny.specification(data=tiny.splits, validation=0.1)
    targets = recorded(spec, tmp_path / "store")
    assert {name: len(targets.part(name).ids) for name in targets.parts} == {"train": 53, "validation": 19, "test": 17}
    live = distill(spec, tmp_path / "live", watcher=Silent())
    run = distill(from_store(spec, tmp_path / "store"), tmp_path / "run", watcher=Silent())
    for split in ("train", "validation", "test"):
        assert_close(run.predictions("teacher", split).logits, live.predictions("teacher", split).logits)


def test_a_split_that_was_not_recorded_is_not_scored(tmp_path):
    recorded(tiny.specification(), tmp_path / "store")
    spec = tiny.specification(data=tiny.splits, validation=0.1, teacher=None, targets=tmp_path / "store")
    watcher = Listening()
    run = distill(spec, tmp_path / "run", watcher=watcher)
    assert set(run.summary["teacher"]) == {"fingerprint", "recorded", "train"}
    assert [line for line in watcher.said if "no answers to the test rows" in line]


def reordered_rows():
    """The same rows in another order, under the ids of their new places."""
    order = torch.arange(tiny.ROWS).flip(0)
    columns = tiny.features()[order]
    return TensorSet(columns, labels=tiny.rows().labels[order], classes=tiny.NAMES)


def renamed_rows():
    return TensorSet(tiny.features(), labels=tiny.rows().labels, classes=("ash", "oak", "elm"))


def fewer_classes():
    return TensorSet(tiny.features(), labels=tiny.rows().labels.clamp(max=1), classes=("oak", "ash"))


def more_rows():
    return tiny.rows(tiny.ROWS + 2)


def shifted():
    return TensorSet(tiny.features() + 1, labels=tiny.rows().labels, classes=tiny.NAMES)


REFUSED = {
    "another dataset": ({"data": shifted}, r"row.*id 0.*is not the row that was recorded"),
    "a permuted dataset": ({"data": reordered_rows}, r"id 0.*is not the row that was recorded"),
    "rows that were not recorded": ({"data": more_rows}, r"holds no answers to 2 of the rows.*53, 54"),
    "classes in another order": ({"data": renamed_rows}, r"another order: class 0 is 'oak'.*'ash'"),
    "fewer classes": ({"data": fewer_classes}, r"must have the same classes"),
    "another teacher": ({"teacher": other_teacher}, r"recorded from the teacher [0-9a-f]{12}, and .* [0-9a-f]{12}"),
    "views that were not recorded": (
        {"augment": Noise(scale=0.1), "views": 2},
        r"changed by nothing, and the specification changes them by Noise\(scale=0\.1\) with the seed 0; record",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_match_is_refused_before_anything_is_written(tmp_path, name):
    recorded(tiny.specification(), tmp_path / "store")
    changes, sentence = REFUSED[name]
    spec = replace(tiny.specification(targets=tmp_path / "store"), **changes)
    with pytest.raises(MismatchError, match=sentence):
        distill(spec, tmp_path / "run", watcher=Silent())
    assert not (tmp_path / "run").exists()


def test_an_augmentation_of_the_same_name_and_other_code_is_refused_by_the_hash_of_its_source(tmp_path):
    specs = []
    for name, change in (("before", "+ 1"), ("after", "- 1")):
        (tmp_path / name).mkdir()
        text = f"def moved(columns, keys):\n    return {{**columns, 'features': columns['features'] {change}}}\n"
        (tmp_path / name / "moves.py").write_text(text, encoding="utf-8")
        augment = load(f"{tmp_path / name / 'moves.py'}:moved")
        specs.append(tiny.specification(augment=augment, views=2))
    recorded(specs[0], tmp_path / "store")
    with pytest.raises(MismatchError, match=r'changed by \{"augment": .*"source": "(\w+)".*, and .*"source": "(?!\1)'):
        distill(from_store(specs[1], tmp_path / "store"), tmp_path / "run", watcher=Silent())


def test_a_temperature_that_was_not_recorded_is_refused_before_the_first_step(tmp_path):
    spec = tiny.specification(teacher=EnsembleOf(members=MEMBERS))
    recorded(spec, tmp_path / "store")
    with pytest.raises(LimbeckError, match=r"T = 1, 4.*T = 3"):
        distill(
            replace(from_store(spec, tmp_path / "store"), objective=SoftTargets(temperature=3.0)),
            tmp_path / "run",
            watcher=Silent(),
        )
    assert not (tmp_path / "run").exists()


def test_logits_cannot_be_matched_with_the_likeliest_classes_alone(tmp_path):
    recorded(tiny.specification(), tmp_path / "store", form=Form(encoding="top-k", k=2))
    spec = tiny.specification(teacher=None, targets=tmp_path / "store", objective=LogitMatching())
    with pytest.raises(ObjectiveError, match="'logits'"):
        distill(spec, tmp_path / "run", watcher=Silent())


def test_rows_without_labels_may_be_taught_from_rows_with_labels(tmp_path):
    recorded(tiny.specification(), tmp_path / "store")
    spec = tiny.specification(
        data=tiny.unlabelled_rows, objective=SoftTargets(), teacher=None, targets=tmp_path / "store"
    )
    distill(spec, tmp_path / "run", watcher=Silent())


def test_fewer_rows_of_the_same_data_need_no_new_recording(tmp_path):
    recorded(tiny.specification(), tmp_path / "store")
    some = tiny.rows().subset(torch.tensor([50, 3, 8, 20, 21]))
    distill(tiny.specification(data=some, targets=tmp_path / "store", teacher=None), tmp_path / "run", watcher=Silent())


def test_the_student_cycles_through_the_recorded_views(tmp_path):
    spec = tiny.specification(augment=Noise(scale=0.5), views=3, epochs=7, batch_size=tiny.ROWS)
    targets = recorded(spec, tmp_path / "store", batch_size=tiny.ROWS)
    assert targets.part("train").views == 3
    live = weights(spec, tmp_path / "live")
    replayed = weights(from_store(spec, tmp_path / "store"), tmp_path / "replayed")
    unasked = weights(replace(from_store(spec, tmp_path / "store"), views=None), tmp_path / "unasked")
    for name in live:
        torch.testing.assert_close(replayed[name], live[name], rtol=1e-5, atol=1e-6)
        assert torch.equal(replayed[name], unasked[name])
    with pytest.raises(MismatchError, match="see 5 views of each row, and 3 were recorded"):
        distill(replace(from_store(spec, tmp_path / "store"), views=5), tmp_path / "refused", watcher=Silent())


def test_new_views_in_every_epoch_cannot_be_recorded(tmp_path):
    with pytest.raises(SpecificationError, match="--views"):
        recorded(tiny.specification(augment=Noise(scale=0.5)), tmp_path / "store")


def test_equal_recordings_are_equal_bytes_without_time_or_place(tmp_path):
    spec = tiny.specification(data=tiny.splits)
    recorded(spec, tmp_path / "one")
    recorded(spec, tmp_path / "elsewhere" / "two")
    assert digest(tmp_path / "one") == digest(tmp_path / "elsewhere" / "two")
    text = (tmp_path / "one" / "manifest.json").read_text()
    assert str(tmp_path) not in text


def test_a_recording_tells_its_pace(tmp_path):
    watcher = Listening()
    record(tiny.specification(), tmp_path / "store", batch_size=16, watcher=watcher)
    assert watcher.total == tiny.ROWS
    done, note = watcher.notes[-1]
    assert done == tiny.ROWS
    assert re.fullmatch(r"[\d,]+ rows/s, 0 s left, 636 B of 636 B", note)


def test_a_finished_store_is_not_written_over(tmp_path):
    recorded(tiny.specification(), tmp_path / "store")
    before = digest(tmp_path / "store")
    with pytest.raises(StoreError):
        recorded(tiny.specification(), tmp_path / "store")
    assert digest(tmp_path / "store") == before


def test_a_recorded_teacher_cannot_be_recorded(tmp_path):
    recorded(tiny.specification(), tmp_path / "store")
    with pytest.raises(SpecificationError, match="recorded one already"):
        recorded(tiny.specification(teacher=str(tmp_path / "store")), tmp_path / "again")


def test_a_run_says_which_targets_it_learnt_from(tmp_path):
    targets = recorded(tiny.specification(), tmp_path / "store")
    run = distill(tiny.specification(targets=tmp_path / "store"), tmp_path / "run", watcher=Silent())
    assert run.summary["teacher"]["fingerprint"] == RecordedTeacher(targets).fingerprint
    assert read_json(run.path / "spec.json")["teacher"]["fingerprint"] == RecordedTeacher(targets).fingerprint


NETWORK = """
from torch import nn

def net():
    return nn.Sequential(nn.Linear(5, 7), nn.ReLU(), nn.Linear(7, 3))
"""


@pytest.mark.filterwarnings("ignore::limbeck.training.rebuild.SourceChanged")
@pytest.mark.parametrize("several", [False, True])
def test_a_run_whose_network_is_built_otherwise_now_is_not_recorded(tmp_path, several):
    file = tmp_path / "network.py"
    file.write_text(NETWORK)
    run = distill(tiny.alone(student=load(f"{file}:net"), epochs=1), tmp_path / "run", watcher=Silent())
    teacher = str(run.path)
    spec = tiny.specification(teacher=EnsembleOf(members=[teacher, tiny.teacher]) if several else teacher)
    recorded(spec, tmp_path / "store")
    file.write_text(NETWORK.replace("ReLU", "Tanh"))
    with pytest.raises(MismatchError, match=r"^The network of the run .*run is built otherwise now than when it was"):
        recorded(spec, tmp_path / "again")
    assert not (tmp_path / "again").exists()
