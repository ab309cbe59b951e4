"""`limbeck search`: the teacher is asked once or never, arms have as many trials, and what is printed can be run."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from limbeck.campaigns.space import applied
from limbeck.cli.distill import specification_of
from limbeck.evidence.search_facts import read_search
from limbeck.files import read_json
from limbeck.specification import to_json

pytest.importorskip("optuna")

SEARCH = "search spec.py:judged --trials 2 --seeds 1 --out found --parallel 1"

MORE = """
from pathlib import Path

from limbeck.data.splits import Splits

def parts():
    return Splits(train=rows(40), validation=rows(20), test=rows(10))

def judged(**changes) -> Distillation:
    return Distillation(**fields(**{"data": parts, "optimizer": partial(torch.optim.Adam, lr=0.01), **changes}))

class Counted(nn.Linear):
    def forward(self, inputs):
        with Path("calls").open("a") as file:
            file.write("called ")
        return super().forward(inputs)

def counted() -> Distillation:
    return judged(teacher=partial(Counted, 3, 2))

def alone() -> Distillation:
    return judged(teacher=None, objective=HardLabels())

def averaged() -> Distillation:
    return judged(teacher=EnsembleOf(members=[teacher, student]))

def unlabelled() -> Distillation:
    return judged(objective=SoftTargets(), data=lambda: Splits(train=rows(40), validation=TensorSet(torch.ones(5, 3))))

def unnamed() -> Distillation:
    return judged(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.1))

def rising() -> Distillation:
    return judged(objective=SoftTargets(temperature=hotter))

def hotter(step):
    return 1.0 + step
