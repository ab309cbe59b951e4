"""What a person sees while it runs: a bar on a terminal, plain lines elsewhere, nothing in a worker."""

import sys
import time
from types import TracebackType
from typing import Protocol, Self, final

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Column
from rich.text import Text


class Watcher(Protocol):
    """Is told how far a run has come."""

    def start(self, what: str, total: int) -> None:
        """A piece of work of `total` units begins."""

    def advance(self, done: int, note: str) -> None:
        """So many units are done; `note` is the newest figures."""

    def say(self, line: str) -> None:
        """One line for the person."""

    def end(self) -> None:
        """The piece of work is over: done, or stopped."""


@final
class Silent:
    """Shows nothing."""

    def start(self, what: str, total: int) -> None:
        """Show nothing."""

    def advance(self, done: int, note: str) -> None:
        """Show nothing."""

    def say(self, line: str) -> None:
        """Show nothing."""

    def end(self) -> None:
        """Show nothing."""


@final
class Once:
    """Passes everything on, but says no line twice: of many runs alike, one tells it for all."""

    def __init__(self, watcher: Watcher) -> None:
        self._watcher = watcher
        self._said: set[str] = set()
        self.start, self.advance, self.end = watcher.start, watcher.advance, watcher.end

    def say(self, line: str) -> None:
        """Say a line that was not said before."""
        if line not in self._said:
            self._said.add(line)
            self._watcher.say(line)


@final
class PlainLines:
    """A line at the start, at the end, and at most every `seconds` in between; for logs and pipes."""

    def __init__(self, seconds: float = 5.0) -> None:
        self._seconds = seconds
        self._what, self._done, self._total, self._next, self._note = "", 0, 0, 0.0, ""

    def start(self, what: str, total: int) -> None:
        """Begin a piece of work."""
        self._what, self._done, self._total, self._note = what, 0, total, ""
        self._next = time.monotonic() + self._seconds
        self.say(what)

    def advance(self, done: int, note: str) -> None:
        """Print a line if enough time has passed."""
        self._done, self._note = done, note or self._note
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._seconds
            self.say(f"{self._what}: {done} of {self._total}  {self._note}".rstrip())

    def say(self, line: str) -> None:
        """Print a line to standard error."""
        print(line, file=sys.stderr, flush=True)

    def end(self) -> None:
        """Print the last figures, if the work came to its end."""
        if self._note and self._done == self._total:
            self.say(f"{self._what}: done  {self._note}")


@final
class _Note(ProgressColumn):
    """The newest figures. Where room is short their column gives way, not those that tell how far it is."""

    def render(self, task: Task) -> Text:
        return Text(task.fields["note"], no_wrap=True, overflow="ellipsis")


@final
class RichBar:
    """A bar with the time left, redrawn at most ten times a second."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(40 if console.width >= 100 else 5),
            MofNCompleteColumn(table_column=Column(no_wrap=True)),
            TimeRemainingColumn(table_column=Column(no_wrap=True)),
            _Note(),
        )
        self._bar = Progress(*columns, console=console, transient=False)
        self._task = self._bar.add_task("", total=None, visible=False, note="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def start(self, what: str, total: int) -> None:
        """Show a new bar; one that is over stands above it already, and would be drawn a second time."""
        if not self._bar.live.is_started:
            self._bar.remove_task(self._task)
        self._bar.start()
        self._task = self._bar.add_task(what, total=total, note="")

    def advance(self, done: int, note: str) -> None:
        """Move the bar."""
        self._bar.update(self._task, completed=done, note=note) if note else self._bar.update(
            self._task, completed=done
        )

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._bar.console.print(line, markup=False, highlight=False)  # a path may hold [brackets]

    def end(self) -> None:
        """Leave the finished bar on the screen."""
        self._bar.stop()


def watcher() -> Watcher:
    """Return the bar where standard error is a terminal, plain lines elsewhere."""
    return RichBar() if sys.stderr.isatty() else PlainLines()
