"""Record or read a large store; print the peak of anonymous memory in bytes and the seconds: a part of reliability.py.

Run as `python benchmarks/large_store.py recording|reading FOLDER ROWS`.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from small_stores import specification

from limbeck.data.order import epoch_order
from limbeck.targets.store import Targets
from limbeck.training.progress import Silent
from limbeck.training.recording import record

BATCH, CLASSES = 512, 1000
GOAL = 1.5
"""Gigabytes of anonymous memory, at most."""
GIGABYTE = 1e9


def stay_small(work: Path, rows: int) -> dict[str, Any]:
    """Record and read a large store, each in a process of its own, and take the peak of its anonymous memory."""
    found: dict[str, Any] = {"rows": rows, "classes": CLASSES, "goal_gigabytes": GOAL}
    for what in ("recording", "reading"):
        words = [sys.executable, __file__, what, str(work), str(rows)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
        peak, seconds = map(float, done.stdout.split())
        found[what] = {"peak_gigabytes": peak / GIGABYTE, "seconds": seconds}
        print(f"{what} {rows:,} rows × {CLASSES:,} classes: {peak / GIGABYTE:.2f} GB of anonymous memory at the peak")
    targets = Targets.open(work)
    return {**found, "gigabytes": targets.bytes / GIGABYTE, "shards": len(targets.manifest.parts["train"].shards)}


def anonymous_bytes() -> int:
    """What this process holds that is not a file's page."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise SystemExit("This system does not tell anonymous memory apart.")


class Peak(threading.Thread):
    """Looks every few milliseconds."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        """Look for ever."""
        while True:
            self.bytes = max(self.bytes, anonymous_bytes())
            time.sleep(0.005)


def read_all(folder: Path) -> None:
    """Read every row once, in random order."""
    targets = Targets.open(folder)
    for ids in epoch_order(len(targets.part("train").ids), 0, 0).split(BATCH):
        targets.knowledge(ids).at(1.0)


def main(what: str, folder: Path, rows: int) -> None:
    """Do one of the two, and print what it took."""
    torch.set_num_threads(1)
    peak = Peak()
    peak.start()
    began = time.perf_counter()
    if what == "recording":
        record(specification(rows, CLASSES), folder, watcher=Silent())
    else:
        read_all(folder)
    print(peak.bytes, time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
