"""A search: as many trials and one rule for every arm, the same trials whenever it is stopped, no test rows."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

import tiny
from limbeck.campaigns import search as searching
from limbeck.campaigns import studies
from limbeck.campaigns.many import run_specifications
from limbeck.campaigns.search import search
from limbeck.campaigns.space import Choice, Range, applied, default_space, space_to_json
from limbeck.campaigns.temperatures import raise_temperature
from limbeck.data.splits import Splits
from limbeck.errors import (
    ArgumentError,
    DataError,
    Interrupted,
    MissingExtra,
    NonFiniteLoss,
    ResumeError,
    RunError,
    SpecificationError,
)
from limbeck.evidence.search_facts import at_an_edge, best_so_far, gained, sensitivity
from limbeck.objective import HardLabels, SoftTargets
from limbeck.specification import Distillation, to_json
from limbeck.training.distill import distill
from limbeck.training.forms import Form
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck_recipes.mnist import pixels

pytest.importorskip("optuna")


class Pretended:
    """A run as far as a search looks at it."""

    def __init__(self, accuracy, nll):
        self.summary = {"student": {"validation": {"rows": 19, "accuracy": accuracy, "nll": nll}}}


class Bench:
    """Runs nothing: the error is a function of the settings. Counts, fails and stops where it is told to."""

    def __init__(self, score, broken=lambda spec: False, stop_after=None):
        self.score, self.broken, self.stop_after = score, broken, stop_after
        self.done, self.calls, self.whats = {}, [], []

    def __call__(self, specs, what):
        self.calls.append(list(specs))
        self.whats.append(what)
        for name, spec in specs.items():
            if name in self.done:
                continue
            if self.stop_after is not None and len(self.done) >= self.stop_after:
                raise Interrupted("Stopped.")
            if self.broken(spec):
                raise NonFiniteLoss(f"Term 'soft' of {name} became nan.")
            self.done[name] = (spec, Pretended(*self.score(spec)))
        return {name: self.done[name][1] for name in specs}


def rate(spec):
    return spec.optimizer.keywords["lr"]


def near(best):
    """An accuracy that falls with the distance of the rate from the best."""

    def score(spec):
        away = abs(torch.log10(torch.tensor(rate(spec) / best, dtype=torch.float64)).item())
        return 1 - min(1.0, 0.2 + 0.1 * away), 1.0 + 0.01 * spec.seed

    return score


SPEC = tiny.alone(data=tiny.splits, validation=0.1)
SPACE = {"rate": Range(1e-4, 1.0, log=True), "epochs": Range(1, 4, whole=True)}


def found(folder, bench, arms=None, **changes):
    asked = {"trials": 9, "seeds": [7, 8], "watcher": Silent(), **changes}
    return search(
        arms or {"one": (SPEC, SPACE)}, execute=bench, storage=asked.pop("storage", folder / "search.db"), **asked
    )


def as_json(everything):
    return {name: one.as_json() for name, one in everything.items()}


def test_the_best_trial_is_chosen_and_the_first_is_the_specification_itself(tmp_path):
    bench = Bench(near(0.1))
    one = found(tmp_path, bench)["one"]
    assert one.trials[0].settings == {"rate": 0.01, "epochs": 2.0}
    assert [trial.number for trial in one.trials] == list(range(9))
    assert one.value == min(trial.validation for trial in one.trials) <= one.trials[0].validation
    assert to_json(one.spec) == to_json(applied(SPEC, one.settings))
    assert one.trials[0].validation == pytest.approx(30.0)  # a factor of ten from the best: 100 (0.2 + 0.1)
    assert one.trials[0].nll == pytest.approx(1.075)  # mean over the seeds 7 and 8
    assert all(trial.settings["epochs"] in (1, 2, 3, 4) for trial in one.trials)


def test_every_arm_has_as_many_trials_and_arms_that_share_a_setting_begin_alike(tmp_path):
    arms = {"one": (SPEC, SPACE), "other": (SPEC, {"rate": SPACE["rate"]}), "fixed": (SPEC, {})}
    bench = Bench(near(0.1))
    everything = found(tmp_path, bench, arms)
    assert [len(one.trials) for one in everything.values()] == [9, 9, 1]  # where nothing may change there is one
    first, second = ([trial.settings["rate"] for trial in everything[name].trials[:3]] for name in ("one", "other"))
    assert first == second
    assert len(bench.done) == 2 * (9 + 9 + 1)
    assert len(bench.calls[0]) == 2 * (3 + 3 + 1)  # all arms together, a batch at a time
    assert bench.whats[0] == "trying settings of 3 arms, up to the trial 3"


def test_ties_go_to_fewer_nats_then_to_the_first(tmp_path):
    bench = Bench(lambda spec: (0.5, 2.0 if spec.epochs == 2 else 1.0))
    trials = found(tmp_path / "a", bench)["one"].trials
    assert found(tmp_path / "b", bench)["one"].settings == next(t for t in trials if t.settings["epochs"] != 2).settings
    same = Bench(lambda spec: (0.5, 1.0))
    assert found(tmp_path / "c", same)["one"].settings == trials[0].settings


def test_trials_have_no_test_rows_and_the_seeds_asked_for(tmp_path):
    bench = Bench(near(0.1))
    found(tmp_path, bench, trials=2)
    specs = [spec for spec, _ in bench.done.values()]
    assert [spec.seed for spec in specs] == [7, 8, 7, 8]
    assert all(spec.data().test is None and spec.probe_rows == 0 for spec in specs)
    assert all(replace(spec, data=SPEC.data, seed=0) != SPEC or spec.epochs == 2 for spec in specs)
    assert list(bench.done) == ["one-000-7", "one-000-8", "one-001-7", "one-001-8"]


def test_a_search_is_the_same_whenever_it_is_run(tmp_path, whole):
    assert as_json(found(tmp_path, Bench(near(0.1)))) == as_json(whole)


def test_what_is_done_is_not_done_again_and_more_trials_go_on_from_it(tmp_path):
    few = found(tmp_path, Bench(near(0.1)), trials=4, batch=2)
    never = Bench(near(0.1), stop_after=0)
    assert as_json(found(tmp_path, never, trials=4, batch=2)) == as_json(few)
    more = found(tmp_path, Bench(near(0.1)), trials=8, batch=2)
    assert more["one"].as_json()["trials"][:4] == few["one"].as_json()["trials"]
    assert as_json(more) == as_json(found(tmp_path / "other", Bench(near(0.1)), trials=8, batch=2))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return found(tmp_path_factory.mktemp("whole"), Bench(near(0.1)))


@pytest.mark.parametrize("done", [0, 1, 9, 17])
def test_a_search_that_was_stopped_ends_as_if_it_was_not(tmp_path, whole, done):
    bench = Bench(near(0.1), stop_after=done)
    with pytest.raises(Interrupted):
        found(tmp_path / "stopped", bench)
    bench.stop_after = None
    assert as_json(found(tmp_path / "stopped", bench)) == as_json(whole)
    assert len(bench.done) == 18


@pytest.mark.parametrize(("cut", "nth"), [("ask", 1), ("ask", 5), ("enqueue_trial", 1), ("tell", 1), ("tell", 5)])
def test_a_search_cut_off_within_its_book_keeping_ends_as_if_it_was_not(tmp_path, whole, monkeypatch, cut, nth):
    import optuna

    real, count = getattr(optuna.Study, cut), [0]

    def dying(self, *args, **named):
        count[0] += 1
        if count[0] == nth:
            if cut == "ask":  # begun, and nothing drawn
                real(self)
            raise KeyboardInterrupt
        return real(self, *args, **named)

    monkeypatch.setattr(optuna.Study, cut, dying)
    bench = Bench(near(0.1))
    with pytest.raises(KeyboardInterrupt):
        found(tmp_path / "cut", bench)
    monkeypatch.undo()
    assert as_json(found(tmp_path / "cut", bench)) == as_json(whole)


OTHERS = {
    "another specification": {"arms": {"one": (replace(SPEC, batch_size=4), SPACE)}},
    "another space": {"arms": {"one": (SPEC, {"rate": Range(0.1, 1.0)})}},
    "other selection seeds": {"seeds": [7, 9]},
}


@pytest.mark.parametrize("changed", OTHERS)
def test_another_question_is_refused_in_the_same_place(tmp_path, changed):
    found(tmp_path, Bench(near(0.1)), trials=2)
    with pytest.raises(ResumeError, match=f"The search for 'one' was begun with {changed}; go on with what it was"):
        found(tmp_path, Bench(near(0.1)), trials=2, **OTHERS[changed])


def test_searches_of_other_names_share_a_database(tmp_path):
    found(tmp_path, Bench(near(0.1)), trials=2)
    found(tmp_path, Bench(near(0.1)), trials=2, name="another", seeds=[1])


def test_a_student_that_diverges_counts_as_all_wrong(tmp_path):
    bench = Bench(near(0.1), broken=lambda spec: rate(spec) > 0.2)
    one = found(tmp_path, bench)["one"]
    failed = [trial for trial in one.trials if trial.failed]
    assert failed and all(trial.settings["rate"] > 0.2 and trial.validation == 100.0 for trial in failed)
    assert [trial.settings["rate"] > 0.2 for trial in one.trials] == [bool(trial.failed) for trial in one.trials]
    assert failed[0].as_json()["nll"] is None and "became nan" in failed[0].as_json()["failed"]
    assert rate(one.spec) <= 0.2
    json.dumps(one.as_json(), allow_nan=False)


def test_a_real_student_that_diverges_is_found_among_others(tmp_path):
    """Two processes: the error comes back from the one that met it."""
    spec = tiny.alone(data=tiny.splits, validation=0.1, optimizer=tiny.MOMENTUM, epochs=1)
    space = {"rate": Choice((0.05, 1e37))}

    def execute(specs, what):
        return run_specifications(specs, tmp_path / "runs", watcher=Silent(), what=what, parallel=1)

    one = found(tmp_path, execute, {"one": (spec, space)}, trials=5, batch=5, seeds=[1])["one"]
    assert {trial.settings["rate"]: trial.failed is not None for trial in one.trials} == {0.05: False, 1e37: True}
    assert one.settings == {"rate": 0.05}


def test_importance_is_told_from_enough_trials(tmp_path):
    pytest.importorskip("sklearn")
    assert found(tmp_path / "few", Bench(near(0.1)), trials=4)["one"].importance is None
    assert found(tmp_path / "flat", Bench(lambda spec: (0.5, 1.0)))["one"].importance is None
    importance = found(tmp_path / "many", Bench(near(0.1)), trials=16)["one"].importance
    assert sum(importance.values()) == pytest.approx(1)
    assert importance["rate"] > 0.8


REFUSED = [
    ({"trials": 0}, ArgumentError, "search: trials must be a whole number of at least 1. Got 0."),
    ({"batch": 0}, ArgumentError, "search: batch must be a whole number of at least 1. Got 0."),
    ({"seeds": []}, ArgumentError, r"search: seeds must be distinct, and at least one. Got \[\]."),
    ({"seeds": [1, 1]}, ArgumentError, r"search: seeds must be distinct"),
    ({"arms": {"one": (replace(SPEC, validation=None), SPACE)}}, SpecificationError, "which validation=None leaves"),
    ({"arms": {"one": (SPEC, {"temperature": Range(1, 2)})}}, SpecificationError, "The objective has no SoftTargets"),
    ({"storage": "nonsense://here"}, SpecificationError, "nonsense://here is no address of a database"),
    ({"storage": "redis://me:secret@host"}, SpecificationError, "redis://me@host is no address of a database"),
]


@pytest.mark.parametrize(("changes", "kind", "sentence"), REFUSED, ids=[sentence for *_, sentence in REFUSED])
def test_what_cannot_be_searched_is_refused(tmp_path, changes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        found(tmp_path, Bench(near(0.1), stop_after=0), **changes)


def test_a_file_that_is_no_record_is_refused(tmp_path):
    (tmp_path / "search.db").write_text("not a database, but a text that is long enough to be looked at" * 9)
    with pytest.raises(RunError, match=r"search.db is no record of a search: "):
        found(tmp_path, Bench(near(0.1)))


def test_two_searches_do_not_write_into_one_file(tmp_path):
    def inner(specs, what):
        with pytest.raises(RunError, match=r"Another process is searching into .*search.db; wait for it, or give both"):
            found(tmp_path, Bench(near(0.1)))
        return Bench(near(0.1))(specs, what)

    found(tmp_path, inner, trials=1)


def test_rows_without_labels_cannot_choose(tmp_path):
    unlabelled = Pretended(0.5, 1.0)
    del unlabelled.summary["student"]["validation"]["accuracy"]
    with pytest.raises(DataError, match="Settings are chosen by errors on validation rows, and the data's have no"):
        found(tmp_path, lambda specs, what: dict.fromkeys(specs, unlabelled))


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtra, match=r"A search over settings needs an extra .* pip install 'limbeck\[search\]'"):
        found(tmp_path, Bench(near(0.1)))


def test_nothing_is_said_on_the_screen(tmp_path, capfd):
    import optuna

    before = optuna.logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found(tmp_path, Bench(near(0.1)), trials=8)
    assert capfd.readouterr() == ("", "")
    assert optuna.logging.get_verbosity() == before


# A database that several machines share.


def shared(tmp_path):
    return f"sqlite:///{tmp_path / 'shared.db'}"


def test_an_address_gives_the_same_trials_as_a_file(tmp_path, whole):
    assert as_json(found(tmp_path, Bench(near(0.1)), storage=shared(tmp_path))) == as_json(whole)


def test_two_machines_share_the_trials(tmp_path, monkeypatch):
    """The second begins while the first runs its first batch, and takes all that is left."""
    monkeypatch.setattr(searching, "WAIT_SECONDS", 0.01)
    second = Bench(near(0.1))
    results = {}

    class First(Bench):
        def __call__(self, specs, what):
            if not results:
                results["begun"] = True
                self.other = threading_start(lambda: found(tmp_path, second, storage=shared(tmp_path)), results)
                wait_until(lambda: len(second.done) == 12)  # all but the batch that is run here
            return super().__call__(specs, what)

    first = First(near(0.1))
    one = found(tmp_path, first, storage=shared(tmp_path))
    first.other.join(timeout=20)
    assert not set(first.done) & set(second.done)
    assert len(first.done) + len(second.done) == 18
    assert as_json(results["found"]) == as_json(one)
    assert len(one["one"].trials) == 9


def threading_start(call, results):
    import threading

    thread = threading.Thread(target=lambda: results.update(found=call()))
    thread.start()
    return thread


def wait_until(holds, seconds=20):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_trials_of_a_machine_that_fell_silent_are_taken_over(tmp_path, whole, monkeypatch):
    bench = Bench(near(0.1), stop_after=0)
    with pytest.raises(Interrupted):
        found(tmp_path, bench, storage=shared(tmp_path))
    bench.stop_after = None
    monkeypatch.setattr(studies, "SILENT_SECONDS", 0.0)
    assert as_json(found(tmp_path, bench, storage=shared(tmp_path))) == as_json(whole)


def test_trials_that_still_run_are_said_to(tmp_path, monkeypatch):
    import sqlite3

    monkeypatch.setattr(studies, "BEAT_SECONDS", 0.01)
    seen = set()

    def execute(specs, what):
        def words():
            with sqlite3.connect(tmp_path / "shared.db") as database:
                rows = database.execute("select value_json from trial_user_attributes where key = 'seen'").fetchall()
            seen.update(json.loads(text)[1] for (text,) in rows)
            return len(seen)

        wait_until(lambda: words() > 3)
        return Bench(near(0.1))(specs, what)

    found(tmp_path, execute, storage=shared(tmp_path), trials=1)


# A process that is killed.

KILLED = """
    import os, sys
    from pathlib import Path
    sys.path[:0] = {path!r}
    import tiny
    from limbeck.campaigns.many import run_specifications
    from limbeck.campaigns.search import search
    from limbeck.campaigns.space import default_space
    from limbeck.training.progress import Silent

    out = Path({out!r})
    spec = tiny.alone(data=tiny.splits, validation=0.1, epochs=1)
    count = 0

    def execute(specs, what):
        global count
        count += 1
        found = run_specifications(specs, out / "runs", watcher=Silent(), what=what, parallel=1)
        if count == {at}:
            (out / "killed").touch()
            os.kill(os.getpid(), 9)
        return found

    found = search({{"one": (spec, default_space(spec))}}, trials=4, seeds=[1], execute=execute,
                   storage=out / "search.db", watcher=Silent())
    print(found["one"].as_json())
