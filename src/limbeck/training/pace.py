"""How fast a recording goes, in words: rows per second, time left, bytes."""

import time
from typing import final

from limbeck.training.progress import Watcher


@final
class Pace:
    """Tells how fast it goes, how long it will take and how much it will be."""

    def __init__(self, watcher: Watcher, total: int, row_bytes: int) -> None:
        self.total, self._watcher, self._row_bytes = total, watcher, row_bytes
        self._done, self._began = 0, time.monotonic()

    def advance(self, rows: int) -> None:
        """Tell of so many rows more."""
        self._done += rows
        rate = self._done / max(time.monotonic() - self._began, 1e-9)
        left = (self.total - self._done) / rate
        written, whole = self._done * self._row_bytes, self.total * self._row_bytes
        self._watcher.advance(
            self._done, f"{rate:,.0f} rows/s, {_duration(left)} left, {in_bytes(written)} of {in_bytes(whole)}"
        )


def in_bytes(count: float) -> str:
    """Write a number of bytes for people.

    >>> in_bytes(512), in_bytes(2_400_000)
    ('512 B', '2.4 MB')
    """
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
