"""Models of the transformers library as teacher and student, each with a way of its own to read the same text."""

import pytest
import torch
from torch import nn

from limbeck.data.tensors import TensorSet
from limbeck.errors import MismatchError
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.rebuild import load_student

transformers = pytest.importorskip("transformers")

WORDS = ("oak", "ash", "elm", "yew", "fir")
TEXTS = [f"{WORDS[i % 5]} {WORDS[i % 3]} {WORDS[i % 2]}"[: 5 + i % 7] for i in range(23)]
CLASSES = ("short", "long")


def texts():
    labels = torch.tensor([int(len(text) > 8) for text in TEXTS])
    return TensorSet({"text": TEXTS}, labels=labels, classes=CLASSES)


def characters(columns):
    """Tokens of a letter each, padded, with a mask: keyword arguments."""
    rows = [torch.tensor([ord(letter) % 29 + 1 for letter in text]) for text in columns["text"]]
    ids = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    return {"input_ids": ids, "attention_mask": (ids > 0).long()}


def words(columns):
    """How often each word occurs, as one tensor."""
    return torch.tensor([[float(text.count(word)) for word in WORDS] for text in columns["text"]])


def bert(**settings):
    config = transformers.BertConfig(
        vocab_size=31,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=11,
        max_position_embeddings=17,
        **settings,
    )
    return transformers.BertForSequenceClassification(config)


def small_bert():
    return bert(num_labels=2)


def bag_of_words():
    return nn.Linear(5, 2)


def specification(**changes):
    fields = {
        "data": texts,
        "student": bag_of_words,
        "prepare": words,
        "teacher": small_bert,
        "teacher_prepare": characters,
        "objective": 0.5 * SoftTargets(temperature=2.0) + 0.5 * HardLabels(),
        "epochs": 2,
        "batch_size": 7,
        "device": "cpu",
        "validation": None,
    }
    return Distillation(**{**fields, **changes})


def test_a_transformer_teaches_a_bag_of_words(tmp_path):
    run = distill(specification(), tmp_path / "run", watcher=Silent())
    torch.manual_seed(0)
    expected = small_bert().eval()(**characters({"text": TEXTS})).logits
    torch.testing.assert_close(run.predictions("teacher", "train").logits, expected.detach(), rtol=1e-4, atol=1e-6)


def test_a_bag_of_words_teaches_a_transformer_which_can_be_loaded_again(tmp_path):
    swapped = {"student": small_bert, "prepare": characters, "teacher": bag_of_words, "teacher_prepare": words}
    run = distill(specification(**swapped, microbatches=2), tmp_path / "run", watcher=Silent())
    with torch.no_grad():
        answers = load_student(run)(**characters({"text": TEXTS})).logits
    torch.testing.assert_close(answers, run.predictions("student", "train").logits)
    again = distill(specification(teacher=run.path), tmp_path / "again", watcher=Silent())
    assert again.summary["teacher"]["train"]["errors"] == run.summary["student"]["train"]["errors"]


def test_class_names_of_the_configuration_are_compared_with_the_data(tmp_path):
    named = bert(id2label={0: "long", 1: "short"}, label2id={"long": 0, "short": 1})
    with pytest.raises(MismatchError, match="same classes in another order: class 0 is 'long' for the teacher"):
        distill(specification(teacher=named), tmp_path / "run", watcher=Silent())


def test_features_of_an_inner_layer_can_be_captured_and_an_output_object_yields_its_first_tensor():
    module = small_bert()
    names = ("bert.encoder.layer.0.attention.self.query", "bert")
    teacher = FrozenTeacher(module, prepare=characters, features=names)
    from limbeck.types import Batch

    batch = Batch({characters: characters({"text": TEXTS[:3]})}, None, torch.arange(3))
    found = teacher(batch).features
    length = batch.inputs[characters]["input_ids"].shape[1]
    assert found["bert.encoder.layer.0.attention.self.query"].shape == (3, length, 8)
    assert found["bert"].shape == (3, length, 8)
    with pytest.raises(MismatchError, match=r"no submodule named 'bert\.encodr' .*close to it: bert\.encoder"):
        FrozenTeacher(module, prepare=characters, features=("bert.encodr",))
