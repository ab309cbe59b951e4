"""How often test rows were scored: each run keeps a ledger, and so does whoever scores them outside a run."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import final

from limbeck.files import append_json

LEDGER = "ledger.jsonl"
"""The file of a folder's scorings, one line each, written before the rows are looked at."""


@final
@dataclass(frozen=True, kw_only=True)
class Scorings:
    """How often test rows were scored below a folder."""

    count: int
    """Lines of all ledgers: every one a look, also one that a kill cut short."""
    runs: int
    """Runs that scored test rows at least once."""


def scorings(folder: Path) -> Scorings:
    """Count the scorings of test rows in all ledgers of a folder and of those below it, teachers included.

    A line that cannot be read is counted: it was begun before the look that it announces.
    """
    looks = {ledger: _looks(ledger) for ledger in sorted(folder.rglob(LEDGER)) if ledger.is_file()}
    runs = sum(bool(count) and (ledger.parent / "spec.json").is_file() for ledger, count in looks.items())
    return Scorings(count=sum(looks.values()), runs=runs)


def enter(folder: Path, *, rows: int, who: str) -> None:
    """Enter a scoring of test rows outside a run into a folder's ledger; call it before the rows are looked at.

    Args:
        folder: of the campaign, or whatever else the result is written to.
        rows: how many are scored.
        who: what is scored, for people.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    append_json(folder / LEDGER, {"time": time, "split": "test", "rows": rows, "who": who})


def enter_line(path: Path, *, split: str, rows: int, who: str, seed: int, run: str) -> None:
    """Enter a scoring into a ledger that many runs share; call it before the rows are looked at.

    Args:
        path: the ledger, a file of its own.
        split: what the rows are called.
        rows: how many are scored.
        who: what is scored, for people.
        seed: of the run.
        run: what tells it from others of that name and seed, such as its folder.
    """
    time = datetime.now(UTC).isoformat(timespec="seconds")
    append_json(path, {"time": time, "split": split, "rows": rows, "who": who, "seed": seed, "run": run})


def _looks(ledger: Path) -> int:
    return sum(_is_look(line) for line in ledger.read_bytes().splitlines() if line.strip())


def _is_look(line: bytes) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return True
    return not isinstance(entry, dict) or entry.get("split", "test") == "test"
