"""What a kill, a Ctrl-C and a resume leave behind: the same weights and records as a run that was never stopped."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import pytest
import torch
from torch.optim import lr_scheduler as schedules

from limbeck.errors import Interrupted, ResumeError, RunError
from limbeck.files import read_tensors
from limbeck.objective import HardLabels
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.run import Run
from processes import environment
from tiny import (
    ADAM,
    FUSED,
    MOMENTUM,
    alone,
    between_epochs,
    channels_last_student,
    cosine,
    dropout_student,
    rows,
    specification,
    splits,
    teacher,
    within_epochs,
)

SCRIPT = """
import sys
import tiny
from limbeck.errors import Interrupted
from limbeck.training.distill import distill
try:
    distill(getattr(tiny, sys.argv[1])(), sys.argv[2], resume="--resume" in sys.argv)
except Interrupted as error:
    print(error)
    sys.exit(130)
"""


@pytest.fixture
def start(tmp_path):
    """Start a plan in a process of its own, one that waits 2 ms a batch; it is dead when the test ends."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    started = []

    def run(plan, out, *flags):
        process = subprocess.Popen(
            [sys.executable, str(script), plan, str(out), *flags],
            env=environment(TINY_PAUSE="0.002"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()


def wait_for_a_checkpoint(process, out):
    deadline = time.monotonic() + 60
    while not list(out.glob("checkpoints/last-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "no checkpoint within a minute"
        time.sleep(0.002)


def lines(run):
    return (run.path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()


def assert_same_run(found, expected):
    assert lines(found) == lines(expected)
    for name in ("student", "predictions"):
        for path in (expected.path / name).glob("*.safetensors"):
            ours, theirs = read_tensors(found.path / name / path.name), read_tensors(path)
            assert all(torch.equal(ours[key], theirs[key]) for key in theirs), path.name
    assert found.summary == expected.summary
    names = {path.name for path in expected.checkpoints.iterdir()}
    assert {path.name for path in found.checkpoints.iterdir()} == names
    for name in names:
        last = read_tensors(found.checkpoints / name / "student.safetensors")
        expected_last = read_tensors(expected.checkpoints / name / "student.safetensors")
        assert all(torch.equal(last[key], expected_last[key]) for key in expected_last), name


@pytest.mark.parametrize("plan", [between_epochs, within_epochs])
def test_a_run_that_was_killed_and_resumed_equals_one_that_was_not(start, tmp_path, plan):
    process, out = start(plan.__name__, tmp_path / "killed"), tmp_path / "killed"
    wait_for_a_checkpoint(process, out)
    time.sleep(random.uniform(0, 0.25))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "summary.json").exists(), "the run ended before it was killed"
    found = distill(plan(), out, resume=True, watcher=Silent())
    expected = distill(plan(), tmp_path / "whole", watcher=Silent())
    assert_same_run(found, expected)


def test_ctrl_c_saves_says_where_and_the_resumed_run_equals_one_that_was_not_stopped(start, tmp_path):
    process, out = start("within_epochs", tmp_path / "stopped"), tmp_path / "stopped"
    wait_for_a_checkpoint(process, out)
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    (last,) = out.glob("checkpoints/last-*")
    step = json.loads((last / "state.json").read_text())["step"]
    assert said.strip() == f"Stopped at step {step}, after the state was saved in {out / 'checkpoints'}."
    found = distill(within_epochs(), out, resume=True, watcher=Silent())
    assert_same_run(found, distill(within_epochs(), tmp_path / "whole", watcher=Silent()))


BATCHES = {"left": -1}


def stopping(columns):
    """A `prepare` that presses Ctrl-C when so many batches have been read."""
    BATCHES["left"] -= 1
    if BATCHES["left"] == 0:
        signal.raise_signal(signal.SIGINT)
    return columns["features"]


@pytest.mark.parametrize("batches", [6, 9, 11, 12, 13, 16, 20, 23, 30])
def test_a_stop_at_any_batch_resumes_to_the_same_records(tmp_path, batches):
    spec = specification(
        data=splits,
        student=dropout_student,
        prepare=stopping,
        validation=0.1,
        epochs=3,
        log_every=4,
        probe_rows=5,
    )
    BATCHES["left"] = batches
    with pytest.raises(Interrupted, match=r"^Stopped at step \d+, after the state was saved in "):
        distill(spec, tmp_path / "stopped", watcher=Silent())
    found = distill(spec, tmp_path / "stopped", resume=True, watcher=Silent())
    assert_same_run(found, distill(spec, tmp_path / "whole", watcher=Silent()))


def test_moments_of_weights_with_channels_last_resume_to_the_same_weights(tmp_path):
    spec = specification(
        data=splits, student=channels_last_student, optimizer=FUSED, prepare=stopping, validation=0.1, epochs=3
    )
    BATCHES["left"] = 13
    with pytest.raises(Interrupted):
        distill(spec, tmp_path / "stopped", watcher=Silent())
    found = distill(spec, tmp_path / "stopped", resume=True, watcher=Silent())
    assert_same_run(found, distill(spec, tmp_path / "whole", watcher=Silent()))


def one_cycle(optimizer, steps):
    return schedules.OneCycleLR(optimizer, max_lr=0.1, total_steps=steps)


def warmed_up(optimizer, steps):
    parts = [schedules.LinearLR(optimizer, total_iters=5), schedules.CosineAnnealingLR(optimizer, steps - 5)]
    return schedules.SequentialLR(optimizer, parts, [5])


def chained(optimizer, steps):
    parts = [schedules.ConstantLR(optimizer), schedules.ExponentialLR(optimizer, 0.9)]
    return schedules.ChainedScheduler(parts, optimizer=optimizer)


def inverse(optimizer, steps):
    return schedules.LambdaLR(optimizer, lambda step: 1 / (step + 1))


def in_groups(parameters):
    first, *rest = parameters
    return torch.optim.SGD([{"params": [first], "lr": 0.1}, {"params": rest, "momentum": 0.5}], lr=0.05)


@pytest.mark.parametrize(
    "changes",
    [
        *({"optimizer": MOMENTUM, "schedule": schedule} for schedule in (one_cycle, warmed_up, chained, inverse)),
        *(
            {"optimizer": partial(kind, lr=1e-2)}
            for kind in (
                torch.optim.AdamW,
                torch.optim.RMSprop,
                torch.optim.Adagrad,
                torch.optim.NAdam,
                torch.optim.SGD,
            )
        ),
        {"optimizer": partial(torch.optim.Adam, lr=1e-2, amsgrad=True)},
        {"optimizer": in_groups, "schedule": cosine},
    ],
)
def test_any_optimiser_and_any_rate_schedule_can_be_gone_on_with(tmp_path, changes):
    spec = specification(prepare=stopping, **changes)
    BATCHES["left"] = 5
    with pytest.raises(Interrupted):
        distill(spec, tmp_path / "stopped", watcher=Silent())
    found = distill(spec, tmp_path / "stopped", resume=True, watcher=Silent())
    assert_same_run(found, distill(spec, tmp_path / "whole", watcher=Silent()))


class DiesAtValidation:
    """A watcher that ends the process's work after an epoch's scores are recorded, before they are saved."""

    def start(self, what, total): ...
    def say(self, line): ...
    def end(self): ...

    def advance(self, done, note):
        if note:
            raise ZeroDivisionError


def test_what_was_recorded_after_the_last_checkpoint_is_not_recorded_twice(tmp_path):
    spec = specification(data=splits, validation=0.1, epochs=2, log_every=3, checkpoint_seconds=1e-9, probe_rows=5)
    with pytest.raises(ZeroDivisionError):
        distill(spec, tmp_path / "died", watcher=DiesAtValidation())
    assert len(lines(Run(tmp_path / "died"))) == 5  # probe, steps 3, 6 and 7, validation
    found = distill(spec, tmp_path / "died", resume=True, watcher=Silent())
    assert_same_run(found, distill(spec, tmp_path / "whole", watcher=Silent()))


@pytest.mark.parametrize("optimizer", [ADAM, MOMENTUM])
def test_a_resume_with_more_epochs_equals_one_run_of_as_many(tmp_path, optimizer):
    spec = specification(data=splits, student=dropout_student, validation=0.1, optimizer=optimizer, probe_rows=5)
    distill(replace(spec, epochs=2), tmp_path / "longer", watcher=Silent())
    found = distill(replace(spec, epochs=5), tmp_path / "longer", resume=True, watcher=Silent())
    assert_same_run(found, distill(replace(spec, epochs=5), tmp_path / "whole", watcher=Silent()))
    assert found.spec["specification"]["fields"]["epochs"] == 5


def test_a_finished_run_is_returned_as_it_is(tmp_path):
    spec = specification(epochs=1)
    before = distill(spec, tmp_path / "run", watcher=Silent())
    stamps = {path: path.stat().st_mtime_ns for path in before.path.rglob("*")}
    # What does not change the student may differ.
    after = distill(replace(spec, log_every=7, workers=1), tmp_path / "run", resume=True, watcher=Silent())
    assert after == before
    assert {path: path.stat().st_mtime_ns for path in before.path.rglob("*")} == stamps


def test_a_folder_without_a_checkpoint_is_begun_anew(tmp_path):
    spec = specification(epochs=1)
    expected = distill(spec, tmp_path / "whole", watcher=Silent())
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "spec.json").write_bytes((expected.path / "spec.json").read_bytes())
    (tmp_path / "begun" / "metrics.jsonl").write_text('{"step": 3}\n{"st', encoding="utf-8")
    assert_same_run(distill(spec, tmp_path / "begun", resume=True, watcher=Silent()), expected)


def test_what_a_kill_left_half_written_is_swept_away(tmp_path):
    run = distill(specification(epochs=1), tmp_path / "run", watcher=Silent())
    (run.checkpoints / ".writing-last-00000099-12").mkdir()
    (run.checkpoints / ".writing-last-00000099-12" / "student.safetensors").touch()
    distill(specification(epochs=2), run.path, resume=True, watcher=Silent())
    assert [path.name for path in run.checkpoints.iterdir()] == ["last-00000014"]


def test_a_kill_before_the_specification_was_whole_leaves_a_folder_that_may_be_used(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".writing-spec.json-12").write_text("{", encoding="utf-8")
    assert distill(specification(epochs=1), tmp_path / "run", watcher=Silent()).finished


def other_student():
    return dropout_student()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"seed": 1}, "seed"),
        ({"batch_size": 9}, "batch_size"),
        ({"student": other_student}, "student"),
        ({"objective": HardLabels(smoothing=0.1), "clip_norm": 1.0}, "objective, clip_norm"),
        ({"optimizer": MOMENTUM}, "optimizer"),
    ],
)
def test_another_specification_is_refused_by_the_names_of_what_differs(tmp_path, changes, named):
    distill(alone(epochs=1), tmp_path / "run", watcher=Silent())
    with pytest.raises(ResumeError, match=f"what differs is: {named}\\."):
        distill(replace(alone(epochs=2), **changes), tmp_path / "run", resume=True)


