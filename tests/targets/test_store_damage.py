"""Whatever happens to its files, a store says so in a sentence."""

import json
import random
import shutil
from hashlib import sha256

import pytest
import safetensors.torch
import torch
from recordings import contents_of, known

from limbeck.errors import ArgumentError, StoreError
from limbeck.targets.encodings.lowrank import LowRank
from limbeck.targets.manifest import Manifest, canonical
from limbeck.targets.store import Targets
from limbeck.targets.verify import verify

FLIPS = 200


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return known().written(tmp_path_factory.mktemp("damage") / "store")


@pytest.fixture
def store(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "store")


def read_all(folder):
    targets = Targets.open(folder)
    for name in targets.parts:
        part = targets.part(name)
        for view in range(part.views):
            targets.knowledge(part.ids, view, name, tuple(targets.manifest.features)).at(2.0)


def test_a_whole_store_is_verified(whole):
    read_all(whole)
    verify(whole)
    verify(Targets.open(whole))


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def test_any_flipped_bit_is_found_and_none_crashes_a_reader(store):
    files = sorted(store.iterdir())
    drawn = random.Random(0)
    for number in range(FLIPS):
        path = files[number % len(files)]
        bit = drawn.randrange(8 * path.stat().st_size)
        flip(path, bit)
        with pytest.raises(StoreError):
            verify(store)
        try:
            read_all(store)
        except StoreError as error:
            assert "\n" not in str(error)
            assert str(error).endswith(".")
        flip(path, bit)
    verify(store)


def test_every_bit_of_every_header_may_flip(store):
    drawn = random.Random(1)
    path = store / "train-00001.safetensors"
    header = 8 * (8 + int.from_bytes(path.read_bytes()[:8], "little"))
    for bit in [*range(64), *drawn.sample(range(64, header), 150)]:
        flip(path, bit)
        try:
            read_all(store)
        except StoreError as error:
            assert "train-00001.safetensors" in str(error)
        flip(path, bit)


@pytest.mark.parametrize("name", ["train-00000.safetensors", "train.index.safetensors", "manifest.json"])
@pytest.mark.parametrize("size", [0, 1, 7, 8, 20, -1])
def test_cut_files_are_found(store, name, size):
    path = store / name
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(StoreError, match="damaged"):
        Targets.open(store)
    with pytest.raises(StoreError, match="damaged"):
        verify(store)


@pytest.mark.parametrize("name", ["train-00002.safetensors", "test.index.safetensors"])
def test_missing_files_are_named(store, name):
    (store / name).unlink()
    with pytest.raises(StoreError, match=f"not whole: {name} is missing"):
        Targets.open(store)


def test_files_that_vanish_after_opening_are_named(store):
    targets = Targets.open(store)
    (store / "train-00002.safetensors").unlink()
    with pytest.raises(StoreError, match=r"There is no train-00002\.safetensors"):
        targets.knowledge(torch.arange(50) * 3 + 5)
    with pytest.raises(StoreError, match="is missing"):
        verify(targets)


def test_what_is_no_store_is_said_to_be_none(tmp_path):
    with pytest.raises(StoreError, match="There is no store of soft targets at"):
        Targets.open(tmp_path / "nowhere")
    with pytest.raises(StoreError, match=r"is no store of soft targets: it has no manifest\.json"):
        Targets.open(tmp_path)
    known().write(tmp_path / "begun", stop_after=1)
    with pytest.raises(StoreError, match=r"is not finished; run it again with --resume"):
        Targets.open(tmp_path / "begun")


@pytest.mark.parametrize("name", ["train-00009.safetensors", "notes.json", ".writing-train-00000.safetensors-1"])
def test_files_that_look_like_the_stores_own_are_reported(store, name):
    (store / name).touch()
    with pytest.raises(StoreError, match=r"no part of the store; remove it|before it had tidied up"):
        verify(store)


def test_the_files_of_a_repository_around_a_store_are_left_alone(store):
    (store / "README.md").touch()
    (store / ".gitattributes").touch()
    (store / ".cache").mkdir()
    verify(store)


def test_a_store_that_changed_since_it_was_opened_is_not_verified(store):
    targets = Targets.open(store)
    (store / "manifest.json").write_bytes(Targets.open(store).manifest.to_bytes().replace(b"crop", b"flip"))
    with pytest.raises(StoreError, match="was changed after it was opened"):
        verify(targets)


def test_targets_in_memory_have_no_files_to_verify():
    made = known(features=False)
    held = Targets.in_memory(made.plan, {name: values.view(torch.uint8) for name, values in made.logits.items()})
    with pytest.raises(ArgumentError, match="in memory"):
        verify(held)


