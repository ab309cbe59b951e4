import json
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from limbeck.errors import ArgumentError, DataError, MismatchError
from limbeck.targets.imports.jsonl import scores
from limbeck.targets.imports.open import read_predictions
from limbeck.targets.imports.replies import Reply
from limbeck.targets.imports.verbaliser import Verbaliser
from tolerances import assert_close

NAMES = ["positive", "negative"]
WORDS = {"positive": ["positive", "pos"], "negative": ["negative", "neg"]}
TOP = {"Positive": 0.5, " pos": 0.125, "negative": 0.25, "The": 0.0625}
"""0.875 of the probability lies on the two classes: 5/7 and 2/7 of it."""


def chat(top, chosen=None):
    tokens = [{"token": token, "logprob": math.log(p), "bytes": list(token.encode())} for token, p in top.items()]
    first = tokens[0] if chosen is None else {"token": chosen[0], "logprob": math.log(chosen[1]), "bytes": None}
    content = [{**first, "top_logprobs": tokens}, {"token": ".", "logprob": -0.1, "top_logprobs": []}]
    message = {"role": "assistant", "content": first["token"], "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": {"content": content}, "finish_reason": "length"}
    return {"id": "chatcmpl-B1x9", "object": "chat.completion", "model": "m", "choices": [choice]}


def legacy(top, chosen=None):
    token, p = chosen or next(iter(top.items()))
    logprobs = {
        "tokens": [token, "."],
        "token_logprobs": [math.log(p), -0.1],
        "top_logprobs": [{token: math.log(p) for token, p in top.items()}, {".": -0.1}],
        "text_offset": [0, 8],
    }
    return {"id": "cmpl-7", "object": "text_completion", "choices": [{"text": token, "logprobs": logprobs}]}


def batch(name, body, status=200, error=None):
    response = {"status_code": status, "request_id": "req_1", "body": body}
    return {"id": f"batch_req_{name}", "custom_id": name, "response": response, "error": error}


def plain(number, top=TOP):
    return {"id": number, "top_logprobs": {token: math.log(p) for token, p in top.items()}}


def plain_list(number, top=TOP):
    return {"id": number, "top_logprobs": [{"token": token, "logprob": math.log(p)} for token, p in top.items()]}


def written(folder, *lines):
    path = folder / "replies.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def read(folder, *lines, **arguments):
    return read_predictions(written(folder, *lines), **{"verbaliser": WORDS} | arguments)


# shapes


@pytest.mark.parametrize(
    "line",
    [
        batch("row-17", chat(TOP)),
        batch("17", chat(TOP)),
        batch("row-17", legacy(TOP)),
        {**chat(TOP), "custom_id": 17},
        plain(17),
        plain("17"),
        plain_list(17),
    ],
)
def test_every_shape_says_the_same(tmp_path, line):
    found = read(tmp_path, line)
    assert found.ids.tolist() == [17]
    assert found.classes == ("positive", "negative")
    assert_close(found.logits.exp(), [[5 / 7, 2 / 7]])


def test_replies_without_ids_of_rows_are_numbered_by_line_and_that_is_said(tmp_path):
    found = read(tmp_path, chat(TOP), chat({"neg": 0.9, "pos": 0.1}))
    assert found.ids.tolist() == [0, 1]
    assert found.notes[0].startswith("The file has no ids: its rows are taken to be rows 0, 1, 2")


