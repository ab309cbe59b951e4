"""A SPEC: how it is named, what it may return, and what is said where it fails."""

import json
from pathlib import Path

import pytest

from limbeck.cli.distill import folder_of, specification_of
from limbeck.training.rebuild import load_student

REFUSED = {
    "": "Name a SPEC (file.py:function or a recipe) before the flags, or give --data and --student;",
    "--epochs 3 spec.py:small": "Name a SPEC (file.py:function or a recipe) before the flags, or give --data and",
    "nosuch": "There is no recipe 'nosuch'. There are: digits, mnist. A function of yours is file.py:function.",
    "digit": "There is no recipe 'digit'. Did you mean 'digits'?",
    "spec.py": "spec.py names no function; write spec.py:function, where it returns a Distillation.",
    "spec.py:": "'spec.py:' names no object: write file.py:name or package.module:name.",
    "nosuch.py:small": "There is no file {folder}/nosuch.py.",
    "../nosuch.py:small": "There is no file {parent}/nosuch.py.",
    "no.such.module:small": "'no.such.module:small' cannot be imported: No module named 'no'.",
    "spec.py:smal": "spec.py defines no 'smal'; it defines: ",
    "spec.py:small.more": "spec.py defines no 'small.more'; it defines: ",
    "model.py:number": "model.py:number must be a function that returns a Distillation. It is an object of type int.",
    "spec.py:number": "spec.py:number must return a Distillation. It returned an object of type int.",
    "model.py:nothing": "model.py:nothing must return a Distillation. It returned nothing.",
    "spec.py:raising": "spec.py:raising raised KeyError: 'boom' ({folder}/spec.py, line ",
    "spec.py:clashing": "spec.py:clashing has a parameter 'epochs', which is a flag of every run too; rename it.",
    "spec.py:claiming": "spec.py:claiming has a parameter 'out', which is a flag of every run too; rename it.",
    "spec.py:needy": "`limbeck distill spec.py:needy` needs --width; `limbeck distill spec.py:needy --help` lists the",
    "spec.py:untyped": "The parameter 'width' needs a type or a default value, so that its flag can be read.",
    "spec.py:featured --name hidden": "Sequential has no submodule named 'hidden' to take features from (close to it: ",
    "torn.py:f": "{folder}/torn.py does not parse: line 2: '(' was never closed.",
    "raises.py:f": "{folder}/raises.py failed while it was imported: ZeroDivisionError: division by zero (",
    "lacks.py:f": "{folder}/lacks.py failed while it was imported: ModuleNotFoundError: No module named 'nosuch' (",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_spec_that_cannot_be_used_is_refused(refused, folder, words):
    Path("torn.py").write_text("x = 1\nf(\n")
    Path("raises.py").write_text("def f():\n    pass\nx = 1 / 0\n")
    Path("lacks.py").write_text("import nosuch\n")
    expected = REFUSED[words].format(folder=folder, parent=folder.parent)
    assert refused("distill", *words.split()).startswith(expected)


def test_the_line_named_is_the_users_own_where_a_library_raised(refused, folder):
    Path("deep.py").write_text("import torch\n\ndef f():\n    return torch.nn.Linear(3, 'two')\n")
    sentence = refused("distill", "deep.py:f")
    assert sentence.startswith("deep.py:f raised TypeError: ")
    assert sentence.endswith(f"({folder}/deep.py, line 4).")


def test_members_that_workers_train_need_importable_factories(refused):
    sentence = refused("distill", "spec.py:anonymous_members", "--parallel", "2", "--out", "run")
    assert "<lambda> (spec.py, line " in sentence
    assert "cannot be found by name, which another process or a resume needs; define it with `def`" in sentence


def test_a_lambda_is_good_enough_where_no_other_process_needs_it(limbeck, folder):
    assert limbeck("distill", "spec.py:anonymous", "--out", "run").status == 0


def test_a_run_without_out_is_named_after_its_spec(folder):
    assert folder_of(specification_of(["spec.py:small"])) == Path("runs/spec")
    assert folder_of(specification_of(["digits"])) == Path("runs/digits")
    in_parts = specification_of(["--data", "train.csv", "--student", "model.py:student"])
    assert folder_of(in_parts) == Path("runs/student")


def test_a_spec_may_import_the_files_beside_it_and_its_student_is_found_from_anywhere(limbeck, folder, monkeypatch):
    Path("elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    (folder / "beside.py").write_text("from model import student\n" + (folder / "spec.py").read_text())
    assert limbeck("distill", "../beside.py:breaking", "--epochs", "1", "--out", "run").status == 0
    fields = json.loads(Path("run/spec.json").read_text())["specification"]["fields"]
    assert fields["student"]["$ref"] == f"{folder / 'model.py'}:student"
    monkeypatch.chdir("/")
    assert load_student(folder / "elsewhere" / "run")[0].in_features == 3
