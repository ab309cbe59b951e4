"""metrics.jsonl: one JSON object a line, appended as training goes, cut back on resume."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from limbeck.errors import RunError
from limbeck.files import write_text
from limbeck.training.tracking import Listener


@final
class Records:
    """Appends records to a file, and tells a listener. A process that does not lead writes nothing."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.listener: Listener | None = None

    def append(self, record: Mapping[str, Any]) -> None:
        """Append one record as one line; floats keep all their digits."""
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
        if self.listener is not None:
            self.listener(record)

    def extend(self, records: Iterable[Mapping[str, Any]]) -> None:
        """Append many records at once, where nobody listens."""
        if self._path is None:
            return
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)

    def cut_back(self, step: int) -> None:
        """Drop every record after an optimiser step, and a half-written last line."""
        if self._path is None or not self._path.exists():
            return
        kept = [record for record in read_records(self._path) if record["step"] <= step]
        write_text(self._path, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in kept))


def read_records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a file in order. A last line that a kill cut short is passed over.

    Raises: RunError for a file that cannot be read, and for a damaged line that is not the last.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        raise RunError(f"There is no {path.name} in {path.parent}.") from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}.") from error
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            if number == len(lines) and not line.endswith(b"\n"):
                return
            raise RunError(f"{path}, line {number}, is damaged: {error}.") from error
        if not isinstance(record, dict):
            raise RunError(f"{path}, line {number}, is damaged: it is no record.")
        yield record


@final
class Meter:
    """Sums of each term since the last record, on the device, so that adding waits for nothing."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._rows = 0

    def add(self, sums: Mapping[str, Tensor], rows: int) -> None:
        """Add one micro-batch's unweighted sums and its number of rows."""
        for name, value in sums.items():
            # What `restore` took up is wide and on the CPU; narrowed to the values' own type, it is what was saved.
            self._sums[name] = self._sums[name].to(value) + value if name in self._sums else value
        self._rows += rows

    def tensors(self, names: tuple[str, ...]) -> Tensor:
        """Return the sums of the named terms, then the rows: (terms + 1,) float64, to be added over processes."""
        sums = [float(self._sums.get(name, 0.0)) for name in names]
        return torch.tensor([*sums, float(self._rows)], dtype=torch.float64)

    def restore(self, names: tuple[str, ...], tensors: Tensor) -> None:
        """Take up the sums that `tensors` gave."""
        *sums, rows = tensors.tolist()
        self._sums = {name: torch.tensor(value, dtype=torch.float64) for name, value in zip(names, sums, strict=True)}
        self._rows = int(rows)

    def clear(self) -> None:
        """Forget all sums."""
        self._sums.clear()
        self._rows = 0
