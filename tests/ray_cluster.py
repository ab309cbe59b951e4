"""A Ray cluster on this machine for tests: two processors, no page, ports and files of its own."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from processes import free_port

PROCESSORS = 2


@contextmanager
def ray_cluster(seconds=60):
    """Start `ray start --head` and yield its address; all its processes are gone afterwards, come what may."""
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # short: the names of sockets have room for 107 bytes
    port = free_port()
    words = {
        "port": port,
        "num-cpus": PROCESSORS,
        "num-gpus": 0,
        "object-store-memory": 80_000_000,
        "include-dashboard": "false",
        "ray-client-server-port": free_port(),
        "dashboard-agent-listen-port": free_port(),
        "min-worker-port": 0,
        "max-worker-port": 0,
        "temp-dir": folder,
    }
    script = "import sys; from ray.scripts.scripts import main; sys.exit(main())"
    command = [sys.executable, "-c", script, "start", "--head", "--block", "--disable-usage-stats"]
    command += [f"--{name}={value}" for name, value in words.items()]
    allowed = {"RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE": "1", "RAY_enable_metrics_collection": "0"}
    told = (folder / "told").open("w+")
    # Its own session: what it starts can be found and ended with it.
    head = subprocess.Popen(
        command, env={**os.environ, **allowed}, stdout=told, stderr=told, start_new_session=True, cwd=folder
    )
    try:
        _wait_for(head, folder / "told", seconds)
        yield f"127.0.0.1:{port}"
    finally:
        while started := descendants(head.pid):  # one may start another while it is looked for
            _kill(*started)
        _kill(head.pid)
        head.wait()
        told.close()
        shutil.rmtree(folder, ignore_errors=True)


def _kill(*numbers):
    for number in numbers:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _wait_for(head, told, seconds):
    deadline = time.monotonic() + seconds
    while "Ray runtime started" not in told.read_text():
        if head.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Ray did not start:\n{told.read_text()[-3000:]}")
        time.sleep(0.1)


def descendants(root):
    """The processes that a process started, and those that these started, by number; without those that have ended."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal():
            with suppress(OSError):
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
                if state != "Z":
                    parents[int(folder.name)] = int(parent)
    found, more = set(), {root}
    while more:
        more = {child for child, parent in parents.items() if parent in more} - found
        found |= more
    return found
