"""All training rows of a view, prepared once, and what recorded teachers say of them: each replica takes its own order.

Shape legend, this file:  N rows, R replicas, B rows of a batch, P = R · B positions, C classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from limbeck.data.loader import Loader
from limbeck.errors import CannotStack
from limbeck.types import Answer, Batch, Dense, Knowledge, ModelInput, Prepare, Sampled, Teacher, TopK

MOST_BYTES = 2**31
"""Of prepared rows that are held at once."""
MOST_NUMBERS = 2**27
"""Of one temperature's answers that are held at once; of more, each step asks for its own rows."""
_TEMPERATURES = 8  # whose answers are held
_BATCH = 1024


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ViewRows:
    """All rows in one view."""

    inputs: ModelInput
    """(N, …): what the students read."""
    labels: Tensor | None
    """(N,) int64, (N, C) float for a sigmoid head, or None."""
    ids: Tensor
    """(N,) int64, on the CPU."""
    view: int
    """Which view of the rows this is."""

    def __len__(self) -> int:
        return len(self.ids)


def rows_of_view(loader: Loader, prepare: Prepare, view: int, device: torch.device) -> ViewRows:
    """Read and prepare all rows in a view. Raises: CannotStack where they do not fit together or into memory."""
    parts: list[Batch] = []
    held = 0
    for batch in loader.sequential(batch_size=max(loader.batch_size, _BATCH), view=view):
        parts.append(batch)
        held += _bytes(batch.inputs[prepare])
        if held > MOST_BYTES:
            raise CannotStack(f"the prepared rows take more than {MOST_BYTES >> 30} GiB, and a stack holds them all")
    inputs = _joined([part.inputs[prepare] for part in parts])
    labels = None if parts[0].labels is None else torch.cat([part.labels for part in parts if part.labels is not None])
    found = Batch({prepare: inputs}, labels, torch.cat([part.ids for part in parts]), view).to(device)
    return ViewRows(inputs=found.inputs[prepare], labels=found.labels, ids=found.ids, view=view)


def require_row_by_row(loader: Loader, prepare: Prepare, rows: ViewRows, positions: Tensor) -> None:
    """Refuse a `prepare` that makes of a row something else beside other rows, as padding to the longest does."""
    batch = next(loader.sequential(positions, batch_size=len(positions), view=rows.view))
    own, ours = batch.to(_device_of(rows.inputs)).inputs[prepare], taken(rows.inputs, positions)
    if not _equal(own, ours):
        raise CannotStack("their `prepare` makes something else of a row when other rows stand beside it")


def taken(inputs: Any, positions: Tensor, shape: tuple[int, ...] = ()) -> Any:
    """Take rows of prepared inputs by position, (P,) int64, and give their first axis a shape, such as (R, B)."""
    if isinstance(inputs, Tensor):
        found = inputs.index_select(0, positions.to(inputs.device))
        return found.view(*shape, *found.shape[1:]) if shape else found
    if isinstance(inputs, Mapping):
        return {name: taken(value, positions, shape) for name, value in inputs.items()}
    return tuple(taken(value, positions, shape) for value in inputs)


def _joined(parts: list[Any]) -> Any:
    first = parts[0]
    if isinstance(first, Tensor):
        if any(part.shape[1:] != first.shape[1:] for part in parts) or not first.ndim:
            raise CannotStack("their prepared rows are of several lengths")
        return torch.cat(parts)
    if isinstance(first, Mapping):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple):
        return tuple(_joined([part[index] for part in parts]) for index in range(len(first)))
    raise CannotStack(f"their `prepare` gives an object of type {type(first).__name__} among its tensors")


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    parts = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple) else ()
    return sum(_bytes(part) for part in parts)


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other) if one.dtype == other.dtype else False
    if isinstance(one, Mapping):
        return all(_equal(value, other[name]) for name, value in one.items())
    return all(map(_equal, one, other))


def _device_of(value: Any) -> torch.device:
    if isinstance(value, Tensor):
        return value.device
    return _device_of(next(iter(value.values() if isinstance(value, Mapping) else value)))


@final
class HeldAnswers:
    """What a recorded teacher says of all rows of a view: decoded once for each temperature, not once a step."""

    def __init__(self, teacher: Teacher, rows: ViewRows) -> None:
        self._teacher, self._rows = teacher, rows
        self._whole: Knowledge | None = None
        self._found: dict[float, Answer] = {}

    def of(self, positions: Tensor, *, hold: bool) -> Knowledge:
        """Return the knowledge of some rows, (P,) int64; `hold` where a temperature will be asked for again."""
        if hold and len(self._rows) * self._teacher_width() <= MOST_NUMBERS:
            return _Chosen(self, positions)
        return self._teacher(Batch({}, None, self._rows.ids[positions.cpu()], self._rows.view))

    def at(self, temperature: float) -> Answer:
        """Return the answers to all rows."""
        if temperature not in self._found:
            if self._whole is None:
                self._whole = self._teacher(Batch({}, None, self._rows.ids, self._rows.view))
            if len(self._found) >= _TEMPERATURES:
                del self._found[next(iter(self._found))]
            self._found[temperature] = self._whole.at(temperature)
        return self._found[temperature]

    def _teacher_width(self) -> int:
        targets = getattr(self._teacher, "targets", None)
        return 1 if targets is None else int(targets.manifest.width)


@final
class _Chosen:
    """Some rows of held answers."""

    def __init__(self, held: HeldAnswers, positions: Tensor) -> None:
        self._held, self._positions = held, positions
        self.features: Mapping[str, Tensor] = {}

    def at(self, temperature: float) -> Answer:
        answer = self._held.at(temperature)
        if isinstance(answer, Dense):
            return Dense(self._of(answer.logits), answer.head)
        if isinstance(answer, TopK):
            return TopK(
                self._of(answer.ids), self._of(answer.log_probs), self._of(answer.tail_log_prob), answer.classes
            )
        assert isinstance(answer, Sampled)  # there is no fourth kind
        return Sampled(self._of(answer.ids), self._of(answer.weights), answer.classes)

    def _of(self, values: Tensor) -> Tensor:
        return values.index_select(0, self._positions.to(values.device))