def test_a_header_of_absurd_length_is_refused(store):
    path = store / "train-00000.safetensors"
    path.write_bytes(b"\xff" * 8 + path.read_bytes()[8:])
    with pytest.raises(StoreError, match="its header reaches beyond its end"):
        read_all(store)


HEADER = {"dtype": "U8", "shape": [16, 2, 12], "data_offsets": [384, 768]}


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (None, "holds no tensor 'rows'"),
        ([], "holds no tensor 'rows'"),
        ({**HEADER, "shape": "16"}, "does not say where 'rows' stands"),
        ({**HEADER, "shape": [16, 2, 12.0]}, "does not say where 'rows' stands"),
        ({**HEADER, "shape": [16, 2, True]}, "does not say where 'rows' stands"),
        ({**HEADER, "shape": [16, 24]}, r"'rows' is U8 \(16, 24\) and should be U8 \(16, 2, 12\)"),
        ({**HEADER, "dtype": "I8"}, r"'rows' is I8"),
        ({**HEADER, "dtype": ["U8"]}, r"'rows' is \['U8'\]"),
        ({**HEADER, "data_offsets": [384]}, "does not say where 'rows' stands"),
        ({**HEADER, "data_offsets": [-8, 376]}, "does not say where 'rows' stands"),
        ({**HEADER, "data_offsets": [384, 767]}, "does not say where 'rows' stands"),
        ({**HEADER, "data_offsets": [10**30, 10**30 + 384]}, "does not say where 'rows' stands"),
    ],
)
def test_a_header_that_says_anything_else_is_refused(store, entry, sentence):
    path = store / "train-00000.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    assert header["rows"] == HEADER
    header["rows"] = entry
    text = json.dumps(header).encode()
    data = content[8 + length :]
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    reseal(store, "train-00000.safetensors")
    with pytest.raises(StoreError, match=f"train-00000.safetensors.*is damaged: .*{sentence}"):
        read_all(store)
    with pytest.raises(StoreError, match=sentence):
        verify(store)


def reseal(store, name):
    """Give a changed file its place in the manifest, so that only its content can tell."""
    content = (store / name).read_bytes()
    facts = json.loads((store / "manifest.json").read_text())
    del facts["sha256"]
    for part in facts["parts"].values():
        for record in (part["index"], *part["shards"]):
            if record["file"] == name:
                record.update(bytes=len(content), sha256=sha256(content).hexdigest())
    (store / "manifest.json").write_bytes(canonical({**facts, "sha256": sha256(canonical(facts)).hexdigest()}))


def test_ids_that_do_not_ascend_are_refused(store):
    path = store / "train.index.safetensors"
    tensors = safetensors.torch.load_file(path)
    safetensors.torch.save_file({**tensors, "ids": tensors["ids"].flip(0)}, path)
    reseal(store, path.name)
    with pytest.raises(StoreError, match="its ids do not ascend"):
        verify(store)


def altered(store, change):
    """Read a manifest whose facts were changed and whose checksum fits them."""
    facts = json.loads((store / "manifest.json").read_text())
    del facts["sha256"]
    change(facts)
    return Manifest.from_bytes(canonical({**facts, "sha256": sha256(canonical(facts)).hexdigest()}), "it")


def test_an_unchanged_manifest_is_read_as_it_was_written(store):
    content = (store / "manifest.json").read_bytes()
    assert altered(store, lambda facts: None).to_bytes() == content
    assert Manifest.from_bytes(content, "it").to_bytes() == content


KEYS = (
    "head classes width encoding layout row_bytes ragged temperatures teacher transform marks batch_size features "
    "basis parts"
)


