"""Independent tasks side by side: local processes through joblib, each with its share of the cores."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import joblib
import torch

from limbeck.errors import Interrupted, LimbeckError, RunError
from limbeck.training.interrupt import stop_on_ctrl_c
from limbeck.training.progress import Watcher

Result = TypeVar("Result")


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    function: Callable[..., Result],
    tasks: Sequence[Mapping[str, Any]],
    *,
    watcher: Watcher,
    what: str,
    parallel: int | None = None,
) -> list[Result]:
    """Call `function(**task)` for every task and return the results in the order of the tasks.

    Args:
        function: importable by name; its arguments and results must be plain data (paths, numbers, JSON).
        tasks: keyword arguments of each call.
        watcher: is told how many tasks are done.
        what: the name of this work, for people.
        parallel: how many processes at most; None for one per core. One runs the tasks here, one by one.

    Raises: what a task raised, the first by order of the tasks; RunError where a process died; Interrupted on Ctrl-C.
    In all these cases no task is begun any more, and those that run come to their end, or to where Ctrl-C stops them.
    """
    workers = max(1, min(parallel or cores(), len(tasks)))
    watcher.start(what, len(tasks))
    results: list[Result] = []

    def keep(result: Result) -> None:
        results.append(result)
        watcher.advance(len(results), "")

    try:
        if workers == 1:
            for task in tasks:
                keep(function(**task))
        else:
            _side_by_side(function, tasks, workers, keep)
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped {what} with {len(results)} of {len(tasks)} done.") from None
    except BrokenProcessPool as error:
        raise RunError(
            f"A process died while {what}, most likely for lack of memory; run fewer at once with --parallel."
        ) from error
    finally:
        watcher.end()
    return results


def _side_by_side(
    function: Callable[..., Result],
    tasks: Sequence[Mapping[str, Any]],
    workers: int,
    keep: Callable[[Result], None],
) -> None:
    threads = max(1, cores() // workers)
    failed: list[LimbeckError] = []
    with stop_on_ctrl_c() as stop:
        # Tasks are dealt out one at a time, so that an error or a request to stop holds back those that remain. Killing
        # the processes that run would be sooner, but joblib's own threads do not always survive it without a traceback.
        calls = (joblib.delayed(_in_worker)(function, task, threads) for task in tasks if not (failed or stop.made))
        pool = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="n_jobs", batch_size=1)
        try:
            for answer in pool(calls):
                if isinstance(answer, LimbeckError):
                    failed.append(answer)
                elif not failed:
                    keep(answer)
        except BrokenProcessPool:
            if not stop.made:  # an idle process ends at Ctrl-C
                raise
    if stop.made:
        raise KeyboardInterrupt
    if failed:
        raise failed[0]


def _in_worker(function: Callable[..., Result], task: Mapping[str, Any], threads: int) -> Result | LimbeckError:
    # An error for the user travels as a value: joblib would wrap it in the worker's traceback.
    with _threads(threads):
        try:
            return function(**task)
        except LimbeckError as error:
            return error
        except KeyboardInterrupt:
            return Interrupted("Stopped before there was anything to save.")


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
