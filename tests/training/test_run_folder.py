"""What a run leaves behind, checked against answers worked out in NumPy."""

import json

import numpy as np
import pytest
import torch

from limbeck.data.splits import Splits
from limbeck.data.tensors import TensorSet
from limbeck.files import read_json, read_tensors
from limbeck.models import fingerprint
from limbeck.objective import HardLabels, SoftTargets
from limbeck.training import harvest
from limbeck.training.distill import distill
from limbeck.training.evaluate import Predictions, merit, scores
from limbeck.training.progress import Silent
from limbeck.training.rebuild import load_student
from tiny import CLASSES, NAMES, alone, features, multilabel_rows, rows, specification, splits, teacher, unlabelled_rows

SPLITS = ("train", "validation", "test")


def train(spec, out):
    return distill(spec, out, watcher=Silent())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    spec = specification(data=splits, validation=0.1)
    return distill(spec, tmp_path_factory.mktemp("runs") / "full", watcher=Silent(), origin={"command": "limbeck …"})


def test_a_run_is_a_folder_of_plain_files(run):
    found = {str(path.relative_to(run.path)) for path in run.path.rglob("*") if path.is_file()}
    assert found - {name for name in found if name.startswith("checkpoints/")} == {
        "spec.json",
        "metrics.jsonl",
        "ledger.jsonl",
        "summary.json",
        "student/model.safetensors",
        "student/config.json",
        "student/README.md",
        "samples/rows.safetensors",
        "samples/answers.safetensors",
        *(f"predictions/{who}-{split}.safetensors" for who in ("student", "teacher") for split in SPLITS),
    }


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@pytest.mark.parametrize("split", SPLITS)
def test_the_scores_are_those_of_the_answers(run, split):
    ours, theirs = (run.predictions(who, split) for who in ("student", "teacher"))
    labels = ours.labels.numpy()
    q, p = (softmax(answers.logits.double().numpy()) for answers in (ours, theirs))
    one_hot = np.eye(CLASSES)[labels]
    found = run.summary["student"][split]
    assert found["rows"] == len(labels) == {"train": 53, "validation": 19, "test": 17}[split]
    assert found["errors"] == (q.argmax(-1) != labels).sum()
    assert found["accuracy"] == pytest.approx((q.argmax(-1) == labels).mean())
    assert found["nll"] == pytest.approx(-np.log(q[np.arange(len(labels)), labels]).mean(), rel=1e-5)
    assert found["brier"] == pytest.approx(((q - one_hot) ** 2).sum(-1).mean(), rel=1e-5)
    assert found["agreement"] == pytest.approx((q.argmax(-1) == p.argmax(-1)).mean())
    assert found["kl"] == pytest.approx((p * np.log(p / q)).sum(-1).mean(), rel=1e-4)
    assert run.summary["teacher"][split]["nll"] == pytest.approx(
        -np.log(p[np.arange(len(labels)), labels]).mean(), rel=1e-5
    )


def test_answers_are_by_id_and_those_of_the_kept_weights(run):
    model = load_student(run)
    answers = run.predictions("student", "test")
    assert answers.ids.tolist() == list(range(17))
    with torch.no_grad():
        assert torch.equal(answers.logits, model(features(17, seed=2)))


def test_the_specification_is_written_with_all_that_surrounds_it(run):
    spec = run.spec
    assert spec["hash"] == specification(data=splits, validation=0.1).hash
    assert spec["origin"] == {"command": "limbeck …"}
    assert (spec["head"], spec["classes"]) == ("softmax", list(NAMES))
    assert spec["data"]["train"] == {"rows": 53, "fingerprint": rows().fingerprint}
    assert spec["teacher"] == {"fingerprint": fingerprint(teacher())}
    assert spec["versions"]["torch"] == torch.__version__
    assert spec["hardware"]["device"] == "cpu" and spec["hardware"]["processes"] == 1