def test_fewer_epochs_are_refused(tmp_path):
    distill(alone(epochs=3), tmp_path / "run", watcher=Silent())
    with pytest.raises(ResumeError, match=r"may raise the number of epochs, not lower it: 3 before, now 2\."):
        distill(alone(epochs=2), tmp_path / "run", resume=True)


def test_a_rate_schedule_cannot_be_stretched(tmp_path):
    distill(alone(epochs=1, schedule=cosine), tmp_path / "run", watcher=Silent())
    with pytest.raises(ResumeError, match=r"laid out for 1 epochs and cannot be stretched to 2\."):
        distill(alone(epochs=2, schedule=cosine), tmp_path / "run", resume=True)


def rows_of_the_environment():
    return rows(int(os.environ["TINY_ROWS"]))


def teacher_of_the_environment():
    net = teacher()
    with torch.no_grad():
        net[2].bias.add_(float(os.environ["TINY_BIAS"]))
    return net


def test_rows_that_have_changed_since_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_ROWS", "53")
    distill(alone(data=rows_of_the_environment, epochs=1), tmp_path / "run", watcher=Silent())
    monkeypatch.setenv("TINY_ROWS", "47")
    with pytest.raises(ResumeError, match="was begun with another set of rows"):
        distill(alone(data=rows_of_the_environment, epochs=2), tmp_path / "run", resume=True)


