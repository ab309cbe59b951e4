"""Independent tasks side by side in processes of their own."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

from limbeck.errors import ArgumentError, Interrupted, RunError
from limbeck.training.progress import PlainLines, Silent
from limbeck.training.runner import cores, run_all


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
        os.kill(os.getpid(), signal.SIGINT)
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
