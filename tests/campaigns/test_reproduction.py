"""A table made row by row: what is trained, what is taken as it is, what is merged, and that each look is recorded."""

import json
import os
import shutil
import statistics
from dataclasses import replace
from functools import partial

import pytest
import torch

from limbeck.campaigns import pieces
from limbeck.campaigns.ground import only_one
from limbeck.campaigns.means import Means
from limbeck.campaigns.pieces import PieceTable, begun_by, note_beginning, seconds_of
from limbeck.campaigns.reproduction import Found, Plan, Reproduction, Row, answers_of
from limbeck.errors import RunError, SpecificationError
from limbeck.files import read_json, read_tensors
from limbeck.objective import SoftTargets
from limbeck.specification import EnsembleOf
from limbeck.training.distill import distill
from limbeck.training.evaluate import Predictions
from limbeck.training.progress import Silent
from limbeck.training.run import Run
from tiny import alone, doubled, rows, splits_alone

SCORED = partial(rows, 17, seed=2)
COMMAND = {"command": "limbeck reproduce tiny"}


def blind(seed, **changes):
    """A specification that brings no test rows and holds none out."""
    return alone(data=splits_alone, validation=None, seed=seed, **changes)


def taught(reader, seed, mean="arithmetic"):
    members = [str(reader.run("teacher", other).path) for other in (0, 1)]
    return blind(seed, objective=SoftTargets(temperature=2.0), teacher=EnsembleOf(members=members, mean=mean))


def taught_by_one(reader, seed):
    return blind(seed, objective=SoftTargets(temperature=2.0), teacher=str(reader.run("teacher", 1).path))


def mean_of_two(reader, seed):
    members = [reader.answers("teacher", other) for other in (0, 1)]
    logits = (members[0].logits + members[1].logits) / 2
    return Found(predictions=replace(members[0], logits=logits), measures={"largest": float(logits.max())})


def both(_seed):
    return [("teacher", 0), ("teacher", 1)]


def plan(*, epochs=2):
    settings = {"epochs": epochs}
    return Plan(
        rows=[
            Row(
                name="teacher",
                about="A teacher.",
                seeds=(0, 1),
                settings=settings,
                paper=3.0,
                goal=2.0,
                train=lambda _reader, seed: blind(seed, epochs=epochs),
            ),
            Row(name="mean", about="Their mean.", seeds=(0,), settings={}, needs=both, found=mean_of_two),
            Row(name="taught/T=2", about="A student.", seeds=(0, 1), settings={}, needs=both, x=2.0, train=taught),
        ],
        scored=SCORED,
        split="test",
    )


def reproduction(folder, made=None, **more):
    return Reproduction(
        made or plan(),
        folder / "runs",
        table=PieceTable(folder / "table.json", COMMAND, **more),
        ledger=folder / "ledger.jsonl",
        means=Means(watcher=Silent(), parallel=1, engine="apart"),
    )


def lines(folder):
    return {line["row"]: line for line in read_json(folder / "table.json")["rows"]}


def looks(folder):
    return [json.loads(line)["who"] for line in (folder / "ledger.jsonl").read_text().splitlines()]


def wrong(predictions):
    return int((predictions.logits.argmax(-1) != predictions.labels).sum())


def test_rows_hold_what_plain_runs_of_the_same_specifications_count(tmp_path):
    reproduction(tmp_path).make(["teacher", "mean", "taught/T=2"])
    found = lines(tmp_path)
    for seed in (0, 1):
        run = distill(blind(seed, epochs=2), tmp_path / f"plain-{seed}", watcher=Silent())
        assert found["teacher"]["errors"]["values"][seed] == wrong(answers_of(run, SCORED()))
    values = found["teacher"]["errors"]["values"]
    assert found["teacher"]["errors"]["mean"] == statistics.fmean(values)
    assert found["teacher"]["errors"]["sd"] == pytest.approx(statistics.stdev(values))
    assert found["teacher"]["seeds"] == [0, 1] and len(found["teacher"]["seconds"]) == 2
    assert (found["teacher"]["paper"], found["teacher"]["goal"]) == (3.0, 2.0)
    assert found["taught/T=2"]["family"] == "taught" and found["taught/T=2"]["x"] == 2.0
    assert found["mean"]["measures"]["largest"]["sd"] is None
    assert {"commit", "machine", "versions", "command"} <= set(read_json(tmp_path / "table.json"))


