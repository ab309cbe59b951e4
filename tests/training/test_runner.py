"""Independent tasks side by side in processes of their own."""

import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
import torch

from limbeck.errors import ArgumentError, Interrupted, MissingExtra, RunError
from limbeck.training.progress import PlainLines, Silent
from limbeck.training.ray_tasks import threads_each
from limbeck.training.runner import cores, run_all
from processes import free_port


def where(number):
    return number, os.getpid(), torch.get_num_threads()


def fails(number):
    if number == 2:
        raise ArgumentError("two: must not be two. Got 2.")
    return number


def dies(number):
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def is_interrupted(number):
    if number == 3:
        signal.raise_signal(signal.SIGINT)
    return number


def tasks(count):
    return [{"number": number} for number in range(count)]


def test_results_come_in_the_order_of_the_tasks_from_other_processes():
    found = run_all(where, tasks(5), watcher=Silent(), what="counting", parallel=2)
    assert [number for number, _, _ in found] == list(range(5))
    assert os.getpid() not in {process for _, process, _ in found}
    assert {threads for _, _, threads in found} == {max(1, cores() // 2)}


@pytest.mark.parametrize(("count", "parallel"), [(3, 1), (1, None)])
def test_one_at_a_time_is_done_here(count, parallel):
    found = run_all(where, tasks(count), watcher=Silent(), what="counting", parallel=parallel)
    assert {process for _, process, _ in found} == {os.getpid()}


@pytest.mark.parametrize("parallel", [1, 2])
def test_the_first_error_is_raised_as_it_was(parallel):
    with pytest.raises(ArgumentError, match=r"^two: must not be two\. Got 2\.$"):
        run_all(fails, tasks(5), watcher=Silent(), what="counting", parallel=parallel)


def test_a_process_that_dies_is_told_in_one_sentence():
    with pytest.raises(RunError, match=r"^A process died while counting, most likely for lack of memory; run fewer at"):
        run_all(dies, tasks(3), watcher=Silent(), what="counting", parallel=2)
    assert len(run_all(fails, tasks(2), watcher=Silent(), what="counting", parallel=2)) == 2


@pytest.fixture
def heard():
    """Ctrl-C is heard, also where the tests were started in the background of a shell, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heard")
def test_ctrl_c_says_how_much_was_done():
    with pytest.raises(Interrupted, match=r"^Stopped counting with 3 of 5 done\.$"):
        run_all(is_interrupted, tasks(5), watcher=Silent(), what="counting", parallel=1)


def takes_its_time(number, folder):
    Path(folder, str(number)).touch()
    time.sleep(0.2)
    return number


def test_ctrl_c_lets_those_that_run_come_to_their_end_and_begins_no_other(tmp_path):
    many = [{"number": number, "folder": str(tmp_path)} for number in range(40)]
    run_all(takes_its_time, many[:2], watcher=Silent(), what="warming up", parallel=2)
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(Interrupted, match=r"^Stopped counting with \d+ of 40 done\.$") as caught:
        run_all(takes_its_time, many, watcher=Silent(), what="counting", parallel=2)
    timer.join()
    begun, done = len(list(tmp_path.iterdir())), int(str(caught.value).split()[3])
    assert begun - 2 <= done <= begun < 30


def test_an_error_begins_no_other_task(tmp_path):
    many = [{"number": number, "folder": str(tmp_path)} for number in range(40)]
    with pytest.raises(ArgumentError, match="one: must not be one"):
        run_all(fails_early, many, watcher=Silent(), what="counting", parallel=2)
    assert len(list(tmp_path.iterdir())) < 10


def fails_early(number, folder):
    if number == 1:
        raise ArgumentError("one: must not be one.")
    return takes_its_time(number, folder)


def test_progress_is_told_and_a_stopped_work_is_not_called_done(capsys):
    run_all(fails, tasks(2), watcher=PlainLines(seconds=0), what="counting", parallel=1)
    assert capsys.readouterr().err.splitlines() == ["counting", "counting: 1 of 2", "counting: 2 of 2"]
    with pytest.raises(ArgumentError):
        run_all(fails, tasks(5), watcher=PlainLines(seconds=0), what="counting", parallel=1)
    assert capsys.readouterr().err.splitlines()[-1] == "counting: 2 of 5"


def test_no_tasks_are_done_at_once():
    assert run_all(fails, [], watcher=Silent(), what="counting") == []


def test_without_tasks_nobody_connects(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    assert run_all(where, [], watcher=Silent(), what="counting", backend="ray") == []


def test_where_no_cluster_answers_the_sentence_says_how_to_start_one(monkeypatch):
    pytest.importorskip("ray")
    named = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("RAY_ADDRESS", named)
    begun = time.monotonic()
    with pytest.raises(
        RunError, match=rf"^The Ray cluster {named} cannot be reached \(.*\); start one with `ray start"
    ):
        run_all(where, tasks(1), watcher=Silent(), what="counting", backend="ray")
    assert time.monotonic() - begun < 10
    monkeypatch.setenv("RAY_ADDRESS", "nonsense")
    with pytest.raises(
        RunError, match=r"^The Ray cluster nonsense cannot be reached \(.*\); start one with `ray start"
    ):
        run_all(where, tasks(1), watcher=Silent(), what="counting", backend="ray")


def test_without_ray_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"^Running on a Ray cluster needs an extra .*'limbeck\[cluster\]'\.$"):
        run_all(where, tasks(1), watcher=Silent(), what="counting", backend="ray")


def test_another_backend_is_refused():
    with pytest.raises(ArgumentError, match=r"^run_all: backend must be loky or ray\. Got 'dask'\.$"):
        run_all(where, tasks(1), watcher=Silent(), what="counting", backend="dask")


@pytest.mark.parametrize(
    ("processors", "at_once", "threads"),
    [([8], 3, 2), ([8, 2], 2, 4), ([2, 2, 2], 2, 2), ([2], 5, 1), ([4, 4], 1, 4), ([1, 1], 2, 1), ([6, 3], 4, 2)],
)
def test_tasks_get_as_many_threads_as_fit_side_by_side(processors, at_once, threads):
    assert threads_each(processors, at_once) == threads


def test_where_no_cluster_runs_here_none_is_started(monkeypatch):
    pytest.importorskip("ray")
    names = (folder / "comm" for folder in Path("/proc").iterdir() if folder.name.isdecimal())
    if any(is_named(name, "gcs_server") for name in names):
        pytest.skip("a Ray cluster is running on this machine")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with pytest.raises(RunError, match=r"^No Ray cluster runs here; start one with `ray start --head`, or name the ad"):
        run_all(where, tasks(1), watcher=Silent(), what="counting", backend="ray")


def is_named(file, name):
    try:
        return file.read_text().strip() == name
    except OSError:
        return False