def test_empty_lines_are_passed_over(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text(f"\n{json.dumps(plain(2))}\n\n{json.dumps(plain(1))}\n")
    assert read_predictions(path, verbaliser=WORDS).ids.tolist() == [1, 2]


def test_a_chosen_token_beyond_the_likeliest_counts(tmp_path):
    found = read(tmp_path, batch("1", chat({"pos": 0.5, "The": 0.25}, chosen=("neg", 0.125))))
    assert_close(found.logits.exp(), [[0.8, 0.2]])
    found = read(tmp_path, batch("1", legacy({"pos": 0.5, "The": 0.25}, chosen=("neg", 0.125))))
    assert_close(found.logits.exp(), [[0.8, 0.2]])


def test_a_chosen_token_among_the_likeliest_counts_once(tmp_path):
    found = read(tmp_path, batch("1", chat({"pos": 0.5, "neg": 0.25}, chosen=("pos", 0.5))))
    assert_close(found.logits.exp(), [[2 / 3, 1 / 3]])


# the verbaliser


@pytest.mark.parametrize("token", ["positive", " positive", "Positive", "▁positive", "Ġpositive", "POS", " pos\n"])
def test_spaces_and_case_do_not_matter(token):
    assert Verbaliser(WORDS).class_of(token) == 0


@pytest.mark.parametrize("token", ["posit", "", " ", "p ositive", "positively"])
def test_a_part_of_a_word_is_no_word(token):
    assert Verbaliser(WORDS).class_of(token) is None


def test_case_matters_where_two_classes_differ_in_nothing_else():
    means = Verbaliser({"country": "US", "pronoun": "us"})
    assert [means.class_of(token) for token in ("US", " us", "Us")] == [0, 1, None]


def test_class_names_are_their_own_words(tmp_path):
    found = read(tmp_path, plain(1, {"Positive": 0.75, "negative": 0.25}), verbaliser=None, classes=NAMES)
    assert_close(found.logits.exp(), [[0.75, 0.25]])


def test_the_datas_classes_are_the_words_where_nothing_else_is_said(tmp_path):
    lines = plain(1, {"Positive": 0.75, "negative": 0.25})
    found = read(tmp_path, lines, verbaliser=None, expected_classes=NAMES[::-1])
    assert found.classes == ("negative", "positive")
    assert_close(found.logits.exp(), [[0.25, 0.75]])


def test_a_verbaliser_is_read_from_a_file(tmp_path):
    (tmp_path / "words.json").write_text(json.dumps(WORDS))
    found = read(tmp_path, plain(1), verbaliser=tmp_path / "words.json", classes=NAMES[::-1])
    assert found.classes == ("negative", "positive")
    assert_close(found.logits.exp(), [[2 / 7, 5 / 7]])


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"verbaliser": None}, ArgumentError, "Nothing says which tokens mean which class: give the classes"),
        ({"verbaliser": {"a": "yes", "b": "yes"}}, ArgumentError, "gives the token 'yes' to two classes, 'a' and 'b'"),
        ({"verbaliser": {"a": []}}, ArgumentError, "must give text, or a list of text, for class 'a'. Got .."),
        ({"verbaliser": {"a": " "}}, ArgumentError, "gives an empty token to class 'a'"),
        ({"classes": ["positive"]}, MismatchError, "It has 'positive', 'negative'; the classes are 'positive'"),
        ({"expected_classes": ["good", "bad"]}, MismatchError, "It lacks the data's 'good', 'bad' and has 'positive'"),
        ({"verbaliser": "absent.json"}, DataError, "There is no file absent.json"),
        ({"missing": "ignore"}, ArgumentError, "missing must be 'refuse' or 'leave out'. Got 'ignore'"),
        ({"head": "sigmoid"}, ArgumentError, "head is not for .jsonl files"),
        ({"kind": "logits"}, ArgumentError, "kind is not for .jsonl files"),
        ({"id_column": "row"}, ArgumentError, "id_column is not for .jsonl files"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(tmp_path, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        read(tmp_path, plain(1), **arguments)


@pytest.mark.parametrize(("text", "sentence"), [("{", "is no JSON: "), ("[1]", "must be a JSON object")])
def test_verbalisers_that_are_none_are_refused(tmp_path, text, sentence):
    (tmp_path / "words.json").write_text(text)
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, plain(1), verbaliser=tmp_path / "words.json")


# adding up


def reply(**top):
    return Reply(1, "1", tuple((token, math.log(p)) for token, p in top.items()))


def test_what_lies_on_other_tokens_is_discarded_and_reported(tmp_path):
    found = read(tmp_path, plain(1), plain(2, {"pos": 0.5, "neg": 0.5}))
    assert found.notes == (
        "6.25% of the probability lay on tokens of no class and was discarded, on average; the most, 12.50%, in row 1.",
    )


def test_a_class_that_was_not_returned_gets_half_of_the_smallest_probability():
    row = scores(reply(pos=0.5, The=0.125), Verbaliser(WORDS))
    assert row.unseen == 1
    assert_close(torch.tensor(row.log_probs).exp(), torch.tensor([0.5, 0.0625]) / 0.5625)


def test_a_class_that_was_not_returned_gets_no_more_than_half_of_what_is_left():
    row = scores(reply(pos=0.75, The=0.125), Verbaliser({"pos": "pos", "neg": "neg", "mid": "mid"}))
    # 0.125 is left to two classes: 0.0625 each at most
    assert_close(torch.tensor(row.log_probs).exp(), torch.tensor([0.75, 0.03125, 0.03125]) / 0.8125)


def test_the_rows_without_all_classes_are_reported(tmp_path):
    found = read(tmp_path, plain(3, {"pos": 0.5}), plain(4))
    assert found.notes[-1] == (
        "In 1 of 2 rows a class was not among the returned tokens and got half of what it can have at most: 3."
    )


def test_a_token_too_unlikely_for_a_number_was_not_returned():
    line = {"id": 1, "top_logprobs": {"pos": math.log(0.5), "The": math.log(0.125), "neg": -9999.0}}
    row = scores(reply_of_line(line), Verbaliser(WORDS))
    assert row.unseen == 1
    assert_close(torch.tensor(row.log_probs).exp(), torch.tensor([0.5, 0.0625]) / 0.5625)


def test_rounding_never_leaves_a_class_without_probability():
    row = scores(reply(pos=1.0), Verbaliser(WORDS))
    assert all(math.isfinite(value) for value in row.log_probs)


def reply_of_line(line):
    from limbeck.targets.imports.replies import reply_of

    return reply_of(json.dumps(line))


@given(st.lists(st.integers(1, 50), min_size=5, max_size=5), st.permutations(range(5)), st.integers(1, 60))
def test_the_order_of_tokens_and_what_else_was_returned_change_nothing(weights, order, rest):
    tokens = ["positive", "pos", "negative", "neg", "The"]
    total = sum(weights) + rest
    pairs = [(token, math.log(weight / total)) for token, weight in zip(tokens, weights, strict=True)]
    row = scores(Reply(1, "1", tuple(pairs)), Verbaliser(WORDS))
    other = scores(Reply(1, "1", tuple(pairs[place] for place in order)), Verbaliser(WORDS))
    ours = sum(weights[:4])
    assert_close(torch.tensor(row.log_probs).exp(), [sum(weights[:2]) / ours, sum(weights[2:4]) / ours])
    assert_close(torch.tensor(row.log_probs), torch.tensor(other.log_probs))
    assert math.isclose(row.kept, ours / total)


# rows without an answer

FAILURES = [
    (batch("5", None, status=429), "5: status 429"),
    (batch("5", {"error": {"message": "Rate limit reached.", "code": "rate"}}, status=429), "an error: Rate limit rea"),
    (batch("5", None, error={"code": "batch_expired", "message": "Too late."}), "5: an error: Too late"),
    ({"custom_id": "5", "response": None, "error": None}, "5: no response"),
    (batch("5", {"choices": []}), "5: no log-probabilities"),
    (batch("5", {"choices": [{"logprobs": None}]}), "no log-probabilities .ask the API for logprobs"),
    (batch("5", {"choices": [{"logprobs": {"content": []}}]}), "5: an empty answer"),
    (batch("5", {"choices": [{"logprobs": {"content": [{"token": "a", "logprob": -1}]}}]}), "5: no top_logprobs"),
    (batch("5", {"choices": [{"logprobs": {"top_logprobs": None}}]}), "5: no top_logprobs"),
    ({"id": 5}, "5: no top_logprobs"),
    ({"id": 5, "top_logprobs": ["pos"]}, r"5: top_logprobs that are neither {token: number} nor"),
    ({"id": 5, "top_logprobs": {"pos": 0.7}}, "5: a log-probability of 0.7 for the token 'pos'"),
    ({"id": 5, "top_logprobs": {"pos": math.nan}}, "5: a log-probability of nan for the token 'pos'"),
    ({"id": 5, "top_logprobs": {"pos": -0.1, "neg": -0.2}}, "5: probabilities that sum to 1.724"),
    ({"id": 5, "top_logprobs": {"pos": -9999.0}}, "5: only tokens too unlikely for a number"),
    (batch("5", {"choices": 3}), "5: an answer in none of the shapes that are known"),
    (plain(5, {"The": 0.5, "A": 0.25}), r"5: no class among its tokens \('The', 'A'\)"),
]


@pytest.mark.parametrize(("line", "sentence"), FAILURES)
def test_rows_without_an_answer_are_refused_by_id(tmp_path, line, sentence):
    with pytest.raises(DataError, match=f"1 of 2 rows have no usable answer: .*{sentence}"):
        read(tmp_path, plain(4), line)


@pytest.mark.parametrize(("line", "sentence"), FAILURES)
def test_rows_without_an_answer_are_left_out_if_that_is_asked_for(tmp_path, line, sentence):
    found = read(tmp_path, plain(4), line, missing="leave out")
    assert (found.ids.tolist(), found.left_out) == ([4], (5,))
    assert found.notes[0].startswith("1 rows without a usable answer were left out: 5: ")


def test_an_answer_after_a_failure_counts(tmp_path):
    found = read(tmp_path, batch("5", None, status=500), plain(5))
    assert (found.ids.tolist(), found.left_out) == ([5], ())


def test_many_failures_are_counted(tmp_path):
    lines = [batch(str(number), None, status=500) for number in range(20)]
    with pytest.raises(DataError, match=r"20 of 21 rows have no usable answer: 0: status 500; .*; and 12 more. Ask"):
        read(tmp_path, plain(50), *lines)


def test_a_file_of_other_words_is_refused_even_if_rows_may_be_left_out(tmp_path):
    with pytest.raises(DataError, match=r"no row has a usable answer: .* say which do with a verbaliser"):
        read(tmp_path, plain(1, {"gut": 0.5}), missing="leave out")


def test_ids_that_are_not_there_are_named(tmp_path):
    found = read(tmp_path, *(plain(number) for number in (0, 1, 3, 4, 7)))
    assert found.notes[0] == "Of the ids 0 to 7, 3 are not in the file: 2, 5, 6."


def test_ids_far_apart_are_not_taken_for_gaps(tmp_path):
    assert len(read(tmp_path, plain(0), plain(1_000_000)).notes) == 1


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ([batch("a-7", chat(TOP)), batch("b-7", chat(TOP))], r"Id 7 has two answers \('a-7' and 'b-7'\)"),
        ([batch("first", chat(TOP))], "the id 'first' must be a whole number, or end in one, as in 'row-17'"),
        ([plain(1), chat(TOP)], "every line must have .* or none. 1 of 2 lines have none, line 2 for one"),
        ([plain(1), [1, 2]], "line 2 cannot be read: it must be a JSON object, and is a list"),
        ([], "must have at least one line"),
    ],
)
def test_files_whose_rows_cannot_be_told_are_refused(tmp_path, lines, sentence):
    with pytest.raises(DataError, match=sentence):
        read(tmp_path, *lines)


