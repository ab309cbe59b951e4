"""The whole way of a correction: from a run's folder, by the rows it kept or by others, to weights of its own."""

import shutil

import pytest
import torch
from torch import nn

import tiny
from limbeck import ClassBias, TensorSet, correct_class_bias, load_student
from limbeck.data.splits import Splits
from limbeck.errors import ArgumentError, DataError, MismatchError, RunError
from limbeck.files import read_tensors
from limbeck.functional import bias_for_prior
from limbeck.models import fingerprint
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.run import Run
from tolerances import assert_close

ASH = 1
PRIOR = torch.bincount(tiny.rows().labels, minlength=3) / tiny.ROWS


def without_ash():
    """Training rows that lack a class; the other splits have it."""
    whole = tiny.splits()
    seen = whole.train.labels != ASH
    return Splits(train=whole.train.subset(seen.nonzero().squeeze(1)), validation=whole.validation, test=whole.test)


def headless():
    return nn.Sequential(nn.Linear(tiny.FEATURES, 7), nn.ReLU(), nn.Linear(7, tiny.CLASSES, bias=False))


def trained(out, **changes):
    return distill(tiny.specification(**{"data": without_ash, "epochs": 5, **changes}), out, watcher=Silent())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("correction") / "run")


@pytest.fixture
def run(whole, tmp_path):
    """A copy to damage."""
    return Run(shutil.copytree(whole.path, tmp_path / "run"))


def everything(run):
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def answers(model, rows):
    with torch.no_grad():
        return model(rows.rows(torch.arange(len(rows))).columns["features"])


def test_the_mean_probability_of_the_class_is_its_prior_on_the_rows_given(run):
    rows, before = TensorSet(tiny.features(), classes=tiny.NAMES), everything(run)
    plain = answers(load_student(run), rows)
    for source in (run, run.path, str(run.path / "student")):
        found = correct_class_bias(source, PRIOR, classes=[ASH], rows=rows)
        assert_close(answers(found.student, rows).softmax(-1).mean(0)[ASH], PRIOR[ASH])
        assert_close(found.before, plain.softmax(-1).mean(0))
        assert_close(found.after, (plain + found.bias).softmax(-1).mean(0))
        assert_close(found.bias, bias_for_prior(plain, PRIOR, classes=[ASH]))
        assert (found.rows, found.student.training, type(found.student)) == (tiny.ROWS, False, nn.Sequential)
        assert_close(found.student[2].bias - load_student(run)[2].bias, found.bias)
    assert found.bias[ASH] > 0
    assert everything(run) == before


def test_labels_have_no_say(run):
    labelled = correct_class_bias(run, PRIOR, rows=tiny.rows())
    wrong = TensorSet(tiny.features(), labels=torch.zeros(tiny.ROWS, dtype=torch.int64), classes=tiny.NAMES)
    assert torch.equal(correct_class_bias(run, PRIOR, rows=wrong).bias, labelled.bias)


def test_without_rows_the_runs_own_answers_count_and_its_own_rows_where_these_are_gone(run):
    prior = [0.5, 0.1, 0.4]
    kept = run.predictions("student", "train")
    found = correct_class_bias(run, prior)
    assert_close(found.bias, bias_for_prior(kept.logits, torch.tensor(prior)))
    assert_close(answers(found.student, without_ash().train).softmax(-1).mean(0), prior)
    (run.path / "predictions" / "student-train.safetensors").unlink()
    again = correct_class_bias(run, prior)
    assert_close(again.bias, found.bias)
    assert again.rows == found.rows == len(without_ash().train) < tiny.ROWS


def test_a_shared_bias_lowers_classes_together(run):
    found = correct_class_bias(run, PRIOR, classes=[0, 2], shared=True, rows=tiny.rows())
    assert found.bias[0] == found.bias[2] < 0
    assert found.bias[ASH] == 0
    assert_close(found.after[[0, 2]].sum(), PRIOR[[0, 2]].sum())


def test_a_student_without_a_last_bias_is_corrected_in_a_wrapper(tmp_path):
    run = trained(tmp_path / "run", student=headless, epochs=1)
    found = correct_class_bias(run, PRIOR, rows=tiny.rows())
    assert isinstance(found.student, ClassBias)
    assert_close(answers(found.student, tiny.rows()).softmax(-1).mean(0), PRIOR)


def test_a_run_whose_data_have_no_name_is_corrected_by_its_kept_answers(tmp_path):
    run = trained(tmp_path / "run", data=lambda: without_ash(), epochs=1)
    found = correct_class_bias(run, PRIOR)
    assert isinstance(found.student, ClassBias)  # no rows to look at
    assert_close(answers(found.student, without_ash().train).softmax(-1).mean(0), PRIOR)
    inside = correct_class_bias(run, PRIOR, rows=without_ash().train)
    assert isinstance(inside.student, nn.Sequential)
    assert_close(inside.bias, found.bias)


def test_the_corrected_student_is_saved_beside_the_runs_own(run, tmp_path):
    found, before = correct_class_bias(run, PRIOR, classes=[ASH], rows=tiny.rows()), everything(run)
    found.save(tmp_path / "corrected" / "model.safetensors")
    again = tiny.student()
    again.load_state_dict(read_tensors(tmp_path / "corrected" / "model.safetensors"))
    assert fingerprint(again) == fingerprint(found.student) != fingerprint(load_student(run))
    with pytest.raises(
        RunError, match=r"model\.safetensors is there already; save the corrected student under another"
    ):
        found.save(run.weights)
    assert everything(run) == before


class NoRows:
    """As a filter of somebody's may leave them."""

    def __len__(self):
        return 0


def test_what_cannot_be_corrected_is_refused_in_a_sentence(run, tmp_path):
    with pytest.raises(
        ArgumentError, match=r"^bias_for_prior: classes must be distinct numbers in \[0, 3\)\. Got \[3\]\.$"
    ):
        correct_class_bias(run, PRIOR, classes=[3])
    with pytest.raises(DataError, match=r"^There are no rows to set class biases by\.$"):
        correct_class_bias(run, PRIOR, rows=NoRows())
    several = distill(tiny.specification(data=tiny.multilabel_rows, epochs=1), tmp_path / "several", watcher=Silent())
    with pytest.raises(MismatchError, match=r"has a sigmoid head; a class prior is one of a softmax head\.$"):
        correct_class_bias(several, PRIOR)
    (run.path / "summary.json").unlink()
    with pytest.raises(RunError, match=r"has not finished; go on with --resume\.$"):
        correct_class_bias(run, PRIOR)


def test_rows_that_have_changed_since_are_not_taken_for_the_runs_own(run, monkeypatch):
    (run.path / "predictions" / "student-train.safetensors").unlink()
    monkeypatch.setattr(tiny.rows, "__defaults__", (47, 0))
    with pytest.raises(
        RunError, match=r"The data of the run .* have changed since it was trained; give its rows with rows"
    ):
        correct_class_bias(run, PRIOR)
