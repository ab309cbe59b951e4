"""The page of a campaign: sound HTML that asks for nothing, whatever the outcome and whatever is missing."""

import json
import re

import pytest
from campaign_by_hand import CAMPAIGN, ODD, OPTIONAL, campaign, verdict, without
from facts_by_hand import EVIL
from readers import read

from limbeck.cli.report import report
from limbeck.report.campaign.content import SECTIONS
from limbeck.report.page import page, write_page

PAGES = {name: page(facts) for name, facts in ODD.items()}
READ = {name: read(html) for name, html in PAGES.items()}
ANCHORS = [name for name, _ in SECTIONS]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_balanced_and_loads_nothing(name):
    assert all(address.startswith(("data:", "#")) for address in READ[name].addresses)
    assert len(READ[name].headings["h1"]) >= 20


@pytest.mark.parametrize("name", PAGES)
def test_no_page_shows_a_value_that_is_missing(name):
    assert not re.search(r"\b(nan|none|null|inf|undefined)\b", READ[name].text.replace("by none of", ""), re.I)


@pytest.mark.parametrize("name", PAGES)
def test_sentences_are_a_space_apart(name):
    assert not re.search(r"[a-z0-9)]\.[A-Z]", READ[name].text)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_of_the_contents_leads_somewhere(name):
    anchors = re.findall(r'<section id="(\w+)"', PAGES[name])
    assert [address[1:] for address in READ[name].addresses if address.startswith("#")] == ["verdicts", *anchors]


@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_small_enough_to_send(name, tmp_path):
    assert write_page(ODD[name], tmp_path / "report.html").stat().st_size < 6_000_000


def test_a_whole_campaign_shows_every_section():
    assert re.findall(r'<section id="(\w+)"', PAGES["helped"]) == ANCHORS


@pytest.mark.parametrize("missing", OPTIONAL)
def test_a_page_does_without_any_one_section(missing):
    read(page(without(missing)))
    read(page(campaign(**{missing: None})))


def test_a_page_does_without_all_of_them():
    assert re.findall(r'<section id="(\w+)"', PAGES["bare"]) == ["verdicts", "provenance"]
    assert PAGES["bare"] == PAGES["nulls"]


@pytest.mark.parametrize(
    ("name", "said", "answers"),
    [
        ("helped", "The teaching helped, and the student can replace its teacher.", ["Yes, it helped", "Yes, it can"]),
        (
            "cannot tell",
            "Whether the teaching helped cannot be told from these runs, and whether the student can replace its "
            "teacher is open.",
            ["Cannot tell", "Cannot tell"],
        ),
        (
            "no worthwhile difference",
            "The teaching made no difference worth having, and the student cannot replace its teacher.",
            ["No difference worth having", "No, it cannot"],
        ),
        ("harmed", "The teaching did harm.", ["No, it did harm", "Not asked"]),
        ("refused", "There is no verdict on the teaching.", ["No verdict", "No verdict"]),
    ],
)
def test_both_verdicts_are_on_top_in_words(name, said, answers):
    assert READ[name].headings["h1"] == said
    top = READ[name].text.split("Can the student replace the teacher?")
    assert answers[0] in top[0]
    assert answers[1] in top[1]


def test_help_without_replacement_is_joined_by_but():
    facts = campaign(replace={**CAMPAIGN["replace"], "outcome": "no"})
    assert read(page(facts)).headings["h1"] == "The teaching helped, but the student cannot replace its teacher."


def test_what_the_verdicts_rest_on_stands_beside_them():
    text = READ["helped"].text.replace("\u00a0", " ")
    for said in (
        CAMPAIGN["verdict"]["sentence"],
        CAMPAIGN["replace"]["sentence"],
        "“distilled” against “student alone, tuned”",
        "8 seeds, each run in both arms",
        "96.1 % interval 1.71 to 2.86 points (exact)",
        "1 point or more",
        "1,482 against 78,366 (52.9 × less)",
        "34 µs against 120 µs",
        "validation rows: not seen, test rows: not seen",
        "68 % of the way from the student alone to its teacher (interval 47 % to 92 %).",
        "0.72 points is the smallest true difference",
        "up to 10 times the epochs of the distilled student",
        "104 times the test rows were scored",
    ):
        assert said in text, said


def test_a_gap_that_means_nothing_says_why():
    assert "left out The teacher is not clearly better than the student alone." in READ["cannot tell"].text


