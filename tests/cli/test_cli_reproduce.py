"""`limbeck reproduce mnist`: a quick table on small digits, the way of a final one, and wrong words."""

import json
from dataclasses import replace

import pytest
import torch

from limbeck.cli.main import main
from limbeck.files import read_json
from limbeck.training.evaluate import Predictions
from limbeck_recipes.reproductions import mnist, mnist_derived
from limbeck_recipes.reproductions.mnist import CHOSEN, plan
from limbeck_recipes.reproductions.mnist_rows import held_out_rows
from recipes.small_digits import write_small_mnist

ASKED = (
    *("distilled-T20", "distilled-arithmetic", "ensemble-geometric", "best-recipe", "omit-3", "omit-3-corrected"),
    *("omit-3-test-tuned", "only-7-8-corrected", "temperature-30", "rate"),
)


def _brief():
    """The chosen settings, cut down to what runs in a blink."""
    small = {name: replace(one, epochs=1, units=min(one.units, 20)) for name, one in CHOSEN.items()}
    return {name: replace(one, views=one.views and 2) for name, one in small.items()}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return str(write_small_mnist(tmp_path_factory.mktemp("mnist"), train=300, test=60))


@pytest.fixture(scope="module")
def quick(data, tmp_path_factory):
    """A quick table of most kinds of rows, made once."""
    out = tmp_path_factory.mktemp("quick") / "runs"
    words = ["--data", data, "--quick", "--out", str(out), "--parallel", "1", "--rows", *ASKED]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mnist, "CHOSEN", _brief())
        assert main(["reproduce", "mnist", *words]) == 0
    return out


def rows_of(path):
    return {row["row"]: row for row in read_json(path)["rows"]}


def test_a_quick_table_has_the_rows_asked_for_at_two_seeds(quick):
    rows = rows_of(quick / "mnist.json")
    assert {row["family"] or name for name, row in rows.items()} == set(ASKED)
    assert all(row["seeds"] == [0, 1] and len(row["errors"]["values"]) == 2 for row in rows.values())
    assert rows["distilled-T20"]["settings"]["temperature"] == 20.0
    assert len([name for name in rows if name.startswith("temperature-30/")]) == 3
    assert {"variance_soft", "variance_hard"} <= set(rows["rate/soft@0.003"]["measures"])


def test_a_quick_table_looks_at_no_test_row_and_keeps_no_ledger(quick):
    assert not list(quick.parent.rglob("*ledger.jsonl"))
    runs = [read_json(path) for path in quick.rglob("spec.json")]
    assert runs and all(run["data"]["test"] is None and run["data"]["train"]["rows"] <= 250 for run in runs)


def test_no_student_and_no_teacher_saw_the_rows_that_are_scored(quick):
    held = set(held_out_rows(str(quick / "digits.safetensors")).ids.tolist())
    seen = [set(Predictions.load(path).ids.tolist()) for path in (quick / "runs").rglob("student-train.safetensors")]
    assert len(held) == 50 and len(seen) > 20
    assert not any(held & ids for ids in seen)


def test_biases_are_reported_with_what_they_repair(quick):
    rows = rows_of(quick / "mnist.json")
    assert {"right_share", "rows", "bias_3"} <= set(rows["omit-3-corrected"]["measures"])
    assert {"bias_7", "bias_8"} <= set(rows["only-7-8-corrected"]["measures"])
    shared = rows["only-7-8-corrected"]["measures"]
    assert shared["bias_7"]["values"] == pytest.approx(shared["bias_8"]["values"])
    tuned, fair = rows["omit-3-test-tuned"]["errors"], rows["omit-3-corrected"]["errors"]
    assert all(best <= ours for best, ours in zip(tuned["values"], fair["values"], strict=True))


