"""Ablations: the distilled student with one thing replaced, and every setting inherited.

Each has the same initial weights, order, augmentation, optimiser and steps as the distilled student at the same seed.
They say what its gain is made of, and enter no verdict.

Shape legend, this file:  N rows that are trained on, B rows of a batch, C classes or labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from limbeck.campaigns.altered import Answers, Recorded, recorded_of, require_learnable, write_altered
from limbeck.campaigns.altering import (
    donors,
    edited_logits,
    exchange_labels,
    one_hot_logits,
    permute_others,
    smoothed_binary_logits,
    smoothed_logits,
    smoothing_of_entropy,
    top_class,
)
from limbeck.campaigns.arms import (
    ABLATIONS,
    EDITED,
    HARD_LABELS,
    MATCHED_SMOOTHING,
    PERMUTED,
    SELF_DISTILLED,
    SHUFFLED,
    TEACHER_LABELS,
    Arm,
    LeftOut,
    chosen_names,
    sentence,
    views_seen,
)
from limbeck.campaigns.objectives import on_labels_alone, on_targets_alone, share_of_labels, temperature_asked
from limbeck.data.splits import Splits, without_test
from limbeck.errors import MismatchError, ObjectiveError
from limbeck.functional.softmax import entropy
from limbeck.keyed import row_keys
from limbeck.specification import Distillation, Json
from limbeck.training.progress import Silent, Watcher
from limbeck.training.recording import record
from limbeck.training.resolve import resolve_data
from limbeck.types import Dense

SELF_SEED = 62_015
"""The seed of the student that teaches in `self-distilled`: one that no campaign is likely to judge by."""

ALTERING_SEED = 0
"""Of what is drawn for altered targets: one alteration for all seeds of the student."""


@final
@dataclass(frozen=True, kw_only=True)
class Ablations:
    """The ablations of a distilled student."""

    arms: tuple[Arm, ...]
    """Those that can be run, in the order of `ABLATIONS`."""
    left_out: Mapping[str, str]
    """Those that cannot, and why: one sentence each."""


def ablations(
    distilled: Distillation,
    folder: Path,
    names: str | Sequence[str] = ABLATIONS,
    *,
    watcher: Watcher | None = None,
) -> Ablations:
    """Return a distilled student's ablations at the settings that it has.

    Altered targets are written into `folder/NAME`, where they are found again the next time. For `self-distilled` a
    student is trained and recorded, unless it was before.

    Args:
        distilled: with recorded targets, at the settings that were chosen for it.
        folder: where stores of altered targets go.
        names: which; "all" for all.
        watcher: is told how far the student that teaches itself has come.

    Raises: SpecificationError for a name that is none, or a specification without recorded targets; StoreError where
        `folder` holds altered targets of other ones; Interrupted.
    """
    bench = _Bench(distilled, folder, watcher or Silent())
    arms: list[Arm] = []
    left_out: dict[str, str] = {}
    for name in chosen_names(names, ABLATIONS):
        try:
            arms.append(_BUILDERS[name](bench))
        except (LeftOut, MismatchError, ObjectiveError) as why:
            left_out[name] = sentence(why)
    return Ablations(arms=tuple(arms), left_out=left_out)


def teacher_labels(source: Recorded, folder: Path, watcher: Watcher) -> Path:
    """Write the teacher's choices as targets that rule out all other classes, at every temperature; return where.

    Raises: LeftOut for a sigmoid head, or where the choices were not recorded; StoreError as `write_altered` does.
    """
    _require_softmax(source)

    def chosen(positions: Tensor, view: int) -> Tensor:
        return one_hot_logits(top_class(source.chosen(positions, view)), source.classes)

    chosen(torch.arange(1), 0)
    path = folder / TEACHER_LABELS
    write_altered(source, path, chosen, temperature=None, how={"name": TEACHER_LABELS}, watcher=watcher)
    return path


@final
class _Bench:
    """What the ablations of one specification share."""

    def __init__(self, distilled: Distillation, folder: Path, watcher: Watcher) -> None:
        self.distilled, self.folder, self.watcher = distilled, folder, watcher

    @cached_property
    def splits(self) -> Splits:
        return resolve_data(self.distilled)

    @cached_property
    def source(self) -> Recorded:
        return recorded_of(self.distilled, self.splits)

    @property
    def temperature(self) -> float:
        return temperature_asked(self.distilled.goal)

    @property
    def labels(self) -> Tensor:
        """The labels of the rows, in ascending order of ids. Raises: LeftOut."""
        if self.source.labels is None:
            raise LeftOut("the rows have no labels")
        return self.source.labels

    def recorded(self, positions: Tensor, view: int) -> Tensor:
        """What the objective is answered.  (B,) -> (B, C)."""
        return self.source.logits(positions, view, self.temperature)

    def arm(self, name: str, title: str, about: str, spec: Distillation, **notes: Json) -> Arm:
        return Arm(name=name, kind="ablation", title=title, about=about, spec=replace(spec, teacher=None), notes=notes)

    def altered(self, name: str, answers: Answers, **how: Json) -> Distillation:
        """Write altered targets and return the distilled student that learns from them."""
        require_learnable(self.distilled.goal, self.source, answers)
        path = self.folder / name
        told = {"name": name, "temperature": self.temperature, **how}
        write_altered(self.source, path, answers, temperature=self.temperature, how=told, watcher=self.watcher)
        return replace(self.distilled, teacher=None, targets=path)


def _hard_labels(bench: _Bench) -> Arm:
    return bench.arm(
        HARD_LABELS,
        "hard labels only",
        "The soft targets are dropped; the labels take over their weight, so that the loss keeps its scale.",
        _on_labels(bench),
    )


def _on_labels(bench: _Bench) -> Distillation:
    if not bench.splits.train.labelled:
        raise LeftOut("the rows have no labels")
    spec = bench.distilled
    objective = on_labels_alone(spec.goal)
    return replace(spec, teacher=None, targets=None, objective=objective, views=views_seen(spec))


def _matched_smoothing(bench: _Bench) -> Arm:
    labels, temperature, sigmoid = bench.labels, bench.temperature, bench.source.head == "sigmoid"
    count = bench.source.classes
    nats = _mean_entropy(bench)
    smoothing = smoothing_of_entropy(nats, 2 if sigmoid else count)
    if not smoothing:
        raise LeftOut("the teacher is sure of every row, so that no smoothing has the entropy of its targets")

    def smoothed(positions: Tensor, view: int) -> Tensor:
        own = labels[positions]
        if sigmoid:
            return smoothed_binary_logits(own, temperature=temperature, smoothing=smoothing)
        return smoothed_logits(own, count, temperature=temperature, smoothing=smoothing)

    return bench.arm(
        MATCHED_SMOOTHING,
        "labels smoothed to the targets' entropy",
        "The soft targets are replaced by labels that are smoothed evenly until they have the same mean entropy.",
        bench.altered(MATCHED_SMOOTHING, smoothed, smoothing=smoothing),
        smoothing=smoothing,
        entropy=nats,
    )


def _mean_entropy(bench: _Bench) -> float:
    """Mean entropy of the targets at the objective's temperature, over rows, views (and labels), in nats."""
    source, total, count = bench.source, 0.0, 0
    for view in range(source.views):
        for positions in torch.split(torch.arange(len(source.ids)), 4096):
            logits = Dense(bench.recorded(positions, view), source.head).as_categorical().double()
            nats = entropy(logits, temperature=bench.temperature)
            total, count = total + float(nats.sum()), count + nats.numel()
    return total / count


