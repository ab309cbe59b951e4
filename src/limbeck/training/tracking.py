"""Trackers of Accelerate (TensorBoard and the others that it knows), fed with the records that metrics.jsonl gets."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

from limbeck.errors import MissingExtra, SpecificationError

Listener: TypeAlias = Callable[[Mapping[str, Any]], None]
"""Is told every record as it is written."""


def require_trackers(names: Sequence[str]) -> None:
    """Look for the trackers before anything is written. Raises: MissingExtra, SpecificationError as `tracker` does."""
    if not names:
        return
    if "tensorboard" in names and find_spec("tensorboard") is None:
        raise MissingExtra("logging to TensorBoard", "track")
    # A run without trackers does without, and starts sooner for it.
    from accelerate.tracking import get_available_trackers
    from accelerate.utils import LoggerType

    known = [str(known) for known in LoggerType if known != LoggerType.ALL]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise SpecificationError(f"There is no tracker {unknown[0]!r}. There are: {', '.join(known)}.")
    missing = [name for name in names if name not in map(str, get_available_trackers())]
    if missing:
        raise SpecificationError(f"The tracker {missing[0]!r} is not installed. Run: pip install {missing[0]}.")


def tracker(names: Sequence[str], folder: Path) -> Listener | None:
    """Start the named trackers, which write below `folder`; returns what feeds them, or None without names."""
    if not names:
        return None
    from accelerate import Accelerator

    logging.getLogger("accelerate").setLevel(logging.WARNING)
    accelerator = Accelerator(log_with=list(dict.fromkeys(names)), project_dir=str(folder))
    accelerator.init_trackers("trackers")
    return lambda record: accelerator.log(dict(_flat(record)), step=record["step"])


def _flat(record: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in record.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}/")
        elif name != "step":
            yield f"{prefix}{name}", value
