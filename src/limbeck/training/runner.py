"""Independent tasks side by side, each with its share of the cores: processes through joblib, or a Ray cluster."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import Literal, TypeAlias, TypeVar, get_args

import joblib

from limbeck.errors import ArgumentError, Interrupted, LimbeckError, RunError
from limbeck.training.interrupt import StopRequest, stop_on_ctrl_c
from limbeck.training.progress import Watcher
from limbeck.training.ray_tasks import cluster, threads_each
from limbeck.training.worker import Task, in_worker

Result = TypeVar("Result")

Backend: TypeAlias = Literal["loky", "ray"]
"""Who runs tasks side by side: processes of this machine, or the Ray cluster that is running."""


def cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_all(
    function: Callable[..., Result],
    tasks: Sequence[Task],
    *,
    watcher: Watcher,
    what: str,
    parallel: int | None = None,
    backend: Backend = "loky",
) -> list[Result]:
    """Call `function(**task)` for every task and return the results in the order of the tasks.

    Args:
        function: importable by name; its arguments and results must be plain data (paths, numbers, JSON).
        tasks: keyword arguments of each call.
        watcher: is told how many tasks are done.
        what: the name of this work, for people.
        parallel: how many processes at most; None for one per core. One runs the tasks here, one by one, unless they
            go to a cluster.
        backend: loky for processes on this machine; ray for the cluster that RAY_ADDRESS names or that `ray start`
            started here, whose machines must see the same folders. A task has the same number of threads either way
            where there are as many cores.

    Raises: what a task raised, the first by order of the tasks; RunError where a process died, or where there is no
        cluster; MissingExtra without Ray; Interrupted on Ctrl-C.
    In all these cases no task is begun any more, and those that run come to their end, or to where Ctrl-C stops them.
    """
    if backend not in get_args(Backend):
        raise ArgumentError(f"run_all: backend must be loky or ray. Got {backend!r}.")
    workers = max(1, min(parallel or cores(), len(tasks)))
    watcher.start(what, len(tasks))
    results: list[Result] = []

    def keep(result: Result) -> None:
        results.append(result)
        watcher.advance(len(results), "")

    try:
        if backend == "ray":
            _on_cluster(function, tasks, parallel, keep)
        elif workers == 1:
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


def _on_cluster(
    function: Callable[..., Result], tasks: Sequence[Task], parallel: int | None, keep: Callable[[Result], None]
) -> None:
    if not tasks:
        return
    with cluster() as found:
        at_once = found.at_once(parallel, len(tasks))
        threads = threads_each(found.processors, at_once)
        _dealt_out(
            tasks,
            lambda rest, stop: found.answers(function, rest, at_once=at_once, threads=threads, stop=stop),
            keep,
        )


def _side_by_side(
    function: Callable[..., Result], tasks: Sequence[Task], workers: int, keep: Callable[[Result], None]
) -> None:
    call = joblib.delayed(partial(in_worker, function, threads=max(1, cores() // workers)))
    # Killing the processes that run at Ctrl-C would be sooner, but joblib's own threads do not always survive it
    # without a traceback.
    pool = joblib.Parallel(n_jobs=workers, return_as="generator", pre_dispatch="n_jobs", batch_size=1)
    _dealt_out(tasks, lambda rest, _stop: pool(map(call, rest)), keep)


def _dealt_out(
    tasks: Sequence[Task],
    answers: Callable[[Iterator[Task], StopRequest], Iterator[Result | LimbeckError]],
    keep: Callable[[Result], None],
) -> None:
    """Keep the answers to tasks, in order.

    Tasks are dealt out one at a time, so that an error or a request to stop holds back those that remain.
    """
    failed: list[LimbeckError] = []
    with stop_on_ctrl_c() as stop:
        rest = (task for task in tasks if not (failed or stop.made))
        try:
            for answer in answers(rest, stop):
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
