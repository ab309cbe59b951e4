"""One sentence for each way in which a run's folder can be incomplete or damaged; nothing else is raised."""

import json
import re
import shutil

import pytest
import torch

from limbeck.errors import RunError
from limbeck.files import read_json, read_tensors, write_json, write_tensors
from limbeck.training.distill import distill
from limbeck.training.evaluate import Predictions
from limbeck.training.progress import Silent
from limbeck.training.rebuild import load_student
from limbeck.training.run import Run
from tiny import multilabel_rows, specification, splits


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "whole"
    return distill(specification(data=splits, validation=0.1, epochs=1), folder, watcher=Silent())


@pytest.fixture
def run(whole, tmp_path):
    """A copy to damage."""
    return Run(shutil.copytree(whole.path, tmp_path / "run"))


def read_all(run):
    """Everything that evidence reads of a run."""
    run = Run.open(run.path)
    records = list(run.records())
    answers = [
        run.predictions(who, split) for who in ("student", "teacher") for split in ("train", "validation", "test")
    ]
    return run.spec, run.summary, records, answers, load_student(run)


def refused(run):
    """The one sentence that reading it gives."""
    with pytest.raises(RunError) as caught:
        read_all(run)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and str(run.path) in text
    return text.replace(str(run.path), "RUN")


def test_a_whole_run_is_read(run):
    *_, answers, _ = read_all(run)
    assert None not in answers


def test_a_folder_that_is_none_or_no_runs(tmp_path, run):
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(RunError, match=rf"^{re.escape(str(path))} is not a run: it holds no spec\.json\.$"):
            Run.open(path)
    (run.path / "spec.json").unlink()
    assert refused(run) == "RUN is not a run: it holds no spec.json."


def test_a_run_that_never_finished(run):
    (run.path / "summary.json").unlink()
    assert refused(run) == "The run RUN has not finished; go on with --resume."


@pytest.mark.parametrize("name", ["spec.json", "summary.json"])
@pytest.mark.parametrize(
    "content",
    [b"", b"{", b'{"a": 1', b"[]", b"3", b"null", b"{}", b"\xff\xfe{}", b"\0" * 9, b"[" * 100_000],
    ids=["empty", "open", "cut", "list", "number", "null", "no keys", "no text", "zeros", "deep"],
)
def test_damaged_json(run, name, content):
    (run.path / name).write_bytes(content)
    assert refused(run).startswith(f"RUN/{name} is damaged: ")


@pytest.mark.parametrize("name", ["spec.json", "summary.json"])
def test_json_cut_anywhere(run, name):
    content = (run.path / name).read_bytes().rstrip()
    for length in range(1, len(content), max(1, len(content) // 40)):
        (run.path / name).write_bytes(content[:length])
        assert refused(run).startswith(f"RUN/{name} is damaged: ")


@pytest.mark.parametrize(
    "part", [{"specification": 3}, {"specification": {}}, {"specification": {"fields": []}}, {"data": None}]
)
def test_a_specification_that_says_nothing(run, part):
    write_json(run.path / "spec.json", {**read_json(run.path / "spec.json"), **part})
    assert refused(run) == "RUN/spec.json is damaged: it does not tell the specification or the data."


def test_a_summary_that_tells_of_no_student(run):
    write_json(run.path / "summary.json", {"student": None})
    assert refused(run) == "RUN/summary.json is damaged: it does not tell of a student."


TENSORS = ("predictions/student-test.safetensors", "predictions/teacher-train.safetensors", "student/model.safetensors")


@pytest.mark.parametrize("name", TENSORS)
def test_tensors_cut_anywhere(run, name):
    content = (run.path / name).read_bytes()
    for length in [*range(0, 20), *range(20, len(content), max(1, len(content) // 20)), len(content) - 1]:
        (run.path / name).write_bytes(content[:length])
        assert refused(run).startswith(f"RUN/{name} is damaged: ")


@pytest.mark.parametrize("name", [*TENSORS, "spec.json", "summary.json", "metrics.jsonl"])
def test_a_folder_in_the_place_of_a_file(run, name):
    (run.path / name).unlink()
    (run.path / name).mkdir()
    if name.startswith("predictions"):
        assert run.predictions("student", "test") is None or run.predictions("teacher", "train") is None
    else:
        refused(run)


def test_missing_answers_are_none_and_missing_weights_are_told(run):
    (run.path / TENSORS[0]).unlink()
    assert run.predictions("student", "test") is None
    (run.path / TENSORS[2]).unlink()
    assert refused(run) == "There is no model.safetensors in RUN/student."


WRONG = {
    "no ids": (lambda t: {"logits": t["logits"]}, "it lacks ids"),
    "nothing": (lambda t: {"x": t["ids"]}, "it lacks ids and logits"),
    "float ids": (lambda t: {**t, "ids": t["ids"].float()}, "ids must be (N,) int64, and are (17,) torch.float32"),
    "fewer": (lambda t: {**t, "ids": t["ids"][:5]}, "logits must be (5, C) floats, and are (17, 3) torch.float32"),
    "flat": (lambda t: {**t, "logits": t["logits"][:, 0]}, "logits must be (17, C) floats, and are (17,)"),
    "labels": (lambda t: {**t, "labels": t["labels"][:4]}, "labels must be one for each of 17 rows, and are (4,)"),
    "beyond": (lambda t: {**t, "labels": t["labels"] + 2}, "it has a label 4"),
    "below": (lambda t: {**t, "labels": t["labels"] - 1}, "it has a label -1"),
}


@pytest.mark.parametrize("change", WRONG)
def test_tensors_that_are_no_answers(run, change):
    path = run.path / TENSORS[0]
    altered, why = WRONG[change]
    write_tensors(path, altered(read_tensors(path)))
    assert refused(run).startswith(f"RUN/{TENSORS[0]} holds no answers of a model: {why}")


def test_answers_of_a_sigmoid_head_and_without_labels_are_read(tmp_path):
    labels = multilabel_rows().labels
    for number, right in enumerate((labels, None)):
        path = tmp_path / f"{number}.safetensors"
        Predictions(ids=torch.arange(53), logits=torch.zeros(53, 3), labels=right).save(path)
        found = Predictions.load(path)
        assert found.labels is None if right is None else torch.equal(found.labels, right)


def test_records_cut_short_by_a_kill_are_passed_over_and_others_told(run):
    path = run.path / "metrics.jsonl"
    records = list(run.records())
    content = path.read_bytes()
    with path.open("ab") as file:
        file.write(json.dumps({"note": "à"}, ensure_ascii=False).encode()[:-3])  # in the midst of a letter
    assert list(run.records()) == records
    path.write_bytes(b"3\n" + content)
    assert refused(run) == "RUN/metrics.jsonl, line 1, is damaged: it is no record."
    path.write_bytes(b"\xff\n" + content)
    assert refused(run).startswith("RUN/metrics.jsonl, line 1, is damaged: ")
    path.unlink()
    assert refused(run) == "There is no metrics.jsonl in RUN."