def test_the_student_folder_is_one_that_a_hub_would_take(run):
    config = read_json(run.path / "student" / "config.json")
    assert config == {
        "architecture": "Sequential",
        "factory": "tiny:student",
        "head": "softmax",
        "id2label": {"0": "oak", "1": "ash", "2": "elm"},
    }
    card = (run.path / "student" / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlibrary_name: limbeck\n")
    assert "A student of 66 parameters (264 bytes)" in card
    assert "Classes, in order: oak, ash, elm." in card
    assert f"| test | 17 | {run.summary['student']['test']['errors']:.0f}" in card.replace(".0000", "")
    assert run.summary["student"]["fingerprint"] == fingerprint(load_student(run))


def test_the_test_rows_are_scored_once_and_the_ledger_says_so(run):
    (line,) = (run.path / "ledger.jsonl").read_text(encoding="utf-8").splitlines()
    entry = json.loads(line)
    assert (entry["split"], entry["rows"]) == ("test", 17)
    assert entry["student"] == run.summary["student"]["fingerprint"]


def test_without_test_rows_there_is_no_ledger(tmp_path):
    assert not (train(alone(epochs=1), tmp_path / "run").path / "ledger.jsonl").exists()


def test_sample_rows_are_kept_raw(run):
    samples = read_tensors(run.path / "samples" / "rows.safetensors")
    assert torch.equal(samples["columns.features"], features(17, seed=2)[:16])
    assert samples["ids"].tolist() == list(range(16))
    answers = read_tensors(run.path / "samples" / "answers.safetensors")
    with torch.no_grad():
        expected = (teacher()(features(17, seed=2)[:16]) / 4).softmax(-1)
    torch.testing.assert_close(answers["teacher@4"], expected, rtol=1e-5, atol=1e-6)


def test_of_very_many_training_rows_a_sample_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(harvest, "MOST_TRAINING_ROWS", 11)
    run = train(specification(epochs=1), tmp_path / "run")
    ids = run.predictions("student", "train").ids.tolist()
    assert len(ids) == 11 and ids == sorted(set(ids))
    assert run.predictions("teacher", "train").ids.tolist() == ids


def test_a_sigmoid_head_is_scored_by_its_decisions(tmp_path):
    run = train(specification(data=multilabel_rows), tmp_path / "run")
    answers = run.predictions("student", "train")
    z, y = answers.logits.double().numpy(), answers.labels.numpy()
    found = run.summary["student"]["train"]
    assert found["errors"] == ((z > 0) != (y > 0.5)).sum()
    assert found["accuracy"] == pytest.approx(((z > 0) == (y > 0.5)).mean())
    q = 1 / (1 + np.exp(-z))
    assert found["nll"] == pytest.approx(-(y * np.log(q) + (1 - y) * np.log(1 - q)).sum(-1).mean(), rel=1e-5)
    v = run.predictions("teacher", "train").logits.double().numpy()
    p = 1 / (1 + np.exp(-v))
    kl = (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum(-1).mean()
    assert found["kl"] == pytest.approx(kl, rel=1e-4)
    assert found["agreement"] == pytest.approx(((z > 0) == (v > 0)).mean(), rel=1e-6)


def test_without_labels_the_student_is_chosen_by_its_agreement_with_the_teacher(tmp_path):
    data = Splits(train=unlabelled_rows(), validation=TensorSet(features(19, seed=1), classes=NAMES))
    run = train(specification(data=data, objective=SoftTargets(), validation=0.1, epochs=5), tmp_path / "run")
    found = [(record["validation"], record["step"]) for record in run.records() if "validation" in record]
    best = min(found, key=lambda pair: (1 - pair[0]["agreement"], pair[0]["kl"]))
    assert run.summary["kept"]["step"] == best[1]
    assert "errors" not in run.summary["student"]["validation"]
    assert run.predictions("student", "train").labels is None


def test_scores_are_ordered_by_errors_then_nats():
    def of(errors, nll):
        return {"errors": errors, "nll": nll}

    assert merit(of(3.0, 0.9)) < merit(of(4.0, 0.1))
    assert merit(of(3.0, 0.1)) < merit(of(3.0, 0.9))
    assert merit({"agreement": 0.9, "kl": 3.0}) < merit({"agreement": 0.8, "kl": 0.1})


def test_predictions_come_back_as_they_were_saved(tmp_path):
    for labels in (None, torch.tensor([1, 0])):
        saved = Predictions(ids=torch.tensor([5, 9]), logits=torch.randn(2, 3), labels=labels)
        saved.save(tmp_path / "answers.safetensors")
        found = Predictions.load(tmp_path / "answers.safetensors")
        assert torch.equal(found.logits, saved.logits) and torch.equal(found.ids, saved.ids)
        assert (found.labels is None) == (labels is None)


def test_a_perfect_student_scores_perfectly():
    answers = Predictions(ids=torch.arange(2), logits=torch.tensor([[99.0, 0.0], [0.0, 99.0]]), labels=torch.arange(2))
    found = scores(answers, answers, "softmax")
    assert (found["errors"], found["accuracy"], found["agreement"], found["kl"]) == (0, 1, 1, 0)


def test_a_term_that_needs_neither_teacher_nor_labels_keeps_the_last(tmp_path):
    run = train(alone(objective=HardLabels(), validation=None, epochs=2), tmp_path / "run")
    assert run.summary["kept"]["chosen_by"] == "last"
    assert run.summary["kept"]["step"] == run.summary["steps"] == 14
