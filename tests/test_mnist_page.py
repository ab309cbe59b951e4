"""docs/mnist.md is what its records say, whichever of them are there; its figures bear the data that they show."""

import importlib
import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from limbeck.cli.flags import parsed
from limbeck.cli.reproduce import Reproduce
from limbeck.evidence.kept_gain import kept_gain
from limbeck.evidence.mcnemar import mcnemar

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "mnist.md"
RESULTS = ROOT / "results"
MODULES = (
    "mnist_page",
    "mnist_blocks",
    "mnist_costs",
    "mnist_digits",
    "mnist_families",
    "mnist_record",
    "mnist_series",
    "mnist_trained",
    "mnist_figures",
)


@pytest.fixture
def page(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    yield importlib.import_module("mnist_page")
    for name in MODULES:
        sys.modules.pop(name, None)


def row(name, values, *, x=None, measures=None, paper=None, goal=None, about="", **settings):
    """A row as `limbeck reproduce` writes it."""
    pieces = [
        {"seed": seed, "errors": value, "seconds": 60.0, "commit": "c" * 40, "changed_since": False, "machine": MACHINE}
        for seed, value in enumerate(values)
    ]
    measured = {key: told(found) for key, found in (measures or {}).items()}
    where = {"row": name, "family": name.partition("/")[0] if "/" in name else None, "x": x, "about": about}
    found = {"errors": told(values), "measures": measured, "settings": settings, "seeds": list(range(len(values)))}
    return {**where, "paper": paper, "goal": goal, **found, "seconds": [60.0] * len(values), "pieces": pieces}


def told(values):
    return {"mean": float(np.mean(values)), "sd": float(np.std(values, ddof=1)), "values": list(values)}


MACHINE = {"cpu": "a processor", "cores": 2, "bfloat16": True}
UP = np.array([0, 2, 4, 1, 3, 2])
ALONE, STUDENT = [144, 149, 146, 150, 143, 147], [66, 72, 69, 64, 70, 73]
ENSEMBLE = [58, 59, 57, 58, 60, 56]


@pytest.fixture
def record(tmp_path):
    """Write rows into a folder of results of its own."""

    def write(*rows, tried=(), ledger=(), **others):
        (tmp_path / "mnist.json").write_text(
            json.dumps({"rows": list(rows), **others}, default=float), encoding="utf-8"
        )
        if tried:
            (tmp_path / "mnist-validation.json").write_text(json.dumps({"rows": list(tried)}), encoding="utf-8")
        if ledger:
            lines = "".join(json.dumps({"who": who, "split": "test"}) + "\n" for who in ledger)
            (tmp_path / "mnist-test-ledger.jsonl").write_text(lines, encoding="utf-8")
        return tmp_path

    return write


def test_the_page_is_that_of_the_records(page):
    text = PAGE.read_text(encoding="utf-8")
    assert page.written(text, RESULTS) == text


def test_the_figures_bear_the_data_of_the_records(page):
    from mnist_series import digest

    found = {path.name: path.read_text(encoding="utf-8") for path in page.FIGURES.glob("mnist-*.svg")}
    shown = page.figures(RESULTS)
    assert set(found) == {f"mnist-{name}.svg" for name in shown}
    for name, data in shown.items():
        assert f"data {digest(data)}" in found[f"mnist-{name}.svg"], f"draw {name} again"
    named = re.findall(r"\]\((figures/[^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert {Path(name).name for name in named} == set(found)


def test_without_records_every_block_says_so(page, tmp_path):
    for name, block in page.blocks(tmp_path).items():
        assert "not yet run" in block, name
    assert page.figures(tmp_path) == {}


def test_seconds_of_a_stack_are_not_summed(page, record):
    from mnist_costs import costs
    from mnist_record import read_table

    lines = [row("temperature-30/T=1", STUDENT, x=1.0, units=30), row("temperature-300/T=1", STUDENT, x=1.0, units=300)]
    said = "\n".join(costs(read_table(record(*lines))))
    assert "| `temperature-30` | 6 | 60 | stacked |" in said and "| `temperature-300` | 6 | 60 | 6.0 |" in said


def test_every_row_alone_makes_a_page(page, record):
    """The table is filled over time: whichever row comes first must not stop the page."""
    names = ["teacher", "ensemble-arithmetic", "distilled-arithmetic", "omit-3-corrected", "only-7-8-soft"]
    lines = [row(name, STUDENT) for name in names]
    lines += [row(f"temperature-30/T={x:g}", STUDENT, x=x) for x in (1.0, 2.5, 20.0)]
    lines += [row("temperature-300/T=40", STUDENT, x=40.0), row("fewer-rows/soft@0.1", STUDENT, x=0.1)]
    lines += [row(f"objective/{name}", STUDENT, x=name) for name in ("soft", "hard-0.1", "edited-0.3", "matching")]
    lines += [row("transfer/unlabelled", STUDENT), row("rate/hard@0.001", STUDENT, x=0.001)]
    for line in lines:
        assert "not yet run" in "".join(page.blocks(record(line)).values())
        page.figures(record({**line, "seconds": [], "measures": None, "pieces": None}))
    page.blocks(record(*(row(line["row"], line["errors"]["values"][:2], x=line["x"]) for line in lines)))
    one = [{**line, "errors": {"mean": 70, "sd": None, "values": [70]}, "seeds": [0], "pieces": []} for line in lines]
    page.blocks(record(*one))


def test_the_table_says_beaten_met_and_missed(page, record):
    results = record(
        row("teacher", [70, 72, 71], paper=67, goal=67),
        row("student-alone", ALONE, paper=146),
        row("distilled-T20", STUDENT, paper=74, goal=74),
        row("best-recipe", [44, 45, 46], goal=50),
        ledger=["distilled-T20"] * 7 + ["teacher"] * 3,
    )
    block = page.blocks(results)["table"]
    low, high = stats.t.interval(0.95, 5, 69, stats.sem(STUDENT))
    mine = f"| 74 | ≤ 74 | 69.0 ± 3.5 | [{low:.1f}, {high:.1f}] | 6 | beaten | 7× |"
    assert mine in block
    assert "| 67 | ≤ 67 | 71.0 ± 1.0 | [68.5, 73.5] | 3 | missed by 4.0 | 3× |" in block
    assert "| 146 |  | 146.5 ± 2.7 |" in block and "not told apart" in block
    assert "Goals met in the mean: `distilled-T20` and `best-recipe`. Missed: `teacher` by 4.0." in block
    assert "counts 10 scorings" in block and "`distilled-T20` (7× at 6 seeds)" in block


def test_overlapping_ensembles_have_the_jackknifes_interval(page, record):
    results = record(row("ensemble-arithmetic", ENSEMBLE, goal=60), row("distilled-arithmetic", STUDENT))
    block = page.blocks(results)["table"]
    members = 5 / 6 * np.sum((np.array(ENSEMBLE) - 58) ** 2)
    for mean, variance in ((58, members), (69, members + stats.sem(STUDENT) ** 2)):
        low, high = stats.t.interval(0.95, 5, mean, variance**0.5)
        assert f"[{low:.1f}, {high:.1f}]" in block


def test_the_kept_gain_stands_with_its_interval(page, record):
    lines = [row("student-alone", ALONE), row("distilled-geometric", STUDENT), row("ensemble-geometric", ENSEMBLE)]
    found = kept_gain(ALONE, STUDENT, ENSEMBLE)
    block = page.blocks(record(*lines))["learnt"]
    low, high = (f"{100 * end:.1f} %" for end in found.interval)
    assert f"{100 * found.share:.1f} % (95 % interval {low} to {high})" in block
    assert found.share > 0.85 > found.interval[0] and "The goal of 85 % is met in the mean." in block
    surely = [row("student-alone", np.add(ALONE, 900)), row("distilled-geometric", STUDENT), lines[2]]
    assert "The goal of 85 % is met." in page.blocks(record(*surely))["learnt"]
    nothing = page.blocks(record(row("student-alone", ENSEMBLE), *lines[1:]))["learnt"]
    assert "none can be named: the ensemble makes 0.0 errors fewer than `student-alone`" in nothing
    worse = page.blocks(record(row("student-alone", np.subtract(ENSEMBLE, 5)), *lines[1:]))["learnt"]
    assert "the ensemble makes 5.0 errors more than `student-alone` ([" in worse


def test_contrasts_are_paired_and_tell_their_side(page, record):
    block = page.blocks(record(row("student-alone", ALONE), row("distilled-T20", STUDENT), row("teacher", UP + 66)))[
        "learnt"
    ]
    gains = sorted(np.subtract(ALONE, STUDENT))
    assert (
        f"`distilled-T20` makes 77.5 errors fewer than `student-alone` ([{gains[0]}.0, {gains[-1]}.0] fewer, 96.9 %"
        in block
    )
    assert "than `teacher`" in block and "not told apart" in block


@pytest.mark.parametrize(("last", "agrees"), [(0, True), (30, False)])
def test_high_temperatures_are_alike_or_not(page, record, last, agrees):
    high = {1.0: 30, 14.0: 0, 20.0: 1, 40.0: last}
    lines = [row(f"temperature-300/T={x:g}", [*(UP[::-1] if x == 20 else UP) + 90 + up], x=x) for x, up in high.items()]
    block = page.blocks(record(*lines))["temperatures"]
    assert ("does not contradict" in block) == agrees
    assert ("not quite the paper's" in block) == (not agrees)


@pytest.mark.parametrize(
    ("ups", "verdict"),
    [
        ({1.0: 40, 2.5: 0, 4.0: 0, 20.0: 50}, "holds here"),
        ({1.0: 0, 2.5: 0, 4.0: 0, 20.0: 50}, "holds in part here"),
        ({1.0: -40, 2.5: 0, 4.0: 0, 20.0: 50}, "does not hold here"),
    ],
)
def test_medium_temperatures_are_best_or_not(page, record, ups, verdict):
    lines = [row(f"temperature-30/T={x:g}", [*(UP[::-1] if x == 1 else UP) + 300 + up], x=x) for x, up in ups.items()]
    assert verdict in page.blocks(record(*lines))["temperatures"]


@pytest.mark.parametrize(("right", "reached"), [(0.99, "met"), (0.98, "missed")])
def test_threes_are_part_of_the_goal(page, record, right, reached):
    measures = {"right_share": [right] * 6, "rows": [1010] * 6, "bias_3": [2.5] * 6}
    results = record(row("omit-3-corrected", [100, 101, 99, 100, 102, 98], measures=measures, paper=109, goal=109))
    blocks = page.blocks(results)
    assert f"is {reached} with the hard term" in blocks["omit-3"]
    assert ("of the threes right" in blocks["table"]) == (reached == "missed")
    assert "| +2.5 |" in blocks["omit-3"]


def test_soft_targets_save_rows_where_they_do(page, record):
    shares = {1.0: (90, 160), 0.1: (150, 450), 0.01: (220, 1200)}
    lines = [
        row(f"fewer-rows/{kind}@{x:g}", [*UP + mean], x=x)
        for x, means in shares.items()
        for kind, mean in zip(("soft", "hard"), means, strict=True)
    ]
    block = page.blocks(record(*lines))["fewer-rows"]
    assert "Soft targets on 10 % of the rows make 152.0 errors" in block
    assert "labels alone on all of them (162.0)" in block


def test_rates_and_gradients_are_told(page, record):
    measures = {"variance_soft": [20.0] * 6, "variance_hard": [40.0] * 6}
    soft = [row(f"rate/soft@{x:g}", [*UP + up], x=x, measures=measures) for x, up in ((0.001, 100), (0.003, 90))]
    hard = [row(f"rate/hard@{x:g}", [*UP + up], x=x) for x, up in ((0.001, 150), (0.003, 170))]
    block = page.blocks(record(*soft, *hard))["rates"]
    assert "for soft targets 0.003 is the highest that was tried and for labels alone 0.001 is the lowest" in block
    assert "0.003, labels alone at 0.001: 3 times as high; the paper expects a much higher one" in block
    assert "| before the first step | 20.0 | 40.0 | 0.50 |" in block


def test_what_was_tried_shows_what_varied_and_what_was_chosen(page, record):
    tried = [
        {
            "row": "teacher",
            "settings": {"epochs": epochs, "units": 1200},
            "errors": told([70, 80]),
            "seconds": [3.0, 5.0],
        }
        for epochs in (10, 40)
    ]
    block = page.blocks(record(row("teacher", ENSEMBLE, epochs=40, units=1200), tried=tried))["tried"]
    assert "| ● | epochs 40 | 75.0 (70, 80) | 2 | 4 |" in block
    assert "|  | epochs 10 | 75.0 (70, 80) | 2 | 4 |" in block
    assert "2 settings of 1 row were" in block


def test_tries_of_what_is_derived_are_told_apart_by_what_they_rest_on(page, record):
    def derived(rate):
        below = {"row": "omit-3", "pieces": 1, "settings": {"rate": rate, "units": 800}}
        return {**row("omit-3-corrected", STUDENT, bias="class prior"), "rests_on": [below]}

    block = page.blocks(record(derived(0.004), tried=[derived(0.004), derived(0.001)]))["tried"]
    assert "| ● | omit-3.rate 0.004 |" in block and "|  | omit-3.rate 0.001 |" in block


def test_the_best_recipe_stands_beside_its_teachers(page, record):
    block = page.blocks(record(row("best-teacher", [49, 35, 38]), row("best-recipe", [39, 41, 40, 42, 38, 40])))[
        "learnt"
    ]
    assert "each of them alone makes 49, 35 and 38 errors, their students 40.0 in the mean." in block


def test_softened_digits_are_told_in_words(page, record):
    entry = {"id": 7, "label": 2, "pixels": [[0] * 28] * 28}
    sure, soft = [0.0] * 10, [0.05] * 10
    sure[2], sure[3] = 0.99996, 0.00004
    soft[2], soft[3] = 0.4, 0.2
    results = record(softened=[{**entry, "probabilities": {"1": sure, "20": soft}}])
    block = page.blocks(results)["softened"]
    assert "A 2 (row 7): it might also be a 3, with 4 · 10⁻⁵ at T = 1 and 0.200 at T = 20." in block
    assert "figures/mnist-softened.svg" in block


def test_digits_that_the_teacher_is_sure_of_are_told_in_words(page, record):
    three, seven = ([1e-9] * 10 for _ in range(2))
    three[2], three[3], three[7] = 0.9999, 1e-6, 4e-9
    seven[2], seven[3], seven[7] = 0.9999, 2e-9, 0.002
    soft = [0.05] * 10
    digits = [
        {"id": place, "label": 2, "pixels": [[0] * 28] * 28, "probabilities": {"1": one, "20": soft}}
        for place, one in ((11, three), (12, seven))
    ]
    likes = [[0] * 10 for _ in range(10)]
    likes[2][3], likes[2][7], likes[2][8] = 6, 3, 1
    told = {"least": 0.999, "rows": 1200, "most_like": likes, "median_of_most_like": 3e-6, "digits": digits}
    block = page.blocks(record(sure=told))["sure"]
    assert "Of 10 of the 1,200 training digits" in block and "3 · 10⁻⁶ in the median" in block
    assert "| a 2 | 10 | a 3 (60.0 %) and a 7 (30.0 %) |" in block and "| a 3 |" not in block
    assert (
        "- A 2 (row 11), at T = 1 and T = 20: a 3 has 1 · 10⁻⁶ and 0.050; a 7 has 4 · 10⁻⁹ and 0.050.\n"
        "- A 2 (row 12), at T = 1 and T = 20: a 3 has 2 · 10⁻⁹ and 0.050; a 7 has 0.002 and 0.050."
    ) in block
    assert "figures/mnist-sure.svg" in block


def test_a_changed_number_changes_the_digest(page, record):
    from mnist_series import digest

    before = page.figures(record(row("teacher", STUDENT)))["rows"]
    after = page.figures(record(row("teacher", [*STUDENT[:-1], 74])))["rows"]
    assert digest(before) == digest(json.loads(json.dumps(before))) != digest(after)


def test_figures_are_drawn_alike_each_time(page, record, tmp_path):
    pytest.importorskip("matplotlib")
    results = record(row("teacher", STUDENT, paper=67), row("temperature-30/T=4", STUDENT, x=4.0))
    drawn = []
    for _ in range(2):
        page.draw_all(results, tmp_path)
        drawn.append({path.name: path.read_bytes() for path in tmp_path.glob("*.svg")})
    assert drawn[0] == drawn[1]
    assert set(drawn[0]) == {"mnist-rows.svg", "mnist-temperatures.svg"}
    assert b"<dc:date>" not in drawn[0]["mnist-rows.svg"]


def test_the_commands_on_the_page_are_understood():
    lines = re.findall(r"^limbeck reproduce mnist (.*)$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert len(lines) >= 4
    for line in lines:
        parsed(Reproduce, shlex.split(line.partition("#")[0]), "limbeck reproduce mnist")


def test_what_the_page_says_of_single_runs_is_mcnemars():
    assert exact(first=146, second=74, shared=0) < 0.00001
    assert round(exact(first=67, second=74, shared=0), 2) == 0.61
    assert exact(first=67, second=74, shared=66) < 0.05 < exact(first=67, second=74, shared=65)
    said = PAGE.read_text(encoding="utf-8")
    assert "p < 0.00001" in said and "p is 0.61" in said and "at\n  least 66 of the 67" in said


def exact(first, second, shared):
    wrong = np.zeros((2, 10_000), dtype=bool)
    wrong[0, :first] = True
    wrong[1, first - shared : first - shared + second] = True
    return mcnemar(wrong[0], wrong[1]).p_value