def test_the_student_was_taught_by_the_runs_of_the_table(tmp_path):
    made = reproduction(tmp_path)
    made.make(["taught/T=2"])
    expected = distill(taught(made, 0), tmp_path / "plain", watcher=Silent())
    theirs = _weights(expected)
    for name, tensor in _weights(made.run("taught/T=2", 0)).items():  # recorded and live answers differ by rounding
        assert torch.allclose(tensor, theirs[name], atol=1e-5)
    assert "teacher" not in lines(tmp_path)  # it was trained, but not scored: nobody asked for it


def test_a_teacher_of_several_ensembles_is_asked_once(tmp_path):
    made = plan()
    geometric = replace(made.rows[2], name="taught/geometric", train=partial(taught, mean="geometric"))
    one_of_them = replace(made.rows[2], name="taught/one", needs=lambda _seed: [("teacher", 1)], train=taught_by_one)
    done = reproduction(tmp_path, replace(made, rows=[*made.rows, geometric, one_of_them]))
    done.make(["taught/T=2", "taught/geometric", "taught/one"])
    assert len([path for path in (tmp_path / "runs" / "targets").iterdir() if path.is_dir()]) == 2  # a store a member
    one, other = (_weights(done.run(name, 0)) for name in ("taught/T=2", "taught/geometric"))
    assert any(not torch.equal(tensor, other[name]) for name, tensor in one.items())  # the means are two


def test_every_scoring_is_in_the_ledger_and_none_is_repeated(tmp_path):
    reproduction(tmp_path).make(["teacher"])
    reproduction(tmp_path).make(["teacher", "mean"])
    assert looks(tmp_path) == ["teacher", "teacher", "mean"]


def test_what_was_trained_before_a_kill_is_scored_and_not_trained_again(tmp_path):
    made = reproduction(tmp_path)
    made.make(["teacher"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("model.safetensors")}
    (tmp_path / "table.json").unlink()  # as if killed between the training and the merging
    reproduction(tmp_path).make(["teacher"])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("model.safetensors")} == before
    assert lines(tmp_path)["teacher"]["seeds"] == [0, 1]


def test_a_row_alone_in_another_folder_gives_the_same_figures(tmp_path):
    reproduction(tmp_path / "one").make(["teacher", "taught/T=2"])
    reproduction(tmp_path / "two").make(["taught/T=2"])
    one, two = (lines(tmp_path / name)["taught/T=2"]["errors"] for name in ("one", "two"))
    assert one == two


def test_other_settings_take_the_place_of_a_row_or_stand_beside_it(tmp_path):
    for folder, more in ((tmp_path / "table", {"replace": True}), (tmp_path / "tried", {"by_settings": True})):
        reproduction(folder, **more).make(["teacher"])
        reproduction(folder, plan(epochs=3), **more).make(["teacher"])
    assert lines(tmp_path / "table")["teacher"]["settings"] == {"epochs": 3}
    tried = read_json(tmp_path / "tried" / "table.json")["rows"]
    assert [line["settings"]["epochs"] for line in tried] == [2, 3]


def test_other_settings_of_a_teacher_make_another_student(tmp_path):
    one, other = reproduction(tmp_path), reproduction(tmp_path, plan(epochs=3))
    assert one.run("taught/T=2", 0).path != other.run("taught/T=2", 0).path
    assert one.run("teacher", 0).path != other.run("teacher", 0).path


def test_answers_are_those_of_the_runs_own_prepare(tmp_path):
    spec = blind(0, prepare=doubled, student=partial(torch.nn.Linear, 5, 3, dtype=torch.float64))
    run = distill(spec, tmp_path / "run", watcher=Silent())
    found = answers_of(run, SCORED())
    weights = torch.nn.Linear(5, 3, dtype=torch.float64)
    weights.load_state_dict(_weights(run))
    expected = weights(SCORED().columns["features"].double()).float()
    assert torch.allclose(found.logits, expected) and torch.equal(found.labels, SCORED().labels)


