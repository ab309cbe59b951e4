"""`limbeck distill --data …`: what can be learnt from, and what is said of what cannot."""

import json
from pathlib import Path

import pytest
import torch
from newcomer import write_csv

LEARN = "distill --student model.py:student --epochs 1 --out run --data"
TAUGHT = "distill --student model.py:student --teacher model.py:teacher --epochs 1 --out run --data"


def rows_of(run):
    return {
        name: found and found["rows"] for name, found in json.loads((run / "spec.json").read_text())["data"].items()
    }


def summary_of(run):
    return json.loads((run / "summary.json").read_text())


def test_a_table_is_split_by_itself_and_the_run_is_shown(limbeck, folder):
    said = limbeck(TAUGHT, "train.csv")
    assert (said.status, rows_of(folder / "run")) == (0, {"train": 31, "validation": 3, "test": 6})
    assert "test, 6" in said.out
    assert "page:    run/report.html" in said.out
    assert {"report.html", "facts.json", "summary.json", "student"} <= {
        path.name for path in (folder / "run").iterdir()
    }


def test_what_a_run_did_not_measure_is_no_empty_column(limbeck, folder):
    said = limbeck(LEARN, "train.csv")
    assert said.out.startswith("26 parameters, weights of epoch 1 (chosen by: validation)\n")
    assert "student wrong" in said.out
    assert "teacher wrong" not in said.out
    assert "agree" not in said.out


def test_parquet_and_csv_of_the_same_rows_make_the_same_student(limbeck, folder):
    csv = pytest.importorskip("pyarrow.csv")
    pytest.importorskip("pyarrow.parquet").write_table(csv.read_csv("train.csv"), "train.parquet")
    assert limbeck(TAUGHT, "train.csv").status == 0
    assert limbeck(TAUGHT.replace("--out run", "--out other"), "train.parquet").status == 0
    fingerprints = [summary_of(folder / name)["student"]["fingerprint"] for name in ("run", "other")]
    assert fingerprints[0] == fingerprints[1]


def test_a_folder_with_splits_is_read_with_its_own_test_rows(limbeck, folder, cache):
    Path("rows").mkdir()
    write_csv("rows/train.csv")
    write_csv("rows/test.csv", count=11)
    assert limbeck(LEARN, "rows").status == 0
    assert rows_of(folder / "run") == {"train": 36, "validation": 4, "test": 11}


def test_text_labels_are_classes_and_text_columns_reach_the_models_own_prepare(limbeck, folder):
    write_csv("pets.csv", labels=("dog", "cat"))
    assert limbeck(LEARN, "pets.csv").status == 0
    assert json.loads(Path("run/spec.json").read_text())["classes"] == ["cat", "dog"]
    Path("reader.py").write_text(
        "import torch\nfrom torch import nn\n\n"
        "class Reader(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.net = nn.Linear(1, 2)\n"
        "    def forward(self, x):\n        return self.net(x)\n"
        "    def prepare(self, columns):\n        return torch.tensor([[float(len(t))] for t in columns['text']])\n"
    )
    Path("texts.csv").write_text("text,label\n" + "good,1\nbad,0\nawful,0\n" * 9)
    assert limbeck("distill --student reader.py:Reader --epochs 1 --out texts --data texts.csv").status == 0


def test_the_label_column_and_the_test_rows_can_be_named(limbeck, folder):
    write_csv("named.csv", columns=("a", "b", "c", "kind"))
    write_csv("exam.csv", count=7, columns=("a", "b", "c", "kind"))
    assert limbeck(LEARN, "named.csv", "--label", "kind", "--test", "exam.csv").status == 0
    assert rows_of(folder / "run") == {"train": 36, "validation": 4, "test": 7}
    assert limbeck(LEARN.replace("--out run", "--out whole"), "named.csv", "--label=kind", "--test=0").status == 0
    assert rows_of(folder / "whole")["test"] is None


def test_soft_targets_alone_need_no_labels(limbeck, refused, folder):
    table = Path("train.csv").read_text().splitlines()
    Path("bare.csv").write_text("\n".join(line.rpartition(",")[0] for line in table) + "\n")
    assert refused(TAUGHT, "bare.csv").startswith("The training rows have no labels, which the term 'hard' needs; use")
    assert refused(LEARN, "bare.csv").startswith("The training rows have no labels, which the term 'hard' needs; use")
    said = limbeck(TAUGHT, "bare.csv", "--soft", "1")
    assert said.status == 0
    assert "agreement" in summary_of(folder / "run")["student"]["test"]


def test_a_path_may_lead_out_of_the_folder_and_is_kept_whole(limbeck, folder):
    Path("deep").mkdir()
    assert limbeck(LEARN, "deep/../../" + folder.name + "/train.csv").status == 0
    fields = json.loads(Path("run/spec.json").read_text())["specification"]["fields"]
    assert fields["data"]["args"] == [str(folder / "train.csv")]