"""


@pytest.fixture(autouse=True)
def more_specifications(folder):
    with Path("spec.py").open("a", encoding="utf-8") as file:
        file.write(MORE)


def calls():
    return Path("calls").read_text().count("called") if Path("calls").exists() else 0


def printed_command(said):
    line = next(line for line in said.out.splitlines() if line.startswith("train the chosen student"))
    words = shlex.split(line.partition(": ")[2])
    assert words[:2] == ["limbeck", "distill"]
    return words[2:]


def test_the_teacher_is_asked_once_and_the_search_is_told(limbeck):
    said = limbeck(SEARCH)
    assert said.status == 0, said
    for title in ("student, distilled", "student alone, tuned", "student alone with label smoothing"):
        assert re.search(rf"│ {title} +│ +2 │ +\d+\.\d\d % │ +\d+\.\d\d % │", said.out)
    assert re.search(
        r"student, distilled: rate [\d.e-]+, weight decay [\d.e-]+, temperature [\d.]+, share of", said.out
    )
    facts = read_search(Path("found"))
    assert [arm["name"] for arm in facts["arms"]] == ["distilled", "alone", "smoothed"] == list(facts["search"])
    assert facts["selection_seeds"] == [1000]
    assert facts["provenance"]["command"] == f"limbeck {SEARCH}"
    for arm in facts["search"].values():
        best = min(arm["trials"], key=lambda trial: (trial["validation"], trial["nll"]))
        assert len(arm["trials"]) == 2
        assert arm["chosen"] == best["settings"]
    assert "search:  found\npage:    found/report.html\n" in said.out
    assert len(list(Path("found/trials").iterdir())) == 6
    summaries = [read_json(path) for path in Path("found/trials").glob("*/summary.json")]
    assert all("test" not in summary["student"] for summary in summaries)


def test_the_printed_command_trains_the_chosen_student(limbeck):
    words = printed_command(limbeck(f"{SEARCH} --rivals none --batch-size 8"))
    chosen = read_search(Path("found"))["search"]["distilled"]["chosen"]
    spec = specification_of(words).spec
    plain = specification_of(["spec.py:judged", "--batch-size", "8", "--targets", "found/targets"]).spec
    assert to_json(spec.goal) == to_json(applied(plain, chosen).goal)
    assert spec.optimizer.keywords["lr"] == chosen["rate"]
    assert spec.optimizer.keywords.get("weight_decay", 0.0) == chosen["weight_decay"]
    assert (spec.batch_size, str(spec.targets)) == (8, "found/targets")
    assert limbeck(shlex.join(["distill", *words, "--out", "trained"])).status == 0


def test_recorded_targets_are_all_that_is_needed(limbeck):
    assert limbeck("record spec.py:counted --out store").status == 0
    asked = calls()
    assert asked > 0
    said = limbeck("search spec.py:counted --targets store --trials 3 --seeds 2 --out found --parallel 1")
    assert said.status == 0, said
    assert calls() == asked
    assert not Path("found/targets").exists()
    assert "--targets store" in said.out


def test_a_live_teacher_is_asked_as_often_as_a_recording_asks(limbeck):
    assert limbeck("record spec.py:counted --out store").status == 0
    asked = calls()
    assert limbeck("search spec.py:counted --trials 3 --rivals none --out found --parallel 1").status == 0
    assert calls() == 2 * asked


def test_an_ensemble_is_recorded_so_that_it_answers_at_every_temperature(limbeck):
    assert limbeck("search spec.py:averaged --trials 2 --seeds 1 --rivals none --out found").status == 0
    tried = [trial["settings"]["temperature"] for trial in read_search(Path("found"))["search"]["distilled"]["trials"]]
    assert len(set(tried)) == 2


def test_what_must_be_recorded_is_named_and_then_it_works(limbeck, refused):
    made = "record spec.py:judged --encoding top-k --k 1 --out"
    assert limbeck(f"{made} few --temperatures 1 4").status == 0
    sentence = refused("search spec.py:judged --targets few --temperatures 2 4 --out found --trials 2")
    assert sentence == (
        "The targets few answer exactly at the temperatures 1 and 4 only, and the search asks for 2; record them with "
        "`limbeck record … --temperatures 1 2 4`."
    )
    advice = re.search(r"--temperatures [\d ]+", sentence).group()
    assert limbeck(f"{made} enough {advice}").status == 0
    again = limbeck("search spec.py:judged --targets enough --temperatures 2 4 --out found --trials 2 --rivals none")
    assert again.status == 0, again
    tried = read_search(Path("found"))["search"]["distilled"]["trials"]
    assert {trial["settings"]["temperature"] for trial in tried} <= {2.0, 4.0}


def test_what_was_found_is_found_again_and_more_trials_go_on(limbeck):
    first = limbeck(SEARCH)
    again = limbeck(f"{SEARCH} --resume")
    assert (again.status, again.out) == (0, first.out)
    assert "recording" not in again.err
    more = limbeck(f"{SEARCH} --resume".replace("--trials 2", "--trials 4"))
    assert more.status == 0, more
    assert len(read_search(Path("found"))["search"]["alone"]["trials"]) == 4
    refused = limbeck(f"{SEARCH} --resume --batch-size 8")
    assert refused.status == 2
    assert "The search for 'distilled' was begun with another specification; go on with" in refused.err
    path = Path("found") / "search.json"
    said = json.loads(path.read_text(encoding="utf-8"))
    said["rows"]["train"]["fingerprint"] = "of others"  # as if the data had changed since
    path.write_text(json.dumps(said), encoding="utf-8")
    elsewhere = limbeck(f"{SEARCH} --resume")
    assert (elsewhere.status, elsewhere.err.count("\n")) == (2, 1)
    assert "was begun on other rows" in elsewhere.err
    occupied = limbeck(SEARCH)
    assert "found is not empty: use --resume to go on, --overwrite to start again, or choose" in occupied.err
    assert limbeck(f"{SEARCH} --overwrite").out == first.out


def test_the_temperature_can_be_raised_step_by_step_instead(limbeck):
    said = limbeck("search spec.py:judged --raise-temperature --seeds 1 --out found --parallel 1")
    assert said.status == 0, said
    facts = read_search(Path("found"))
    assert facts["search"] is None
    curve = facts["temperature"]["curve"]
    assert [rung["temperature"] for rung in curve] == [1, 2, 4, 8, 16, 32][: len(curve)]
    words = printed_command(said)
    asked = specification_of(words).spec.goal.terms["soft"].term.temperature
    assert asked == facts["temperature"]["chosen"]
    assert re.search(rf"│ +{asked:g} │ .*← chosen", said.out)


def test_the_page_of_a_search_is_made_again(limbeck, refused):
    pytest.importorskip("plotly")
    assert limbeck(f"{SEARCH} --rivals none").status == 0
    page = Path("found/report.html").read_bytes()
    Path("found/report.html").unlink()
    said = limbeck("report found")
    assert (said.status, said.out, said.err) == (0, "found/report.html\n", "")
    assert Path("found/report.html").read_bytes() == page
    assert b"The command that trains the student at these settings" in page
    Path("found/search.json").write_text('{"kind": "search", "finished": false}')
    assert refused("report found") == "The search found has not finished; go on with --resume."


def test_a_student_without_a_teacher_is_searched_alone(limbeck):
    said = limbeck("search spec.py:alone --trials 2 --seeds 1 --out found")
    assert said.status == 0, said
    assert list(read_search(Path("found"))["search"]) == ["alone"]
    assert not Path("found/targets").exists()
    assert "--targets" not in said.out


def test_a_database_may_lie_elsewhere(limbeck, tmp_path):
    assert limbeck(f"{SEARCH} --rivals none --storage sqlite:///{tmp_path}/shared.db").status == 0
    assert Path("shared.db").is_file() and not Path("found/search.db").exists()


REFUSED = {
    "--trials 0": "--trials must be a whole number of at least 1. Got 0.",
    "--seeds 0": "--seeds must be a whole number of at least 1. Got 0.",
    "--trails 3": "There is no flag --trails. Did you mean --trials?",
    "--temperatures 4 2": "--temperatures must be positive and rise. Got 4 2.",
    "--temperatures 0 2": "--temperatures must be positive and rise. Got 0 2.",
    "--rivals alnoe": "There is no control named 'alnoe'; did you mean 'alone'? There are: alone, smoothed,",
    "--targets nowhere": "There is no store of soft targets at nowhere, and it is no file of predictions, which",
    "--storage foo://bar": "foo://bar is no address of a database that can be opened here: ",
    "--raise-temperature --storage sqlite:///x.db": "--storage is for a search, and --raise-temperature goes from rung",
    "--validation None --data train.csv": "There is no flag --data.",
}


@pytest.mark.parametrize("words", REFUSED)
def test_a_wrong_word_is_refused_before_anything_is_written(refused, words):
    assert refused(f"search spec.py:judged {words}").startswith(REFUSED[words])


OTHERS = {
    "small --validation None": "Settings are chosen on validation rows; give --validation a share, such as 0.1.",
    "unlabelled": "Settings are chosen by errors on validation rows, and the data's have no labels.",
    "unnamed": "The optimiser must be a functools.partial for its rate to be set, as in partial(torch.optim.Adam, lr=",
    "alone --raise-temperature": "The objective has no SoftTargets, so there is no temperature to change.",
    "rising --raise-temperature": "The temperature of the term 'soft' changes with the step; give a number for",
    "rising --temperatures 2": "The temperature of the term 'soft' changes with the step; give a number for",
}


@pytest.mark.parametrize("words", OTHERS)
def test_what_cannot_be_searched_is_refused_before_anything_is_written(refused, words):
    assert refused(f"search spec.py:{words}").startswith(OTHERS[words])


def test_targets_of_another_teacher_are_refused(limbeck, refused):
    limbeck("record spec.py:counted --out store")
    sentence = refused("search spec.py:judged --targets store --out found")
    assert sentence.startswith("The targets store were recorded from the teacher ")


def test_optuna_is_an_extra(refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    sentence = "A search over settings needs an extra that is not installed. Run: pip install 'limbeck[search]'."
    assert refused(SEARCH) == sentence


def test_its_help_tells_its_flags(limbeck):
    said = limbeck("search --help")
    assert said.status == 0
    assert all(
        flag in said.out for flag in ("--trials", "--raise-temperature", "--storage", "--rivals", "--optimizer.lr")
    )
