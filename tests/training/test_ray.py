"""Tasks on a real Ray cluster on this machine: the same numbers as in local processes, and the same manners."""

import os
import signal
import socket
import threading
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from limbeck.errors import ArgumentError, Interrupted, RunError
from limbeck.files import read_tensors
from limbeck.objective import SoftTargets
from limbeck.specification import EnsembleOf, from_json, to_json
from limbeck.training.distill import distill
from limbeck.training.progress import Silent
from limbeck.training.ray_tasks import cluster
from limbeck.training.run import Run
from limbeck.training.runner import run_all
from ray_cluster import PROCESSORS, descendants, ray_cluster
from tiny import alone, between_epochs, dropout_student, specification, splits

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def address():
    pytest.importorskip("ray", reason="Ray is not installed (the extra `cluster`)")
    with ray_cluster() as found:
        yield found


@pytest.fixture(scope="module")
def connected(address):
    """One connection for many tests: its workers import torch once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", address)
        with cluster():
            yield


on_ray = partial(run_all, watcher=Silent(), what="counting", backend="ray")


def tasks(count, **more):
    return [{"number": number, **more} for number in range(count)]


def where(number):
    return number, os.getpid(), torch.get_num_threads(), str(Path.cwd())


def test_results_come_in_order_from_other_processes_with_their_share_of_the_cores(address, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.chdir(tmp_path)
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    found = on_ray(where, tasks(5))
    assert [number for number, *_ in found] == list(range(5))
    assert os.getpid() not in {process for _, process, *_ in found}
    assert {(threads, folder) for *_, threads, folder in found} == {(1, str(tmp_path))}
    (alone_there,) = on_ray(where, tasks(1))
    assert alone_there[1] != os.getpid() and alone_there[2] == PROCESSORS
    assert {number: signal.getsignal(number) for number in before} == before


def trained(encoded, out, pause=0.0):
    os.environ["TINY_PAUSE"] = str(pause)
    return str(distill(from_json(encoded), out, resume=True, watcher=Silent()).path)


def test_ray_and_loky_train_the_same_students_to_the_bit(connected, tmp_path):
    specs = {
        "taught": specification(data=splits, validation=0.1, student=dropout_student),
        "alone": alone(data=splits, validation=0.1, seed=1),
    }
    weights = {}
    for backend in ("loky", "ray"):
        folder = tmp_path / backend
        work = [{"encoded": to_json(spec), "out": str(folder / name)} for name, spec in specs.items()]
        paths = run_all(trained, work, watcher=Silent(), what="training", parallel=2, backend=backend)
        runs = [Run.open(path) for path in paths]
        assert [run.spec["hardware"]["threads"] for run in runs] == [1, 1]
        assert all(run.summary["student"]["test"]["rows"] == 17 for run in runs)
        weights[backend] = [read_tensors(run.weights) for run in runs]
    for ours, theirs in zip(*weights.values(), strict=True):
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_members_of_an_ensemble_are_trained_on_the_cluster(connected, tmp_path):
    members = EnsembleOf(members=[alone(epochs=1, seed=seed) for seed in range(2)])
    spec = specification(teacher=members, objective=SoftTargets(temperature=2.0), epochs=1)
    fingerprints = {
        backend: distill(spec, tmp_path / backend / "run", watcher=Silent(), parallel=2, backend=backend).summary
        for backend in ("loky", "ray")
    }
    assert fingerprints["ray"]["student"] == fingerprints["loky"]["student"]
    assert fingerprints["ray"]["teacher"] == fingerprints["loky"]["teacher"]


def fails(number, folder):
    Path(folder, str(number)).touch()
    if number == 1:
        raise ArgumentError("one: must not be one.")
    time.sleep(0.1)
    return number


def test_an_error_is_raised_as_it_was_and_begins_no_other_task(connected, tmp_path):
    with pytest.raises(ArgumentError, match=r"^one: must not be one\.$"):
        on_ray(fails, tasks(30, folder=str(tmp_path)))
    assert len(list(tmp_path.iterdir())) < 10


def divides(number):
    return 1 / number


def test_an_error_that_is_not_for_users_keeps_its_kind(connected):
    with pytest.raises(ZeroDivisionError):
        on_ray(divides, tasks(2))


def dies(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_a_process_that_dies_is_told_in_one_sentence(connected):
    with pytest.raises(RunError, match=r"^A process died while counting, most likely for lack of memory; run fewer at"):
        on_ray(dies, tasks(3))
    assert on_ray(where, tasks(1))[0][0] == 0


def takes_its_time(number, folder):
    Path(folder, f"begun-{number}").touch()
    time.sleep(0.4)
    Path(folder, f"done-{number}").touch()
    return number


def test_ctrl_c_begins_no_other_task_and_interrupts_those_that_run(connected, tmp_path):
    on_ray(where, tasks(2))
    press = threading.Thread(target=interrupt_when, args=(tmp_path / "begun-2",))
    press.start()
    with pytest.raises(Interrupted, match=r"^Stopped counting with \d+ of 40 done\.$"):
        on_ray(takes_its_time, tasks(40, folder=str(tmp_path)))
    press.join()
    begun, done = (len(list(tmp_path.glob(f"{word}-*"))) for word in ("begun", "done"))
    assert done <= begun <= done + 2 and begun < 40  # how soon the key is heard depends on what else the machine does


def interrupt_when(path, seconds=60):
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGINT)


def test_ctrl_c_saves_the_runs_that_are_under_way(connected, tmp_path):
    work = [
        {"encoded": to_json(replace(between_epochs(), seed=seed)), "out": str(tmp_path / f"run-{seed}"), "pause": 0.05}
        for seed in range(2)
    ]
    press = threading.Thread(target=interrupt_when, args=(tmp_path / "run-1" / "metrics.jsonl",))
    press.start()
    with pytest.raises(Interrupted, match=r"^Stopped counting with 0 of 2 done\.$"):
        on_ray(trained, work)
    press.join()
    assert (tmp_path / "run-1" / "spec.json").is_file() and not (tmp_path / "run-1" / "summary.json").exists()
    assert list((tmp_path / "run-1" / "checkpoints").glob("last-*"))


def test_a_folder_that_a_machine_does_not_see_is_named(connected, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setattr(Path, "cwd", lambda: tmp_path / "never")
    with pytest.raises(RunError, match=r"^The machine \S+ of the Ray cluster does not see the folder .*never; every"):
        on_ray(where, tasks(1))


def test_the_cluster_of_the_tests_leaves_nobody_behind():
    pytest.importorskip("ray")
    before = descendants(os.getpid())
    with ray_cluster() as address, socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 5):
        started = descendants(os.getpid()) - before
        assert len(started) > 3
    assert not [number for number in started if alive(number)]


def alive(number):
    try:
        return "Z" not in Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
