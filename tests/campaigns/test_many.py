"""Many specifications: which are stacked, which go apart and why, and what a second command finds."""

import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from limbeck.campaigns import engine, many
from limbeck.campaigns.engine import Estimate, cheapest, estimated
from limbeck.campaigns.many import run_specifications
from limbeck.errors import ArgumentError, NonFiniteLoss, ResumeError
from limbeck.files import read_tensors
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.recording import record
from limbeck.training.stacking.distill import Shared
from tiny import ADAM, alone, specification, splits, student


class Listener:
    """Keeps what a watcher is told."""

    def __init__(self):
        self.lines, self.begun = [], []

    def start(self, what, total):
        self.begun.append(what)

    def advance(self, done, note):
        pass

    def say(self, line):
        self.lines.append(line)

    def end(self):
        pass


def run_many(specs, folder, listener=None, **more):
    return run_specifications(specs, folder, watcher=listener or Listener(), what="training", parallel=1, **more)


def seeds(count=4, **changes):
    return {f"seed-{seed}": alone(data=splits, validation=0.1, seed=seed, **changes) for seed in range(count)}


def weights(run):
    return read_tensors(run.weights)


def test_stacked_and_apart_leave_the_same_runs(tmp_path):
    stacked, apart = (run_many(seeds(), tmp_path / name, engine=name) for name in ("stacked", "apart"))
    for name, run in stacked.items():
        assert run.path == tmp_path / "stacked" / name
        for key, tensor in weights(run).items():
            torch.testing.assert_close(tensor, weights(apart[name])[key], rtol=1e-5, atol=1e-6)
        assert run.spec["hash"] == apart[name].spec["hash"]


def test_the_watcher_is_told_which_way_is_taken_and_why(tmp_path):
    listener = Listener()
    run_many(seeds(30, epochs=1), tmp_path, listener)
    (line,) = listener.lines
    assert "30 students are trained as one stack. By a quick trial, in seconds:" in line
    assert listener.begun == ["training 30 students as one stack"]


@pytest.mark.parametrize(
    ("seconds", "way"),
    [((1.0, 2.0, 3.0), "here"), ((5.0, 2.0, 3.0), "shares"), ((5.0, float("inf"), 3.0), "apart")],
)
def test_the_quickest_way_is_taken(seconds, way):
    here, shares, apart = seconds
    found = Estimate(count=9, workers=2, here=here, shares=shares, apart=apart)
    assert cheapest(found, "loky") == way
    assert cheapest(found, "ray") != "here"  # a cluster that was asked for is used


def test_a_trial_of_a_few_steps_is_short_and_writes_nothing(tmp_path):
    jobs = [(spec, tmp_path / name) for name, spec in seeds(20, epochs=1000).items()]
    estimated(jobs[:2], Shared(), 1, Silent())  # imports of the first call
    before, began = torch.get_rng_state(), time.perf_counter()
    found = estimated(jobs, Shared(), 2, Silent())
    assert time.perf_counter() - began < 2
    assert torch.equal(torch.get_rng_state(), before)
    assert not any(tmp_path.iterdir())
    assert 0 < found.here < found.apart * 2 and found.shares > engine.START_UP


def test_runs_of_several_architectures_make_several_stacks_and_a_single_one_goes_apart(tmp_path):
    listener = Listener()
    wide = {f"wide-{seed}": alone(data=splits, student=wider, seed=seed) for seed in range(2)}
    other = {"other": alone(data=splits, batch_size=11)}
    runs = run_many({**seeds(3), **wide, **other}, tmp_path, listener, engine="stacked")
    assert listener.begun == ["training 3 students as one stack", "training 2 students as one stack", "training"]
    assert all(run.finished for run in runs.values())


def wider():
    net = student()
    return torch.nn.Sequential(*net, torch.nn.Linear(3, 3))


def test_a_stack_holds_so_many_weights_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(many, "LARGEST", 3 * sum(weight.numel() for weight in student().parameters()))
    listener = Listener()
    run_many(seeds(8, epochs=1), tmp_path, listener, engine="stacked")
    assert listener.begun == [f"training {count} students as one stack" for count in (3, 3, 2)]


def own_optimizer(parameters):
    return torch.optim.SGD(parameters, lr=0.1)


def test_what_cannot_be_stacked_goes_one_by_one_and_the_watcher_hears_why(tmp_path):
    listener = Listener()
    runs = run_many(seeds(2, optimizer=own_optimizer), tmp_path, listener)
    (line,) = listener.lines
    assert line.startswith("2 runs are trained one by one, not as a stack: their optimiser is made by own_optimizer")
    assert all(run.finished for run in runs.values())


def noisy():
    return Noisy()


class Noisy(torch.nn.Module):
    """Draws random numbers that no dropout layer draws."""

    def __init__(self):
        super().__init__()
        self.inner = student()

    def forward(self, x):
        return self.inner(x + 0.1 * torch.randn_like(x) if self.training else x)