"""


@pytest.mark.slow
def test_a_killed_search_goes_on_to_the_same_trials(tmp_path):
    def run(out, at):
        text = textwrap.dedent(KILLED.format(path=[str(Path(__file__).parents[1])], out=str(out), at=at))
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        words = [sys.executable, "-c", text]
        return subprocess.run(words, capture_output=True, text=True, timeout=120, check=False, env=environment)

    whole, killed = (tmp_path / name for name in ("whole", "killed"))
    whole.mkdir(), killed.mkdir()
    expected = run(whole, 0)
    assert expected.returncode == 0, expected.stderr
    assert run(killed, 2).returncode == -signal.SIGKILL
    again = run(killed, 0)
    assert (again.returncode, again.stdout) == (0, expected.stdout), again.stderr


# Recorded targets: the teacher never runs.


class CountedTeacher(torch.nn.Linear):
    """A teacher that leaves a line in a file each time that it is called."""

    def forward(self, inputs):
        with Path(os.environ["TEACHER_CALLS"]).open("a", encoding="utf-8") as file:
            file.write(f"{len(inputs)}\n")
        return super().forward(inputs)


def counted_teacher():
    torch.manual_seed(3)
    return CountedTeacher(tiny.FEATURES, tiny.CLASSES)


@pytest.fixture
def calls(tmp_path, monkeypatch):
    path = tmp_path / "calls"
    path.touch()
    monkeypatch.setenv("TEACHER_CALLS", str(path))
    return lambda: len(path.read_text().splitlines())


def test_a_search_on_recorded_targets_never_calls_the_teacher(tmp_path, calls):
    live = tiny.specification(data=tiny.splits, teacher=counted_teacher, validation=0.1, epochs=1)
    distill(live, tmp_path / "live", watcher=Silent())
    assert calls() > 0  # the count counts
    record(live, tmp_path / "store", watcher=Silent())
    before = calls()
    spec = replace(live, targets=tmp_path / "store")

    def execute(specs, what):
        return run_specifications(specs, tmp_path / "runs", watcher=Silent(), what=what, parallel=2)

    arms = {"distilled": (spec, default_space(spec))}
    one = found(tmp_path, execute, arms, trials=4)["distilled"]
    assert len({trial.settings["temperature"] for trial in one.trials}) == 4
    assert calls() == before


@pytest.mark.slow
def test_a_search_on_recorded_targets_of_mnist_never_calls_the_teacher(tmp_path, calls, mnist):
    some = Splits(train=mnist.train.subset(torch.arange(700)), test=mnist.test.subset(torch.arange(50)))
    live = Distillation(
        data=some,
        student=partial(torch.nn.Linear, 784, 10),
        teacher=partial(CountedTeacher, 784, 10),
        objective=0.9 * SoftTargets(temperature=20.0) + 0.1 * HardLabels(),
        prepare=pixels,
        teacher_prepare=pixels,
        epochs=2,
        device="cpu",
    )
    record(live, tmp_path / "store", watcher=Silent())
    before = calls()
    assert before > 0
    spec = replace(live, targets=tmp_path / "store")  # the teacher is still named, and could be called

    def execute(specs, what):
        return {name: distill(spec, tmp_path / name, watcher=Silent()) for name, spec in specs.items()}

    one = found(tmp_path, execute, {"distilled": (spec, default_space(spec))}, trials=4, seeds=[1])["distilled"]
    assert len({trial.settings["temperature"] for trial in one.trials}) == 4
    assert one.value < 60.0
    assert calls() == before


# The temperature raised step by step.


def with_temperature(score):
    return Bench(lambda spec: score(spec.goal.terms["soft"].term.temperature))


def climbed(bench, spec=None, **changes):
    spec = spec or tiny.specification(data=tiny.splits, validation=0.1)
    return raise_temperature(spec, seeds=[7, 8], execute=bench, watcher=Silent(), **changes)


def test_the_temperature_is_raised_until_it_stops_paying():
    best_at_four = with_temperature(lambda t: (1 - 0.1 * abs(torch.log2(torch.tensor(t)).item() - 2), 1.0))
    raised = climbed(best_at_four)
    assert [rung.temperature for rung in raised.curve] == [1, 2, 4, 8, 16]  # two in a row that did not pay
    assert [rung.validation for rung in raised.curve] == pytest.approx([20, 10, 0, 10, 20])
    assert (raised.temperature, raised.left) == (4.0, (32.0,))
    assert len(best_at_four.done) == 10
    assert climbed(best_at_four, patience=1).left == (16.0, 32.0)
    assert climbed(best_at_four, ladder=(3, 7)).temperature == 3.0


def test_a_dip_between_two_gains_is_climbed_over():
    assert climbed(with_temperature(lambda t: ({1: 0.5, 2: 0.4, 4: 0.6}.get(t, 0.3), 1.0))).temperature == 4.0


def test_equal_errors_are_told_apart_by_nats_and_then_the_lowest_is_chosen():
    assert climbed(with_temperature(lambda t: (0.5, 1 / t))).temperature == 32.0
    assert climbed(with_temperature(lambda t: (0.5, 1.0))).temperature == 1.0


def test_a_ladder_has_the_rungs_that_were_recorded(tmp_path):
    live = tiny.specification(data=tiny.splits, validation=0.1)
    record(live, tmp_path / "store", form=Form(encoding="top-k", k=2, temperatures=(1, 3, 4)), watcher=Silent())
    spec = replace(live, teacher=None, targets=tmp_path / "store")
    bench = with_temperature(lambda t: (t / 10, 1.0))
    assert [rung.temperature for rung in climbed(bench, spec).curve] == [1, 3, 4]
    with pytest.raises(Exception, match=r"the search asks for 8; record them with `limbeck record … --temp"):
        climbed(bench, spec, ladder=(1, 8))


@pytest.mark.parametrize(
    ("changes", "kind", "sentence"),
    [
        ({"ladder": (2, 1)}, ArgumentError, "ladder must rise from rung to rung"),
        ({"ladder": ()}, ArgumentError, "ladder must rise from rung to rung"),
        ({"patience": 0}, ArgumentError, "patience must be a whole number of at least 1"),
        ({"spec": tiny.specification()}, SpecificationError, "which validation=None leaves out"),
        ({"spec": SPEC}, SpecificationError, "The objective has no SoftTargets"),
    ],
)
def test_a_climb_that_cannot_be_made_is_refused(changes, kind, sentence):
    with pytest.raises(kind, match=sentence):
        climbed(with_temperature(lambda t: (0.5, 1.0)), **changes)


def test_a_climb_over_real_students_ends_where_validation_says(tmp_path):
    spec = tiny.specification(data=tiny.splits, validation=0.1, objective=SoftTargets(), epochs=1)
    execute = partial(run_specifications, folder=tmp_path / "runs", watcher=Silent(), parallel=1)
    raised = climbed(lambda specs, what: execute(specs, what=what), spec, ladder=(1, 4), patience=1)
    for rung in raised.curve:
        at = replace(applied(spec, {"temperature": rung.temperature}), seed=7)
        errors = distill(at, tmp_path / f"{rung.temperature}", watcher=Silent()).summary["student"]["validation"]
        assert (tmp_path / "runs" / f"temperature-{rung.temperature:g}-7").is_dir()
        assert errors["rows"] == 19
    assert raised.temperature == min(raised.curve, key=lambda rung: (rung.validation, rung.nll)).temperature


# What a page is made of.

TRIALS = [
    {"settings": {"rate": 0.1, "epochs": 2.0}, "validation": 12.0, "nll": 1.0},
    {"settings": {"rate": 0.3, "epochs": 1.0}, "validation": 100.0, "nll": None, "failed": "nan"},
    {"settings": {"rate": 0.01, "epochs": 2.0}, "validation": 9.0, "nll": 1.0},
    {"settings": {"rate": 0.05, "epochs": 3.0}, "validation": 10.0, "nll": 1.0},
]


def test_facts_of_trials():
    assert best_so_far(TRIALS) == [12.0, 12.0, 9.0, 9.0]
    assert sensitivity(TRIALS)["rate"] == [(0.01, 9.0), (0.05, 10.0), (0.1, 12.0)]
    space = space_to_json({"rate": Range(0.01, 1.0, log=True), "epochs": Range(0, 4), "weight_decay": Choice((0, 1))})
    where = {(0.012, 0.1): ["rate"], (0.013, 0.1): [], (0.1, 3.9): ["epochs"], (0.9, 3.7): ["rate"]}
    for (rate_, epochs), edges in where.items():
        assert at_an_edge(space, {"rate": rate_, "epochs": epochs, "weight_decay": 0}) == edges
    assert gained(TRIALS) == {"own": 12.0, "best": 9.0, "sd": pytest.approx(1.5275, abs=1e-4)}
