"""Stores elsewhere: what is read of them is brought here, once, checked, and kept."""

import copy
import errno
import pickle
import subprocess
import sys
from functools import partial
from pathlib import Path

import fsspec
import pytest
import torch
from fsspec.implementations.memory import MemoryFileSystem
from recordings import draw, known

import tiny
from limbeck.data.tensors import TensorSet
from limbeck.errors import MismatchError, StoreError
from limbeck.files import read_tensors
from limbeck.targets.encodings.lowrank import fit_low_rank
from limbeck.targets.imports.open import from_arrays
from limbeck.targets.open import open_store, open_targets
from limbeck.targets.remote import RemoteFolder, cache_folder, is_address, remote_folder
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.targets.verify import verify
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from processes import environment

SHARDS = 4  # of `known`: 50 rows, 16 to a shard


@pytest.fixture
def address(tmp_path):
    """A store at an address of fsspec's memory; the same one stands in the folder `here`."""
    known().written(tmp_path / "here")
    memory = MemoryFileSystem()
    memory.put(str(tmp_path / "here"), "/elsewhere/store", recursive=True)
    yield "memory://elsewhere/store"
    memory.rm("/elsewhere", recursive=True)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def brought(monkeypatch):
    """The names of the files that were brought here, in order."""
    names = []

    def noted(method):
        def read(self, path, *args, **named):
            names.append(path.rpartition("/")[2])
            return method(self, path, *args, **named)

        return read

    for method in ("cat_file", "get_file"):
        monkeypatch.setattr(MemoryFileSystem, method, noted(getattr(MemoryFileSystem, method)))
    return names


def rows_of(targets, part="train"):
    ids = targets.part(part).ids
    return [targets.knowledge(ids, view, part).at(1.0).logits for view in range(targets.part(part).views)]


def at(address, name):
    return "/" + address.removeprefix("memory://") + "/" + name


def damage(path, place=-3):
    content = bytearray(Path(path).read_bytes())
    content[place] ^= 1
    Path(path).write_bytes(content)


def copied(targets, name):
    return targets.folder.copy / name


@pytest.mark.parametrize("opened", [Targets.open, open_store, open_targets])
def test_it_answers_as_the_store_here_does(address, tmp_path, opened):
    here, there = Targets.open(tmp_path / "here"), opened(address)
    assert there.manifest == here.manifest
    assert there.path is None
    for part in ("train", "test"):
        assert all(
            torch.equal(ours, theirs) for ours, theirs in zip(rows_of(there, part), rows_of(here, part), strict=True)
        )
    ids = here.part("train").ids[[40, 3]]
    features = [one.knowledge(ids, features=["layer.0"]).features["layer.0"] for one in (here, there)]
    assert torch.equal(*features)


def test_only_what_is_read_is_brought(address, brought):
    targets = Targets.open(address)
    assert brought == ["manifest.json"]
    ids = targets.part("train").ids
    assert brought == ["manifest.json", "train.index.safetensors"]
    targets.knowledge(ids[[17, 20, 18]], view=1)
    targets.knowledge(ids[[20, 31]])
    assert brought == ["manifest.json", "train.index.safetensors", "train-00001.safetensors"]
    targets.knowledge(ids[[0, 49]])
    assert brought[3:] == ["train-00000.safetensors", "train-00003.safetensors"]


def test_what_was_brought_once_is_kept_for_the_next_process(address, brought):
    rows_of(Targets.open(address))
    assert sorted(brought[2:]) == [f"train-{number:05}.safetensors" for number in range(SHARDS)]
    brought.clear()
    rows_of(Targets.open(address))
    rows_of(Targets.open(address + "/"))
    assert brought == ["manifest.json", "manifest.json"]


def test_a_store_that_was_changed_is_another_copy(address, tmp_path, brought):
    before = rows_of(Targets.open(address))
    other = known(teacher={**Targets.open(tmp_path / "here").manifest.teacher, "fingerprint": "c" * 64})
    memory = MemoryFileSystem()
    memory.rm(at(address, ""), recursive=True)
    memory.put(str(other.written(tmp_path / "other")), at(address, "").rstrip("/"), recursive=True)
    brought.clear()
    after = Targets.open(address)
    assert after.manifest.teacher["fingerprint"] == "c" * 64
    assert all(torch.equal(one, two) for one, two in zip(rows_of(after), before, strict=True))
    assert len(brought) == 2 + SHARDS


@pytest.mark.parametrize("name", ["train.index.safetensors", "train-00001.safetensors"])
@pytest.mark.parametrize("harm", ["flipped", "cut"])
def test_a_file_that_is_damaged_elsewhere_is_refused_and_not_kept(address, tmp_path, name, harm):
    memory = MemoryFileSystem()
    content = bytearray(memory.cat_file(at(address, name)))
    content[-3] ^= 1
    memory.pipe_file(at(address, name), bytes(content if harm == "flipped" else content[:-3]))
    targets = Targets.open(address)
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            rows_of(targets)
        assert str(caught.value) == f"The file {name} in {address} is damaged: it is not what its manifest says."
        assert not copied(targets, name).exists()
    assert not [path for path in targets.folder.copy.iterdir() if path.name.startswith(".bringing")]
    memory.put_file(str(tmp_path / "here" / name), at(address, name))
    rows_of(targets)


