"""The model card: a hub's own reader finds the metadata, whatever users wrote, and verdicts are added without harm."""

import copy

import pytest
import torch
from campaign_by_hand import CAMPAIGN
from facts_by_hand import EVIL, RUN, without

from limbeck.training.card import About, card_with_verdict, model_card, task_of

SUMMARY = {**copy.deepcopy(RUN["summary"])}
ODD_NAMES = ["run: no", "- dash", 'a "quote"', "yes", "{}", "# no comment", "äö 中", "a\u2028b", "--- ---", EVIL]


def read(card):
    hub = pytest.importorskip("huggingface_hub")
    return hub.ModelCard(card)


def test_a_hub_reads_the_metadata_and_the_scores_on_the_test_rows():
    about = About(task="image-classification", license="mit", datasets=["mnist"], languages=["en"], tags=["tiny"])
    card = read(model_card("first", SUMMARY, ["a", "b"], about))
    data = card.data
    assert (data.library_name, data.pipeline_tag, data.license) == ("limbeck", "image-classification", "mit")
    assert data.tags == ["pytorch", "knowledge-distillation", "tiny"]
    assert data.datasets == ["mnist"]
    assert data.metrics == ["accuracy", "nll", "brier", "ece"]
    assert data.model_name == "first"
    scores = {result.metric_type: result.metric_value for result in data.eval_results}
    test = SUMMARY["student"]["test"]
    assert scores == pytest.approx({name: test[name] for name in ("accuracy", "nll", "brier", "ece")}, abs=1e-6)
    assert {(result.task_type, result.dataset_type, result.dataset_split) for result in data.eval_results} == {
        ("image-classification", "mnist", "test")
    }


def test_what_is_not_known_is_left_out():
    card = read(model_card("first", without(RUN, "test")["summary"], None))
    assert card.data.to_dict() == {"library_name": "limbeck", "tags": ["pytorch", "knowledge-distillation"]}


def test_a_student_without_a_teacher_is_not_called_distilled():
    summary = {**SUMMARY, "teacher": None}
    assert "knowledge-distillation" not in model_card("first", summary, None)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_names_that_would_break_yaml_or_markdown_come_through(name):
    written = model_card(name, SUMMARY, [name], About(datasets=[name], tags=[name], license="other"))
    card = read(written)
    assert card.data.model_name == name
    assert card.data.datasets == [name]
    assert "<script>" not in card.text


def test_a_card_survives_the_hubs_own_writing():
    card = read(model_card("first", SUMMARY, None, About(task="text-classification")))
    again = read(str(card))
    assert again.data.to_dict() == card.data.to_dict()


def test_a_verdict_is_added_once_and_the_rest_of_the_card_stays():
    card = model_card("first", SUMMARY, None)
    first = card_with_verdict(card, CAMPAIGN["verdict"], CAMPAIGN["replace"])
    other = {**CAMPAIGN["verdict"], "sentence": "Cannot tell: <b>chance</b>."}
    second = card_with_verdict(first, other, CAMPAIGN["replace"])
    assert first.startswith(card.rstrip())
    assert "Distillation helped: an error rate 2.30 points below" in first
    assert "The student can replace the teacher" in first
    assert second.startswith(card.rstrip())
    assert "Distillation helped" not in second
    assert r"\<b\>" in second
    assert second.count("## Did the teaching help?") == 1
    assert card_with_verdict(second, other, CAMPAIGN["replace"]) == second


def test_what_somebody_wrote_below_the_verdict_stays():
    card = card_with_verdict(model_card("first", SUMMARY, None), CAMPAIGN["verdict"], CAMPAIGN["replace"])
    changed = card_with_verdict(card + "\n## Ours\n\nMore.\n", CAMPAIGN["verdict"], CAMPAIGN["replace"])
    assert "## Ours\n\nMore." in changed
    assert read(changed).data.library_name == "limbeck"


@pytest.mark.parametrize(
    ("columns", "task"),
    [
        ({"text": ["good"]}, "text-classification"),
        ({"image": torch.zeros(1, 3, 4, 4)}, "image-classification"),
        ({"image": torch.zeros(1, 4, 4, dtype=torch.uint8)}, "image-classification"),
        ({"series": torch.zeros(1, 4, 4)}, None),
        ({"features": torch.zeros(1, 4)}, "tabular-classification"),
        ({"input_ids": torch.zeros(1, 4, dtype=torch.long)}, None),
        ({}, None),
        (None, None),
    ],
)
def test_the_task_is_told_where_the_rows_tell_it(columns, task):
    assert task_of(columns) == task
