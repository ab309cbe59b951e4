"""Record or read a large store and print the peak of anonymous memory in bytes, and the seconds: a part of reliability.py.

    python benchmarks/large_store.py recording|reading FOLDER ROWS
"""

import sys
import threading
import time
from pathlib import Path

import torch
from reliability import specification

from limbeck.data.order import epoch_order
from limbeck.targets.store import Targets
from limbeck.training.progress import Silent
from limbeck.training.recording import record

BATCH = 512


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


if __name__ == "__main__":
    what, folder, rows = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    torch.set_num_threads(1)
    peak = Peak()
    peak.start()
    began = time.perf_counter()
    if what == "recording":
        record(specification(rows, 1000), folder, watcher=Silent())
    else:
        read_all(folder)
    print(peak.bytes, time.perf_counter() - began)
