"""What a store of soft targets survives: kills, flipped bits, a full disk, wrong input, a million rows.

    python benchmarks/reliability.py            measure, write results/reliability.json and docs/reliability.md
    python benchmarks/reliability.py --pages    write docs/reliability.md from the record

Every figure of docs/reliability.md comes from here.
"""

import contextlib
import hashlib
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import tyro
from record import ROOT, write_record
from refusals import refusals
from rich.console import Console
from rich.progress import track
from torch import nn

from limbeck.data import TensorSet
from limbeck.errors import LimbeckError, StoreError
from limbeck.files import read_json, write_text
from limbeck.objective import SoftTargets
from limbeck.specification import Distillation
from limbeck.targets.store import Targets
from limbeck.targets.verify import verify
from limbeck.training.progress import Silent
from limbeck.training.recording import Form, record

SEED = 0
WRITERS = 2
ROWS, CLASSES = 6_000, 20
FORMS = {"dense": Form(), "top-k": Form(encoding="top-k", k=4), "low-rank": Form(encoding="low-rank", rank=4)}
GIGABYTE = 1e9
MEMORY_GOAL = 1.5


def main(
    *,
    kills: int = 200,
    flips: int = 1000,
    rows: int = 1_000_000,
    out: Path = Path("results/reliability.json"),
    pages: bool = False,
) -> None:
    """Measure, print, record, and write the page.

    Args:
        kills: how often both writers of a recording are killed.
        flips: how many single bits are flipped, one at a time.
        rows: of the large store, with 1,000 classes in float32: 4 kB a row.
        out: where the record goes.
        pages: only write the page from the record.
    """
    torch.set_num_threads(1)
    if not pages:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            found = {
                "kills": survive_kills(work / "kills", kills),
                "flips": find_flips(work / "flips", flips),
                "full_disk": survive_full_disk(work / "full"),
                "refusals": refusals(work / "refusals"),
                "memory": stay_small(work / "large", rows),
            }
        write_record(out, {"weights": SEED, "moments": SEED, "bits": SEED}, found)
    write_text(ROOT / "docs" / "reliability.md", page(read_json(out)))


def specification(rows: int = ROWS, classes: int = CLASSES) -> Distillation:
    """A synthetic teacher: a linear map of four numbers."""
    torch.manual_seed(SEED)
    features = torch.randn(rows, 4)
    return Distillation(
        data=TensorSet(features),
        student=nn.Identity,
        teacher=nn.Linear(4, classes),
        objective=1.0 * SoftTargets(),
        device="cpu",
    )


def recorded(folder: Path, form: Form, share: tuple[int, int] | None = None, *, resume: bool = False) -> None:
    """Record the synthetic teacher in many small shards."""
    record(
        specification(),
        folder,
        form=form,
        batch_size=50,
        shard_rows=100,
        share=share,
        resume=resume,
        watcher=Silent(),
    )


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def survive_kills(work: Path, kills: int) -> dict[str, Any]:
    """Kill both writers at random moments, look at what they left, let others go on, compare the finished stores.

    Writers are forked from this process, so that a moment in their lives is a moment of recording, not of importing.
    """
    shuffled = random.Random(SEED)
    began = time.perf_counter()
    recorded(work / "whole", FORMS["dense"])
    duration, expected = time.perf_counter() - began, digests(work / "whole")
    done: dict[str, Any] = {"kills": 0, "stores": 0, "shards_seen": 0, "shards_damaged": 0, "stores_different": 0}
    progress = track(range(kills), "kills", console=Console(stderr=True))
    folder = work / "killed"
    for _ in progress:
        # Most moments fall into the writing; some before the folder is there, and some after the last shard.
        finished = _run_and_kill(folder, shuffled.uniform(0, duration / 3))
        done["kills"] += 1
        seen, damaged = _committed(folder, expected)
        done["shards_seen"] += seen
        done["shards_damaged"] += damaged
        if finished or (folder / "manifest.json").is_file():
            done.update(_compared(folder, expected, done))
    while folder.exists() and not (folder / "manifest.json").is_file():  # the last one is finished in peace
        _run_and_kill(folder, None)
    if folder.exists():
        done.update(_compared(folder, expected, done))
    print(
        f"{done['kills']} kills of {WRITERS} writers: {done['shards_damaged']} of {done['shards_seen']} committed shards "
        f"damaged, {done['stores_different']} of {done['stores']} finished stores different"
    )
    return {"writers": WRITERS, "seconds_of_a_recording": duration, **done}


