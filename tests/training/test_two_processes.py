"""Two processes train what one trains: rows are dealt out, sums divided once, gradients added."""

import re
from functools import partial

import pytest
import torch
from torch.nn import functional as F

from limbeck.files import read_tensors
from limbeck.objective import HardLabels
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.run import Run
from plain import plain_training, soft_loss
from processes import free_port, run_script
from tiny import (
    ADAM,
    MOMENTUM,
    channels_last_student,
    cosine,
    double,
    double_student,
    double_teacher,
    rows,
    specification,
    splits,
)
from tolerances import assert_close

ROWS = 41
"""Batches of 8 leave a last one of a single row, and one of two processes with none."""

SCRIPT = """
import os, signal, sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import tiny
from limbeck.data.order import share
from limbeck.errors import Interrupted
from limbeck.objective import HardLabels
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.distill import distill
from limbeck.training.progress import Silent

out = Path(sys.argv[1])
rank = os.environ.get("RANK")
data = partial(tiny.rows, 41)


def train(name, spec, **flags):
    return distill(spec, out / name, watcher=Silent(), **flags)


plain = tiny.double(data=data)
train("plain", plain)
train("parts", replace(plain, microbatches=3, clip_norm=0.05, optimizer=tiny.MOMENTUM, schedule=tiny.cosine))
train("short", replace(plain, max_norm=0.6))
train("channels-last", tiny.specification(data=data, student=tiny.channels_last_student, optimizer=tiny.MOMENTUM))
train("splits", tiny.double(data=tiny.splits, validation=0.1, log_every=3))
train("taught", replace(plain, teacher=tiny.double(data=data, teacher=None, objective=HardLabels())))

train("longer", replace(plain, epochs=1))
train("longer", replace(plain, epochs=2), resume=True)


calls = []


def stopping(columns):
    calls.append(columns)
    if os.environ["RANK"] == "1" and len(calls) == 4:  # in the midst of the first epoch, and in one process alone
        signal.raise_signal(signal.SIGINT)
    return columns["features"].double()


stopped = replace(plain, prepare=stopping, log_every=2, checkpoint_seconds=0.001)
try:
    train("stopped", stopped)
    raise AssertionError("was not stopped")
except Interrupted as error:
    (out / f"said-{rank}").write_text(str(error))
train("stopped", stopped, resume=True)

# All is written. About one in thirty processes that sharded on the CPU would now be aborted by a thread of torch's own.
os._exit(0)
"""


@pytest.fixture(scope="module", params=["DDP", "FSDP"])
def trained(tmp_path_factory, request):
    """The folder of the runs that two processes trained together, each with a copy or a part of the student."""
    folder = tmp_path_factory.mktemp("ranks")
    script = folder / "train.py"
    script.write_text(SCRIPT, encoding="utf-8")
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()))
    done = run_script(script, folder, launcher=launcher, ACCELERATE_USE_FSDP=str(request.param == "FSDP").lower())
    assert done.returncode == 0
    return folder


def weights(folder):
    return read_tensors(folder / "student" / "model.safetensors")


def assert_same_weights(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        assert_close(tensor, expected[name])


@pytest.mark.parametrize("name", ["plain", "longer", "stopped"])
def test_two_processes_take_the_steps_of_one(trained, tmp_path, name):
    expected = distill(double(data=partial(rows, ROWS)), tmp_path / "one", watcher=Silent())
    assert_same_weights(weights(trained / name), weights(expected.path))


def test_two_processes_train_weights_with_channels_last(trained, tmp_path):
    spec = specification(data=partial(rows, ROWS), student=channels_last_student, optimizer=MOMENTUM)
    expected = weights(distill(spec, tmp_path / "one", watcher=Silent()).path)
    for name, tensor in weights(trained / "channels-last").items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-6)


def test_two_processes_take_the_steps_of_plain_torch(trained):
    expected = plain_training(
        student=double_student,
        teacher=double_teacher(),
        inputs=rows(ROWS).rows(torch.arange(ROWS)).columns["features"].double(),
        labels=rows(ROWS).labels,
        loss=lambda z, v, y, step: 0.7 * soft_loss(z, v, 4.0) + 0.3 * F.cross_entropy(z, y),
        optimizer=ADAM,
        epochs=2,
        batch_size=8,
    )
    assert_same_weights(weights(trained / "plain"), expected.state_dict())


