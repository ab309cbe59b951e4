"""The Protocol of an encoding: from what a teacher revealed to bytes, and from bytes to what can be asked.

Shape legend, this file:  B rows.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor

from limbeck.keyed import Keys
from limbeck.targets.layout import Layout
from limbeck.types import Head, Knowledge


class Encoding(Protocol):
    """How a teacher's answers are stored. A frozen record; all are in `limbeck.targets.encodings`."""

    @property
    def name(self) -> str:
        """Its name in a manifest."""

    @property
    def temperatures(self) -> tuple[float, ...] | None:
        """The temperatures that can be asked for; None for every one."""

    def layout(self, classes: int) -> Layout:
        """Return the fields of a row. Raises: ArgumentError for settings that do not fit the number of classes."""

    def encode(self, knowledge: Knowledge, keys: Keys) -> dict[str, Tensor]:
        """Return each field's values, {name: (B, *shape)}, on the CPU and of the layout's types.

        `keys` are those of the rows, for encodings that draw. Raises: MismatchError for knowledge that the encoding
        cannot hold, ArgumentError for values that its numbers cannot (NaN, or beyond their range).
        """

    def decode(
        self, fields: Mapping[str, Tensor], head: Head, classes: int, features: Mapping[str, Tensor]
    ) -> Knowledge:
        """Return what was revealed, to be asked at one of `temperatures`."""

    def as_json(self) -> dict[str, Any]:
        """Return its name and settings for the manifest."""