@pytest.mark.parametrize("key", KEYS.split())
def test_every_key_of_a_manifest_is_needed_and_typed(store, key):
    with pytest.raises(StoreError, match=f"The manifest of it lacks '{key}'"):
        altered(store, lambda facts: facts.pop(key))
    with pytest.raises(StoreError, match=f"has 1.5 as '{key}', which must be"):
        altered(store, lambda facts: facts.update({key: 1.5}))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda facts: facts.update(version=2), "has version 2 of the format, and this Limbeck knows version 1"),
        (lambda facts: facts.update(version=True), "has version True of the format"),
        (lambda facts: facts.update(format="other"), "it is not a store of soft targets"),
        (lambda facts: facts.update(colour="red"), "canonical JSON of known keys"),
        (lambda facts: facts["parts"]["train"].update(colour="red"), "canonical JSON of known keys"),
        (lambda facts: facts.update(head="linear"), "'head', which must be one of softmax, sigmoid"),
        (lambda facts: facts.update(classes=[1, 2, 3]), "'classes', which must be a list of strings"),
        (lambda facts: facts.update(width=4), "'width', which must be the number of classes, 3"),
        (lambda facts: facts.update(width=True), "'width', which must be a whole number"),
        (lambda facts: facts.update(temperatures=[-1.0]), "'temperatures', which must be null or a list of positive"),
        (lambda facts: facts.update(row_bytes=4), "'row_bytes', which must be at least 12"),
        (lambda facts: facts["layout"][0].update(dtype="float8"), "'dtype', which must be one of float32"),
        (lambda facts: facts["layout"][0].update(shape=[0]), "'shape', which must be a list of positive"),
        (lambda facts: facts["teacher"].pop("kind"), "in 'teacher', lacks 'kind'"),
        (lambda facts: facts["parts"]["train"].update(rows=51), "'rows', which must be 50"),
        (lambda facts: facts["parts"]["train"].update(views=0), "'views', which must be at least 1"),
        (lambda facts: facts["parts"]["train"]["shards"].pop(1), "'shards', which must be consecutive rows"),
        (lambda facts: facts["parts"]["train"]["index"].update(file="../x"), "'file', which must be a plain file name"),
        (lambda facts: facts["parts"]["train"]["index"].update(sha256="x"), "must be a SHA-256 in hexadecimal"),
        (
            lambda facts: facts["parts"]["train"]["index"].update(file="test.index.safetensors"),
            "names a file twice",
        ),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(store, change, sentence):
    with pytest.raises(StoreError, match=sentence):
        altered(store, change)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe", "not UTF-8 text"),
        (b"{", "not JSON"),
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[1]", "not a JSON object"),
        (b'{"x": NaN}', "not a JSON object of plain numbers"),
        (b'{"x": "\\ud800"}', "not a JSON object of plain numbers and text"),
        (b"{}", "it is not a store of soft targets"),
        (b'{"format": "limbeck-targets", "version": 1, "sha256": 1}', "its checksum does not match"),
    ],
)
def test_bytes_that_are_no_manifest_are_refused(content, sentence):
    with pytest.raises(StoreError, match=sentence):
        Manifest.from_bytes(content, "it")


def test_json_that_says_the_same_in_other_bytes_is_refused(store):
    content = (store / "manifest.json").read_bytes()
    for other in (content + b"\n", content.replace(b' "', b'  "', 1), json.dumps(json.loads(content)).encode()):
        with pytest.raises(StoreError, match="not written as canonical JSON"):
            Manifest.from_bytes(other, "it")


def test_a_manifest_that_contradicts_its_encoding_is_refused(store):
    facts = json.loads((store / "manifest.json").read_text())
    del facts["sha256"]
    for change, sentence in (
        ({"encoding": {"name": "clay"}}, "'clay', which this version does not know"),
        ({"encoding": {"name": "dense", "dtype": "float16", "temperatures": None}}, "contradicts itself"),
        ({"encoding": {"name": "dense", "dtype": "int8", "temperatures": None}}, "cannot be"),
        ({"temperatures": [1.0]}, "contradicts itself"),
    ):
        made = {**facts, **change}
        (store / "manifest.json").write_bytes(canonical({**made, "sha256": sha256(canonical(made)).hexdigest()}))
        with pytest.raises(StoreError, match=sentence):
            Targets.open(store)


def test_a_damaged_basis_is_found(tmp_path):
    encoding = LowRank(torch.eye(2, 3), torch.zeros(3))
    made = known(features=False, encoding=encoding)
    rows = {
        name: torch.zeros(*values.shape[:2], made.plan.layout.nbytes, dtype=torch.uint8)
        for name, values in made.logits.items()
    }
    Targets.in_memory(made.plan, rows).save(tmp_path / "store")
    assert set(contents_of(tmp_path / "store")) > {"basis.safetensors"}
    read_all(tmp_path / "store")
    verify(tmp_path / "store")
    assert Targets.open(tmp_path / "store").encoding.basis_RC.equal(encoding.basis_RC)
    flip(tmp_path / "store" / "basis.safetensors", 8 * (tmp_path / "store" / "basis.safetensors").stat().st_size - 20)
    with pytest.raises(StoreError, match=r"basis\.safetensors .* its checksum is not the manifest's"):
        Targets.open(tmp_path / "store")
