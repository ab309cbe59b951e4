"""Scripts in processes of their own, with the modules of the tests at hand."""

import os
import socket
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent


def environment(**more):
    """The environment of a script that imports `tiny`."""
    path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PYTHONPATH": path, **more}


def run_script(script, *arguments, launcher=(), seconds=120, **more):
    """Run a file to its end and return the finished process; what it printed is shown if it failed."""
    words = [sys.executable, *launcher, str(script), *map(str, arguments)]
    done = subprocess.run(words, env=environment(**more), capture_output=True, text=True, timeout=seconds, check=False)
    if done.returncode:
        print(done.stdout, done.stderr)
    return done


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
