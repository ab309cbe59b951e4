"""The page of a search: what was chosen, what was tried, and that a diverged trial presses nothing flat."""

import copy
import json
import re

import pytest
from readers import read
from search_by_hand import LOST, ODD, RAISED, SEARCH, searched

from limbeck.report.page import page

PAGES = {name: page(facts) for name, facts in ODD.items()}
READ = {name: read(html) for name, html in PAGES.items()}


def figures(html):
    blocks = re.findall(r"<figure>.*?</figure>", html, re.S)
    found = [re.search(r"<h3>([^<]*)</h3>.*class=\"figure\">(.*?)</script>", block, re.S).groups() for block in blocks]
    return {title: json.loads(source) for title, source in found}


@pytest.mark.parametrize("name", ODD)
def test_every_page_loads_nothing_and_shows_no_missing_value(name):
    assert all(address.startswith(("data:", "#")) for address in READ[name].addresses)
    assert not re.search(r"\b(none|null|undefined)\b|: nan|100\.00", READ[name].text)


@pytest.mark.parametrize("name", ODD)
def test_its_contents_lead_to_its_sections(name):
    anchors = re.findall(r'<a href="#(\w+)">', PAGES[name])
    assert anchors == re.findall(r'<section id="(\w+)"', PAGES[name])


def test_the_headline_tells_what_the_search_was_worth():
    trials = SEARCH["search"]["distilled"]["trials"]
    best = min(trial["validation"] for trial in trials)
    ends = f"from {trials[0]['validation']:.2f} to {best:.2f}\u00a0%"
    said = f"The best of 20 settings tried takes the errors on the validation rows {ends}."
    assert READ["search"].headings["h1"] == said
    assert READ["no student"].headings["h1"].startswith("No setting that was tried has a student")
    assert READ["raised"].headings["h1"] == "Temperature 4 pays best: 6.00\u00a0% of the validation rows wrong."
    assert "None of 1 setting tried beats" in READ["one arm"].headings["h1"]
    assert READ["nothing searched"].headings["h1"] == "The search has not finished."


def test_a_search_whose_own_settings_have_no_student_speaks_of_the_best_alone():
    facts = searched()
    facts["search"]["distilled"]["trials"][0] |= LOST
    assert "Of 20 settings tried the best leaves" in read(page(facts)).headings["h1"]
    assert "no student" in read(page(facts)).text


def test_it_names_the_chosen_settings_and_both_commands():
    text = READ["search"].text
    for said in (SEARCH["train"], SEARCH["provenance"]["command"], "share of labels", "limbeck 0.1.0, torch 2.9.0"):
        assert said in text
    assert "warm-start The teacher has no weights of the student's shapes." in text
    assert "1000 and 1001 trained each setting; their mean chose. They judge nothing." in text
    assert "2026-03-04 10:20:30 UTC" in text
    assert "1000 trained each setting; its error chose. It judges" in read(page(searched(selection_seeds=[1000]))).text


def test_trials_without_a_student_stand_at_the_top_and_leave_the_axes_alone():
    trials = SEARCH["search"]["distilled"]["trials"]
    lost = [trial["settings"]["rate"] for trial in trials if "failed" in trial]
    assert 0 < len(lost) < len(trials)
    drawn = figures(PAGES["search"])["Validation error over rate"]
    crosses = [trace for trace in drawn["data"] if trace["marker"].get("symbol") == "x-thin"]
    assert [trace["x"] for trace in crosses] == [lost]
    highest = max(trial["validation"] for arm in SEARCH["search"].values() for trial in arm["trials"] if trial["nll"])
    assert all(highest < value < 1.5 * highest for value in crosses[0]["y"])
    axis = drawn["layout"]["yaxis"]
    assert axis.get("type") != "log" or 10 ** axis["range"][1] < 1.7 * highest
    assert PAGES["search"].count("A cross at the top") == 1
    assert f"In {len(lost)} of 20 trials of “student, distilled” a loss became NaN or infinite." in READ["search"].text
    assert "A cross at the top is a trial whose loss became NaN or infinite." in READ["search"].text


def test_an_axis_is_logarithmic_where_the_setting_was_searched_so_and_has_a_place_for_each_choice():
    drawn = figures(PAGES["search"])
    kinds = {title.removeprefix("Validation error over "): found["layout"]["xaxis"] for title, found in drawn.items()}
    assert {title: axis.get("type") for title, axis in kinds.items()} == {
        **{"rate": "log", "weight decay": "category", "temperature": "category"},
        "share of labels": None,
    }
    assert kinds["temperature"]["ticktext"] == ["1", "2", "4", "8"]
    assert kinds["weight decay"]["ticktext"] == ["0", "1e-05", "0.0001", "0.001", "0.01"]


def test_settings_chosen_at_an_end_of_their_range_are_pointed_out():
    facts = copy.deepcopy(SEARCH)
    facts["search"]["alone"]["chosen"] = {"rate": 1.0, "weight_decay": 1e-4}
    said = "“student alone, tuned” chose its rate at an end of the range, beyond which the best may lie."
    assert said not in READ["search"].text
    assert said in read(page(facts)).text


def test_the_ladder_rings_what_was_chosen_and_names_what_was_not_tried():
    drawn = figures(PAGES["raised"])["Errors on the validation rows, rung by rung"]
    assert [trace["x"] for trace in drawn["data"]] == [[1, 2, 4, 8, 16], [1, 2, 4, 8, 16], [4]]
    assert "It had stopped paying, so 32 was not tried." in READ["raised"].text
    assert "16 7.10 0.271" in re.sub(r"\s+", " ", READ["raised"].text)


def test_a_ladder_of_one_rung_makes_a_page():
    facts = copy.deepcopy(RAISED)
    facts["temperature"] |= {"curve": facts["temperature"]["curve"][:1], "chosen": 1.0, "left": []}
    assert "was not tried" not in read(page(facts)).text


def test_what_users_wrote_is_never_run():
    evil = "<script>alert(1)</script>"
    assert evil not in page(searched(title=evil, train=evil, left_out={evil: evil}))
