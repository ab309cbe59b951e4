"""Who else is writing a store: locks that the system takes back when a process ends, however it ends.

A process number says nothing about a process on another machine, and may be another's after a restart.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import final


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time into the block. A file system without locks lets all in."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@final
class Presence:
    """Shows that this process works on a recording, until `end`, or until the process ends."""

    def __init__(self, path: Path) -> None:
        self._handle: int | None = None
        with suppress(FileNotFoundError):  # the recording is finished
            self._handle = os.open(path, os.O_RDONLY)
            with suppress(OSError):
                fcntl.flock(self._handle, fcntl.LOCK_SH)

    def end(self) -> None:
        """Show no longer."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None

    def __del__(self) -> None:
        """End."""
        self.end()


def is_shared(path: Path) -> bool:
    """Whether a process shows its presence; also where the file system cannot tell. To be called inside `locked`."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False