def _teacher_labels(bench: _Bench) -> Arm:
    source = bench.source
    _require_softmax(source)
    require_learnable(bench.distilled.goal, source, lambda rows, _view: one_hot_logits(rows * 0, source.classes))
    return bench.arm(
        TEACHER_LABELS,
        "the teacher's choices as labels",
        "Each soft target is replaced by the one class that the teacher finds likeliest, on the same inputs.",
        replace(bench.distilled, teacher=None, targets=teacher_labels(source, bench.folder, bench.watcher)),
    )


def _permuted(bench: _Bench) -> Arm:
    source = bench.source
    _require_softmax(source)
    if source.classes < 3:
        raise LeftOut("with two classes there is only one beside the likeliest, and nothing to permute")

    def permuted(positions: Tensor, view: int) -> Tensor:
        return permute_others(bench.recorded(positions, view), row_keys(ALTERING_SEED, view, source.ids[positions]))

    return bench.arm(
        PERMUTED,
        "dark knowledge permuted",
        "The probabilities of all classes but the likeliest are dealt to those classes anew, in each row apart (DKPP).",
        bench.altered(PERMUTED, permuted, seed=ALTERING_SEED),
    )


def _shuffled(bench: _Bench) -> Arm:
    source = bench.source
    groups = source.labels
    if groups is None:
        groups = top_class(source.gathered(bench.recorded))
    own = donors(groups, source.ids, seed=ALTERING_SEED)
    alone = int((own == torch.arange(len(own))).sum())
    if alone == len(own):
        raise LeftOut("no two rows have the same label, so that none can take another one's targets")

    def shuffled(positions: Tensor, view: int) -> Tensor:
        return bench.recorded(own[positions], view)

    return bench.arm(
        SHUFFLED,
        "targets shuffled within classes",
        "Each row is given the soft targets of another row of its class.",
        bench.altered(SHUFFLED, shuffled, seed=ALTERING_SEED),
        rows_alone=alone,
    )