def test_a_teacher_that_has_changed_since_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TINY_BIAS", "0")
    spec = specification(teacher=teacher_of_the_environment, epochs=1)
    distill(spec, tmp_path / "run", watcher=Silent())
    monkeypatch.setenv("TINY_BIAS", "1")
    with pytest.raises(ResumeError, match="was begun with another teacher"):
        distill(replace(spec, epochs=2), tmp_path / "run", resume=True)


def test_a_lambda_that_has_changed_since_is_refused(tmp_path):
    def with_rate(rate):
        return alone(optimizer=lambda weights: torch.optim.SGD(weights, lr=rate), epochs=1)

    distill(with_rate(0.1), tmp_path / "run", watcher=Silent())
    distill(replace(with_rate(0.1), epochs=2), tmp_path / "run", resume=True, watcher=Silent())
    with pytest.raises(ResumeError, match=r"what differs is: optimizer\."):
        distill(replace(with_rate(0.2), epochs=3), tmp_path / "run", resume=True)


def test_an_optimiser_state_that_does_not_fit_is_refused(tmp_path):
    run = distill(alone(epochs=1), tmp_path / "run", watcher=Silent())
    (last,) = run.checkpoints.glob("last-*")
    state = json.loads((last / "state.json").read_text())
    state["state"]["optimizer"]["groups"][0]["params"] = [0]
    (last / "state.json").write_text(json.dumps(state))
    with pytest.raises(ResumeError, match="optimiser state does not fit"):
        distill(alone(epochs=2), tmp_path / "run", resume=True, watcher=Silent())


def test_a_damaged_checkpoint_is_named(tmp_path):
    run = distill(alone(epochs=1), tmp_path / "run", watcher=Silent())
    (last,) = run.checkpoints.glob("last-*")
    (last / "student.safetensors").write_bytes(b"no tensors")
    with pytest.raises(RunError, match=r"student\.safetensors is damaged"):
        distill(alone(epochs=2), tmp_path / "run", resume=True, watcher=Silent())


def test_a_damaged_record_is_named_by_its_line(tmp_path):
    run = distill(alone(epochs=1), tmp_path / "run", watcher=Silent())
    records = run.path / "metrics.jsonl"
    records.write_text("{\n" + records.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(RunError, match=r"metrics\.jsonl, line 1, is damaged"):
        list(run.records())