def test_a_row_is_made_again_where_its_teacher_has_other_settings(tmp_path):
    reproduction(tmp_path).make(["taught/T=2", "mean"])
    made = reproduction(tmp_path, plan(epochs=3), replace=True)
    assert made.lines(["taught/T=2"]) == []  # what stands there was taught by another teacher
    made.make(["taught/T=2", "mean"])
    assert looks(tmp_path).count("mean") == 2
    for name in ("taught/T=2", "mean"):
        (teacher,) = lines(tmp_path)[name]["rests_on"]
        assert teacher == {"row": "teacher", "pieces": 2, "settings": {"epochs": 3}}


def test_other_settings_put_out_a_row_on_purpose_alone(tmp_path):
    reproduction(tmp_path).make(["teacher", "mean"])
    for name in ("teacher", "mean"):
        with pytest.raises(RunError, match=f"holds {name} with other settings than those chosen now"):
            reproduction(tmp_path, plan(epochs=3)).make([name])
    assert looks(tmp_path).count("teacher") == 2  # nothing was trained or scored


def test_a_teacher_that_was_trained_again_in_its_folder_is_asked_again(tmp_path):
    made = reproduction(tmp_path)
    made.make(["taught/T=2"])
    before = set((tmp_path / "runs" / "targets").iterdir())
    for seed in (0, 1):
        folder = made.run("teacher", seed).path
        shutil.rmtree(folder)
        distill(blind(seed + 7, epochs=2), folder, watcher=Silent())
        shutil.rmtree(made.run("taught/T=2", seed).path)
    (tmp_path / "table.json").unlink()
    reproduction(tmp_path).make(["taught/T=2"])
    assert set((tmp_path / "runs" / "targets").iterdir()) - before


def test_what_was_tried_with_another_teacher_stands_beside_it(tmp_path):
    for epochs in (2, 3):
        reproduction(tmp_path, plan(epochs=epochs), by_settings=True).make(["mean"])
    tried = read_json(tmp_path / "table.json")["rows"]
    assert [line["rests_on"][0]["settings"]["epochs"] for line in tried] == [2, 3]


def test_a_student_of_fewer_teachers_is_another(tmp_path):
    teacher, mean, student = plan().rows
    fewer = Plan(rows=[teacher, mean, replace(student, needs=lambda _seed: [("teacher", 0)])], scored=SCORED, split="t")
    one, two = reproduction(tmp_path, fewer), reproduction(tmp_path)
    assert one.run("taught/T=2", 0).path != two.run("taught/T=2", 0).path


def test_finished_runs_of_other_rows_are_refused_before_they_are_scored(tmp_path):
    reproduction(tmp_path).make(["teacher"])

    def on_fewer(_reader, seed):
        return replace(blind(seed, epochs=2), data=partial(rows, 20, seed=5))

    other = Plan(rows=[replace(plan().rows[0], train=on_fewer)], scored=SCORED, split="test")
    (tmp_path / "table.json").unlink()
    with pytest.raises(RunError, match="was trained on other rows than teacher asks for now; choose another --out"):
        reproduction(tmp_path, other).make(["teacher"])
    assert len(looks(tmp_path)) == 2


def test_answers_to_other_rows_are_not_taken_for_these(tmp_path):
    reproduction(tmp_path).make(["teacher"])
    others = partial(rows, 9, seed=3)
    made = reproduction(tmp_path, replace(plan(), scored=others))
    assert len(made.answers("teacher", 0).labels) == 9


def test_a_table_of_another_kind_is_refused(tmp_path):
    reproduction(tmp_path).make(["teacher"])
    other = PieceTable(tmp_path / "table.json", {"command": "limbeck reproduce another"})
    with pytest.raises(RunError, match="is another table: its command is limbeck reproduce tiny, and here"):
        other.has({"row": "teacher", "settings": {}}, 0)


def test_two_processes_are_not_at_work_in_one_folder(tmp_path):
    with (
        only_one(tmp_path / "runs", "reproduction", "reproduction"),
        pytest.raises(RunError, match="Another process is at work on the reproduction"),
    ):
        reproduction(tmp_path).make(["teacher"])


