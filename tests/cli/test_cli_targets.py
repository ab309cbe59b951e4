"""`limbeck targets` and `--targets`: what a store holds, how predictions become one, and how they teach."""

import json
import math
import re
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
from newcomer import write_csv

from limbeck.files import read_json
from limbeck.targets.open import open_store
from limbeck.targets.store import Targets

ROWS = 40
DISTIL = "distill --data pets.csv --student model.py:student --epochs 1 --out run --targets"


def predicted(labels):
    """Probabilities of dog and cat, on the side of the label but for every tenth row."""
    right = np.where(np.arange(len(labels)) % 10 == 1, 0.35, np.linspace(0.6, 0.9, len(labels)))
    cats = np.where([label == "cat" for label in labels], right, 1 - right)
    return np.stack([1 - cats, cats], axis=1)


def replies(path, probabilities, words, without=()):
    with Path(path).open("w", encoding="utf-8") as file:
        for row, pair in enumerate(probabilities):
            top = {word: math.log(prob * 0.9) for word, prob in zip(words, pair, strict=True)}
            line = {"id": row, "error": "overloaded"} if row in without else {"id": row, "top_logprobs": top}
            file.write(json.dumps(line) + "\n")


@pytest.fixture(autouse=True)
def predictions(folder):
    """pets.csv, and predictions of its 40 rows in many files."""
    write_csv("pets.csv", labels=("dog", "cat"))
    labels = [line.rpartition(",")[2] for line in Path("pets.csv").read_text().splitlines()[1:]]
    values, ids, classes = predicted(labels), np.arange(ROWS), ["dog", "cat"]
    zero = np.where(ids[:, None] == 5, [[1.0, 0.0]], values)
    np.savez("whole.npz", ids=ids, probabilities=values, classes=classes)
    np.savez("logits.npz", ids=ids, logits=np.log(values), classes=classes)
    np.savez("zero.npz", probabilities=zero, classes=classes)
    np.savez("unnamed.npz", ids=ids, probabilities=values)
    np.savez("some.npz", ids=ids[:30], probabilities=values[:30], classes=classes)
    np.savez("foreign.npz", ids=ids + 5, probabilities=values, classes=classes)
    np.savez("broken.npz", ids=ids, probabilities=np.where(ids[:, None] == 5, np.nan, values), classes=classes)
    lines = [f"{row},{dog},{cat}" for row, (dog, cat) in enumerate(values)]
    Path("whole.csv").write_text("\n".join(["id,p_dog,p_cat", *lines]) + "\n")
    Path("vague.csv").write_text("\n".join(["id,dog,cat", *lines]) + "\n")
    replies("named.jsonl", values, classes)
    replies("tokens.jsonl", values, ["woof", "meow"])
    replies("failed.jsonl", values, classes, without=(7,))
    Path("words.json").write_text('{"dog": ["woof"], "cat": ["meow"]}')
    return values


@pytest.fixture
def store(limbeck, folder):
    """A recording of spec.py:small, whose ids are 100 to 139."""
    assert limbeck("record spec.py:small --out store").status == 0
    return folder / "store"


def shown(store, row, temperature=1.0):
    logits = Targets.open(store).knowledge(torch.tensor([row])).at(temperature).logits
    return (logits / temperature).softmax(-1)[0]


def test_a_store_is_shown_verified_and_drawn(limbeck, store):
    said = limbeck("targets store --verify --row 105 --temperature 4")
    assert (said.status, said.err) == (0, "")
    facts = dict(re.findall(r"^│ (\w+) +│ (.*?) +│$", said.out, re.MULTILINE))
    assert facts == {
        "train": "40 rows in 1 shard",
        "classes": "2, softmax: 0, 1",
        "encoding": "dense, dtype float32",
        "temperatures": "any",
        "bytes": f"8 a row and view, {sum(p.stat().st_size for p in store.glob('*.safetensors')) / 1000:.1f} kB in all",
        "teacher": f"network {Targets.open(store).manifest.teacher['fingerprint'][:12]}, answering in float32",
    }
    assert "Verified: every file has the bytes that were recorded." in said.out
    lines = said.out.splitlines()
    assert lines[-3] == "train row 105, view 0, at temperature 4"
    likeliest = sorted(enumerate(shown(store, 105, 4.0).tolist()), key=lambda pair: -pair[1])
    drawn = [[str(name), f"{prob:.4%}", "█" * round(50 * prob)] for name, prob in likeliest]
    assert [line.split() for line in lines[-2:]] == drawn


