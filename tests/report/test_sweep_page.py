"""The page of a sweep: the curve with its band, what failed at the top, what is not told apart, and what flatters."""

import json
import re

import pytest
from readers import read
from sweep_by_hand import ALONE, LOST, ODD, SHARES, SWEEP, VALLEY, swept

from limbeck.report.page import page
from limbeck.report.sweep_words import cautions, findings, headline

PAGES = {name: page(facts) for name, facts in ODD.items()}
READ = {name: read(html) for name, html in PAGES.items()}


def drawn(name):
    return json.loads(re.search(r'class="figure">(.*?)</script>', PAGES[name], re.S)[1])


def named(name, title):
    return [trace for trace in drawn(name)["data"] if trace.get("name") == title]


def bands(name):
    return [trace for trace in drawn(name)["data"] if trace.get("fill") == "toself"]


def crosses(name):
    return [trace for trace in drawn(name)["data"] if trace["marker"].get("symbol") == "x-thin"]


@pytest.mark.parametrize("name", ODD)
def test_every_page_loads_nothing_and_shows_no_missing_value(name):
    assert all(address.startswith(("data:", "#")) for address in READ[name].addresses)
    assert not re.search(r"\b(none|null|undefined)\b|: nan|: inf", READ[name].text)
    anchors = re.findall(r'<a href="#(\w+)">', PAGES[name])
    assert anchors == re.findall(r'<section id="(\w+)"', PAGES[name])


def test_the_curve_goes_through_the_means_and_every_seed_is_a_dot():
    (line,) = named("sweep", "student as specified")
    assert line["x"] == [1, 2, 4, 8, 20]
    assert line["y"] == pytest.approx([point.mean for point in VALLEY])
    dots = next(trace for trace in drawn("sweep")["data"] if len(trace["x"]) == 30)
    assert dots["y"] == [error for point in VALLEY for error in point.errors]
    band = bands("sweep")[1]
    low = [point.interval[0] for point in VALLEY]
    assert band["y"] == pytest.approx([point.interval[1] for point in VALLEY] + low[::-1])
    ring = drawn("sweep")["data"][-1]
    assert (ring["x"], ring["y"]) == ([4], pytest.approx([VALLEY[2].mean]))


def test_the_student_alone_is_a_level_with_a_band_or_a_curve_where_it_follows():
    (level,) = named("sweep", "student alone")
    assert (level["x"], level["y"], level["line"]["dash"]) == ([1, 20], [ALONE.mean] * 2, "dot")
    assert bands("sweep")[0]["y"] == pytest.approx([ALONE.interval[1]] * 2 + [ALONE.interval[0]] * 2)
    (curve,) = named("shares", "student alone")
    assert curve["x"] == [0.03, 0.1, 0.3, 1]
    assert "Grey is the student alone, a level." in READ["sweep"].text
    assert "Grey is" not in READ["lost"].text and "Grey is the student alone." in READ["shares"].text
    assert "on as many rows for as many epochs, at its own settings as given, not tuned." in READ["shares"].text


def test_the_axis_is_logarithmic_where_values_span_a_decade():
    kinds = {name: drawn(name)["layout"]["xaxis"] for name in ODD}
    assert {name for name, axis in kinds.items() if axis.get("type") == "log"} == {"sweep", "shares", "test", "lost"}
    assert kinds["shares"]["ticktext"] == ["3\u00a0%", "10\u00a0%", "30\u00a0%", "100\u00a0%"]
    assert kinds["decay"]["tickvals"] == [0, 1, 2, 3]  # zero has no logarithm: they stand side by side
    assert kinds["decay"]["ticktext"] == ["0", "1e-05", "0.0001", "0.001"]
    assert kinds["decay"]["title"]["text"] == "weight decay (not to scale)"


def test_what_failed_is_a_cross_at_the_top_and_a_line_of_the_table():
    (cross,) = crosses("lost")
    assert cross["x"] == [1]
    seeds = [error for point in LOST["points"] for error in point["errors"] if error is not None]
    low, high = drawn("lost")["layout"]["yaxis"]["range"]
    assert low < min(seeds) < max(seeds) < cross["y"][0] <= high
    assert "failed at 2 of 6 seeds" in READ["lost"].text
    assert "Failed at the rate 1: at 2 of 6 seeds a loss became NaN or infinite" in READ["lost"].text
    assert "has no mean: a loss became NaN or infinite" in READ["lost"].text
    assert len(crosses("all lost")[0]["x"]) == 2 and not crosses("sweep")
    assert READ["all lost"].headings["h1"].startswith("No value of the temperature has a student at every seed")


def test_the_sentences_tell_what_is_told_apart():
    assert headline(SWEEP) == (
        f"The fewest validation rows are wrong at the temperature 4: {VALLEY[2].mean:.2f}\u00a0%, the mean of 6 seeds."
    )
    assert headline(SHARES).startswith("The fewest validation rows are wrong with 100\u00a0% of the training rows: ")
    assert headline(ODD["epochs"]).startswith("The fewest validation rows are wrong after 5 epochs: ")
    told = {point["value"]: point["difference"]["interval"] for point in SWEEP["points"] if point["value"] != 4}
    alike = [f"{value:g}" for value, (low, _) in told.items() if low <= 0]
    said = "Not told apart from the best by 95 % intervals over 6 paired seeds: " + " and ".join(alike) + "."
    assert findings(SWEEP)[0] == said and 0 < len(alike) < 4
    assert findings(SHARES)[0].startswith("Every other value has more errors than the best, by 95 % intervals over 6 p")
    said = "for 10 epochs, at its own settings as given, not tuned, leaves "
    assert re.search(said + r"[89]\.\d\d\u00a0% wrong, [23]\.\d\d points more than", findings(SWEEP)[1])
    assert findings(ODD["one seed"])[0] == "One seed has no spread, so it cannot tell values apart."
    assert findings(ODD["test"])[1] == "There is no student alone beside it. The rows have no labels to learn from."
    assert "30 rows in 333 epochs, 100 rows in 100 epochs" in findings(SHARES)[2]
    assert "fewer optimiser steps" in findings(ODD["fixed"])[1]


def test_a_value_that_test_rows_picked_needs_other_rows():
    said = "A value that is picked by test rows needs other rows to be judged."
    assert said in cautions(ODD["test"])[0] and said in READ["test"].text
    assert said not in READ["sweep"].text
    assert "Only runs at other seeds, scored on test rows, judge." in READ["sweep"].text
    assert "and no run had the test rows." in READ["sweep"].text


def test_equal_errors_have_a_page_and_intervals_of_no_width():
    assert "0.00 [0.00, 0.00]" in READ["alike"].text
    low, high = drawn("alike")["layout"]["yaxis"]["range"]
    assert low < 5 < high


def test_what_users_wrote_is_never_run():
    evil = "<script>alert(1)</script>"
    html = page(swept(origin={"command": evil, "specification": evil}, why_not_alone=evil))
    assert evil not in html
