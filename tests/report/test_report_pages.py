"""The pages of runs, ordinary and odd: what they say, and that they are sound HTML that asks for nothing."""

import json
import re
import sys

import pytest
from facts_by_hand import EVIL, ODD, RUN, run, samples, vectors, without
from readers import read

from limbeck.errors import MissingExtra, RunError
from limbeck.evidence.facts import facts_of_run
from limbeck.report.page import page, write_page
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from tiny import specification, splits

PAGES = {"run": RUN, **ODD}


@pytest.mark.parametrize("facts", PAGES.values(), ids=PAGES)
def test_every_page_is_balanced_and_loads_nothing(facts):
    reader = read(page(facts))
    assert all(address.startswith("data:") for address in reader.addresses)
    assert len(reader.headings["h1"]) > 20


@pytest.mark.parametrize("facts", PAGES.values(), ids=PAGES)
def test_no_page_shows_a_value_that_is_missing(facts):
    assert not re.search(r"\b(nan|none|null|inf|undefined)\b", read(page(facts)).text.replace("label none", ""), re.I)


@pytest.mark.parametrize("facts", PAGES.values(), ids=PAGES)
def test_sentences_are_a_space_apart(facts):
    assert not re.search(r"[a-z0-9)]\.[A-Z]", read(page(facts)).text)


def test_a_run_puts_the_student_beside_its_teacher_on_every_split():
    reader = read(page(RUN))
    assert reader.headings["h1"] == "On 350 test rows the student gets 23 wrong (6.6%), its teacher 5 (1.4%)."
    for said in ("350 test", "250 validation", "256 train", "It gives its teacher's answer on 94.0%", "epoch 5 of 5"):
        assert said in reader.text
    assert "not whether the teaching helped" in reader.text
    assert "torch 2.9.0" in reader.text
    assert "CPU (x86_64), 1 process, 1 thread of 4 cores, float32" in reader.text


def test_a_run_judged_on_the_rows_that_chose_its_weights_says_so():
    text = read(page(without(RUN, "test"))).text
    assert "On 250 validation rows the student gets 20 wrong" in text
    assert "chose which epoch's weights are kept" in text


def test_a_run_without_rows_held_out_says_so():
    text = read(page(ODD["training rows alone"])).text
    assert "On 256 rows it learned from" in text
    assert "No rows were held out" in text


def test_a_run_without_labels_speaks_of_agreement():
    reader = read(page(ODD["no labels"]))
    assert reader.headings["h1"] == "Of 350 test rows, the student gives its teacher's answer on 94.0%."
    assert "A dot marks" not in reader.text


def test_a_run_without_a_teacher_speaks_of_none():
    text = read(page(ODD["no teacher"])).text
    assert "On 350 test rows the student gets 23 wrong (6.6%)." in text
    assert "teacher" not in text.lower()


def test_a_sigmoid_head_is_told_in_label_decisions():
    text = read(page(ODD["a sigmoid head"])).text
    assert "23 label decisions wrong" in text
    assert "cat and outdoors" in text


def test_many_classes_are_cut_to_the_highest_and_the_true_one():
    reader = read(page(ODD["150 classes"]))
    assert "Of 150 classes each card shows the 10 highest, and the true one." in reader.text
    assert reader.text.count("(true)") == 6


def test_a_page_without_figures_does_without_plotly():
    assert len(page(ODD["no records"])) < 50_000 < len(page(RUN))


def test_what_users_wrote_is_shown_and_never_run():
    facts = run(title=EVIL, samples=samples({"text": [EVIL] * 7}) | {"classes": [EVIL] * 10})
    facts["curves"]["terms"] = {EVIL: [1.0, 2.0, 3.0, 4.0, 5.0]}
    facts["gradients"] = {"step": [0], "epoch": [0.0], EVIL: [1.0]}
    facts["setting"][EVIL] = EVIL
    html = page(facts)
    assert EVIL not in html
    assert read(html).headings["title"] == EVIL
    for source in re.findall(r'<script type="application/json" class="figure">(.*?)</script>', html):
        assert EVIL not in json.dumps(json.loads(source)["data"])


def test_the_content_policy_forbids_every_load():
    assert "default-src 'none'; img-src data:;" in page(RUN)


def test_facts_of_no_known_kind_are_refused():
    with pytest.raises(RunError, match="Got the kind 'poem'"):
        page({"kind": "poem"})


@pytest.mark.parametrize("missing", ["plotly", "jinja2"])
def test_a_missing_extra_is_named(monkeypatch, missing, tmp_path):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(MissingExtra, match=r"[Tt]he page needs an extra .*limbeck\[report\]"):
        write_page(RUN, tmp_path / "report.html")
    assert not list(tmp_path.iterdir())


def test_the_samples_are_those_on_which_the_teacher_is_least_sure():
    facts = run(samples=samples({"features": vectors()}, classes=3))
    sure, torn = [0.98, 0.01, 0.01], [0.34, 0.33, 0.33]
    facts["samples"]["answers"] = {who: {"1": [sure] * 7, "4": [sure] * 6 + [torn]} for who in ("teacher", "student")}
    text = read(page(facts)).text
    assert re.search(r"row (\d+)", text.split("Of 7 sample rows")[1])[1] == "106"


def test_a_trained_run_makes_a_page(tmp_path):
    made = distill(specification(data=splits, probe_rows=5), tmp_path / "run", watcher=Silent())
    path = write_page(facts_of_run(made), tmp_path / "report.html")
    reader = read(path.read_text(encoding="utf-8"))
    assert re.fullmatch(
        r"On 17 test rows the student gets \d+ wrong \(.*%\), its teacher \d+ \(.*%\)\.", reader.headings["h1"]
    )
    assert "How hard each term pulls" in reader.text
    assert "oak" in reader.text