def test_micro_batches_clipping_and_a_rate_schedule_act_over_both_processes(trained, tmp_path):
    spec = double(data=partial(rows, ROWS), clip_norm=0.05, optimizer=MOMENTUM, schedule=cosine)
    expected = distill(spec, tmp_path / "one", watcher=Silent())
    assert_same_weights(weights(trained / "parts"), weights(expected.path))


def test_the_norms_of_weights_are_constrained_in_copies_and_in_parts(trained, tmp_path):
    spec = double(data=partial(rows, ROWS), max_norm=0.6)
    found, expected = weights(trained / "short"), weights(distill(spec, tmp_path / "one", watcher=Silent()).path)
    assert_same_weights(found, expected)
    norms = expected["0.weight"].norm(dim=1)
    assert norms.max() <= 0.6 * (1 + 1e-12)
    assert (norms > 0.6 * (1 - 1e-12)).sum() > 1  # it binds


def test_two_processes_leave_the_records_and_scores_of_one(trained, tmp_path):
    spec = double(data=splits, validation=0.1, log_every=3)
    expected, found = distill(spec, tmp_path / "one", watcher=Silent()), Run(trained / "splits")
    assert_alike(list(found.records()), list(expected.records()))
    for key in ("student", "teacher", "kept"):
        assert_alike({**found.summary[key], "fingerprint": ""}, {**expected.summary[key], "fingerprint": ""})
    assert len((found.path / "ledger.jsonl").read_text().splitlines()) == 1
    assert found.spec["hardware"]["processes"] == 2


def assert_alike(found, expected):
    """Equal but for the last digits of floats."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key in expected:
            assert_alike(found[key], expected[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for ours, theirs in zip(found, expected, strict=True):
            assert_alike(ours, theirs)
    else:
        assert found == (pytest.approx(expected, rel=1e-5) if isinstance(expected, float) else expected)


def test_a_teacher_is_trained_by_both_processes_once(trained, tmp_path):
    data = partial(rows, ROWS)
    spec = double(data=data, teacher=double(data=data, teacher=None, objective=HardLabels()))
    expected = distill(spec, tmp_path / "one", watcher=Silent())
    assert_same_weights(weights(trained / "taught"), weights(expected.path))
    assert len(list((trained / "teachers").glob("*/summary.json"))) == 1


def test_a_ctrl_c_in_one_process_stops_both_at_the_same_step(trained):
    said = {(trained / f"said-{rank}").read_text() for rank in (0, 1)}
    assert len(said) == 1
    step = int(re.fullmatch(r"Stopped at step (\d+), after the state was saved in .*", said.pop()).group(1))
    assert 0 < step < 6


def test_a_launch_for_deepspeed_is_refused(run_python, tmp_path):
    script = """
import sys
import tiny
from limbeck.errors import SpecificationError
from limbeck.training.distill import distill
try:
    distill(tiny.specification(), sys.argv[1])
except SpecificationError as error:
    print(error)
"""
    done = run_python(script, tmp_path / "run", WORLD_SIZE="2", ACCELERATE_USE_DEEPSPEED="true")
    assert done.stdout.startswith("This launch asks for DEEPSPEED, which Limbeck does not speak;")
    assert not (tmp_path / "run").exists()


FAILING = """
import os, sys
from pathlib import Path

import tiny
import torch
from limbeck.errors import RunError
from limbeck.training.distill import distill
from limbeck.training.progress import Silent

out, rank = Path(sys.argv[1]), os.environ.get("RANK")
try:
    distill(tiny.specification(), out, watcher=Silent())  # the script lies there
except RunError as error:
    (out / f"refused-{rank}").write_text(str(error))


def poisoned(columns):
    features = columns["features"].clone()
    if os.environ["RANK"] == "1" and len(features) > 2:
        features[0] = torch.nan
    return features


distill(tiny.specification(prepare=poisoned, data=tiny.splits, validation=0.1), out / "run", watcher=Silent())
"""


def test_an_error_in_one_process_ends_the_other_at_once(tmp_path):
    script = tmp_path / "fail.py"
    script.write_text(FAILING, encoding="utf-8")
    launcher = ("-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(free_port()))
    done = run_script(script, tmp_path, launcher=launcher, seconds=60)
    assert done.returncode == 1
    assert "NonFiniteLoss: Term 'soft' became NaN at step 0 on row ids" in done.stderr
    said = {(tmp_path / f"refused-{rank}").read_text() for rank in (0, 1)}
    assert said == {f"{tmp_path} is not empty: it holds no run; choose another --out."}
