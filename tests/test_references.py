"""Names by which another process, or a later day, finds an object again."""

import functools
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

import tiny
from limbeck.errors import NotImportable, SpecificationError
from limbeck.references import code_hash, describe, load, load_file, reference_of, source_hash

FILE = """
import torch
from torch import nn

WIDTH = 7
UNUSED = 1


class Body(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = nn.Linear(5, width)


def helper(width):
    return Body(width)


def net():
    return nn.Sequential(helper(WIDTH))


def other():
    return UNUSED


class Factory:
    width = 3

    def build(self):
        return helper(self.width)

    @classmethod
    def standard(cls):
        return helper(cls.width)

    @staticmethod
    def plain():
        return helper(2)
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(FILE)
    return path


def outer():
    def inner():
        return 1

    return inner


@functools.lru_cache
def cached():
    return 1


@dataclass
class Builder:
    width: int = 3

    def build(self):
        return nn.Linear(5, self.width)

    @classmethod
    def standard(cls):
        return cls()


@pytest.mark.parametrize(
    ("value", "reference"),
    [
        (tiny.student, "tiny:student"),
        (nn.Linear, "torch.nn.modules.linear:Linear"),
        (torch.optim.Adam, "torch.optim.adam:Adam"),
        (Builder.build, "test_references:Builder.build"),
        (Builder.standard, "test_references:Builder.standard"),
        (cached, "test_references:cached"),
        (nn.functional.relu, "torch.nn.functional:relu"),
    ],
)
def test_a_function_or_class_of_a_module_is_found_by_its_name(value, reference):
    assert reference_of(value) == reference
    assert load(reference) == value


def test_a_function_of_a_file_is_found_by_the_files_path(file):
    net = load(f"{file}:net")
    assert reference_of(net) == f"{file}:net"
    assert load(reference_of(net)) is net
    assert reference_of(load(f"{file}:Factory.plain")) == f"{file}:Factory.plain"
    assert isinstance(load(f"{file}:Factory.standard")(), nn.Module)


def test_a_file_is_imported_once_and_anew_when_it_has_changed(file):
    before = load(f"{file}:net")
    assert load(f"{file}:net") is before
    file.write_text(FILE.replace("WIDTH = 7", "WIDTH = 11"))
    after = load(f"{file}:net")
    assert after is not before
    assert (before()[0].layer.out_features, after()[0].layer.out_features) == (7, 11)


def test_a_relative_path_means_the_same_file(file, monkeypatch):
    net = load(f"{file}:net")
    monkeypatch.chdir(file.parent)
    assert load("model.py:net") is net


def test_what_a_script_defines_is_found_by_the_scripts_path(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from limbeck.references import *\ndef net(): return 1\nprint(reference_of(net))\n")
    said = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True).stdout
    assert said.strip() == f"{script}:net"


def test_what_was_typed_into_a_session_is_refused():
    typed = (
        "from limbeck.references import *\ndef net(): return 1\ntry: reference_of(net)\nexcept Exception as e: print(e)"
    )
    said = subprocess.run([sys.executable, "-c", typed], capture_output=True, text=True, check=True).stdout
    assert said.strip().endswith("was typed into a session, where no other finds it; put it in a file.")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            lambda: 1,
            r"^<lambda> \(test_references\.py, line \d+\) cannot be found by name, which another process",
        ),
        (outer(), r"^outer\.<locals>\.inner \(test_references\.py, line \d+\) cannot be found by name"),
        (Builder(4).build, r"cannot be imported as test_references:Builder\.build: something else stands there"),
        (nn.Linear(2, 2), r"has no importable name; pass a function or class of a module or file instead\.$"),
        (partial(tiny.student), "has no importable name"),
    ],
)
def test_what_has_no_name_is_refused_in_one_sentence(value, sentence):
    with pytest.raises(NotImportable, match=sentence) as caught:
        reference_of(value)
    assert isinstance(caught.value, SpecificationError)


def test_a_bound_method_of_a_file_is_refused(file):
    factory = load(f"{file}:Factory")()
    with pytest.raises(NotImportable, match="something else stands there"):
        reference_of(factory.build)


@pytest.mark.parametrize(
    ("reference", "sentence"),
    [
        ("net", r"^'net' names no object: write file\.py:name or package\.module:name\.$"),
        ("tiny:", "names no object"),
        (":student", "names no object"),
        ("no.such.module:net", "^'no.such.module:net' cannot be imported: No module named 'no'"),
        ("/nowhere/model.py:net", r"^There is no file /nowhere/model\.py\.$"),
        ("tiny:stundent", r"^tiny defines no 'stundent'; it defines: .*student, .*teacher"),
        ("tiny:student.weight", "^tiny defines no 'student.weight'"),
    ],
)
def test_a_reference_to_nothing_says_what_is_wrong(reference, sentence):
    with pytest.raises(SpecificationError, match=sentence):
        load(reference)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("def net(:\n    pass\n", r"model\.py does not parse: line 1: "),
        (
            "import torch\nraise ValueError('no luck')\n",
            r"model\.py failed while it was imported: ValueError: no luck",
        ),
        ("import nothing_of_that_name\n", r"ModuleNotFoundError: No module named 'nothing_of_that_name'"),
    ],
)
def test_a_file_that_cannot_be_imported_says_why_and_can_be_mended(file, text, sentence):
    file.write_text(text)
    for _ in range(2):
        with pytest.raises(SpecificationError, match=sentence):
            load_file(file)
    file.write_text(FILE)
    assert load(f"{file}:net")() is not None


def hash_of(file, name="net"):
    return source_hash(load(f"{file}:{name}"))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("nn.Sequential(helper(WIDTH))", "nn.Sequential(helper(WIDTH + 0))"),
        ("return Body(width)", "return Body(width + 0)"),
        ("nn.Linear(5, width)", "nn.Linear(5, width, bias=False)"),
        ("WIDTH = 7", "WIDTH = 8"),
    ],
    ids=["itself", "what it calls", "what that builds", "a constant"],
)
def test_a_source_hash_follows_what_a_function_names(file, old, new):
    before = hash_of(file)
    file.write_text(FILE.replace(old, new))
    assert hash_of(file) != before


@pytest.mark.parametrize(
    ("old", "new"),
    [("UNUSED = 1", "UNUSED = 2"), ("return UNUSED", "return -UNUSED"), ("\n\nWIDTH", "\n\n# a remark\nWIDTH")],
)
def test_a_source_hash_does_not_care_for_the_rest_of_the_file(file, old, new):
    before = hash_of(file)
    file.write_text(FILE.replace(old, new))
    assert hash_of(file) == before


def test_a_source_hash_does_not_depend_on_the_folder(file, tmp_path):
    copied = tmp_path / "elsewhere" / "model.py"
    copied.parent.mkdir()
    copied.write_text(FILE)
    assert hash_of(copied) == hash_of(file)
    assert hash_of(file, "Factory") != hash_of(file)


def test_libraries_are_known_by_their_versions_not_their_sources():
    assert source_hash(torch.optim.Adam) is None
    assert source_hash(functools.partial) is None
    assert source_hash(Path.open) is None
    assert source_hash(len) is None
    assert source_hash(tiny.student) is not None


def lambdas(scale=1):
    return [
        lambda x: x + 1,
        lambda x: x + 2,
        lambda x: x - 1,
        lambda x: abs(x + 1),
        lambda x, y=1: x + 1,
        lambda x: [i + 1 for i in x],
        lambda x: [i + 2 for i in x],
        lambda x: x + scale,
        lambda x: x in {"a", "b", "c", "d"},
    ]


def test_what_a_lambda_does_has_a_hash():
    hashes = [code_hash(function) for function in lambdas()]
    assert len(set(hashes)) == len(hashes)
    assert [code_hash(function) for function in lambdas()] == hashes
    closed = 7
    assert code_hash(lambdas(2)[closed]) != hashes[closed]
    assert code_hash(Builder(3).build) == code_hash(Builder(3).build) != code_hash(Builder(4).build)
    assert code_hash(nn.Linear(2, 2)) is None


def test_the_hash_of_a_lambda_is_the_same_in_every_process():
    script = "from test_references import *\nprint([code_hash(function) for function in lambdas()])"
    places = [str(Path(__file__).parent), *sys.path]
    said = [
        subprocess.run(
            [sys.executable, "-c", f"import sys\nsys.path[:0] = {places}\n{script}"],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] != ""


def test_where_a_thing_was_defined_is_told():
    assert describe(tiny.student).startswith("student (tiny.py, line ")
    assert describe(3) == "3"
