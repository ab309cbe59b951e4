"""A finished run's student with the class biases that bring its mean probabilities to a known prior.

Shape legend, this file:  N rows, C classes.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from limbeck.data.loader import Loader
from limbeck.data.prepare import plain_features
from limbeck.errors import DataError, LimbeckError, MismatchError, RunError
from limbeck.files import write_tensors
from limbeck.functional.class_bias import bias_for_prior
from limbeck.models import caller_of
from limbeck.specification import from_json
from limbeck.teachers.frozen import prepare_of
from limbeck.training.class_bias import with_class_bias
from limbeck.training.evaluate import predict_student
from limbeck.training.place import Place
from limbeck.training.rebuild import load_student, opened, specification_of
from limbeck.training.resolve import resolve_data
from limbeck.training.run import Run
from limbeck.training.surroundings import rows_of
from limbeck.types import ModelInput, Prepare, TransferSet

_AT_ONCE, _FEW = 512, 16
"""Rows that are answered at once, and that are looked at to find the layer that makes the logits."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Corrected:
    """A student whose class biases were set, and by what."""

    student: nn.Module
    """In eval mode, on the CPU: of the run's own class, or in a `ClassBias`; the run keeps its own."""
    bias: Tensor
    """(C,), in nats: what was added to the logits."""
    before: Tensor
    """(C,), the mean probabilities of the run's student on the rows."""
    after: Tensor
    """(C,), those of the corrected one: the prior, for each class that was named."""
    rows: int
    """N, the rows by which it was set."""

    def save(self, path: Path | str) -> None:
        """Write the corrected student's state dict as safetensors; the run's own weights and answers stay as they are.

        It is loaded into what the student's factory builds, or into a `ClassBias` around it where that is what
        `student` is. Raises: RunError where there is a file already.
        """
        path = Path(path)
        if path.exists():
            raise RunError(f"{path} is there already; save the corrected student under another name.")
        write_tensors(path, self.student.state_dict())


def correct_class_bias(
    run: Run | Path | str,
    prior: Tensor | Sequence[float],
    *,
    classes: Sequence[int] | None = None,
    shared: bool = False,
    rows: TransferSet | None = None,
) -> Corrected:
    """Set class biases of a finished run's student by a known class prior (`bias_for_prior`); nothing is trained.

    For a student whose transfer set had other proportions than the world has, or lacked a class. Labels are not read,
    and neither are the run's validation and test rows. **The rows must be distributed as the prior says**: with the
    transfer set that lacks the threes and a prior of a tenth, every row would be pushed towards the three until a tenth
    of those that are none is called one. So give the inputs of all training rows, which need no labels.

    The biases go into the student's last layer where its answers show that they can (`with_class_bias`).

    Args:
        run: the run, its folder, or the folder `student` in it.
        prior: (C,), probability of each class among the rows; those of classes that are not named are not read.
        classes: numbers of the classes that get a bias; None for all.
        shared: one common bias for all named classes, such that together they are as likely as their prior.
        rows: whose inputs count; None for the run's own training rows, by the answers that the run kept (to at most
            100,000 of them), or asked again where these are gone.

    Raises: RunError where there is no finished run, or its rows are asked again and have changed since; MismatchError
    for a sigmoid head, whose labels have no prior together; DataError for no rows; ArgumentError as `bias_for_prior`;
    SpecificationError where the student cannot be built again.
    Reference: Hinton, Vinyals & Dean, Distilling the Knowledge in a Neural Network, 2015, section 3, where such biases
    were set by the test errors.
    """
    run = opened(run)
    if run.spec["head"] != "softmax":
        raise MismatchError(f"The run {run.path} has a sigmoid head; a class prior is one of a softmax head.")
    student = load_student(run)
    prepare = prepare_of(student, from_json(run.spec["specification"]["fields"]["prepare"]), plain_features)
    logits = _logits(run, student, prepare, rows)
    bias = bias_for_prior(logits, torch.as_tensor(prior, dtype=torch.float64), classes=classes, shared=shared)
    return Corrected(
        student=with_class_bias(student, bias, example=_example(run, prepare, rows)).eval(),
        bias=bias,
        before=logits.softmax(-1).mean(0),
        after=(logits + bias).softmax(-1).mean(0),
        rows=len(logits),
    )


def _logits(run: Run, student: nn.Module, prepare: Prepare, rows: TransferSet | None) -> Tensor:
    """The student's logits on the rows, (N, C)."""
    kept = run.predictions("student", "train") if rows is None else None
    if kept is not None:
        return kept.logits
    asked = _own_rows(run) if rows is None else rows
    if not len(asked):
        raise DataError("There are no rows to set class biases by.")
    batches = Loader(asked, [prepare], batch_size=_AT_ONCE).sequential()
    place = Place(device=torch.device("cpu"), half=False)
    return predict_student(caller_of(student), student, prepare, "softmax", batches, place).logits


def _example(run: Run, prepare: Prepare, rows: TransferSet | None) -> ModelInput | None:
    """A few of the rows as the student takes them; None where the run's own cannot be read any more."""
    if rows is None:
        with suppress(LimbeckError):
            return _example(run, prepare, _own_rows(run))
        return None
    few = torch.arange(min(_FEW, len(rows)))
    return next(Loader(rows, [prepare], batch_size=_FEW).sequential(few)).inputs[prepare]


def _own_rows(run: Run) -> TransferSet:
    """The rows that a run was trained on."""
    splits = resolve_data(specification_of(run))
    if rows_of(splits) != run.spec["data"]:
        raise RunError(f"The data of the run {run.path} have changed since it was trained; give its rows with rows=….")
    return splits.train