def _run_and_kill(folder: Path, seconds: float | None) -> bool:
    """Fork the writers and kill them after some time, or wait for them; whether they had finished before."""
    fork = multiprocessing.get_context("fork")
    writers = [
        fork.Process(target=recorded, args=(folder, FORMS["dense"], (rank, WRITERS))) for rank in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    if seconds is not None:
        time.sleep(seconds)
        for writer in writers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(writer.pid or 0, signal.SIGKILL)
    for writer in writers:
        writer.join()
    codes = [writer.exitcode for writer in writers]
    assert all(code in (0, -signal.SIGKILL) for code in codes), f"a writer failed by itself: {codes}"
    return all(code == 0 for code in codes)


def _committed(folder: Path, expected: Mapping[str, str]) -> tuple[int, int]:
    """How many committed shards there are, and how many of them are not what they should be."""
    found = digests(folder) if folder.exists() else {}
    committed = [
        name for name in found if name.endswith(".safetensors") and name.replace(".safetensors", ".json") in found
    ]
    return len(committed), sum(found[name] != expected[name] for name in committed)


def _compared(folder: Path, expected: Mapping[str, str], done: Mapping[str, int]) -> dict[str, int]:
    different = int(digests(folder) != expected)
    shutil.rmtree(folder)
    return {"stores": done["stores"] + 1, "stores_different": done["stores_different"] + different}


def find_flips(work: Path, flips: int) -> dict[str, Any]:
    """Flip one bit of a store at a time: `verify` must refuse it, and reading must not end in anybody's traceback."""
    shuffled = random.Random(SEED)
    stores = []
    for name, form in FORMS.items():
        recorded(work / name, form)
        stores.append(work / name)
    files = [path for store in stores for path in sorted(store.iterdir())]
    sizes = [path.stat().st_size for path in files]
    found = {"flips": 0, "refused": 0, "in_manifests": 0, "read_refused": 0, "tracebacks": 0}
    for _ in track(range(flips), "flips", console=Console(stderr=True)):
        # Half of the bits fall into manifests, which are small and would else hardly be met.
        manifests = [path for path in files if path.name == "manifest.json"]
        path = shuffled.choice(manifests) if shuffled.random() < 0.5 else shuffled.choices(files, sizes)[0]
        bit = shuffled.randrange(8 * path.stat().st_size)
        _flip(path, bit)
        outcome = _looked_at(path.parent)
        _flip(path, bit)
        found["flips"] += 1
        found["in_manifests"] += path.name == "manifest.json"
        for name, value in outcome.items():
            found[name] += value
    for store in stores:
        verify(Targets.open(store))  # every flip was taken back
    print(f"{found['flips']} flipped bits: {found['refused']} refused, {found['tracebacks']} tracebacks")
    return {"bytes": sum(sizes), "files": len(files), **found}


def _flip(path: Path, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(bit // 8)
        (byte,) = file.read(1)
        file.seek(bit // 8)
        file.write(bytes([byte ^ 1 << bit % 8]))


def _looked_at(store: Path) -> dict[str, int]:
    """Verify a store and read every row of it; what was refused, and what ended otherwise."""
    found = {"refused": 0, "read_refused": 0, "tracebacks": 0}
    for name, look in (("refused", _verified), ("read_refused", _read)):
        try:
            look(store)
        except LimbeckError:
            found[name] = 1
        except Exception as error:  # this is what must not be
            found["tracebacks"] += 1
            print(f"{name}: {type(error).__name__}: {error}")
    return found


def _verified(store: Path) -> None:
    verify(Targets.open(store))


def _read(store: Path) -> None:
    targets = Targets.open(store)
    for ids in targets.part("train").ids.split(1000):
        targets.knowledge(ids).at((targets.temperatures or (1.0,))[0])


def survive_full_disk(work: Path) -> dict[str, Any]:
    """Let no file grow beyond half a shard while it records; look at what is left; give room and go on."""
    recorded(work / "whole", FORMS["dense"])
    expected = digests(work / "whole")
    shard = (work / "whole" / "train-00000.safetensors").stat().st_size
    folder = work / "full"
    fork = multiprocessing.get_context("fork")
    said = fork.Queue()
    writer = fork.Process(target=_record_in_little_room, args=(folder, shard, said))
    writer.start()
    sentence, written = said.get()
    writer.join()
    seen, damaged = _committed(folder, expected)
    recorded(folder, FORMS["dense"], resume=True)
    equal = digests(folder) == expected
    print(f"full disk: {sentence!r}; {seen} committed shards, {damaged} damaged; equal after going on: {equal}")
    return {"sentence": sentence, "committed": seen, "damaged": damaged, "equal_after_resume": equal, "before": written}


def _record_in_little_room(folder: Path, shard: int, said: Any) -> None:
    """Record until some shards stand, then forbid files beyond half a shard, as a full disk would."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    watcher = _LimitAfter(rows=1_000, size=shard // 2)
    try:
        record(specification(), folder, batch_size=50, shard_rows=100, watcher=watcher)
    except StoreError as error:
        said.put((str(error).replace(str(folder), "STORE"), watcher.done))
        return
    said.put(("nothing was said", watcher.done))


class _LimitAfter:
    """A watcher that takes the room away when so many rows are recorded."""

    def __init__(self, *, rows: int, size: int) -> None:
        self._rows, self._size, self.done = rows, size, 0

    def start(self, what: str, total: int) -> None:
        """Wait."""

    def advance(self, done: int, note: str) -> None:
        """Take the room away."""
        self.done = done
        if done >= self._rows:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self._size, resource.RLIM_INFINITY))

    def say(self, line: str) -> None:
        """Say nothing."""

    def end(self) -> None:
        """Give the room back: what is said next goes to files too."""
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def stay_small(work: Path, rows: int) -> dict[str, Any]:
    """Record and read a large store, each in a process of its own, and take the peak of its anonymous memory."""
    found: dict[str, Any] = {"rows": rows, "classes": 1000, "goal_gigabytes": MEMORY_GOAL}
    for what in ("recording", "reading"):
        words = [sys.executable, str(Path(__file__).with_name("large_store.py")), what, str(work), str(rows)]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
        peak, seconds = map(float, done.stdout.split())
        found[what] = {"peak_gigabytes": peak / GIGABYTE, "seconds": seconds}
        print(f"{what} {rows:,} rows × 1,000 classes: {peak / GIGABYTE:.2f} GB of anonymous memory at the peak")
    return found


def page(record: Mapping[str, Any]) -> str:
    """docs/reliability.md, from the record."""
    return "\n".join(_lines(record)) + "\n"


def _lines(record: Mapping[str, Any]) -> Iterator[str]:
    kills, flips, full, memory = (record[name] for name in ("kills", "flips", "full_disk", "memory"))
    yield "<!-- written by `python benchmarks/reliability.py` from results/reliability.json; do not edit -->"
    yield "# What a store of soft targets survives"
    yield ""
    yield (
        "Every figure below is from [one record](../results/reliability.json), which `python benchmarks/reliability.py` "
        "makes again. A shorter form of each check runs in the test suite."
    )
    yield from ("", "## Kills", "")
    yield (
        f"{kills['writers']} processes record one store and are killed (`kill -9`) together at {kills['kills']} random "
        f"moments; others go on where they stopped. Of {kills['shards_seen']:,} committed shards that were looked at "
        f"after a kill, {kills['shards_damaged']} were damaged. {kills['stores']} stores were finished that way, and "
        f"{kills['stores_different']} of them differed in any byte from one that was recorded without a kill."
    )
    yield from ("", "## Flipped bits", "")
    yield (
        f"{flips['flips']:,} times one bit of a store was flipped, {flips['in_manifests']} times in the manifest: "
        f"`limbeck targets STORE --verify` refused {flips['refused']:,} of them. Reading the damaged stores without "
        f"verifying them ended in a sentence {flips['read_refused']} times, in somewhat wrong targets the other times, "
        f"and in a traceback {flips['tracebacks']} times: verify what you have copied."
    )
    yield from ("", "## A full disk", "")
    yield (
        f"When no file may grow beyond half a shard, recording stops with one sentence; {full['committed']} shards that "
        f"were committed before stay, {full['damaged']} of them damaged; with room again, `--resume` goes on and the "
        f"store {'equals' if full['equal_after_resume'] else 'does NOT equal'} one that was recorded at once."
    )
    yield from ("", f"> {full['sentence']}", "", "## A million rows", "")
    yield (
        f"{memory['rows']:,} rows × {memory['classes']:,} classes in float32, a synthetic teacher, peak of anonymous "
        f"memory (goal: under {memory['goal_gigabytes']} GB): {memory['recording']['peak_gigabytes']:.2f} GB while "
        f"recording, {memory['reading']['peak_gigabytes']:.2f} GB while reading all rows in random order."
    )
    yield from ("", "## What is refused, and in which words", "", "| what is wrong | what Limbeck says |", "| --- | --- |")
    for what, sentence in record["refusals"].items():
        yield f"| {what} | {sentence.replace('|', '∣')} |"


if __name__ == "__main__":
    tyro.cli(main)