def _edited(bench: _Bench) -> Arm:
    _require_softmax(bench.source)
    share = share_of_labels(bench.distilled.goal)
    return _mixed(bench, share) if share else _exchanged(bench)


def _mixed(bench: _Bench, share: float) -> Arm:
    """One loss instead of two: Hinton et al. 2015, section 2, tried this first and found two better."""
    labels, temperature = bench.labels, bench.temperature
    if share == 1:
        raise LeftOut("the soft targets have no weight, so that nothing can be edited into them")
    spec = replace(bench.distilled, objective=on_targets_alone(bench.distilled.goal))
    single = _Bench(spec, bench.folder, bench.watcher)
    single.splits, single.source = bench.splits, bench.source

    def edited(positions: Tensor, view: int) -> Tensor:
        logits = bench.recorded(positions, view)
        return edited_logits(logits, labels[positions], temperature=temperature, weight=share)

    return bench.arm(
        EDITED,
        "labels edited into the soft targets",
        "The labels are mixed into the soft targets by their share of the weights, instead of a loss of their own.",
        single.altered(EDITED, edited, share=share),
        share=share,
    )


def _exchanged(bench: _Bench) -> Arm:
    """Where labels have no share in the loss by which to mix them in, they correct the teacher (Wen et al. 2019)."""
    labels, source = bench.labels, bench.source
    wrong = int((top_class(source.gathered(bench.recorded)) != labels).sum())
    if not wrong:
        raise LeftOut(
            f"the labels have no weight in the objective, and are the teacher's choice on all {len(labels)} training "
            "rows, so that there is nothing to edit"
        )

    def exchanged(positions: Tensor, view: int) -> Tensor:
        return exchange_labels(bench.recorded(positions, view), labels[positions])

    return bench.arm(
        EDITED,
        "labels edited into the soft targets",
        "Where the teacher's choice is not the label, the two exchange their probabilities.",
        bench.altered(EDITED, exchanged),
        rows_exchanged=wrong,
    )


def _self_distilled(bench: _Bench) -> Arm:
    alone = replace(_on_labels(bench), seed=SELF_SEED, data=partial(without_test, bench.distilled.data))
    taught = replace(bench.distilled, teacher=alone, targets=None, views=views_seen(bench.distilled))
    path = bench.folder / SELF_DISTILLED
    record(taught, path, resume=True, watcher=bench.watcher, parallel=1)
    return bench.arm(
        SELF_DISTILLED,
        "self-distilled",
        "The teacher is replaced by the same student, trained alone on hard labels at the same settings.",
        replace(bench.distilled, teacher=None, targets=path),
        teacher_seed=SELF_SEED,
    )


def _require_softmax(source: Recorded) -> None:
    if source.head != "softmax":
        raise LeftOut(
            "the labels are independent yes or no answers (a sigmoid head), and there is no one class to name"
        )


_BUILDERS: Mapping[str, Callable[[_Bench], Arm]] = {
    HARD_LABELS: _hard_labels,
    MATCHED_SMOOTHING: _matched_smoothing,
    TEACHER_LABELS: _teacher_labels,
    PERMUTED: _permuted,
    SHUFFLED: _shuffled,
    EDITED: _edited,
    SELF_DISTILLED: _self_distilled,
}