def test_a_line_that_is_no_json_is_named(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_text(json.dumps(plain(1)) + "\n{'id': 2}\n")
    with pytest.raises(DataError, match="line 2 cannot be read: Expecting property name"):
        read_predictions(path, verbaliser=WORDS)


def test_a_file_that_is_no_text_is_refused(tmp_path):
    path = tmp_path / "replies.jsonl"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_predictions(path, verbaliser=WORDS)


@pytest.mark.parametrize("line", [{}, {"id": None}, {"id": 1.5}, {"id": True}])
def test_a_line_without_anything_is_a_row_without_an_answer(tmp_path, line):
    with pytest.raises(DataError, match="no row has a usable answer: 0: no top_logprobs"):
        read(tmp_path, line)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=True) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(JSON, st.sampled_from(["body", "response", "choices", "choice", "logprobs", "content", "first", "top", "error"]))
def test_no_line_however_odd_is_answered_with_a_traceback(odd, place):
    line = batch("5", chat(TOP))
    body = line["response"]["body"]
    choice = body["choices"][0]
    homes = {
        "body": (line["response"], "body"),
        "response": (line, "response"),
        "choices": (body, "choices"),
        "choice": (body["choices"], 0),
        "logprobs": (choice, "logprobs"),
        "content": (choice["logprobs"], "content"),
        "first": (choice["logprobs"]["content"], 0),
        "top": (choice["logprobs"]["content"][0], "top_logprobs"),
        "error": (line, "error"),
    }
    home, key = homes[place]
    home[key] = odd
    found = reply_of_line(line)
    assert found.id == 5
    assert found.failure or found.top
