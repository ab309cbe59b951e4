"""Writers of a store, killed at random moments: a part of reliability.py.

Writers are forked from a process that has recorded before, so that a moment of their lives is one of recording, not of
importing. Nothing slows them down. Half of the moments are evenly drawn from the time that a recording takes; the
others from the changes that writers make to the folder (a file is created, renamed or removed), so that every phase is
met, however short.
"""

import contextlib
import multiprocessing
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from small_stores import SEED, committed, digests, recorded, sidecar_of

from limbeck.errors import StoreError
from limbeck.files import is_aside
from limbeck.targets.manifest import MANIFEST, RECORDING
from limbeck.targets.store import Targets
from limbeck.targets.verify import verify
from limbeck.training.forms import Form

WRITERS = 2
JOINT = 0.75  # share of the moments at which all writers are killed; else one of them
PATIENCE = 60.0  # seconds until a writer that was left alone must have ended


@dataclass(frozen=True)
class Kind:
    """A store that is recorded again and again."""

    form: Form
    rows: int
    shard_rows: int


KINDS = {
    "dense, 60 shards": Kind(Form(), 6000, 100),
    "low-rank, 8 shards": Kind(Form(encoding="low-rank", rank=4), 800, 100),
}

STATES = {
    "plan": "before the plan was written",
    "begun": "after the plan, before the first shard",
    "shards": "some shards committed",
    "all": "every shard committed, no manifest",
    "untidy": "the manifest written, not tidied up",
    "whole": "a whole store",
}
"""In which a folder can be found after a kill, in their order."""

TRACES = {
    "half_written": "a half-written file",
    "no_sidecar": "a shard that was renamed, without its checksum beside it",
}
"""What else can be found there."""


@dataclass(frozen=True)
class Whole:
    """An uninterrupted recording: what a store must equal, and how long it takes two writers."""

    kind: Kind
    digests: Mapping[str, str]
    seconds: float
    changes: int


def survive_kills(work: Path, kills: int, kinds: Mapping[str, Kind] = KINDS) -> dict[str, Any]:
    """Kill writers, look at what they left, let others go on, and compare the finished stores."""
    drawn = random.Random(SEED)
    wholes = {name: _uninterrupted(work / name, kind) for name, kind in kinds.items()}
    done = Counter(kills=0, of_all=0, stores=0, shards_seen=0, shards_damaged=0, stores_different=0)
    states, traces = Counter(dict.fromkeys(STATES, 0)), Counter(dict.fromkeys(TRACES, 0))
    folder, whole = work / "killed", drawn.choice(list(wholes.values()))
    while done["kills"] < kills:
        killed = _run_and_kill(folder, whole.kind, drawn, whole)
        if killed:
            done["kills"] += 1
            done["of_all"] += killed == WRITERS
            states[_state(folder, whole.digests)] += 1
            traces.update(_traces(folder))
            done.update(_look(folder, whole.digests))
        # To some that are whole but not tidied up, the next writers to be killed come back.
        is_left = (folder / MANIFEST).is_file() and drawn.random() < 0.5
        if is_left or _state(folder, whole.digests) == "whole":
            done.update(_finished(folder, whole))
            whole = drawn.choice(list(wholes.values()))
    if folder.exists():
        done.update(_finished(folder, whole))
    print(
        f"{done['kills']} kills: {done['shards_damaged']} of {done['shards_seen']} committed shards damaged, "
        f"{done['stores_different']} of {done['stores']} finished stores different"
    )
    print({STATES[name]: count for name, count in states.items()} | {TRACES[name]: n for name, n in traces.items()})
    return {
        "writers": WRITERS,
        "kinds": {name: {"seconds": one.seconds, "changes": one.changes} for name, one in wholes.items()},
        **done,
        "states": dict(states),
        "traces": dict(traces),
    }


