"""From anybody's predictions, as files, to a student: a forest's, and those of a model behind an API."""

import csv
import json
import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from limbeck.data.digits import digits
from limbeck.data.splits import Splits
from limbeck.data.tables import table
from limbeck.errors import MismatchError
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation
from limbeck.targets.encodings.topk import TopKLogProbs
from limbeck.targets.imports.arrays import predictions
from limbeck.targets.imports.open import read_targets, targets_of
from limbeck.targets.imports.suspicions import (
    MemorisedTargets,
    MisalignedTargets,
    agreement,
    warn_if_memorised,
    warn_if_misaligned,
)
from limbeck.targets.store import Targets
from limbeck.targets.teacher import RecordedTeacher
from limbeck.training.distill import distill
from limbeck.training.rebuild import load_student

NAMES = [str(digit) for digit in range(10)]


def features_of(rows):
    return rows.rows(torch.arange(len(rows))).columns["features"]


@pytest.fixture(scope="module")
def forest():
    """Forest's probabilities of the digits' 1,197 training rows: out of fold, and of the rows that it was grown on."""
    ensemble = pytest.importorskip("sklearn.ensemble")
    selection = pytest.importorskip("sklearn.model_selection")
    train = digits().train
    x, y = features_of(train).numpy(), train.labels.numpy()
    model = ensemble.RandomForestClassifier(300, random_state=0)
    out_of_fold = selection.cross_val_predict(model, x, y, cv=10, method="predict_proba")
    return {"ids": train.ids.numpy(), "out-of-fold": out_of_fold, "own": model.fit(x, y).predict_proba(x)}


def npz(folder, forest):
    np.savez(folder / "forest.npz", ids=forest["ids"], probabilities=forest["out-of-fold"], classes=NAMES)
    return folder / "forest.npz"


def parquet(folder, forest):
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    backwards = {f"p_{name}": forest["out-of-fold"][:, int(name)] for name in reversed(NAMES)}
    parquet.write_table(pa.table({"id": forest["ids"], **backwards}), folder / "forest.parquet")
    return folder / "forest.parquet"


def network():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def trained(data, out, **changes):
    """A student's errors on the digits' test rows."""
    fields = {
        "data": Splits(train=data),
        "student": network,
        "objective": HardLabels(),
        "optimizer": partial(torch.optim.Adam, lr=1e-2),
        "epochs": 150,
        "batch_size": 32,
        "validation": None,
        "device": "cpu",
        "probe_rows": 0,
    }
    test = digits().test
    student = load_student(distill(Distillation(**fields | changes), out), student=network)
    with torch.no_grad():
        return int((student(features_of(test)).argmax(1) != test.labels).sum())


@pytest.mark.parametrize("write", [npz, parquet])
def test_a_forests_file_becomes_the_same_store_whatever_its_form(tmp_path, forest, write):
    targets = read_targets(write(tmp_path, forest), expected_classes=NAMES, marks=["out-of-fold"])
    targets.save(tmp_path / "store")
    stored = Targets.open(tmp_path / "store")
    order = np.random.default_rng(0).permutation(len(forest["ids"]))[:100]
    probs = stored.knowledge(torch.from_numpy(forest["ids"][order])).at(1.0).logits.softmax(1)
    given = forest["out-of-fold"][order]
    # Zeros became at most 0.001, and rows were divided by at most 1.01.
    assert np.abs(probs.numpy() - given).max() < 0.01
    assert (probs.numpy().argmax(1) == given.argmax(1)).mean() > 0.97  # but for ties
    assert stored.manifest.marks == ("out-of-fold",)
    assert stored.manifest.teacher["kind"] == "imported"
    again = targets_of(
        predictions(forest["ids"], probabilities=forest["out-of-fold"], classes=NAMES, marks=["out-of-fold"])
    )
    assert stored.fingerprint == again.fingerprint


def test_a_forests_file_teaches_a_network_that_sees_few_rows(tmp_path, forest):
    few = digits(train_rows=60).train
    teacher = RecordedTeacher(read_targets(npz(tmp_path, forest), expected_classes=few.classes, marks=["out-of-fold"]))
    objective = 0.9 * SoftTargets(temperature=1.0) + 0.1 * HardLabels()
    taught = [
        trained(few, tmp_path / f"taught-{seed}", seed=seed, teacher=teacher, objective=objective) for seed in range(2)
    ]
    alone = [trained(few, tmp_path / f"alone-{seed}", seed=seed) for seed in range(2)]
    assert max(taught) < min(alone)


def test_a_forests_predictions_on_its_own_rows_are_warned_of(forest):
    train = digits().train
    own = targets_of(predictions(forest["ids"], probabilities=forest["own"], classes=NAMES))
    with pytest.warns(MemorisedTargets, match=r"agree with 100.0% of the labels of 1,197 training rows"):
        warn_if_memorised(agreement(own.knowledge(train.ids), train.labels), own.manifest.marks)


def test_out_of_fold_predictions_are_not_warned_of(forest):
    train = digits().train
    targets = targets_of(predictions(forest["ids"], probabilities=forest["out-of-fold"], classes=NAMES))
    found = agreement(targets.knowledge(train.ids), train.labels)
    warn_if_memorised(found, targets.manifest.marks)
    warn_if_misaligned(found)
    assert 0.9 < found.share < 0.98


def test_a_forests_predictions_without_their_ids_are_warned_of(forest):
    train = digits().train
    targets = targets_of(predictions(train.ids.sort().values, probabilities=forest["own"], classes=NAMES))
    shuffled = targets.knowledge(train.ids[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))])
    with pytest.warns(MisalignedTargets, match="they seem to belong to other rows"):
        warn_if_misaligned(agreement(shuffled, train.labels))


