"""From the settings of a row to a specification: the network, the views, the objective, the schedule."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from limbeck._checks import check_fraction, check_positive
from limbeck.data.augment import RandomApply, Shift
from limbeck.data.elastic import Elastic
from limbeck.data.tensors import TensorSet
from limbeck.errors import ObjectiveError
from limbeck.objective import HardLabels, LogitMatching, Objective, SoftTargets, Term, Weighted
from limbeck.schedules import Cosine
from limbeck.specification import Distillation, TeacherSource
from limbeck.types import Augment, Dense, Knowledge, LogitKnowledge
from limbeck_recipes.mnist import convolutional_network, network, pixels, standardised_pixels
from limbeck_recipes.reproductions.mnist_settings import Settings

WARM_UP = 1 / 20
"""Share of the steps in which the rate rises to its peak."""


def specification(
    settings: Settings, rows: Callable[[], TensorSet], seed: int, teacher: "TeacherSource | None" = None
) -> Distillation:
    """Return the specification of a row at a seed: a fixed schedule without validation, so that the last weights stay.

    The views are the same at every seed, so that they can be recorded once a teacher.
    """
    return Distillation(
        data=rows,
        student=student(settings),
        objective=objective(settings),
        teacher=teacher,
        optimizer=partial(torch.optim.AdamW, lr=settings.rate, weight_decay=settings.weight_decay, fused=True),
        schedule=rise_and_fall,
        prepare=standardised_pixels if settings.standardised else pixels,
        augment=augmentation(settings),
        views=settings.views,
        epochs=settings.epochs,
        batch_size=settings.batch_size,
        max_norm=settings.max_norm,
        precision="auto" if settings.units > SMALL else "float32",
        validation=None,
        seed=seed,
        log_every=1_000_000,
        probe_rows=0,
    )


def student(settings: Settings) -> Callable[[], nn.Module]:
    """The network's factory."""
    if settings.convolutional:
        return partial(convolutional_network, settings.units, settings.dropout)
    return partial(network, settings.units, settings.input_dropout, settings.dropout)


SMALL = 100
"""Networks with so many units are trained in float32, many in one stack; for larger ones bfloat16 is quicker."""


def rise_and_fall(optimizer: Optimizer, steps: int) -> LambdaLR:
    """Raise the rate in a line over the first twentieth of the steps, and lower it to zero along half a cosine."""
    rise = max(1, round(WARM_UP * steps))
    fall = Cosine(start=1.0, stop=0.0, steps=max(1, steps - rise))
    return LambdaLR(optimizer, lambda step: (step + 1) / rise if step < rise else fall(step - rise))


def augmentation(settings: Settings) -> Augment | None:
    """The views that are asked for, if any."""
    if settings.elastic:
        shift = float(settings.jitter)
        bent = Elastic(settings.elastic, rotation=settings.rotation, scaling=settings.scaling, shift=shift)
        return RandomApply(bent, 1 - settings.plain) if settings.plain else bent
    return Shift(settings.jitter) if settings.jitter else None


def objective(settings: Settings) -> Objective:
    """The weighted terms that are asked for."""
    temperature = settings.temperature
    soft: Term = SoftTargets(temperature=temperature)
    if settings.edited:
        soft = EditedTargets(temperature=temperature, share=settings.edited)
    terms = (
        Weighted(settings.soft, soft),
        Weighted(settings.matching, LogitMatching()),
        Weighted(settings.hard, HardLabels(smoothing=settings.smoothing)),
    )
    return Objective(tuple(term for term in terms if term.weight))


@final
@dataclass(frozen=True, kw_only=True)
class EditedTargets(Term):
    """T² · KL at temperature T from soft targets into which the label was edited: (1 - share) · p_T + share · label.

    What Hinton, Vinyals & Dean 2015 (section 2) found less good than a weighted mean of two objectives.
    Raises: ArgumentError for a temperature that is not positive, or a share outside [0, 1].
    """

    needs_teacher: ClassVar[bool] = True
    needs_labels: ClassVar[bool] = True

    temperature: float
    """Softmax temperature of both models, > 0."""
    share: float
    """Of the label in the targets, in [0, 1]."""
    name: str = "edited"
    """The name under which it is logged and overridden."""

    def __post_init__(self) -> None:
        check_positive("EditedTargets", temperature=self.temperature)
        check_fraction("EditedTargets", share=self.share)

    def __call__(self, student: LogitKnowledge, teacher: Knowledge | None, labels: Tensor | None, step: int) -> Tensor:
        """T² · divergence per row, (B,), in nats."""
        answer = None if teacher is None else teacher.at(self.temperature)
        if labels is None or not isinstance(answer, Dense) or answer.head != "softmax":
            raise ObjectiveError("it needs labels, and a teacher with a softmax head that answers with logits")
        soft = (answer.logits / self.temperature).softmax(-1)
        label = torch.nn.functional.one_hot(labels, soft.shape[-1]).to(soft.dtype)
        target = (1 - self.share) * soft + self.share * label
        log_q = (student.at(self.temperature).logits / self.temperature).log_softmax(-1)
        return self.temperature**2 * (torch.xlogy(target, target) - target * log_q).sum(-1)
