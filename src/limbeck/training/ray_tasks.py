"""Tasks on a Ray cluster: connected to, asked one task at a time, left as it was found."""

import logging
import os
import signal
import socket
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, final

from limbeck.errors import Interrupted, LimbeckError, MissingExtra, RunError
from limbeck.references import load, reference_of
from limbeck.training.interrupt import StopRequest
from limbeck.training.worker import Task, in_worker

_ADDRESS = "RAY_ADDRESS"
_PATIENCE = 5.0  # seconds for a cluster to answer at all; Ray itself would try for minutes
_GLANCE = 0.2  # seconds between two looks for Ctrl-C


@final
class Cluster:
    """A running Ray cluster."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray
        nodes = (node["Resources"] for node in ray.nodes() if node["Alive"])
        self.processors = tuple(count for node in nodes if (count := int(node.get("CPU", 0))))
        """Of each of its machines that has any."""
        if not self.processors:
            raise RunError("The Ray cluster has no processors to compute on; start it without --num-cpus 0.")

    def at_once(self, parallel: int | None, tasks: int) -> int:
        """How many tasks are dealt out at a time: one per processor, at most `parallel`."""
        return max(1, min(parallel or sum(self.processors), tasks))

    def answers(
        self, function: Callable[..., Any], tasks: Iterator[Task], *, at_once: int, threads: int, stop: StopRequest
    ) -> Iterator[Any]:
        """Yield what `in_worker` returns for every task, in order; one is taken when there is room to begin it.

        Args:
            function: importable by name.
            tasks: its arguments.
            at_once: how many are begun before the first of them ends.
            threads: processors that each task occupies.
            stop: once made, the tasks that run are interrupted as by Ctrl-C, and their answers still yielded.

        Raises: BrokenProcessPool where a worker died; what the function raised, unless it is a value.
        """
        ray = self._ray
        remote = ray.remote(num_cpus=threads, max_retries=0)(_on_machine)
        surroundings = {"folder": str(Path.cwd()), "paths": sys.path, "reference": reference_of(function)}
        unread: deque[Any] = deque()  # what was begun and not yielded, in order
        running: list[Any] = []
        told = False
        while True:
            while len(running) < at_once and (task := next(tasks, None)) is not None:
                running.append(remote.remote(task, threads, **surroundings))
                unread.append(running[-1])
            if not unread:
                return
            _, running = ray.wait(running, timeout=_GLANCE, fetch_local=False)
            if stop.made and not told:
                told = True
                for begun in running:
                    ray.cancel(begun, force=False)
            while unread and unread[0] not in running:
                yield self._answer(unread.popleft())

    def _answer(self, begun: Any) -> Any:
        errors = self._ray.exceptions
        died = (errors.WorkerCrashedError, errors.OutOfMemoryError, errors.NodeDiedError, errors.ObjectLostError)
        try:
            return self._ray.get(begun)
        except errors.TaskCancelledError:
            return Interrupted("Stopped before there was anything to save.")
        except died as error:
            raise BrokenProcessPool(str(error)) from error


def _on_machine(task: Task, threads: int, *, folder: str, paths: list[str], reference: str) -> Any:
    """What runs on a machine of the cluster: relative paths and imports mean there what they mean here."""
    try:
        os.chdir(folder)
    except OSError:
        return RunError(
            f"The machine {socket.gethostname()} of the Ray cluster does not see the folder {folder}; every machine "
            "must have the same files under the same names, as on a shared disk."
        )
    sys.path.extend(path for path in paths if path not in sys.path)
    try:
        function = load(reference)
    except LimbeckError as error:
        return error
    return in_worker(function, task, threads)


@contextmanager
def cluster() -> Iterator[Cluster]:
    """Connect to the cluster that runs: the one that RAY_ADDRESS names, else this machine's.

    None is started: who asks for Ray wants the cluster that was set up, and a forgotten one would go on running. A
    connection that the program has already is used, and left open.

    Raises: MissingExtra without Ray; RunError where no cluster runs, or the one that is named does not answer.
    """
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("running on a Ray cluster", "cluster") from error
    if ray.is_initialized():
        yield Cluster(ray)
        return
    address = os.environ.get(_ADDRESS, "auto")
    _require_somebody(address)
    try:
        with _signals_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Ray's advice on its own future
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except Exception as error:
        raise _no_cluster(address, str(error)) from error
    try:
        yield Cluster(ray)
    finally:
        ray.shutdown()


@contextmanager
def _signals_kept() -> Iterator[None]:
    """Put back the handlers that Ray replaces: a SIGTERM must still save the state."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _require_somebody(address: str) -> None:
    """Knock at the port that an address names, where it names one."""
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not host or not port.isdecimal():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except OSError as error:
        raise _no_cluster(address, str(error)) from error


def _no_cluster(address: str, why: str) -> RunError:
    if address == "auto" and "any running Ray" in why:
        return RunError(
            "No Ray cluster runs here; start one with `ray start --head`, or name the address of another in the "
            f"environment variable {_ADDRESS}."
        )
    first = next(iter(why.splitlines()), "").rstrip(".")
    return RunError(
        f"The Ray cluster {'here' if address == 'auto' else address} cannot be reached ({first}); start one with "
        f"`ray start --head`, and let {_ADDRESS} name it where it runs on another machine."
    )


def threads_each(processors: Sequence[int], at_once: int) -> int:
    """Return the most threads at which so many tasks fit side by side on machines of these sizes; at least 1.

    >>> threads_each([8], 3), threads_each([8, 2], 2), threads_each([2, 2, 2], 2), threads_each([2], 5)
    (2, 4, 2, 1)
    """
    fitting = (count for count in range(max(processors), 0, -1) if sum(own // count for own in processors) >= at_once)
    return next(fitting, 1)
