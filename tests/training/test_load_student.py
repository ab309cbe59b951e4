"""A finished run's student, built again on a later day."""

import warnings

import pytest
import torch

from limbeck.errors import NotImportable, RunError, SpecificationError
from limbeck.files import read_tensors
from limbeck.references import load
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.rebuild import SourceChanged, load_student
from limbeck.training.run import Run
from tiny import alone, dropout_student, student

FILE = """
from torch import nn

WIDTH = 7

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, WIDTH), nn.Dropout(), nn.Linear(WIDTH, 3))

    def forward(self, x):
        return self.body(x)

def net():
    return Net()

def unrelated():
    return 1
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "model.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def run(file, tmp_path):
    return distill(alone(student=load(f"{file}:net"), epochs=1), tmp_path / "run", watcher=Silent())


def test_the_student_comes_back_with_its_weights_ready_to_answer(run):
    for source in (run, run.path, str(run.path)):
        found = load_student(source)
        assert not found.training
        kept = read_tensors(run.weights)
        assert all(torch.equal(tensor, kept[name]) for name, tensor in found.state_dict().items())


def test_the_folder_that_commands_name_is_loaded_too(run):
    ours, same = load_student(run).state_dict(), load_student(run.path / "student").state_dict()
    assert all(torch.equal(same[name], weights) for name, weights in ours.items())


def test_a_student_whose_source_has_changed_is_loaded_with_a_warning(run, file):
    file.write_text(FILE.replace("return self.body(x)", "return -self.body(x)"))
    with pytest.warns(SourceChanged, match=r"model\.py:net has changed since the run .*run was trained\.$") as caught:
        load_student(run)
    assert caught[0].filename == __file__


def test_changes_elsewhere_in_the_file_do_not_matter(run, file):
    file.write_text(FILE.replace("return 1", "return 2"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_student(run)


def test_a_student_of_another_shape_is_refused(run, file):
    file.write_text(FILE.replace("WIDTH = 7", "WIDTH = 8"))
    with (
        pytest.warns(SourceChanged),
        pytest.raises(RunError, match=r"do not fit Net: size mismatch for body\.0\.weight"),
    ):
        load_student(run)


def test_a_student_whose_file_or_name_is_gone_is_refused(run, file):
    file.write_text(FILE.replace("def net", "def nets"))
    with pytest.raises(SpecificationError, match=r"model\.py defines no 'net'"):
        load_student(run)
    file.unlink()
    with pytest.raises(SpecificationError, match="There is no file"):
        load_student(run)
    assert load_student(run, student=load_file_text(file)) is not None


def load_file_text(file):
    file.write_text(FILE)
    return load(f"{file}:net")


def test_a_lambda_is_trained_in_process_and_must_be_given_to_load_it(tmp_path):
    run = distill(alone(student=lambda: student(), epochs=1), tmp_path / "run", watcher=Silent())
    with pytest.raises(NotImportable, match=r"its factory must be given: load_student\(run, student=…\)\. .*<lambda>"):
        load_student(run)
    assert load_student(run, student=student) is not None
    with pytest.raises(RunError, match=r"do not fit Sequential: "):
        load_student(run, student=dropout_student)


def test_an_unfinished_run_has_no_student_yet(run):
    (run.path / "summary.json").unlink()
    for source in (run, run.path):
        with pytest.raises(RunError, match=r"has not finished; go on with --resume\."):
            load_student(source)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(RunError, match=r"is not a run: it holds no spec\.json\."):
        Run.open(tmp_path)