def test_the_likeliest_of_many_classes_are_drawn(limbeck):
    names = [f"[b]kind {number}" for number in range(20)]  # what other programs read as bold
    probs = torch.arange(1.0, 21.0).div(210)
    Targets.from_arrays([3], probabilities=probs[None].numpy(), classes=names).save("many")
    said = limbeck("targets many --row 3")
    assert "20, softmax: [b]kind 0, [b]kind 1," in said.out
    bars = said.out.splitlines()[-13:]
    assert bars[0].split() == ["[b]kind", "19", "9.5238%", "█" * 5]
    assert bars[-1].split() == ["the", "8", "others", "17.1428%", "█" * 9]


def test_a_store_at_an_address_is_shown_verified_and_taught_from(limbeck, refused, folder, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(folder / "cache"))
    assert limbeck("targets import whole.npz --out here --data pets.csv").status == 0
    fsspec.filesystem("memory").put(str(folder / "here"), "/shop/pets", recursive=True)
    address = "memory://shop/pets"
    assert limbeck(f"{DISTIL} {address}").status == 0
    assert read_json(Path("run/summary.json"))["teacher"]["fingerprint"] == Targets.open("here").fingerprint
    said = limbeck(f"targets {address} --verify --row 3")
    assert said.out.replace(address, "here") == limbeck("targets here --verify --row 3").out
    with fsspec.open(f"{address}/train-00000.safetensors", "r+b") as file:
        file.write(b"damage")
    assert limbeck(f"targets {address} --verify").status == 0  # what is here was whole, and is what is read
    monkeypatch.setenv("LIMBECK_CACHE", str(folder / "other"))
    sentence = limbeck(f"targets {address} --verify").err
    assert sentence == (
        f"limbeck: The file train-00000.safetensors in {address} is damaged: it is not what its manifest says.\n"
    )


IMPORTED = ["whole.npz", "logits.npz", "whole.csv", "vague.csv --kind probabilities", "named.jsonl --classes dog cat"]
IMPORTED += ["tokens.jsonl --verbaliser words.json", "unnamed.npz --classes dog cat"]


@pytest.mark.parametrize("words", IMPORTED)
def test_a_file_of_predictions_becomes_a_store(limbeck, predictions, words):
    said = limbeck(f"targets import {words} --out store")
    assert (said.status, said.err) == (0, "")
    assert "40 rows in 1 shard, known by id alone" in said.out
    assert Targets.open("store").manifest.classes == ("dog", "cat")
    np.testing.assert_allclose(shown("store", 5), predictions[5], rtol=1e-5)


def test_with_the_data_their_content_and_the_order_of_their_classes_are_kept(limbeck, predictions):
    assert limbeck("targets import whole.npz --data pets.csv --mark out-of-fold").status == 0
    manifest = Targets.open("whole-targets").manifest
    assert (manifest.classes, manifest.marks) == (("cat", "dog"), ("out-of-fold",))
    np.testing.assert_allclose(shown("whole-targets", 5), predictions[5][::-1], rtol=1e-5)
    assert limbeck(f"{DISTIL} whole-targets").status == 0
    Path("pets.csv").write_text(Path("pets.csv").read_text().replace("0.", "1."))
    said = limbeck(f"{DISTIL} whole-targets --overwrite")
    assert (said.status, "is not the row that was recorded" in said.err) == (2, True)


def test_classes_in_another_order_than_the_datas_are_brought_into_it_by_importing_with_the_data(
    limbeck, refused, folder
):
    limbeck("targets import whole.npz --out store")
    assert refused(f"{DISTIL} store") == (
        f"The targets {folder}/store have the data's classes in another order: class 0 is 'dog' there and 'cat' in the "
        "data; import them with --data, which brings them into its order."
    )


def test_columns_without_names_are_those_of_the_data_where_that_is_said(limbeck, refused):
    said = limbeck("targets import unnamed.npz")
    assert said.out.startswith("Nothing names the classes, so data with named ones will refuse these targets: import ")
    assert "do not name their classes" in refused(f"{DISTIL} unnamed-targets")
    assert "in the order of the columns with --classes." in refused(
        "targets import unnamed.npz --data pets.csv --out x"
    )
    assert limbeck("targets import unnamed.npz --by-position --data pets.csv --out named").status == 0
    assert Targets.open("named").manifest.classes == ("cat", "dog")


