"""Independent tasks side by side: local processes through joblib, each with its share of the cores."""

import os
import warnings
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, TypeVar

import joblib
import torch

from limbeck.errors import Interrupted, LimbeckError, RunError
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

    Raises: what a task raised, the first by order of the tasks, after stopping the others; RunError where a process
    died; Interrupted on Ctrl-C.
    """
    workers = max(1, min(parallel or cores(), len(tasks)))
    watcher.start(what, len(tasks))
    results: list[Result] = []
    answers = _answers(function, tasks, workers)
    try:
        for answer in answers:
            if isinstance(answer, LimbeckError):
                raise answer
            results.append(answer)
            watcher.advance(len(results), "")
    except KeyboardInterrupt:
        raise Interrupted(f"Stopped {what} with {len(results)} of {len(tasks)} done.") from None
    except BrokenProcessPool as error:
        raise RunError(
            f"A process died while {what}, most likely for lack of memory; run fewer at once with --parallel."
        ) from error
    finally:
        _stop(answers)
        watcher.end()
    return results


def _stop(answers: Generator[Any, None, None]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # joblib remarks on the tasks that it cancels
        answers.close()


def _answers(
    function: Callable[..., Result], tasks: Sequence[Mapping[str, Any]], workers: int
) -> Generator[Result | LimbeckError, None, None]:
    if workers == 1:
        return (function(**task) for task in tasks)
    threads = max(1, cores() // workers)
    calls = (joblib.delayed(_in_worker)(function, task, threads) for task in tasks)
    found: Generator[Result | LimbeckError, None, None]
    found = joblib.Parallel(n_jobs=workers, return_as="generator")(calls)
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