TABLES = {
    "empty.csv": ("", "The table {folder}/empty.csv cannot be read: Empty CSV file."),
    "empty.parquet": ("", "The table {folder}/empty.parquet cannot be read: Parquet file size is 0 bytes."),
    "text.parquet": ("a,b\n1,2\n", "The table {folder}/text.parquet cannot be read: Parquet magic bytes not found"),
    "head.csv": ("a,b,c,label\n", "The table {folder}/head.csv must have at least one row."),
    "ragged.csv": ("a,b,c,label\n1,2,3\n", "The table {folder}/ragged.csv cannot be read: CSV parse error: Expected 4"),
    "alone.csv": ("label\n0\n1\n", "The table {folder}/alone.csv has no feature columns; it has: label."),
    "half.csv": (
        "a,label\n1,0.5\n2,1\n",
        "The table {folder}/half.csv: label column 'label' must hold whole numbers or",
    ),
    "below.csv": (
        "a,label\n1,0\n2,-2\n3,1\n",
        "The table {folder}/below.csv: label column 'label' must lie in [0, 2), one",
    ),
    "some.csv": ("a,label\n1,0\n2,\n3,1\n", "The table {folder}/some.csv: column 'label' is empty in row 1."),
    "gaps.csv": (
        "a,label\n1,0\n,1\n,1\n",
        "The table {folder}/gaps.csv: column 'a' is empty in 2 rows, row 1 for one.",
    ),
    "one.csv": ("a,b,c,label\n1,2,3,0\n", "hold_out: a split needs at least two rows. Got 1."),
    "three.csv": (
        "a,b,c,label\n" + "1,2,3,0\n1,2,3,1\n1,2,3,2\n" * 9,
        "Teacher, student and data must have the same classes.",
    ),
    "narrow.csv": (
        "a,b,label\n" + "1,2,0\n3,4,1\n" * 9,
        "The student cannot be called on what its `prepare` made of 2 rows of",
    ),
    "words.csv": (
        "t,label\n" + "hi,0\nyo,1\n" * 9,
        "The prepare 'plain_features' failed on a batch of 2 rows (ids 1, 2): Dat",
    ),
    "rows.txt": ("a,label\n1,0\n", "A table must be a file that ends in .parquet or .csv. Got {folder}/rows.txt."),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_learnt_from_is_refused(refused, folder, name):
    pytest.importorskip("pyarrow")
    text, sentence = TABLES[name]
    Path(name).write_text(text)
    assert refused(LEARN, name).startswith(sentence.format(folder=folder))


NOWHERE = {
    "nosuch.csv": "There is no file nosuch.csv.",
    "../nosuch.parquet": "There is no file ../nosuch.parquet.",
    "train.parque": "There is no file train.parque.",
    "rows/train.json": "There is no file rows/train.json.",
    "nosuch": "There is no file or folder nosuch; an id of the hub has the form owner/name.",
    "../nosuch": "There is no file or folder ../nosuch; an id of the hub has the form owner/name.",
    "/no/such/place": "There is no file or folder /no/such/place; an id of the hub has the form owner/name.",
    "rows/nosuch": "There is no file or folder rows/nosuch; an id of the hub has the form owner/name.",
    "": "--data must name a file, a folder or an id of the hub. Got ''.",
}


@pytest.mark.parametrize("path", NOWHERE)
def test_data_that_are_not_there_are_refused_without_asking_a_network(refused, folder, path):
    Path("rows").mkdir()
    assert refused(LEARN, path) == NOWHERE[path]
    if path:
        assert refused(LEARN, "train.csv", "--test", path) == NOWHERE[path]


def test_a_column_that_is_not_there_is_named_with_those_that_are(refused, folder, cache):
    assert refused(LEARN, "train.csv", "--label", "kind").endswith("has no column 'kind'; it has: a, b, c, label.")
    Path("rows").mkdir()
    write_csv("rows/train.csv")
    sentence = f"The dataset at {folder}/rows has no column 'kind'; it has: a, b, c, label."
    assert refused(LEARN, "rows", "--label", "kind") == sentence


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (None, "The dataset at {folder}/rows cannot be read: The directory at {folder}/rows doesn't contain any data"),
        ("test.csv", "The dataset at {folder}/rows has no split 'train'; it has: test."),
        ("train.parquet", "The dataset at {folder}/rows cannot be read: "),
    ],
)
def test_a_folder_without_data_a_split_or_whole_files_is_refused(refused, folder, cache, name, sentence):
    Path("rows").mkdir()
    if name:
        write_csv(f"rows/{name}")
    assert refused(LEARN, "rows").startswith(sentence.format(folder=folder))


def test_test_rows_of_other_classes_are_refused(refused, folder):
    write_csv("exam.csv", labels=("0", "1", "2"))
    said = refused(LEARN, "train.csv", "--test", "exam.csv")
    assert "exam.csv: label column 'label' must lie in [0, 2), one for each class. Got 2 in row" in said


@pytest.mark.parametrize("share", ["1", "1.5", "-0.1", "nan"])
def test_the_share_of_test_rows_must_leave_some_to_learn_from(refused, share):
    assert refused(LEARN, "train.csv", f"--test={share}") == f"--test must be a file or a share in [0, 1). Got {share}."


def test_rows_that_are_not_numbers_stop_the_run_and_are_named(limbeck, folder):
    said = limbeck("distill spec.py:broken --epochs 2 --out run")
    assert said.status == 2
    assert said.err.startswith("training\nlimbeck: Term 'soft' became NaN at step ")
    assert " on row ids 107; training has stopped. Lower the learning rate" in said.err
    assert not Path("run/summary.json").exists()


def test_the_last_good_checkpoint_outlives_a_loss_that_is_no_number(limbeck, folder):
    said = limbeck("distill spec.py:breaking --out run")
    assert said.status == 2
    assert said.err.splitlines()[-1].startswith("limbeck: Term 'soft' became ")
    (last,) = Path("run/checkpoints").glob("last-*")
    assert json.loads((last / "state.json").read_text())["step"] == 6
    from safetensors.torch import load_file

    assert all(torch.isfinite(tensor).all() for tensor in load_file(last / "student.safetensors").values())


@pytest.fixture
def cache(tmp_path_factory, monkeypatch):
    """Keep the cache of the datasets library out of the folder that is watched."""
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path_factory.mktemp("cache"))