@pytest.mark.parametrize("engine_name", ["auto", "stacked"])
def test_what_turns_out_not_to_stack_goes_one_by_one(tmp_path, engine_name):
    listener = Listener()
    run_many(seeds(2, student=noisy), tmp_path, listener, engine=engine_name)
    assert any(
        "in a stack their students raise RuntimeError: vmap: called random operation" in x for x in listener.lines
    )
    assert "training" in listener.begun


def test_what_is_finished_is_not_run_again(tmp_path):
    run_many(seeds(2), tmp_path, engine="stacked")
    before = {name: (tmp_path / name / "summary.json").stat().st_mtime_ns for name in seeds(2)}
    listener = Listener()
    run_many(seeds(4), tmp_path, listener, engine="stacked")
    assert listener.begun == ["training 2 students as one stack"]
    assert before == {name: (tmp_path / name / "summary.json").stat().st_mtime_ns for name in before}
    again = Listener()
    run_many(seeds(4), tmp_path, again)
    assert again.begun == [] and again.lines == []
    with pytest.raises(ResumeError, match="begun with another specification; what differs is: optimizer"):
        run_many(seeds(4, optimizer=partial(ADAM, weight_decay=0.1)), tmp_path)


def test_a_run_that_left_a_checkpoint_is_gone_on_with_apart(tmp_path):
    half = seeds(3, epochs=2)
    distill(half["seed-1"], tmp_path / "seed-1", watcher=Silent())
    whole = seeds(3, epochs=4)
    listener = Listener()
    runs = run_many(whole, tmp_path, listener, engine="stacked")
    assert listener.begun == ["training 2 students as one stack", "training"]
    expected = distill(whole["seed-1"], tmp_path / "expected", watcher=Silent())
    assert all(torch.equal(value, weights(expected)[name]) for name, value in weights(runs["seed-1"]).items())


def test_a_loss_that_breaks_is_told_of_as_it_is_alone_and_the_others_finish(tmp_path):
    specs = seeds(3)
    specs["seed-1"] = replace(specs["seed-1"], optimizer=partial(torch.optim.SGD, lr=1e30))
    with pytest.raises(NonFiniteLoss, match=r"became (NaN|infinite) at step . on row ids"):
        run_many(specs, tmp_path / "runs", engine="stacked")
    for name in ("seed-0", "seed-2"):
        expected = distill(specs[name], tmp_path / name, watcher=Silent())
        found = read_tensors(tmp_path / "runs" / name / "student" / "model.safetensors")
        for key, tensor in weights(expected).items():
            torch.testing.assert_close(found[key], tensor, rtol=1e-5, atol=1e-6)


def test_shares_of_a_stack_in_several_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(many, "cheapest", lambda found, backend: "shares")
    store = tmp_path / "store"
    record(specification(data=splits), store, watcher=Silent())
    specs = {
        f"seed-{seed}": specification(data=splits, teacher=None, targets=store, seed=seed, epochs=2)
        for seed in range(5)
    }
    listener = Listener()
    runs = run_specifications(specs, tmp_path / "runs", watcher=listener, what="training", parallel=2)
    assert "as 2 stacks side by side" in listener.lines[0]
    for name in ("seed-0", "seed-4"):
        expected = distill(specs[name], tmp_path / name, watcher=Silent())
        for key, tensor in weights(expected).items():
            torch.testing.assert_close(weights(runs[name])[key], tensor, rtol=1e-5, atol=1e-6)


def test_an_unknown_engine_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match=r"engine must be auto, stacked or apart\. Got 'fast'\."):
        run_many(seeds(1), tmp_path, engine="fast")


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from tiny import alone, splits
from limbeck.campaigns.many import run_specifications
from limbeck.training.progress import Silent
specs = {{f"seed-{{seed}}": alone(data=splits, seed=seed, epochs=4 if seed < 2 else 100000) for seed in range(4)}}
run_specifications(specs, Path({folder!r}), watcher=Silent(), what="training", parallel=1, engine="stacked")
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_stack_that_is_stopped_leaves_what_was_finished_and_the_rest_begins_anew(tmp_path, number):
    folder = tmp_path / "runs"
    script = KILLED.format(tests=str(Path(__file__).parents[1]), folder=str(folder))
    process = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not all((folder / f"seed-{seed}" / "summary.json").exists() for seed in (0, 1)):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    stderr = process.communicate()[1]
    assert process.returncode != 0
    if number == signal.SIGINT:
        assert "of a stack of 2 runs, which are begun anew" in stderr
    before = (folder / "seed-0" / "summary.json").stat().st_mtime_ns
    specs = {f"seed-{seed}": alone(data=splits, seed=seed, epochs=4 if seed < 2 else 5) for seed in range(4)}
    runs = run_many(specs, folder, engine="stacked")
    assert (folder / "seed-0" / "summary.json").stat().st_mtime_ns == before
    for name, run in runs.items():
        assert run.finished
        assert len((run.path / "ledger.jsonl").read_text().splitlines()) == 1, name
