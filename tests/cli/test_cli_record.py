"""`limbeck record`: a teacher is asked once; what cannot be recorded is refused before it is asked."""

import re
from pathlib import Path

import pytest
from newcomer import content

from limbeck.files import read_json
from limbeck.targets.store import Targets

RECORD = "record spec.py:small --out store"
SMALL_SHARDS = "--recording-batch 8 --shard-rows 16"

AUGMENTED = """
from limbeck.data.augment import Noise

def augmented() -> Distillation:
    return Distillation(**fields(augment=Noise(scale=0.1)))

def mixed() -> Distillation:
    return Distillation(**fields(teacher=EnsembleOf(members=[teacher, student])))

def remembering() -> Distillation:
    return Distillation(**fields(targets="remembered"))

def alone() -> Distillation:
    return Distillation(**fields(teacher=None, objective=HardLabels()))

def schooled() -> Distillation:
    return Distillation(**fields(teacher=alone()))

def never():
    raise AssertionError("the teacher is built only where it can be recorded")

def unwanted() -> Distillation:
    return Distillation(**fields(teacher=never))
"""


@pytest.fixture(autouse=True)
def more_specifications(folder):
    with Path("spec.py").open("a", encoding="utf-8") as file:
        file.write(AUGMENTED)


def manifest(store="store"):
    return Targets.open(store).manifest


def test_a_student_is_taught_from_what_was_recorded(limbeck):
    said = limbeck(RECORD)
    assert said.status == 0
    assert re.search(r"recording: done  [\d,]+ rows/s, 0 s left, 320 B of 320 B\n", said.err)
    assert re.search(r"train +│ 40 rows in 1 shard", said.out)
    assert limbeck("distill spec.py:small --targets store --out taught").status == 0
    assert limbeck("distill spec.py:small --out live").status == 0
    live, taught = (read_json(Path(run, "summary.json")) for run in ("live", "taught"))
    assert taught["student"]["train"] == pytest.approx(live["student"]["train"], rel=1e-5)
    assert taught["teacher"]["fingerprint"] == Targets.open("store").fingerprint


def test_without_a_spec_it_takes_data_and_a_teacher(limbeck):
    assert limbeck("record --data train.csv --teacher model.py:teacher").status == 0
    assert set(manifest("runs/teacher-targets").parts) == {"train", "test"}
    taught = "distill --data train.csv --student model.py:student --epochs 1 --targets runs/teacher-targets --out"
    assert limbeck(taught, "taught").status == 0
    assert limbeck(taught, "named", "--teacher", "model.py:teacher").status == 0
    said = limbeck(taught, "other", "--teacher", "model.py:live")
    assert (said.status, "were recorded from the teacher" in said.err) == (2, True)


def test_a_teacher_that_must_first_be_trained_is_trained_once(limbeck):
    said = limbeck("record spec.py:schooled --out runs/store")
    assert (said.status, "Training a teacher into runs/teachers/" in said.err) == (0, True)
    said = limbeck("distill spec.py:schooled --targets runs/store --out runs/taught")
    assert (said.status, "Training a teacher" in said.err) == (0, False)


ENCODINGS = {
    "small --dtype float16": {"name": "dense", "dtype": "float16", "temperatures": None},
    "small --encoding top-k": {"name": "top-k", "k": 2, "temperatures": [1.0, 4.0], "tempered": True},
    "small --encoding top-k --k 1 --temperatures 3": {"name": "top-k", "k": 1, "temperatures": [3.0], "tempered": True},
    "small --encoding low-rank": {"name": "low-rank", "rank": 2, "temperatures": None},
    "small --encoding sampled --draws 5": {"name": "sampled", "draws": 5, "temperatures": [1.0, 4.0], "seed": 0},
    "mixed": {"name": "dense", "dtype": "float32", "temperatures": [1.0, 4.0]},
    "mixed --encoding members": {
        "name": "members",
        "dtype": "float32",
        "mean": "arithmetic",
        "members": 2,
        "weights": [1.0, 1.0],
    },
}


@pytest.mark.parametrize("words", ENCODINGS)
def test_flags_choose_the_encoding(limbeck, words):
    assert limbeck(f"record spec.py:{words} --out store").status == 0
    assert manifest().encoding == ENCODINGS[words]


def test_features_and_views_come_along_and_count_as_bytes(limbeck):
    said = limbeck(f"{RECORD} --features 0 1")
    assert set(manifest().features) == {"0", "1"}
    assert f"{40 * (8 + 2 * 16 * 4) / 1000:.1f} kB of" in said.err
    assert "feature 1" in said.out
    said = limbeck("record spec.py:augmented --views 3 --out views")
    assert manifest("views").parts["train"].views == 3
    assert "Noise(scale=0.1) with the seed 0" in said.out