def test_rows_without_predictions_are_told_when_they_are_imported_and_when_they_are_needed(limbeck, refused):
    said = limbeck("targets import some.npz --data pets.csv")
    assert said.out.startswith(
        "10 of 40 rows of the data have no predictions, and cannot be trained on with these targets; the first ids: "
        "30, 31, 32, 33, 34.\n"
    )
    assert "holds no answers to " in refused(f"{DISTIL} some-targets")
    said = limbeck("targets import failed.jsonl --missing leave-out --classes dog cat")
    assert said.out.startswith("1 rows without a usable answer were left out: 7: an error: overloaded.\n")
    assert len(Targets.open("failed-targets").part("train").ids) == ROWS - 1


@pytest.mark.parametrize("source", ["whole.npz", "whole.csv", "named.jsonl"])
def test_a_file_teaches_without_being_imported(limbeck, source):
    assert limbeck(f"{DISTIL} {source}").status == 0
    ours = read_json(Path("run/summary.json"))["teacher"]["train"]
    limbeck("targets import whole.npz --data pets.csv --out store")
    assert limbeck(f"{DISTIL} store --overwrite").status == 0
    assert ours == pytest.approx(read_json(Path("run/summary.json"))["teacher"]["train"], rel=1e-5)


def test_what_was_done_to_a_file_is_told_when_it_is_taught_from(limbeck):
    said = limbeck(f"{DISTIL} zero.npz")
    assert said.err.startswith(
        "The file has no ids: its rows are taken to be rows 0, 1, 2, … of the data, in order.\n"
        "1 of 80 probabilities had no logarithm: zeros became 0.005 before the rows were divided.\n"
    )
    assert limbeck("targets import zero.npz").out.startswith("The file has no ids: ")


REFUSED_TO_TEACH = {
    "nosuch": "There is no store of soft targets at nosuch, and it is no file of predictions, which would end in .npz",
    "nosuch.npz": "There is no file nosuch.npz.",
    ".": "The folder {folder} is no store of soft targets: it has no manifest.json.",
    "model.py": "There is no store of soft targets at {folder}/model.py, and it is no file of predictions, which would",
    "": "--targets must name a file, a folder or an address. Got ''.",
    "broken.npz": "The file {folder}/broken.npz: probabilities must not be NaN. Got nan for id 5 in column 0.",
    "s3://bucket/rows.parquet": "s3://bucket/rows.parquet is a file of predictions; only stores are read from e",
    "nosuch://bucket/store": "The address nosuch://bucket/store begins with a protocol that fsspec does not know.",
    "memory://nothing": "There is no manifest.json in memory://nothing.",
}


@pytest.mark.parametrize("targets", REFUSED_TO_TEACH)
def test_targets_that_cannot_be_read_are_refused(refused, folder, targets):
    assert refused(DISTIL, targets).startswith(REFUSED_TO_TEACH[targets].format(folder=folder))


@pytest.mark.parametrize("source", ["tokens.jsonl", "vague.csv", "unnamed.npz", "failed.jsonl"])
def test_a_file_that_cannot_be_read_without_being_told_how_is_to_be_imported(refused, folder, source):
    sentence = (
        f" Such settings are for `limbeck targets import {folder}/{source}`, whose store can then be taught from."
    )
    assert refused(DISTIL, source).endswith(sentence)


