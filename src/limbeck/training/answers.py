"""What a teacher says while it is recorded: one answer for each row of a batch, of one width, and finite.

A store keeps what it is given for weeks: an answer that is not its row's must be refused before it is written.

Shape legend, this file:  B rows of a batch, C classes or labels.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from limbeck.errors import ArgumentError, MismatchError
from limbeck.knowledge import MixtureKnowledge
from limbeck.references import called
from limbeck.types import Batch, Dense, Knowledge, LogitKnowledge, Teacher

_SHOWN = 5


def asked(teacher: Teacher, batch: Batch, device: torch.device) -> Knowledge:
    """Ask about a batch. Raises: SpecificationError that says what a teacher raised, and on which rows."""
    return called(f"The teacher, on the rows with the ids {_listed(batch.ids)},", teacher, batch.to(device))


def require_one_a_row(knowledge: Knowledge, batch: Batch, temperature: float, classes: int | None = None) -> None:
    """Refuse answers and inner activations that are not one for each row: they would be those of other rows.

    Args:
        knowledge: what the teacher said of the batch.
        batch: what it was asked about.
        temperature: one at which it can be asked.
        classes: how many it told apart before; None before that is known.

    Raises: MismatchError.
    """
    shape = _shape(knowledge, temperature)
    if len(shape) != 2 or shape[0] != len(batch) or classes not in (None, shape[1]):
        raise MismatchError(
            f"The teacher must return logits of shape (rows, classes), {(len(batch), classes or 'classes')} for the "
            f"rows with the ids {_listed(batch.ids)}. Got {shape}."
        )
    for name, values in knowledge.features.items():
        if values.shape[:1] != (len(batch),):
            raise MismatchError(
                f"The features {name!r} must have the rows as their first axis to be recorded. Got "
                f"{tuple(values.shape)} for {len(batch)} rows."
            )


@contextmanager
def naming_rows(knowledge: Knowledge, batch: Batch, temperature: float) -> Iterator[None]:
    """Say on which rows the answers are that an encoding refuses. Raises: ArgumentError."""
    try:
        yield
    except ArgumentError as error:
        raise ArgumentError(
            f"The answers to the rows with the ids {_listed(_broken(knowledge, batch, temperature))} cannot be "
            f"recorded: {error}"
        ) from error


def _shape(knowledge: Knowledge, temperature: float) -> tuple[int, ...]:
    match knowledge:
        case LogitKnowledge():
            return tuple(knowledge.logits.shape)
        case MixtureKnowledge():  # not mixed for a look at its shape
            return tuple(knowledge.logits_MBC.shape[1:])
    answer = knowledge.at(temperature)
    return tuple(answer.logits.shape) if isinstance(answer, Dense) else (len(answer.ids), answer.classes)


def _broken(knowledge: Knowledge, batch: Batch, temperature: float) -> Tensor:
    """The ids of rows without a distribution; of all, where every row has one."""
    answer = knowledge.at(temperature)
    if not isinstance(answer, Dense):
        return batch.ids
    logits = answer.logits.detach().float().cpu()
    broken = ~(logits < torch.inf).all(-1) | logits.isneginf().all(-1)
    return batch.ids[broken] if broken.any() else batch.ids


def _listed(ids: Tensor) -> str:
    first = ", ".join(map(str, ids[:_SHOWN].tolist()))
    return f"{first} and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else first