def test_the_final_table_scores_the_test_rows_once_and_says_so(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(mnist, "CHOSEN", _brief())
    words = ["reproduce", "mnist", "--data", data, "--seeds", "2", "--rows", "distilled-T20", "--parallel", "1"]
    assert main(words) == 0
    assert main(words) == 0  # what stands in the table is left alone
    ledger = [json.loads(line) for line in (tmp_path / "results/mnist-test-ledger.jsonl").read_text().splitlines()]
    assert [(line["who"], line["seed"], line["rows"], line["split"]) for line in ledger] == [
        ("distilled-T20", 0, 60, "test"),
        ("distilled-T20", 1, 60, "test"),
    ]
    first = rows_of(tmp_path / "results" / "mnist.json")["distilled-T20"]["errors"]
    again = [*words, "--table", "again.json", "--out", "elsewhere"]
    assert main(again) == 0
    assert rows_of(tmp_path / "again.json")["distilled-T20"]["errors"] == first
    assert "Errors on the test rows" in capsys.readouterr().out


def test_development_keeps_every_setting_that_was_tried(data, tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "CHOSEN", _brief())
    for rate in ("1e-3", "2e-3"):
        changes = [f"student-alone.rate={rate}", "student-alone.standardised=true"]
        words = ["reproduce", "mnist", "--data", data, "--validate", "--seeds", "2", "--rows", "student-alone"]
        words += ["--set", *changes, "--out", str(tmp_path / "runs"), "--parallel", "1"]
        assert main([*words, "--table", str(tmp_path / "tried.json")]) == 0
    tried = read_json(tmp_path / "tried.json")["rows"]
    assert [row["settings"]["rate"] for row in tried] == [1e-3, 2e-3]
    assert [row["settings"]["standardised"] for row in tried] == [True, True]
    assert not list(tmp_path.rglob("*ledger*"))


def test_every_row_that_the_paper_gives_a_figure_for_has_it(data, tmp_path):
    rows = {row.name: row for row in plan(data, tmp_path).rows}
    assert [rows[name].paper for name in ("teacher", "student-alone", "distilled-T20")] == [67, 146, 74]
    assert (rows["omit-3"].paper, rows["omit-3-corrected"].paper) == (206, 109)
    assert (rows["only-7-8"].paper, rows["only-7-8-corrected"].paper) == (4730, 1320)
    assert {rows[name].goal for name in ("teacher", "distilled-T20", "best-recipe")} == {67, 74, 50}
    assert len(rows["teacher"].seeds) == 12
    pools = [rows["distilled-arithmetic"].needs(seed) for seed in range(6)]
    assert all(len(pool) == 10 for pool in pools) and len({frozenset(pool) for pool in pools}) == 6


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Name what to reproduce, before the flags; there is: mnist."),
        (["mnits", "--data", "x"], "There is nothing to reproduce named 'mnits'. Did you mean 'mnist'?"),
        (["mnist"], "--data"),
        (["mnist", "--data", "nowhere/at/all"], "There is no file or folder nowhere/at/all"),
        (["mnist", "--data", "DATA", "--quick", "--rows", "techer"], "no row 'techer'. Did you mean 'teacher'?"),
        (["mnist", "--data", "DATA", "--seeds", "1"], "--seeds must be a whole number of at least 2. Got 1."),
        (["mnist", "--data", "DATA", "--set", "teacher.epochs=2"], "give --validate with it"),
        (["mnist", "--data", "DATA", "--validate", "--set", "epochs"], "--set takes ROW.NAME=VALUE"),
        (["mnist", "--data", "DATA", "--validate", "--set", "teacher.epoch=2"], "There is no setting 'epoch'"),
        (["mnist", "--data", "DATA", "--validate", "--set", "techer.epochs=2"], "There are no settings of 'techer'"),
        (
            ["mnist", "--data", "DATA", "--validate", "--set", "teacher.rate=x"],
            "The setting rate takes float. Got 'x'.",
        ),
        (["mnist", "--data", "DATA", "--validate", "--set", "rate.rate=1.0"], "cannot be changed: rate"),
    ],
)
def test_wrong_words_get_one_sentence(words, sentence, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["reproduce", *(data if word == "DATA" else word for word in words)]) == 2
    said = capsys.readouterr().err.strip()
    assert sentence in said and "\n" not in said
    assert not (tmp_path / "results").exists()


def test_what_is_no_result_is_not_merged_into_a_table_of_results(data, quick, tmp_path, capsys):
    before = (quick / "mnist.json").read_text()
    words = ["reproduce", "mnist", "--data", data, "--validate", "--out", str(tmp_path), "--rows", "teacher"]
    assert main([*words, "--table", str(quick / "mnist.json")]) == 2
    assert "mnist.json is another table: its scored is (split validation, quick True" in capsys.readouterr().err
    assert (quick / "mnist.json").read_text() == before and not (tmp_path / "runs").exists()


def test_other_digits_are_refused_in_the_folder_of_earlier_ones(data, quick, tmp_path, capsys):
    others = str(write_small_mnist(tmp_path / "others", train=310, test=60))
    words = ["reproduce", "mnist", "--quick", "--out", str(quick), "--rows", "distilled-T20", "--parallel", "1"]
    assert main([*words, "--data", others]) == 2
    assert f"holds other digits than {others}; choose another --out." in capsys.readouterr().err
    same = write_small_mnist(tmp_path / "same", train=300, test=60)
    assert mnist.digits.unpack(str(same), quick / "digits.safetensors") == quick / "digits.safetensors"


def test_a_teacher_that_is_never_wrong_leaves_nothing_to_repair():
    right = Predictions(ids=torch.arange(2), logits=torch.eye(2), labels=torch.arange(2))

    class Sure:
        def run(self, name, seed):
            return self

        def predictions(self, who, split):
            return right

        def answers(self, name, seed):
            return right

    assert mnist_derived.repaired("row", lambda: None, Sure(), 0).measures == {"teacher_wrong": 0}


def test_help_lists_its_flags(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["reproduce", "mnist", "--help"])
    assert stopped.value.code == 0
    shown = capsys.readouterr().out
    assert all(flag in shown for flag in ("--rows", "--quick", "--validate", "--seeds", "--data"))