def test_answers_recorded_in_one_precision_teach_no_student_of_another(tmp_path):
    def in_another(reader, seed):
        return replace(taught(reader, seed), precision="bfloat16")

    teacher, _, student = plan().rows
    again = replace(student, name="again/T=2", train=in_another)
    both_ways = Plan(rows=[teacher, student, again], scored=SCORED, split="test")
    reproduction(tmp_path, both_ways).make(["taught/T=2", "again/T=2"])
    kept = [read_json(path)["teacher"]["precision"] for path in (tmp_path / "runs/targets").glob("*/manifest.json")]
    assert sorted(kept) == ["bfloat16"] * 2 + ["float32"] * 2  # of two members each


def test_a_piece_tells_the_source_and_the_machine_that_trained_it(tmp_path, monkeypatch):
    def at(commit, cpu):
        monkeypatch.setattr(pieces, "source_state", lambda: {"commit": commit, "changed_since": False})
        monkeypatch.setattr(pieces, "machine", lambda: {"cpu": cpu})

    run = Run(tmp_path / "run")
    at("a", "one")
    note_beginning(tmp_path, [run])
    at("b", "other")
    told = begun_by(tmp_path, "run")  # scored later and elsewhere
    assert (told["commit"], told["changed_since"], told["machine"]) == ("a", False, {"cpu": "one"})
    _write_at(run.path / "spec.json", 100)
    _write_at(run.checkpoints / "last-00000001", 130)
    note_beginning(tmp_path, [run])  # gone on with, by another source
    assert (begun_by(tmp_path, "run")["commit"], begun_by(tmp_path, "run")["changed_since"]) == ("a", True)
    shutil.rmtree(run.path)
    note_beginning(tmp_path, [run])  # begun anew
    assert (begun_by(tmp_path, "run")["commit"], begun_by(tmp_path, "run")["changed_since"]) == ("b", False)


def test_seconds_of_a_run_that_was_stopped_are_those_of_all_sittings_and_of_no_pause(tmp_path):
    run = Run(tmp_path / "run")
    note_beginning(tmp_path, [run])
    for began, saved in ((100, 130), (1000, 1050)):
        _write_at(run.path / "spec.json", began)
        _write_at(run.checkpoints / "last-00000001", saved)
        note_beginning(tmp_path, [run])
        note_beginning(tmp_path, [run])  # stopped again before it wrote anything
    _write_at(run.path / "spec.json", 5000)
    _write_at(run.path / "summary.json", 5007)
    assert seconds_of(tmp_path, run) == 30 + 50 + 7


def _write_at(path, when):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}")
    os.utime(path, (when, when))


def _weights(run):
    return read_tensors(run.weights)


def test_a_row_must_be_trained_or_derived():
    with pytest.raises(SpecificationError, match="'idle' is neither trained nor derived"):
        Row(name="idle", about="Nothing.", seeds=(0,), settings={})


def test_a_file_that_is_no_table_is_refused(tmp_path):
    (tmp_path / "table.json").write_text("{}")
    with pytest.raises(RunError, match="is no table of a reproduction"):
        reproduction(tmp_path).make(["teacher"])


def test_predictions_of_a_derived_row_are_scored_as_they_are(tmp_path):
    def all_wrong(reader, seed):
        labels = SCORED().labels
        logits = torch.nn.functional.one_hot((labels + 1) % 3, 3).float()
        return Found(predictions=Predictions(ids=SCORED().ids, logits=logits, labels=labels))

    row = Row(name="wrong", about="All wrong.", seeds=(0,), settings={}, found=all_wrong)
    reproduction(tmp_path, Plan(rows=[row], scored=SCORED, split="test")).make(["wrong"])
    assert lines(tmp_path)["wrong"]["errors"]["values"] == [17]


def test_what_stands_beside_the_rows_is_kept_when_more_is_merged(tmp_path):
    shown = replace(plan(), beside=lambda reader: {"shown": reader.run("teacher", 0).finished})
    reproduction(tmp_path, shown).make(["teacher"])
    reproduction(tmp_path).make(["mean"])
    assert read_json(tmp_path / "table.json")["shown"] is True
    assert set(lines(tmp_path)) == {"teacher", "mean"}
