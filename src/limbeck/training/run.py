"""`Run`: a directory, what training leaves behind and what evidence reads."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, final

from limbeck.errors import RunError
from limbeck.files import is_aside, read_json
from limbeck.training.evaluate import Predictions
from limbeck.training.records import read_records

_PARTS = {"specification", "head", "classes", "data", "teacher"}
"""What every spec.json has."""


@final
@dataclass(frozen=True)
class Run:
    """A run's directory. Opening reads nothing but the specification; everything else is read when asked for."""

    path: Path
    """The directory."""

    @classmethod
    def open(cls, path: Path | str) -> Self:
        """Open a run that has finished. Raises: RunError where there is none, or where it has not finished."""
        run = cls(Path(path))
        if (run.path / "campaign.json").is_file():
            raise RunError(f"{path} is a campaign; name one of its runs, such as {run.path / 'runs' / 'distilled-0'}.")
        if not (run.path / "spec.json").is_file():
            raise RunError(f"{path} is not a run: it holds no spec.json.")
        if not run.finished:
            raise RunError(f"The run {path} has not finished; go on with --resume.")
        return run

    @property
    def finished(self) -> bool:
        """Whether training came to its end: the summary is written last."""
        return (self.path / "summary.json").is_file()

    @property
    def spec(self) -> dict[str, Any]:
        """spec.json: the encoded specification under `specification`, and versions, hardware and fingerprints."""
        found: Any = read_json(self.path / "spec.json")
        if not isinstance(found, dict) or not found.keys() >= _PARTS:
            raise RunError(f"{self.path / 'spec.json'} is damaged: a run's has the keys {', '.join(sorted(_PARTS))}.")
        match found:
            case {"specification": {"fields": dict()}, "data": dict()}:
                return found
        raise RunError(f"{self.path / 'spec.json'} is damaged: it does not tell the specification or the data.")

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json: the numbers a script would read."""
        found: Any = read_json(self.path / "summary.json")
        if not isinstance(found, dict) or not isinstance(found.get("student"), dict):
            raise RunError(f"{self.path / 'summary.json'} is damaged: it does not tell of a student.")
        return found

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def weights(self) -> Path:
        """The student's weights, safetensors."""
        return self.path / "student" / "model.safetensors"

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of metrics.jsonl in order."""
        return read_records(self.path / "metrics.jsonl")

    def predictions(self, who: str, split: str) -> Predictions | None:
        """The answers of `student` or `teacher` on `train`, `validation` or `test`; None where there are none."""
        path = self.path / "predictions" / f"{who}-{split}.safetensors"
        return Predictions.load(path) if path.is_file() else None


_KINDS = {"spec.json": "a run", "campaign.json": "a campaign", "search.json": "a search", "sweep.json": "a sweep"}
"""What a folder is known by."""


def claim(out: Path, *, resume: bool, overwrite: bool, mark: str = "spec.json") -> None:
    """Make sure that a run may be written to `out`; create nothing.

    `mark` is the file by which a folder is known to hold what would be overwritten or gone on with.

    Raises: RunError where `out` is occupied and neither resuming nor overwriting was asked for, or where overwriting
    would delete something that is not a run.
    """
    if not out.exists() or (out.is_dir() and all(is_aside(path) or path.suffix == ".lock" for path in out.iterdir())):
        _check_room(out)
        return
    if not out.is_dir():
        raise RunError(f"{out} is a file; a run needs a folder.")
    is_run = (out / mark).is_file()
    kind = next((kind for name, kind in _KINDS.items() if (out / name).is_file()), "no run")
    if overwrite and is_run:
        shutil.rmtree(out)
    elif overwrite:
        raise RunError(f"{out} is not empty and holds {kind}, so it will not be overwritten; choose another --out.")
    elif not (resume and is_run):
        instead = "use --resume to go on, --overwrite to start again, or" if is_run else f"it holds {kind};"
        raise RunError(f"{out} is not empty: {instead} choose another --out.")


def _check_room(out: Path) -> None:
    """Refuse, before hours are spent, a folder that could not be made."""
    nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
    if not nearest.is_dir():
        raise RunError(f"{nearest} is a file, so no run can be written to {out}; choose another --out.")
    if not os.access(nearest, os.W_OK):
        raise RunError(f"{nearest} is not writable, so no run can be written to {out}; choose another --out.")
