"""A disk that fills up while a store is recorded: a part of reliability.py."""

import multiprocessing
import resource
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kills import KINDS
from safetensors.torch import load_file
from small_stores import CLASSES, committed, digests, recorded

from limbeck.errors import StoreError
from limbeck.targets.manifest import MANIFEST
from limbeck.targets.verify import verify

KIND = KINDS["dense, 60 shards"]
PAGE = 4096
EVENLY, AT_THE_END = 40, 10  # disks whose sizes are evenly spread; disks that are a page smaller each


def survive_full_disk(work: Path) -> dict[str, Any]:
    """Take the room away in mid-shard: by a limit on files' sizes, and on small disks of many sizes that are filled."""
    recorded(work / "whole", rows=KIND.rows, shard_rows=KIND.shard_rows)
    expected = digests(work / "whole")
    return {"limited": limit_files(work / "limited", expected), "filled": _filled(work, expected)}


def limit_files(folder: Path, expected: Mapping[str, str]) -> dict[str, Any]:
    """Let no file grow beyond half a shard when some are written, look at what is left, give room and go on."""
    fork = multiprocessing.get_context("fork")
    said = fork.SimpleQueue()
    half = KIND.shard_rows * CLASSES * 4 // 2
    writer = fork.Process(target=_record_in_little_room, args=(folder, half, said))
    writer.start()
    sentence = said.get()
    writer.join()
    seen = _readable(folder, expected)
    recorded(folder, rows=KIND.rows, shard_rows=KIND.shard_rows, resume=True)
    verify(folder)
    found = {"sentence": sentence, **seen, "equal_after_resume": digests(folder) == expected}
    print(f"files limited to half a shard: {found}")
    return found


def _record_in_little_room(folder: Path, size: int, said: Any) -> None:
    """Record until some shards stand, then allow only small files, as a quota would."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    said.put(_sentence(folder, LimitAfter(rows=1000, size=size)))


def _sentence(folder: Path, watcher: "LimitAfter | None" = None) -> str | None:
    try:
        recorded(folder, rows=KIND.rows, shard_rows=KIND.shard_rows, resume=True, watcher=watcher)
    except StoreError as error:
        return str(error).replace(str(folder), "STORE")
    return None


class LimitAfter:
    """A watcher that takes the room away when so many rows are recorded."""

    def __init__(self, *, rows: int, size: int) -> None:
        self._rows, self._size = rows, size

    def start(self, what: str, total: int) -> None:
        """Wait."""

    def advance(self, done: int, note: str) -> None:
        """Take the room away."""
        if done >= self._rows:
            _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, most))

    def say(self, line: str) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Nothing is to be done."""


def _filled(work: Path, expected: Mapping[str, str]) -> dict[str, Any] | None:
    """Record on disks of many sizes, from one that is too small for the plan to one that is almost large enough."""
    # Fullest it is when the manifest is written: the plan and the shards' checksums, a page each, are still there.
    pages = sum(-(-path.stat().st_size // PAGE) for path in (work / "whole").iterdir())
    most = pages + KIND.rows // KIND.shard_rows + -(-(work / "whole" / MANIFEST).stat().st_size // PAGE)
    sizes = [PAGE * (2 + number * most // EVENLY) for number in range(EVENLY)]
    sizes += [PAGE * (most - number) for number in range(AT_THE_END)]
    found: dict[str, Any] = {"tries": 0, "full": 0, "committed": 0, "damaged": 0, "equal_after_resume": 0}
    sentences: dict[str, int] = {}
    for size in sizes:
        try:
            with _small_disk(work / "disk", size) as disk:
                folder = disk / "store"
                sentence = _sentence(folder)
                for name, count in _readable(folder, expected).items():
                    found[name] += count
                found["tries"] += 1
                found["full"] += sentence is not None
                sentences[_written(sentence)] = sentences.get(_written(sentence), 0) + 1
                found["example"] = sentence or found["example"]
                _mount("-o", f"remount,size={2 * most * PAGE}", str(disk))
                recorded(folder, rows=KIND.rows, shard_rows=KIND.shard_rows, resume=True)
                verify(folder)
                found["equal_after_resume"] += digests(folder) == expected
        except PermissionError as error:
            print(f"small disks were not tried: {error}")
            return None
    print(f"filled disks: {found} {sentences}")
    return {"smallest": min(sizes), "largest": max(sizes), **found, "at": sentences}


def _written(sentence: str | None) -> str:
    """What could not be written, or that all was."""
    if sentence is None:
        return "nothing: there was room enough"
    name = sentence.removeprefix("Could not write ").partition(" in STORE")[0]
    return {"the plan": "the plan", MANIFEST: "the manifest"}.get(name, "a shard")


@contextmanager
def _small_disk(at: Path, size: int) -> Iterator[Path]:
    """Mount a file system in memory of so many bytes. Raises: PermissionError where this process may not."""
    at.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size}", "limbeck-small-disk", str(at))
    try:
        yield at
    finally:
        subprocess.run(["umount", str(at)], check=True)


def _mount(*arguments: str) -> None:
    if shutil.which("mount") is None:
        raise PermissionError("there is no mount")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise PermissionError(done.stderr.strip())


def _readable(folder: Path, expected: Mapping[str, str]) -> dict[str, int]:
    """How many committed shards there are, and how many of them cannot be read or are not what they should be."""
    found = digests(folder)
    kept = committed(found)
    assert all(len(load_file(folder / name)["rows"]) == KIND.shard_rows for name in kept)
    return {"committed": len(kept), "damaged": sum(found[name] != expected[name] for name in kept)}