REFUSED = {
    "targets": "Name a store, as in: limbeck targets runs/NAME-targets; or: limbeck targets import FILE.",
    "targets --verify": "`limbeck targets` needs a word that is no flag: The folder of a store, or its address (s3://…,",
    "targets nosuch": "There is no store of soft targets at {folder}/nosuch.",
    "targets .": "The folder {folder} is no store of soft targets: it has no manifest.json.",
    "targets whole.npz": "whole.npz is a file of predictions, not a store; `limbeck targets import whole.npz` makes",
    "targets store --rows 3": "There is no flag --rows. Did you mean --row?",
    "targets store --row 5": "The split 'train', whose ids run from 100 to 139, has no row with the id 5.",
    "targets store --row 105 --view 1": "The split 'train' of {folder}/store holds view 0 only, the raw rows, and was",
    "targets store --row 105 --part test": "There are no answers to the split 'test' in store; there are: train.",
    "targets store --row 105 --temperature 0": "--temperature must be a positive number. Got 0.",
    "targets store --row 105 --temperature nan": "--temperature must be a positive number. Got nan.",
    "targets store --view 1": "--view is of a row that is shown; name its id by --row.",
    "targets import": "Name a file of predictions, as in: limbeck targets import predictions.parquet.",
    "targets import --out x": "`limbeck targets import` needs a word that is no flag: The file of predictions.",
    "targets import nosuch.npz": "There is no file nosuch.npz.",
    "targets import model.py": "A file of predictions must end in .npz, .parquet, .csv, .jsonl. Got model.py.",
    "targets import vague.csv": "The table vague.csv does not say whether its columns (dog, cat) are probabilities or",
    "targets import broken.npz": "The file broken.npz: probabilities must not be NaN. Got nan for id 5 in column 0.",
    "targets import foreign.npz --data pets.csv": "The data have no rows for 5 of 40 predictions; the first ids: 40, ",
    "targets import failed.jsonl --classes dog cat": "The file failed.jsonl: 1 of 40 rows have no usable answer: 7: an",
    "targets import tokens.jsonl": "Nothing says which tokens mean which class: give the classes, whose names are ",
    "targets import tokens.jsonl --verbaliser nosuch.json": "There is no file nosuch.json.",
    "targets import whole.npz --verbaliser words.json": "--verbaliser is for files that end in .jsonl. Got whole.npz.",
    "targets import whole.npz --floor 2": "--floor must lie in [0, 1]. Got 2.0.",
    "targets import whole.npz --by-position": "--by-position is of the rows that were predicted: give --data.",
    "targets import whole.npz --mark true": "--mark must be one of ",
    "targets import whole.npz --data nosuch.csv": "There is no file nosuch.csv.",
    "targets import whole.npz --out pets.csv": "pets.csv is a file, so no store can be written to it; give another fol",
    "targets import whole.npz --out .": "The folder . holds other files, such as broken.npz; give a new or an empty ",
    "targets import whole.npz --out store": "The folder store holds a finished store already; give another one.",
    "targets import whole.npz --out hf://datasets/x": "A store is written into a folder here, and hf://datasets/x is a",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_cannot_be_shown_or_imported_is_refused_in_one_sentence(refused, limbeck, folder, line):
    if "store" in line:
        limbeck("record spec.py:small --out store")
    assert refused(line).startswith(REFUSED[line].format(folder=folder))


def test_refusals_of_an_import_name_flags(refused):
    sentence = refused("targets import vague.csv")
    assert "say --kind probabilities or --kind logits, or begin their names with p_ or logit_." in sentence
    assert "leave them out (--missing leave-out)" in refused("targets import failed.jsonl --classes dog cat")


def test_a_row_of_another_split_is_said_to_be_there(limbeck, refused):
    limbeck("record --data train.csv --teacher model.py:teacher --out store")
    row = int(Targets.open("store").part("test").ids[0])
    hint = f"has no row with the id {row}, but 'test' has; name it by --part."
    assert refused(f"targets store --row {row}").endswith(hint)
    assert limbeck(f"targets store --row {row} --part test").status == 0


@pytest.mark.parametrize("name", ["manifest.json", "train.index.safetensors", "train-00000.safetensors"])
def test_a_changed_bit_is_found(limbeck, refused, store, name):
    content = bytearray((store / name).read_bytes())
    content[-2] ^= 4
    (store / name).write_bytes(content)
    assert "is damaged: " in refused("targets store --verify")


def test_a_recording_that_is_not_finished_is_no_store_yet(limbeck, refused, folder):
    limbeck("record spec.py:small --out half --share 0 2 --recording-batch 8 --shard-rows 8")
    sentence = f"The recording in {folder}/half is not finished; run it again with --resume."
    assert refused("targets half") == sentence
    assert refused("distill spec.py:small --out run --targets half") == sentence


def test_targets_of_other_rows_and_temperatures_are_refused(limbeck, refused, store):
    assert "holds no answers to " in refused(f"{DISTIL} store")
    limbeck("record spec.py:small --out two --encoding top-k --temperatures 2")
    assert "answers T = 2 only; it was asked for T = 4" in refused("distill spec.py:small --targets two --out run")
    limbeck("record spec.py:small --out drawn --encoding sampled")
    assert "give divergence=soft_cross_entropy" in refused("distill spec.py:small --targets drawn --out run")


def test_a_store_and_a_file_can_be_named_as_the_teacher(limbeck):
    limbeck("targets import whole.npz --data pets.csv --out store")
    line = "distill --data pets.csv --student model.py:student --epochs 1 --out"
    for name in ("store", "whole.npz"):
        assert limbeck(f"{line} {name}-run --teacher {name}").status == 0
    fingerprint = open_store("store").fingerprint
    assert read_json(Path("store-run/summary.json"))["teacher"]["fingerprint"] == fingerprint