def test_rivals_and_ablations_are_two_groups_with_a_sentence_each():
    text = READ["helped"].text
    rivals = text.index("Rivals: what one might do instead")
    ablations = text.index("Ablations: the same teaching with one thing replaced")
    for name, control in CAMPAIGN["controls"].items():
        place = text.index(control["about"], rivals)
        assert (place > ablations) == (control["kind"] == "ablation"), name
    assert CAMPAIGN["explained"]["sentence"] in text
    assert "What the teacher's own training cost is not known." in text


def test_raw_values_and_settings_are_there_for_those_who_want_them():
    reader = READ["helped"]
    assert "limbeck distill limbeck_recipes.digits:student --controls all" in reader.text
    for arm in CAMPAIGN["arms"]:
        assert " ".join([arm["title"], *map(str, arm["wrong"])]) in reader.text
    assert "0, 1, 2, 3, 4, 5, 6, 7 judge. 1000, 1001 chose the settings" in reader.text
    assert "torch 2.9.0" in reader.text


def test_a_teacher_that_may_have_seen_the_rows_is_told():
    teacher = {**CAMPAIGN["teacher"], "saw": {"validation": "unknown", "test": "unknown"}}
    assert "Whether the teacher saw the rows that judge is not known" in read(page(campaign(teacher=teacher))).text


def test_unequal_trials_are_told():
    search = campaign()["search"]
    del search["alone"]["trials"][3:]
    assert "The arms were given 3 or 12 trials" in read(page(campaign(search=search))).text
    assert "Each of these arms was given 12 trials" in READ["helped"].text


def softening_of(html):
    return json.loads(re.search(r'<script type="application/json" id="softening-data">(.*?)</script>', html)[1])


def test_the_slider_holds_exactly_the_answers_that_were_kept():
    found = softening_of(PAGES["helped"])
    answers = CAMPAIGN["samples"]["answers"]
    assert found["temperatures"] == ["1", "2", "4", "8", "20"]
    for row, told in enumerate(found["rows"]):
        assert told["true"].index(True) == CAMPAIGN["samples"]["labels"][row]
        for who in ("teacher", "student"):
            for place, at in enumerate(found["temperatures"]):
                assert told[who][place] == pytest.approx(answers[who][at][row], abs=1e-5)


def test_of_many_classes_the_slider_shows_the_likeliest_and_the_true_one():
    for row, told in enumerate(softening_of(PAGES["many classes"])["rows"]):
        assert 10 <= len(told["names"]) <= 13
        assert sum(told["true"]) == 1
        for who in ("teacher", "student"):
            for place, answers in enumerate(ODD["many classes"]["samples"]["answers"][who].values()):
                assert max(told[who][place]) == pytest.approx(max(answers[row]), abs=1e-5)
    assert "Listed are the 15 classes whose rows differ most." in READ["many classes"].text
    assert "Of 150 classes the likeliest are shown." in READ["many classes"].text


def test_the_slider_opens_at_the_temperature_of_the_objective():
    assert '<output for="temperature" id="temperature-now">T = 4</output>' in PAGES["helped"]
    facts = campaign()
    facts["fidelity"]["temperature"] = 7.0
    assert 'id="temperature-now">T = 8</output>' in page(facts)


def test_rows_are_shown_as_pictures_texts_or_numbers():
    assert PAGES["helped"].count('<img src="data:image/png') == 32
    assert "a film about 3 a film" in READ["texts"].text
    assert "petal: 0.1, 2, 3.5" in READ["features"].text


def test_labels_of_a_sigmoid_head_are_all_marked():
    found = softening_of(PAGES["sigmoid"])
    assert found["sigmoid"]
    assert sum(found["rows"][0]["true"]) == 5
    assert "all answers move towards one half" in READ["sigmoid"].text


def test_what_users_wrote_is_shown_and_never_run():
    html = PAGES["markup"]
    assert EVIL not in html
    assert READ["markup"].headings["title"] == EVIL
    assert "\u2028" not in re.search(r'id="softening-data">(.*?)</script>', html)[1]
    assert softening_of(html)["rows"][0]["names"][:3] == [EVIL, "</script><b>", "a\u2028b"]
    for source in re.findall(r'<script type="application/json" class="figure">(.*?)</script>', html):
        drawn = json.loads(source)
        assert EVIL not in json.dumps([drawn["data"], drawn["layout"]])


def test_every_figure_tells_how_to_read_it_in_words_and_in_numbers():
    html = PAGES["helped"]
    figures = re.findall(r"<figure>(.*?)</figure>", html, re.S)
    assert len(figures) > 12
    for figure in figures:
        assert re.search(r"<p>[^<]{20,}</p>", figure), figure[:200]
        if 'class="plot"' in figure:
            assert re.search(r'role="img" aria-label="[^"]{20,}"', figure)
            assert "<details>" in figure


