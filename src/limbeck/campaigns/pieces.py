"""The record of a table that is made piece by piece: one line a row, one entry a seed, each merged at once."""

import math
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, final

import torch
from filelock import FileLock

from limbeck.errors import RunError
from limbeck.files import read_json, write_json
from limbeck.specification import Json
from limbeck.training.place import has_bfloat16
from limbeck.training.run import Run
from limbeck.training.surroundings import versions


@final
@dataclass(frozen=True, kw_only=True)
class Piece:
    """One row at one seed: what was counted, and how, when and where it came about."""

    seed: int
    """Of the run."""
    errors: int
    """Scored rows that were wrong."""
    measures: Mapping[str, float]
    """What else was measured, by name."""
    seconds: float
    """From the beginning of training to its end; 0 for what was not trained."""
    commit: str | None
    """Of the source that trained it; None outside a checkout."""
    changed_since: bool
    """Whether that source had been changed since the commit."""
    machine: Mapping[str, Json]
    """What computed it."""
    versions: Mapping[str, Json]
    """Of Limbeck, Python and the libraries."""
    time: str
    """When it was scored, UTC."""


@final
class PieceTable:
    """A JSON file with a line for each row, and the pieces of each."""

    def __init__(
        self, path: Path, head: Mapping[str, Json], *, by_settings: bool = False, replace: bool = False
    ) -> None:
        """Nothing is read yet.

        Args:
            path: the file.
            head: what stands at the top, such as the command that makes the table; a file with another is refused.
            by_settings: keep a line for each row and settings, as a record of what was tried; else one line a row. The
                settings of the rows that it rests on count, too.
            replace: let what was made with other settings give way, where there is one line a row; else it is refused.
        """
        self._path = path
        self._head = dict(head)
        self._by_settings = by_settings
        self._replace = replace

    def has(self, row: Mapping[str, Json], seed: int) -> bool:
        """Whether a piece stands in the table, made with the row's settings and those of what it rests on."""
        line = self.line(row)
        return line is not None and any(piece["seed"] == seed for piece in line["pieces"])

    def line(self, row: Mapping[str, Json]) -> dict[str, Any] | None:
        """The line of a row with just these settings. Raises: RunError for a file that is no such table."""
        return next((line for line in self._lines() if _same_row(line, row) and _same_settings(line, row)), None)

    def require_room(self, row: Mapping[str, Json]) -> None:
        """Refuse, before any time is spent on it, a row that would put out one of other settings. Raises: RunError."""
        others = [line for line in self._lines() if _same_row(line, row) and not _same_settings(line, row)]
        if others and not (self._by_settings or self._replace):
            raise RunError(
                f"{self._path} holds {row['row']} with other settings than those chosen now; name another table, or "
                "replace it on purpose (--replace)."
            )

    def merge(self, row: Mapping[str, Json], piece: Piece) -> None:
        """Add a piece to its row, or put it in the place of an earlier one at its seed.

        The file is read, changed and replaced under a lock, so that several processes may fill one table.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(self._path.with_name(f".{self._path.name}.lock")):
            lines = self._lines()
            before = next((line for line in lines if self._is_line_of(line, row)), None)
            kept = before["pieces"] if before is not None and _same_settings(before, row) else []
            pieces = sorted([*(old for old in kept if old["seed"] != piece.seed), asdict(piece)], key=_seed)
            line = {**row, **_over_seeds(pieces), "pieces": pieces}
            lines = [line if old is before else old for old in lines] if before is not None else [*lines, line]
            newest = {name: asdict(piece)[name] for name in ("commit", "changed_since", "machine", "versions")}
            write_json(self._path, {**self._whole(), **self._head, **newest, "rows": lines})

    def note(self, beside: Mapping[str, Json]) -> None:
        """Keep something beside the rows, by name; it stands there from then on."""
        with FileLock(self._path.with_name(f".{self._path.name}.lock")):
            write_json(self._path, {**self._head, "rows": [], **self._whole(), **beside})

    def _is_line_of(self, line: Mapping[str, Any], row: Mapping[str, Json]) -> bool:
        return _same_row(line, row) and (not self._by_settings or _same_settings(line, row))

    def _lines(self) -> list[dict[str, Any]]:
        return list(self._whole().get("rows", []))

    def _whole(self) -> dict[str, Any]:
        if not self._path.is_file():
            return {}
        found = read_json(self._path)
        if not isinstance(found, dict) or not isinstance(found.get("rows"), list):
            raise RunError(f"{self._path} is no table of a reproduction: it has no list of rows; name another file.")
        for name, value in self._head.items():
            if found.get(name, value) != value:
                apart = f"its {name} is {_told(found[name])}, and here it is {_told(value)}"
                raise RunError(f"{self._path} is another table: {apart}; name another file.")
        return found


def _told(value: Json) -> str:
    return f"({', '.join(f'{key} {part}' for key, part in value.items())})" if isinstance(value, dict) else str(value)


def _same_row(line: Mapping[str, Any], row: Mapping[str, Json]) -> bool:
    return bool(line["row"] == row["row"])


def _same_settings(line: Mapping[str, Any], row: Mapping[str, Json]) -> bool:
    return bool(line["settings"] == row["settings"] and line.get("rests_on", []) == row.get("rests_on", []))


def _seed(piece: Mapping[str, Any]) -> int:
    return int(piece["seed"])


def _over_seeds(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Json]:
    """Mean, standard deviation and values over seeds of the errors and of each measure that all pieces have."""
    names = [name for name in pieces[0]["measures"] if all(name in piece["measures"] for piece in pieces)]
    return {
        "errors": spread([piece["errors"] for piece in pieces]),
        "measures": {name: spread([piece["measures"][name] for piece in pieces]) for name in names},
        "seeds": [piece["seed"] for piece in pieces],
        "seconds": [piece["seconds"] for piece in pieces],
    }


def spread(values: Sequence[float]) -> dict[str, Json]:
    """Mean, sample standard deviation (None of one value) and the values themselves."""
    sd = stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None
    return {"mean": fmean(values), "sd": sd, "values": list(values)}


def note_beginning(folder: Path, runs: Sequence[Run]) -> None:
    """Write down, before runs begin, which source trains them and where.

    A run that left a checkpoint is gone on with: it keeps its note, is marked as changed since where the source is
    another by now, and the seconds of the sittings so far are added.
    """
    now = _surroundings()
    for run in runs:
        path, so_far = folder / f"{run.path.name}.json", _sitting(run)
        before = read_json(path) if so_far and path.is_file() else now
        changed = now["changed_since"] or before["changed_since"] or before["commit"] != now["commit"]
        write_json(path, {**before, "changed_since": changed, "sittings": {**before.get("sittings", {}), **so_far}})


def _sitting(run: Run) -> dict[str, float]:
    """The seconds from when a run was last begun or gone on with to its last checkpoint, by that time; {} without."""
    saved = sorted(run.checkpoints.glob("last-*"))
    if not saved or not (run.path / "spec.json").is_file():
        return {}
    began = (run.path / "spec.json").stat().st_mtime
    return {str(began): max(0.0, saved[-1].stat().st_mtime - began)}


def begun_by(folder: Path, name: str | None) -> dict[str, Any]:
    """The surroundings of a piece: the source and machine that trained it, or that derive it now (None)."""
    noted = folder / f"{name}.json"
    state = dict(read_json(noted)) if name is not None and noted.is_file() else {}
    state.pop("sittings", None)
    return {**_surroundings(), **state, "time": datetime.now(UTC).isoformat(timespec="seconds")}


def _surroundings() -> dict[str, Any]:
    return {**source_state(), "machine": machine(), "versions": versions()}


def seconds_of(folder: Path, run: Run) -> float:
    """How long a run took: from its specification, which is as old as the first step, to its summary.

    Runs of one stack took as long as the stack.

    Going on writes the specification again; the sittings before, up to their checkpoints, stand in `folder`'s note.
    """
    begun, ended = ((run.path / name).stat().st_mtime for name in ("spec.json", "summary.json"))
    noted = folder / f"{run.path.name}.json"
    sittings: dict[str, float] = read_json(noted).get("sittings", {}) if noted.is_file() else {}
    return round(ended - begun + sum(seconds for began, seconds in sittings.items() if began != str(begun)), 1)


def source_state() -> dict[str, Json]:
    """The commit of the checkout that this source lies in, and whether it was changed since; None outside one."""
    home = Path(__file__).resolve().parents[3]
    if not (home / ".git").exists():
        return {"commit": None, "changed_since": False}
    changed = _git(home, "status", "--porcelain", "--untracked-files=no", "--", "src")
    return {"commit": _git(home, "rev-parse", "HEAD"), "changed_since": bool(changed)}


def _git(home: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=home, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def machine() -> dict[str, Json]:
    """The processor, and whether it computes in bfloat16."""
    return {
        "system": platform.system(),
        "cpu": _processor(),
        "cores": os.cpu_count(),
        "bfloat16": has_bfloat16(torch.device("cpu")),
        "capability": torch.backends.cpu.get_cpu_capability(),
    }


def _processor() -> str:
    listing = Path("/proc/cpuinfo")
    lines = listing.read_text(encoding="utf-8").splitlines() if listing.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