@pytest.mark.parametrize("name", ["manifest.json", "train.index.safetensors", "train-00001.safetensors"])
def test_a_copy_that_was_cut_is_brought_again(address, tmp_path, name):
    rows_of(first := Targets.open(address))
    copied(first, name).write_bytes(copied(first, name).read_bytes()[:100])
    targets = Targets.open(address)
    assert all(
        torch.equal(*pair) for pair in zip(rows_of(targets), rows_of(Targets.open(tmp_path / "here")), strict=True)
    )


def test_a_copy_that_was_changed_is_brought_again_at_once_or_by_verify(address, tmp_path, brought):
    rows_of(first := Targets.open(address))
    for name in ("manifest.json", "train.index.safetensors", "train-00001.safetensors"):
        damage(copied(first, name))
    brought.clear()
    Targets.open(address).part("train")
    assert brought == ["manifest.json", "train.index.safetensors"]
    verify(targets := Targets.open(address))
    rest = {"manifest.json", "test.index.safetensors", "test-00000.safetensors"}
    assert set(brought[2:]) == {"train-00001.safetensors", *rest}
    for name in targets.manifest.files:
        assert copied(targets, name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_verify_brings_every_file_and_finds_what_is_damaged_elsewhere(address, brought):
    verify(address)
    assert set(brought) == {"manifest.json", *Targets.open(address).manifest.files}
    memory = MemoryFileSystem()
    memory.pipe_file(at(address, "test-00000.safetensors"), b"another")
    copied(Targets.open(address), "test-00000.safetensors").unlink()
    with pytest.raises(StoreError, match=r"^The file test-00000\.safetensors in memory://elsewhere/store is damaged: "):
        verify(Targets.open(address))


def test_the_basis_of_an_encoding_comes_along(tmp_path):
    logits = draw(30, 5)
    there = from_arrays(
        range(30), logits=logits.numpy(), classes=list("abcde"), encoding=fit_low_rank(logits, 3, None, head="softmax")
    )
    there.save(tmp_path / "here")
    targets = Targets.open((tmp_path / "here").as_uri())
    assert torch.equal(
        targets.knowledge(torch.arange(30)).at(2.0).logits, there.knowledge(torch.arange(30)).at(2.0).logits
    )
    assert copied(targets, "basis.safetensors").is_file()


def test_missing_stores_and_files_are_named(address):
    with pytest.raises(StoreError, match=r"^There is no manifest\.json in memory://elsewhere/nothing\.$"):
        Targets.open("memory://elsewhere/nothing")
    MemoryFileSystem().rm(at(address, "train-00002.safetensors"))
    with pytest.raises(StoreError, match=r"^There is no train-00002\.safetensors in memory://elsewhere/store\.$"):
        rows_of(Targets.open(address))


def test_a_damaged_manifest_elsewhere_is_refused(address, cache):
    memory = MemoryFileSystem()
    memory.pipe_file(at(address, "manifest.json"), memory.cat_file(at(address, "manifest.json"))[:-9])
    with pytest.raises(StoreError, match=r"^The manifest of memory://elsewhere/store is damaged: "):
        Targets.open(address)
    assert not cache.exists()


def test_a_protocol_that_nobody_knows_is_refused():
    with pytest.raises(
        StoreError, match=r"^The address nosuch://x/y begins with a protocol that fsspec does not know\.$"
    ):
        Targets.open("nosuch://x/y")


def test_a_protocol_whose_package_is_missing_names_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(StoreError, match=r"^The address s3://x/y cannot be opened yet\. .*s3fs.*\.$"):
        Targets.open("s3://x/y")


def test_what_a_protocol_itself_complains_of_is_one_sentence(address, monkeypatch):
    def refusing(*_, **__):
        raise PermissionError("Forbidden")

    monkeypatch.setattr(MemoryFileSystem, "cat_file", refusing)
    with pytest.raises(StoreError) as caught:
        Targets.open(address)
    sentence = "The file manifest.json in memory://elsewhere/store cannot be read: PermissionError: Forbidden."
    assert str(caught.value) == sentence


def test_a_full_disk_here_is_not_taken_for_a_fault_of_the_address(address, cache, monkeypatch):
    targets = Targets.open(address)

    def full(_self, _source, path, **_):
        Path(path).write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(MemoryFileSystem, "get_file", full)
        with pytest.raises(
            StoreError, match=r"^Files from elsewhere cannot be kept in .*cache.*: No space left on device\. "
        ):
            targets.part("train")
    assert not [path for path in targets.folder.copy.iterdir() if path.name.startswith(".bringing")]
    rows_of(targets)


def test_a_cache_that_cannot_be_made_names_the_variable(address, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("LIMBECK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StoreError, match=r"cannot be kept in .*: Not a directory\. .* LIMBECK_CACHE\.$"):
        Targets.open(address)


def test_the_cache_is_where_the_environment_or_the_caller_says(address, tmp_path, monkeypatch, cache):
    assert copied(Targets.open(address), "manifest.json").is_relative_to(cache)
    given = open_store(address, cache=tmp_path / "given")
    assert copied(given, "manifest.json").is_relative_to(tmp_path / "given" / "targets")
    monkeypatch.setenv("LIMBECK_CACHE", "~/elsewhere")
    assert cache_folder() == Path.home() / "elsewhere"
    monkeypatch.delenv("LIMBECK_CACHE")
    assert cache_folder() == Path.home() / ".cache" / "limbeck"


def test_targets_from_elsewhere_travel_to_another_process(address, brought):
    targets = Targets.open(address)
    before = rows_of(targets)
    brought.clear()
    again = pickle.loads(pickle.dumps(targets))
    assert all(torch.equal(*pair) for pair in zip(rows_of(again), before, strict=True))
    assert brought == []  # not even the manifest
    assert isinstance(again.folder, RemoteFolder)
    assert copy.copy(targets.folder) == targets.folder


READER = """
import sys
import torch
from limbeck.targets.store import Targets
targets = Targets.open(sys.argv[1])
print(float(targets.knowledge(targets.part("train").ids).at(1.0).logits.sum()))
"""


def test_several_processes_bring_each_file_once(tmp_path, cache):
    known().written(tmp_path / "here")
    script = tmp_path / "read.py"
    script.write_text(READER.replace("import torch\n", _COUNTED))
    starting = [run_in_the_background(script, (tmp_path / "here").as_uri(), tmp_path / "log") for _ in range(2)]
    sums = {process.communicate(timeout=60)[0] for process in starting}
    assert [process.returncode for process in starting] == [0, 0]
    assert len(sums) == 1
    assert sorted((tmp_path / "log").read_text().split()) == [
        *(f"train-{number:05}.safetensors" for number in range(SHARDS)),
        "train.index.safetensors",
    ]


_COUNTED = """
import time
from fsspec.implementations.local import LocalFileSystem

get_file = LocalFileSystem.get_file

def counted(self, source, path, **named):
    with open(sys.argv[2], "a") as log:
        log.write(source.rpartition("/")[2] + "\\n")
    time.sleep(0.2)
    get_file(self, source, path, **named)

LocalFileSystem.get_file = counted
"""


def run_in_the_background(script, *arguments):
    words = [sys.executable, str(script), *map(str, arguments)]
    return subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, text=True)


def test_a_student_is_taught_from_an_address_as_from_the_folder(tmp_path):
    spec = tiny.specification(optimizer=partial(torch.optim.SGD, lr=0.05))
    record(spec, tmp_path / "store", watcher=Silent())
    MemoryFileSystem().put(str(tmp_path / "store"), "/taught/from", recursive=True)
    found = []
    for number, source in enumerate([tmp_path / "store", "memory://taught/from"]):
        taught = tiny.specification(optimizer=spec.optimizer, teacher=None, targets=source)
        found.append(read_tensors(distill(taught, tmp_path / f"run-{number}", watcher=Silent()).weights))
    named = tiny.specification(optimizer=spec.optimizer, teacher="memory://taught/from")
    found.append(read_tensors(distill(named, tmp_path / "named", watcher=Silent()).weights))
    assert all(torch.equal(found[0][name], other[name]) for other in found[1:] for name in found[0])


def test_other_rows_are_refused_from_an_address_too(tmp_path):
    record(tiny.specification(), tmp_path / "store", watcher=Silent())
    address = (tmp_path / "store").as_uri()
    other = partial(TensorSet, tiny.features() + 1, labels=tiny.rows().labels, classes=tiny.NAMES)
    with pytest.raises(MismatchError, match="is not the row that was recorded"):
        distill(tiny.specification(data=other, targets=address), tmp_path / "run", watcher=Silent())
    assert RecordedTeacher(Targets.open(address)).knows_contents


def test_addresses_of_the_hub_find_its_file_system():
    pytest.importorskip("huggingface_hub")
    system, root = fsspec.core.url_to_fs("hf://datasets/limbeck/targets/digits")
    assert type(system).__name__ == "HfFileSystem"
    assert root == "datasets/limbeck/targets/digits"
    assert is_address("hf://datasets/limbeck/targets/digits")


def test_paths_are_no_addresses(tmp_path):
    assert not any(map(is_address, ["runs/digits-targets", "C:/targets", str(tmp_path), "a:b", "file.npz"]))
    assert remote_folder(known().written(tmp_path / "here").as_uri()).address.startswith("file://")
