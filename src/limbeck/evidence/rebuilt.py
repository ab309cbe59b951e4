"""A finished run made alive again, on the CPU: its rows, its student as it began and as it ended. Nothing is trained.

Shape legend, this file:  N rows of a split, B rows of a batch, C classes or labels.
"""

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar, final

import torch
from torch import Tensor, nn

from limbeck.data.loader import Loader
from limbeck.data.order import private_generator
from limbeck.data.prepare import plain_features
from limbeck.data.splits import Splits
from limbeck.errors import LimbeckError
from limbeck.models import caller_of, knowledge_of
from limbeck.references import called
from limbeck.specification import Distillation
from limbeck.teachers.frozen import prepare_of
from limbeck.training.randomness import seeded
from limbeck.training.rebuild import SourceChanged, load_student, specification_of
from limbeck.training.resolve import resolve_data
from limbeck.training.run import Run
from limbeck.training.surroundings import rows_of
from limbeck.types import Batch, Head, Prepare, TransferSet

Found = TypeVar("Found")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Net:
    """A network that can be asked about prepared batches."""

    module: nn.Module
    """In eval mode."""
    prepare: Prepare
    """From raw rows to its input."""
    head: Head
    """How its logits become probabilities."""

    def logits(self, batch: Batch) -> Tensor:
        """Answer a batch: (B, C), in float32 at least."""
        return knowledge_of(caller_of(self.module), batch.inputs[self.prepare], self.head).logits


def or_none(find: Callable[[], Found]) -> Found | None:
    """Return what is found, or None where the run cannot be brought back as it was: names, files or sources gone."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SourceChanged)
        try:
            return find()
        except (LimbeckError, SourceChanged):
            return None


def rows_and_spec(run: Run) -> tuple[Splits, Distillation] | None:
    """Load a run's rows again, with what is needed of its specification; None where they are not what they were."""
    return or_none(lambda: _rows_and_spec(run))


def _rows_and_spec(run: Run) -> tuple[Splits, Distillation] | None:
    spec = specification_of(run)
    splits = resolve_data(spec)
    return (splits, spec) if rows_of(splits) == run.spec["data"] else None


def finished(run: Run) -> Net:
    """The student with the weights that the run kept. Raises: LimbeckError. Warns: SourceChanged."""
    spec = specification_of(run)
    with seeded(spec.seed):  # its factory draws numbers; the caller's generators stay where they are
        return _net(load_student(run), spec, run)


def fresh(run: Run) -> Net:
    """The student before the first step: built after seeding, as the run built it. Raises: LimbeckError."""
    spec = specification_of(run)
    with seeded(spec.seed):
        return _net(called("The student's factory", spec.student), spec, run)


def _net(module: nn.Module, spec: Distillation, run: Run) -> Net:
    return Net(
        module=module.cpu().eval(), prepare=prepare_of(module, spec.prepare, plain_features), head=run.spec["head"]
    )


def some_rows(rows: TransferSet, most: int, nets: Iterable[Net], spec: Distillation) -> Batch:
    """Read up to `most` rows as one batch that all these networks can be asked about: all, or a seeded draw."""
    drawn = torch.randperm(len(rows), generator=private_generator(spec.split_seed, "evidence"))[:most].sort().values
    prepares = [net.prepare for net in nets]
    return next(Loader(rows, prepares, batch_size=max(len(drawn), 1)).sequential(drawn))
