"""`limbeck demo`, small: its summary, its page, and a second run from what the first left."""

import json
from dataclasses import replace

import pytest

from limbeck.cli.main import main
from limbeck.evidence.question import Question
from limbeck_recipes.digits import campaign

SMALL = "demo --members 2 --seeds 2 --rows 64 --trials 2 --engine apart --parallel 1 --out"
ABLATIONS = ("hard-labels", "permuted")
RIVALS = ("alone", "smoothed")


@pytest.fixture(scope="module", autouse=True)
def fewer_controls():
    """One seed chooses, and there are four controls and five epochs, where the demo has eleven and sixty."""

    def small(**settings):
        plan = campaign(**settings)
        distilled = replace(plan.distilled, epochs=5)
        return replace(plan, distilled=distilled, selection_seeds=(100,), rivals=RIVALS, ablations=ABLATIONS)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("limbeck.cli.demo.campaign", small)
        yield


@pytest.fixture(scope="module")
def demo(tmp_path_factory, fewer_controls):
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
    assert 0 <= summary["teacher"]["errors"] <= 35
    assert summary["teacher"]["saw"]["test"] == "no"
    assert summary["rows"] == {"train": 64, "validation": 250, "test": 350, "teacher": 1197}
    assert summary["verdict"] == "cannot tell"  # two pairs can show nothing
    assert summary["interval"] == [None, None]
    assert summary["replace"]["outcome"] in ("yes", "no", "cannot tell")
    assert summary["controls"].keys() == {*RIVALS, *ABLATIONS}
    more = 100 * (summary["scratch"]["errors_mean"] - summary["student"]["errors_mean"]) / 350
    assert summary["difference"]["mean"] == pytest.approx(more)


def test_everything_is_in_its_folder(demo):
    there = {path.name for path in demo.iterdir()}
    assert {"campaign.json", "facts.json", "report.html", "runs", "summary.json", "targets", "search.db"} <= there
    plan = json.loads((demo / "campaign.json").read_text())
    assert plan["runs"].keys() == {"distilled", *RIVALS, *ABLATIONS}
    assert plan["plan"]["question"] == json.loads(json.dumps(plan["plan"]["question"]))
    assert len([path for path in (demo / "teachers").iterdir() if path.is_dir()]) == 2


def test_a_second_run_finds_what_the_first_left_and_says_the_same(demo, limbeck):
    before = summary_of(demo)
    runs = {path: path.stat().st_mtime_ns for path in (demo / "runs").rglob("*.safetensors")}
    said = limbeck(SMALL, demo, "--resume")
    assert said.status == 0
    assert "with this teacher" in said.out
    assert f"page:    {demo}/report.html" in said.out
    assert summary_of(demo) == before
    assert {path: path.stat().st_mtime_ns for path in (demo / "runs").rglob("*.safetensors")} == runs


def test_the_page_of_a_demo_can_be_made_again(demo, limbeck):
    pytest.importorskip("plotly")
    (demo / "report.html").unlink()
    assert limbeck("report", demo).status == 0
    assert (demo / "report.html").stat().st_size > 0


def test_a_campaign_is_judged_again_by_compare_and_its_question_stays(demo, limbeck):
    before = summary_of(demo)
    assert limbeck("compare", demo).status == 0
    assert summary_of(demo) == before
    refused = limbeck("compare", demo, "--worth", 3)
    assert refused.status == 2
    assert "was fixed before its test rows were scored" in refused.err


def test_the_whole_demo_has_every_ablation_three_rivals_and_a_question():
    plan = campaign()
    assert len(plan.ablations) == 7
    assert len(plan.rivals) >= 3
    assert len(plan.seeds) >= 8
    assert plan.question == Question(worth=1.0, within=1.0)