def test_another_encoding_can_be_asked_for(forest):
    found = predictions(forest["ids"], probabilities=forest["out-of-fold"], classes=NAMES)
    dense, small = targets_of(found), targets_of(found, TopKLogProbs(k=3, temperatures=(1.0,), tempered=True))
    ids = torch.from_numpy(forest["ids"][:50])
    log_probs = dense.knowledge(ids).at(1.0).logits.log_softmax(1)
    kept = small.knowledge(ids).at(1.0)
    torch.testing.assert_close(kept.log_probs, log_probs.gather(1, kept.ids), rtol=1e-2, atol=1e-2)
    assert small.bytes < dense.bytes


# a model behind an API

GOOD, BAD = ("lovely", "warm", "bright", "clever"), ("dull", "cold", "grim", "clumsy")
PLAIN = ("film", "plot", "cast", "score", "scene", "a", "the", "with")
WORDS = {"good": ["good", "great", "positive"], "bad": ["bad", "negative"]}


def review(random):
    """Eight words, and how good they sound."""
    mood = random.uniform(-1, 1)
    told = [
        str(random.choice(GOOD if random.uniform(-1, 1) < mood else BAD if random.uniform() < 0.8 else PLAIN))
        for _ in range(4)
    ]
    words = [*told, *map(str, random.choice(PLAIN, 4))]
    random.shuffle(words)
    return " ".join(words), sum((word in GOOD) - (word in BAD) for word in told)


def api_line(number, score):
    """One line of a batch's output: the first token of a reply, with its five likeliest alternatives."""
    p = 1 / (1 + math.exp(-1.5 * score))
    likely = {" Good": 0.7 * p, "positive": 0.2 * p, " bad": 0.9 * (1 - p), "It": 0.06, "\n": 0.02}
    top = sorted(({"token": token, "logprob": math.log(p), "bytes": None} for token, p in likely.items()), key=by_p)
    logprobs = {"content": [{**top[0], "top_logprobs": top}], "refusal": None}
    message = {"role": "assistant", "content": top[0]["token"]}
    choices = [{"index": 0, "message": message, "logprobs": logprobs, "finish_reason": "length"}]
    body = {"id": f"chatcmpl-{number:x}", "object": "chat.completion", "choices": choices}
    response = {"status_code": 200, "request_id": f"req_{number}", "body": body}
    return {"id": f"batch_req_{number}", "custom_id": f"review-{number}", "response": response, "error": None}


def by_p(entry):
    return -entry["logprob"]


VOCABULARY = {word: number for number, word in enumerate((*GOOD, *BAD, *PLAIN))}


def bag_of_words(columns):
    """A `prepare`: how often each word comes in a text."""
    rows = [[text.split().count(word) for word in VOCABULARY] for text in columns["text"]]
    return torch.tensor(rows, dtype=torch.float32)


def reader():
    return nn.Linear(len(VOCABULARY), 2)


@pytest.fixture
def reviews(tmp_path):
    """A CSV file of texts without labels, and the API's answers to them in another order."""
    pytest.importorskip("pyarrow")
    random = np.random.default_rng(0)
    rows = [review(random) for _ in range(200)]
    with (tmp_path / "reviews.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["id", "text"], *([number, text] for number, (text, _) in enumerate(rows))])
    lines = [api_line(number, score) for number, (_, score) in enumerate(rows)]
    random.shuffle(lines)
    (tmp_path / "answers.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return rows


def test_answers_of_an_api_teach_a_bag_of_words(tmp_path, reviews):
    said = []
    targets = read_targets(tmp_path / "answers.jsonl", verbaliser=WORDS, say=said.append)
    assert said == [next(note for note in said if "of the probability lay on tokens of no class" in note)]
    data = table(tmp_path / "reviews.csv", features="text", id_column="id", classes=["good", "bad"])
    spec = Distillation(
        data=Splits(train=data),
        student=reader,
        prepare=bag_of_words,
        teacher=RecordedTeacher(targets),
        objective=SoftTargets(temperature=1.0),
        optimizer=partial(torch.optim.Adam, lr=3e-2),
        epochs=60,
        batch_size=20,
        validation=None,
        device="cpu",
        probe_rows=0,
    )
    student = load_student(distill(spec, tmp_path / "run"), student=reader)
    fresh = [review(np.random.default_rng(seed)) for seed in range(1000, 1100)]
    with torch.no_grad():
        good = student(bag_of_words({"text": [text for text, _ in fresh]})).softmax(1)[:, 0]
    api = torch.sigmoid(torch.tensor([1.5 * score for _, score in fresh]))
    assert float((good - api).abs().mean()) < 0.05


def test_rows_that_an_api_did_not_answer_are_named_when_they_are_needed(tmp_path, reviews):
    lines = (tmp_path / "answers.jsonl").read_text().splitlines()
    failed = json.dumps({"custom_id": "review-7", "response": None, "error": {"message": "expired"}})
    kept = [line for line in lines if '"review-7"' not in line]
    (tmp_path / "answers.jsonl").write_text("\n".join([*kept, failed]))
    said = []
    targets = read_targets(tmp_path / "answers.jsonl", verbaliser=WORDS, missing="leave out", say=said.append)
    assert said[0] == "1 rows without a usable answer were left out: 7: an error: expired."
    teacher = RecordedTeacher(targets)
    teacher.require(torch.tensor([6, 8]), None, 1)
    with pytest.raises(MismatchError, match="with the ids 7"):
        teacher.require(torch.arange(200), None, 1)