def test_shares_of_processes_that_do_not_know_of_one_another_make_the_store_of_one(limbeck):
    assert limbeck(f"record spec.py:small --out whole {SMALL_SHARDS}").status == 0
    said = limbeck(f"{RECORD} --share 1 2 {SMALL_SHARDS}")
    assert said.out == "This share is written; the store store is whole once every other one is, too.\n"
    assert limbeck("targets store").status == 2
    assert limbeck(f"{RECORD} --share 0 2 {SMALL_SHARDS}").status == 0
    assert {path.name: path.read_bytes() for path in Path("store").iterdir()} == {
        path.name: path.read_bytes() for path in Path("whole").iterdir()
    }


def test_a_resume_tells_what_was_there_and_a_finished_store_is_only_shown(limbeck):
    limbeck(f"{RECORD} --share 1 3 {SMALL_SHARDS}")
    said = limbeck(f"{RECORD} --resume {SMALL_SHARDS}")
    assert said.status == 0
    assert said.err.startswith("1 of 3 shards were recorded before.\nrecording\n")
    before = content(Path("store"))
    said = limbeck(f"{RECORD} --resume {SMALL_SHARDS}")
    assert (said.status, said.err) == (0, "3 of 3 shards were recorded before.\n")
    assert "40 rows in 3 shards" in said.out
    assert content(Path("store")) == before


def test_the_store_goes_where_the_specification_looks_for_it(limbeck):
    assert limbeck("record spec.py:remembering").status == 0
    assert limbeck("distill spec.py:remembering --out run").status == 0
    assert manifest("remembered").parts["train"].rows == 40


def test_ctrl_c_while_the_teacher_is_made_says_how_to_go_on(limbeck, monkeypatch):
    def pressed(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("limbeck.cli.record.record", pressed)
    said = limbeck(f"{RECORD} --encoding top-k")
    line = "Stopped. Go on with: limbeck record spec.py:small --out store --encoding top-k --resume\n"
    assert (said.status, said.err) == (130, line)


REFUSED = {
    "record": "Name a SPEC (file.py:function or a recipe) before the flags, or give --data and --teacher; ",
    "record --data train.csv": "`limbeck record` needs --teacher; `limbeck record --help` lists the flags.",
    "record nosuch": "There is no recipe 'nosuch'. There are: digits, mnist. A function of yours is file.py:function.",
    f"{RECORD} --overwrite": "There is no flag --overwrite. ",
    f"{RECORD} --student model.py:student": "There is no flag --student. ",
    f"{RECORD} --encoding topk": "--encoding must be one of 'dense', 'members', 'top-k', 'low-rank', 'sampled'. Got 't",
    f"{RECORD} --k 3": "--k is a setting of --encoding top-k, and the encoding is dense.",
    f"{RECORD} --encoding sampled --dtype float16": "--dtype is a setting of --encoding dense or members, and the enco",
    f"{RECORD} --encoding members": "Only an ensemble has members to record; the teacher is a single network.",
    f"{RECORD} --encoding top-k --k 0": "--k must be a whole number of at least 1. Got 0.",
    f"{RECORD} --shard-rows 0": "--shard-rows must be a whole number of at least 1. Got 0.",
    f"{RECORD} --temperatures 1 -2": "--temperatures must be positive numbers. Got -2.",
    f"{RECORD} --temperatures nan": "--temperatures must be positive numbers. Got nan.",
    f"{RECORD} --share 2 2": "--share must be the number of this process, from 0 on, and how many there are, as",
    f"{RECORD} --share 1": "--share must be two whole numbers. Got '1'.",
    f"{RECORD} --features nosuch": "Sequential has no submodule named 'nosuch' to take features from",
    "record spec.py:mixed --features 0": "Features can be recorded of a single network only; ",
    "record spec.py:alone": "There is no teacher to record: the specification names none.",
    "record spec.py:augmented": "The rows are augmented anew in every epoch, and only so many views can be recorded: ",
    f"{RECORD} --views 3": "Distillation: views are made by an augmentation; ",
    "record spec.py:small --targets hf://datasets/me/store": "A store is written into a folder here, and hf://datase",
    "record spec.py:small --out s3://bucket/store": "A store is written into a folder here, and s3://bucket/store is a",
    "record spec.py:small --targets rows.npz": "rows.npz is a file of predictions; name the folder of a store by ",
    "record spec.py:unwanted --out train.csv": "train.csv is a file, so no store can be written to it; give another ",
    "record spec.py:unwanted --out train.csv/deep": "{folder}/train.csv is a file, so no store can be written to train",
    "record spec.py:unwanted --out .": "The folder . holds other files, such as model.py; give a new or an empty one.",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_recorded_is_refused_in_one_sentence(refused, folder, line):
    assert refused(line).startswith(REFUSED[line].format(folder=folder))


def test_a_finished_store_is_refused_before_the_teacher_is_built(limbeck, refused):
    limbeck(RECORD)
    finished = "The folder store holds a finished store already; give another one."
    assert refused("record spec.py:unwanted --out store") == finished
    sentence = refused(f"{RECORD} --resume --encoding top-k")
    assert sentence.startswith("The store in store was recorded with another encoding: ")


def test_a_recorded_teacher_is_not_recorded_again(limbeck, refused):
    limbeck(RECORD)
    sentence = "The teacher is a recorded one already; there is nothing to record."
    assert refused("record --data train.csv --teacher store --out again") == sentence
