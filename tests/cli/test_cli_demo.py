"""`limbeck demo`, small: its summary, its page, and a second run from what the first left."""

import json
from dataclasses import replace

import pytest

from limbeck.cli.main import main
from limbeck_recipes.digits import trial

SMALL = "demo --members 2 --seeds 2 --rows 64 --parallel 1 --out"


@pytest.fixture(scope="module", autouse=True)
def fewer_rates():
    """Choose from two learning rates on one seed, where the demo chooses from five on three."""

    def small(**settings):
        return replace(trial(**settings), rates=(3e-3, 1e-2), selection_seeds=(100,))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.cli.demo.trial", small)
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory, fewer_rates):
    """A small demo."""
    pytest.importorskip("sklearn")
    folder = tmp_path_factory.mktemp("demo") / "demo"
    assert main([*SMALL.split(), str(folder)]) == 0
    return folder


def summary_of(demo):
    return json.loads((demo / "summary.json").read_text())


def test_the_summary_holds_what_a_script_would_read(demo):
    summary = summary_of(demo)
    for arm in ("student", "scratch"):
        assert summary[arm].keys() == {"errors_mean", "errors_sd", "seeds"}
        assert summary[arm]["seeds"] == [0, 1]
        assert 0 <= summary[arm]["errors_mean"] <= 350
    assert 0 <= summary["ensemble"]["errors_mean"] <= 35
    assert summary["rows"] == {"train": 64, "validation": 250, "test": 350, "teacher": 1197}
    low, high = summary["difference"]["interval"]
    assert low <= summary["difference"]["mean"] <= high
    assert summary["difference"]["mean"] == summary["scratch"]["errors_mean"] - summary["student"]["errors_mean"]


def test_everything_is_in_its_folder(demo):
    assert {"campaign.json", "facts.json", "ledger.jsonl", "report.html", "runs", "summary.json"} == {
        path.name for path in demo.iterdir()
    }
    plan = json.loads((demo / "campaign.json").read_text())
    assert plan["runs"].keys() == {"taught", "alone"}
    assert plan["chosen_rates"].keys() == {"taught", "alone"}
    assert len([path for path in (demo / "runs" / "teachers").iterdir() if path.is_dir()]) == 2


def test_a_second_run_finds_what_the_first_left_and_says_the_same(demo, limbeck):
    before = summary_of(demo)
    runs = {path: path.stat().st_mtime_ns for path in (demo / "runs").rglob("*.safetensors")}
    said = limbeck(SMALL, demo, "--resume")
    assert said.status == 0
    assert "Distilled against labels alone, paired over 2 seeds: " in said.out
    assert f"page:    {demo}/report.html" in said.out
    after = summary_of(demo)
    assert after.pop("seconds_per_row").keys() == before.pop("seconds_per_row").keys()  # measured anew
    assert after == before
    assert {path: path.stat().st_mtime_ns for path in (demo / "runs").rglob("*.safetensors")} == runs


def test_the_page_of_a_demo_can_be_made_again(demo, limbeck):
    pytest.importorskip("plotly")
    (demo / "report.html").unlink()
    assert limbeck("report", demo).status == 0
    assert (demo / "report.html").stat().st_size > 0


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        ("", "{demo} is not empty: use --resume to go on, --overwrite to start again, or choose another --out."),
        (
            "--resume --rows 65",
            "The campaign {demo} was begun with other settings; go on with those, or choose another",
        ),
        (
            "--resume --hidden 8",
            "The campaign {demo} was begun with other settings; go on with those, or choose another",
        ),
    ],
)
def test_a_demo_of_other_settings_is_left_alone(demo, refused, flags, sentence):
    before = {path: path.stat().st_mtime_ns for path in demo.iterdir()}
    assert refused(SMALL, demo, *flags.split()).startswith(sentence.format(demo=demo))
    assert {path: path.stat().st_mtime_ns for path in demo.iterdir()} == before