def _uninterrupted(folder: Path, kind: Kind) -> Whole:
    for number in range(2):  # the first warms up what the writers inherit
        one = folder / f"one-{number}"
        recorded(one, rows=kind.rows, shard_rows=kind.shard_rows, form=kind.form)
    expected = digests(one)
    began = time.perf_counter()
    writers = _started(folder / "two", kind)
    changes = _changes(folder / "two", lambda: any(writer.is_alive() for writer in writers), None)
    _ended(writers)
    seconds = time.perf_counter() - began
    assert digests(folder / "two") == expected, "two writers write something else than one"
    return Whole(kind, expected, seconds, changes)


def _run_and_kill(folder: Path, kind: Kind, drawn: random.Random, whole: Whole) -> int:
    """Start the writers and kill all or one of them at a random moment; how many were killed before they had ended."""
    chosen = list(range(WRITERS)) if drawn.random() < JOINT else [drawn.randrange(WRITERS)]
    by_time, part = drawn.random() < 0.5, drawn.random()
    writers = _started(folder, kind)
    if by_time:
        time.sleep(part * whole.seconds / 3)
    else:
        _changes(folder, lambda: any(writer.is_alive() for writer in writers), part * whole.changes / 3)
        time.sleep(drawn.random() * 1e-3)
    for number in chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(writers[number].pid or 0, signal.SIGKILL)
    return _ended(writers)


def _started(folder: Path, kind: Kind) -> list[BaseProcess]:
    fork = multiprocessing.get_context("fork")
    options = {"rows": kind.rows, "shard_rows": kind.shard_rows, "form": kind.form}
    writers: list[BaseProcess] = [
        fork.Process(target=recorded, args=(folder,), kwargs={**options, "share": (rank, WRITERS)})
        for rank in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    return writers


def _ended(writers: list[BaseProcess]) -> int:
    """Wait for the writers; how many of them were killed."""
    for writer in writers:
        writer.join(PATIENCE)
        assert not writer.is_alive(), "a writer hangs"
    codes = [writer.exitcode for writer in writers]
    assert all(code in (0, -signal.SIGKILL) for code in codes), f"a writer failed by itself: {codes}"
    return sum(code == -signal.SIGKILL for code in codes)


def _changes(folder: Path, goes_on: Callable[[], bool], most: float | None) -> int:
    """Watch a folder until so many changes were seen or the work is over; how many there were."""
    seen, before = 0, _names(folder)
    while goes_on() and (most is None or seen < most):
        now = _names(folder)
        seen += len(now ^ before)
        before = now
    return seen


def _names(folder: Path) -> set[str]:
    try:
        return {path.name for path in folder.iterdir()}
    except FileNotFoundError:
        return set()


def _state(folder: Path, expected: Mapping[str, str]) -> str:
    names = _names(folder)
    if MANIFEST in names:
        return "whole" if names == expected.keys() else "untidy"
    if RECORDING not in names:
        return "plan"
    shards = {name for name in expected if sidecar_of(name)}
    if not shards & names:
        return "begun"
    return "all" if shards == set(committed(names)) else "shards"


def _traces(folder: Path) -> dict[str, int]:
    names = _names(folder)
    loose = {name for name in names if sidecar_of(name)} - set(committed(names))
    return {"half_written": any(is_aside(folder / name) for name in names), "no_sidecar": bool(loose)}


def _look(folder: Path, expected: Mapping[str, str]) -> dict[str, int]:
    """How many committed shards there are and how many are not what they should be; readers wait for the manifest."""
    found = digests(folder)
    kept = committed(found)
    if MANIFEST in found:
        Targets.open(folder)
    elif folder.exists():
        with contextlib.suppress(StoreError):
            Targets.open(folder)
            raise AssertionError("a store without a manifest was opened")
    return {"shards_seen": len(kept), "shards_damaged": sum(found[name] != expected[name] for name in kept)}


def _finished(folder: Path, whole: Whole) -> dict[str, int]:
    """Let a store be finished in peace, compare it, remove it."""
    while _state(folder, whole.digests) != "whole":
        _ended(_started(folder, whole.kind))
    verify(folder)
    different = int(digests(folder) != whole.digests)
    shutil.rmtree(folder)
    return {"stores": 1, "stores_different": different}