def test_later_looks_are_counted_on_the_card():
    facts = campaign(verdict=verdict("cannot tell", [-0.4, 1.5], "Cannot tell; with this teacher.", look=2, looks=3))
    assert "2 of 3 planned" in read(page(facts)).text


def figures_of(html):
    """Title -> what is drawn."""
    blocks = [block for block in re.findall(r"<figure>(.*?)</figure>", html, re.S) if 'class="plot"' in block]
    pairs = [re.search(r"<h3>([^<]*)</h3>.*class=\"figure\">(.*?)</script>", block, re.S).groups() for block in blocks]
    return {title: json.loads(source) for title, source in pairs}


def test_a_setting_that_only_other_arms_may_choose_is_shown_with_their_names():
    drawn = figures_of(PAGES["helped"])
    smoothing = drawn["Validation error over smoothing"]["data"]
    assert [trace["visible"] for trace in smoothing] == [True, True]
    assert smoothing[0]["name"] == "alone, with label smoothing"
    rates = drawn["Validation error over rate"]["data"]
    assert {trace["meta"] for trace in rates if trace["visible"] is True} == {"distilled", "alone"}
    assert len({trace["meta"] for trace in rates}) == 6


def test_curves_show_the_two_arms_of_the_verdict_first():
    traces = figures_of(PAGES["helped"])["Errors on the validation rows, epoch by epoch"]["data"]
    assert {trace["meta"] for trace in traces if trace["visible"] is True} == {"distilled", "alone"}
    assert {trace["meta"] for trace in traces} == {arm["name"] for arm in CAMPAIGN["arms"]}


def test_right_answers_are_left_out_of_what_is_mistaken_for_what():
    (trace,) = figures_of(PAGES["helped"])["What is mistaken for what: distilled"]["data"]
    wanted = CAMPAIGN["confusion"]["distilled"]
    for row, line in enumerate(trace["z"]):
        assert line == [None if column == row else value for column, value in enumerate(wanted[row])]


def test_two_checkpoints_are_compared_as_such():
    checkpoints = {"label": "these two checkpoints", "sentence": "McNemar's exact p = 0.02 for these two checkpoints."}
    assert "these two checkpoints McNemar's exact p = 0.02" in read(page(campaign(checkpoints=checkpoints))).text


def test_what_the_teacher_saw_is_told_with_its_copies():
    text = READ["helped"].text
    assert "It saw no validation rows. It saw no test rows. 250 of the validation rows chose its checkpoint" in text
    assert "3 test rows have copies among the training rows of all arms." in text


def test_a_refusal_to_replace_shows_both_limits():
    lower = {**CAMPAIGN["replace"], "outcome": "no", "mean": 5.0, "lower": 3.5, "upper": 6.1}
    assert "the bar reaches from the lower to the upper limit" in read(page(campaign(replace=lower))).text
    del lower["lower"]
    assert "the bar reaches up to the upper limit" in read(page(campaign(replace=lower))).text


def test_arms_without_curves_and_trials_without_an_end_are_left_out():
    facts = campaign()
    facts["curves"]["permuted"] = {"epoch": [], "mean": [], "low": [], "high": []}
    facts["search"]["alone"]["trials"][0]["validation"] = None
    facts["search"]["longer"]["trials"] = []
    html = page(facts)
    assert 'value="permuted"' not in html
    assert "The arms were given 11 or 12 trials" in read(html).text


def test_without_scripts_the_first_row_is_shown_at_the_first_temperature():
    answers = CAMPAIGN["samples"]["answers"]["teacher"]["4"][0]
    assert f'<dd data-says="teacher">{answers.index(max(answers))} ({100 * max(answers):.1f} %)</dd>' in PAGES["helped"]


def test_calibration_is_drawn_before_and_after_and_without_a_temperature_before_alone():
    facts = campaign()
    assert "<h3>After one temperature</h3>" in page(facts)
    for told in facts["calibration"].values():
        told |= {"temperature": None, "after": None, "reliability_after": None}
    html = page(facts)
    assert "<h3>As they answer</h3>" in html
    assert "<h3>After one temperature</h3>" not in html


def test_the_page_of_a_campaign_is_made_again_from_its_facts(tmp_path, capsys):
    (tmp_path / "campaign.json").write_text("{}")
    (tmp_path / "facts.json").write_text(json.dumps(CAMPAIGN))
    report(tmp_path)
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == PAGES["helped"]
