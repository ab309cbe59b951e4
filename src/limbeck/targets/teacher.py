"""`RecordedTeacher`: a teacher that is a file.

Shape legend, this file:  N rows that are asked about.
"""

import copy
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self, final

import torch
from torch import Tensor

from limbeck.errors import MismatchError
from limbeck.targets.store import Targets
from limbeck.types import Batch, Head, Knowledge, Prepare


@final
class RecordedTeacher:
    """Answers batches with what was recorded of their rows.

    Args:
        targets: what was recorded.
        part: the split whose rows it answers; ids mean nothing without one.
        features: names of the inner activations that come with every answer; all that were recorded if None.

    Raises: MismatchError for a split or features that were not recorded.
    """

    def __init__(self, targets: Targets, part: str = "train", features: Sequence[str] | None = None) -> None:
        self.targets, self.part = targets, part
        self.features = tuple(targets.manifest.features) if features is None else tuple(features)
        self._rows = targets.part(part)
        self._rows.require_features(self.features)
        self._device = torch.device("cpu")

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what was recorded."""
        return self.targets.fingerprint

    @property
    def head(self) -> Head:
        """How its logits become probabilities."""
        return self.targets.manifest.head

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The names of its classes, in order; None where nothing named them."""
        return self.targets.manifest.classes

    @property
    def prepares(self) -> tuple[Prepare, ...]:
        """Empty: it reads no inputs."""
        return ()

    @property
    def temperatures(self) -> tuple[float, ...] | None:
        """What it answers exactly; None for every temperature."""
        return self.targets.temperatures

    @property
    def views(self) -> int:
        """How many views of its rows were recorded, the raw rows included."""
        return self._rows.views

    @property
    def knows_contents(self) -> bool:
        """Whether rows can be compared by content with those that were recorded, not only by id."""
        return self._rows.contents is not None

    def __call__(self, batch: Batch) -> Knowledge:
        """Answer a batch by its ids and its view. Raises: MismatchError for rows or views that were not recorded."""
        return self.targets.knowledge(batch.ids, batch.view, self.part, self.features, self._device)

    def to(self, device: torch.device) -> Self:
        """Send answers to a device from now on; returns itself."""
        self._device = device
        return self

    def of(self, part: str) -> Self:
        """Return the teacher that answers the rows of another split. Raises: MismatchError where it has none."""
        other = copy.copy(self)
        other.part, other._rows = part, self.targets.part(part)
        return other

    def require(self, ids: Tensor, contents: Tensor | None, views: int) -> None:
        """Compare the rows of a dataset with those that were recorded.

        Args:
            ids: (N,) int64 of the rows.
            contents: (N,) int64 hashes of their contents; None to compare ids only.
            views: how many views of each will be asked for, the raw row included.

        Raises: MismatchError for rows that were not recorded, rows that are not those that were recorded, and more
            views than were recorded; each names the first.
        """
        positions = torch.from_numpy(self._rows.positions(ids))
        if contents is not None and self._rows.contents is not None:
            differ = (self._rows.contents[positions] != contents).nonzero()
            if len(differ):
                raise MismatchError(
                    f"The row with the id {int(ids[differ[0]])} is not the row that was recorded: its content has "
                    f"changed, as that of {len(differ)} of {len(ids)} rows. The dataset is another one, or in another "
                    "order; record it again."
                )
        if views > self.views:
            raise MismatchError(
                f"The student is to see {views} views of each row, and {self.views} were recorded; ask for fewer, or "
                "record more."
            )

    def require_classes(self, names: Sequence[str]) -> None:
        """Refuse other classes, or the same in another order. Raises: MismatchError with the first that differ."""
        asked, recorded = tuple(names), self.classes
        if len(asked) != self.targets.manifest.width:
            raise MismatchError(
                f"The targets are of {self.targets.manifest.width} classes, and the data have {len(asked)}."
            )
        if recorded is None or recorded == asked:
            return
        number = next(number for number, name in enumerate(asked) if recorded[number] != name)
        if set(recorded) == set(asked):
            raise MismatchError(
                f"The targets have the same classes as the data in another order: class {number} is "
                f"{recorded[number]!r} in the targets and {asked[number]!r} in the data."
            )
        raise MismatchError(
            f"The targets are of other classes than the data: class {number} is {recorded[number]!r} in the targets "
            f"and {asked[number]!r} in the data."
        )

    def require_temperatures(self, temperatures: Sequence[float]) -> None:
        """Refuse a temperature that cannot be answered. Raises: MismatchError with the first and those that can."""
        recorded = self.temperatures
        for temperature in temperatures:
            if recorded is not None and temperature not in recorded:
                held = ", ".join(f"{one:g}" for one in recorded)
                raise MismatchError(
                    f"The targets answer T = {held}, and T = {temperature:g} was asked for; train at one of theirs, or "
                    "record it too."
                )

    def require_teacher(self, fingerprint: str) -> None:
        """Refuse targets of another teacher; those of no known teacher pass. Raises: MismatchError with both."""
        recorded = self.targets.manifest.teacher["fingerprint"]
        if recorded is not None and recorded != fingerprint:
            raise MismatchError(
                f"The targets were recorded from the teacher {recorded[:12]}, and the teacher is {fingerprint[:12]}; "
                "record them again."
            )

    def require_transform(self, transform: Mapping[str, Any] | None) -> None:
        """Refuse targets of rows that were changed in another way. Raises: MismatchError with both."""
        recorded = self.targets.manifest.transform
        if recorded != transform:
            raise MismatchError(
                f"The targets were recorded on rows that were changed by {_in_words(recorded)}, and the rows are "
                f"changed by {_in_words(transform)}; record them again."
            )


def _in_words(transform: Mapping[str, Any] | None) -> str:
    return "nothing" if transform is None else json.dumps(transform, sort_keys=True, ensure_ascii=False)
