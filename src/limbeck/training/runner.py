"""Independent tasks side by side: local processes through joblib, each with its share of the cores."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import joblib
import torch

from limbeck.errors import Interrupted, LimbeckError
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

    Raises: what a task raised, the first by order of the tasks; Interrupted on Ctrl-C.
    """
    workers = max(1, min(parallel or cores(), len(tasks)))
    watcher.start(what, len(tasks))
    results: list[Result] = []
    try:
        for answer in _answers(function, tasks, workers):
            if isinstance(answer, LimbeckError):
                raise answer
            results.append(answer)
            watcher.advance(len(results), "")
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped {what} with {len(results)} of {len(tasks)} done.") from None
    watcher.end()
    return results


def _answers(
    function: Callable[..., Result], tasks: Sequence[Mapping[str, Any]], workers: int
) -> Iterator[Result | LimbeckError]:
    if workers == 1:
        return (function(**task) for task in tasks)
    threads = max(1, cores() // workers)
    calls = (joblib.delayed(_in_worker)(function, task, threads) for task in tasks)
    found: Iterator[Result | LimbeckError] = joblib.Parallel(n_jobs=workers, return_as="generator")(calls)
    return found


def _in_worker(function: Callable[..., Result], task: Mapping[str, Any], threads: int) -> Result | LimbeckError:
    # An error for the user travels as a value: joblib would wrap it in the worker's traceback.
    with _threads(threads):
        try:
            return function(**task)
        except LimbeckError as error:
            return error


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
