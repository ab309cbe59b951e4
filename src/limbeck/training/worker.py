"""What a process does with a task that another one dealt to it: its share of the threads, errors as values."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeAlias, TypeVar

import torch

from limbeck.errors import Interrupted, LimbeckError

Result = TypeVar("Result")

Task: TypeAlias = Mapping[str, Any]
"""Keyword arguments of a call, plain data."""


def in_worker(function: Callable[..., Result], task: Task, threads: int) -> Result | LimbeckError:
    """Call `function(**task)` on so many threads, and return an error for the user as a value.

    Whoever runs the processes would wrap what is raised in the worker's traceback.
    """
    with using_threads(threads):
        try:
            return function(**task)
        except LimbeckError as error:
            return error
        except KeyboardInterrupt:
            return Interrupted("Stopped before there was anything to save.")


@contextmanager
def using_threads(count: int) -> Iterator[None]:
    """A block in which torch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
