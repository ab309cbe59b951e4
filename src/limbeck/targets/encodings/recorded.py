"""Knowledge that was recorded at some temperatures, and answers at those only.

Shape legend, this file:  B rows, K ids a row.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from limbeck.errors import ArgumentError, MismatchError, StoreError
from limbeck.types import Answer, Dense, Head, Knowledge


@final
@dataclass(frozen=True, slots=True, eq=False)
class RecordedKnowledge:
    """What a store holds of some rows: an answer for each recorded temperature."""

    temperatures: tuple[float, ...]
    """Those that were recorded."""
    answer: Callable[[int], Answer]
    """Decodes the answer at the temperature of a number in `temperatures`."""
    features: Mapping[str, Tensor]
    """Recorded inner activations by the name of the submodule."""

    def at(self, temperature: float) -> Answer:
        """Answer at one of the recorded temperatures. Raises: MismatchError for any other, naming both."""
        try:
            return self.answer(self.temperatures.index(temperature))
        except ValueError:
            recorded = ", ".join(f"{known:g}" for known in self.temperatures)
            raise MismatchError(
                f"This recording answers T = {recorded} only; it was asked for T = {temperature:g}. "
                f"Record it again with --temperatures {temperature:g}, or train at a temperature that it has."
            ) from None


def dense_at(knowledge: Knowledge, temperature: float) -> Dense:
    """Return the whole distribution at a temperature. Raises: MismatchError where only a part of it is known."""
    answer = knowledge.at(temperature)
    if isinstance(answer, Dense):
        return answer
    raise MismatchError(
        f"Only a part of the teacher's answers is known ({type(answer).__name__}), and nothing can be recorded from "
        "that; record from the teacher itself."
    )


def softmax_at(knowledge: Knowledge, temperature: float, what: str) -> Tensor:
    """Return logits of a softmax head, float32 or wider.  -> (B, C).  Raises: MismatchError for a sigmoid head."""
    answer = dense_at(knowledge, temperature)
    require_softmax(answer.head, what)
    return answer.logits.detach().float()


def require_softmax(head: Head, what: str) -> None:
    """Refuse a sigmoid head, in the name of what is to be recorded."""
    if head != "softmax":
        raise MismatchError(
            f"{what} are of one distribution over all classes, and the teacher has a sigmoid head; record dense "
            "targets."
        )


def check_temperatures(caller: str, temperatures: tuple[float, ...]) -> None:
    """Refuse temperatures that are none, not positive and finite, or not ascending and distinct."""
    positive = all(temperature > 0 and math.isfinite(temperature) for temperature in temperatures)
    if not temperatures or not positive or list(temperatures) != sorted(set(temperatures)):
        raise ArgumentError(
            f"{caller}: temperatures must be positive finite numbers, ascending and distinct. Got {list(temperatures)}."
        )


def check_whole(caller: str, *, least: int = 1, **named: object) -> None:
    """Refuse what is not an integer in [least, 2^63); a manifest can say anything."""
    for name, value in named.items():
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value < 2**63:
            raise ArgumentError(f"{caller}: {name} must be a whole number of at least {least}. Got {value!r}.")


def id_dtype(classes: int) -> torch.dtype:
    """The smallest integer type that holds the ids of so many classes."""
    if classes <= 2**8:
        return torch.uint8
    return torch.uint16 if classes <= 2**16 else torch.int32


def checked_ids(stored: Tensor, classes: int) -> Tensor:
    """Return ids as int64. Raises: StoreError for one that is no class: the store was damaged.

    On an accelerator the look at the values would wait for the device at every step, so ids are decoded on the CPU.
    """
    ids = stored.long()
    if ids.numel() and ids.device.type == "cpu":
        low, high = (int(bound) for bound in ids.aminmax())
        if low < 0 or high >= classes:
            raise StoreError(
                f"The recorded targets name the class {low if low < 0 else high}, and there are {classes}: the store "
                "is damaged. Find out where with --verify, and record those shards again."
            )
    return ids
