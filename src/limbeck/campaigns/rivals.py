"""Rivals: what a user would do instead of distilling, each tuned with as many trials as the distilled student.

None of them is taught by soft targets. They see the same rows in the same views, and are judged in the same way.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast, final

from torch import Tensor, nn

from limbeck.campaigns.ablations import teacher_labels
from limbeck.campaigns.altered import Recorded, recorded_of
from limbeck.campaigns.arms import (
    ALONE,
    LONGER,
    LONGER_WITH_TEACHER,
    PSEUDO_LABELS,
    RIVALS,
    SMOOTHED,
    WARM_START,
    Arm,
    LeftOut,
    chosen_names,
    sentence,
    views_seen,
)
from limbeck.campaigns.compute import Compute, NotCounted, compute_of, training_flops
from limbeck.campaigns.objectives import is_hard, is_soft, on_labels_alone, total_of
from limbeck.campaigns.space import Range, Space, default_space
from limbeck.campaigns.warm_start import agreeing, started_from
from limbeck.data.splits import Splits
from limbeck.errors import ArgumentError, MismatchError, ObjectiveError, SpecificationError
from limbeck.files import read_tensors, write_tensors
from limbeck.objective import HardLabels, Objective, SoftTargets, Weighted
from limbeck.references import called
from limbeck.specification import Distillation, EnsembleOf, Json, TeacherSource
from limbeck.targets.open import is_store
from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.progress import Silent, Watcher
from limbeck.training.randomness import seeded
from limbeck.training.resolve import resolve_data
from limbeck.training.run import Run

SMOOTHING = 0.1
"""The smoothing of labels from which `smoothed` starts (Szegedy et al. 2016)."""

MOST_SMOOTHING = 0.4
"""The largest smoothing that is searched."""


@final
@dataclass(frozen=True, kw_only=True)
class Rivals:
    """The rivals of a distilled student."""

    arms: tuple[Arm, ...]
    """Those that can be run, in the order of `RIVALS`."""
    left_out: Mapping[str, str]
    """Those that cannot, and why: one sentence each."""


def rivals(
    distilled: Distillation,
    folder: Path,
    names: str | Sequence[str] = RIVALS,
    *,
    cap: float = 10.0,
    teacher_flops: float | None = None,
    watcher: Watcher | None = None,
) -> Rivals:
    """Return a distilled student's rivals, each with the space that a search may look through.

    Args:
        distilled: with recorded targets; with its teacher too, for weights to start from and operations to be counted.
        folder: where the teacher's choices as targets, and its weights, are kept.
        names: which; "all" for all.
        cap: the compute-matched rivals train for at most so many times the distilled student's epochs, >= 1.
        teacher_flops: floating-point operations of the teacher's training, where it cannot tell.
        watcher: is told what is written.

    Raises: ArgumentError for a cap below 1; SpecificationError for a name that is none; StoreError where `folder` holds
        altered targets of other ones.
    """
    if not 1 <= cap < math.inf:
        raise ArgumentError(f"rivals: cap must be a number of at least 1. Got {cap}.")
    bench = _Bench(distilled, folder, cap, teacher_flops, watcher or Silent())
    arms: list[Arm] = []
    left_out: dict[str, str] = {}
    for name in chosen_names(names, RIVALS):
        try:
            found = _BUILDERS[name](bench)
            _require_another_length(found, arms)
            arms.append(found)
        except (LeftOut, NotCounted, MismatchError, ObjectiveError) as why:
            left_out[name] = sentence(why)
    return Rivals(arms=tuple(arms), left_out=left_out)


@final
class _Bench:
    """What the rivals of one specification share."""

    def __init__(
        self, distilled: Distillation, folder: Path, cap: float, teacher_flops: float | None, watcher: Watcher
    ) -> None:
        self.distilled, self.folder, self.cap, self.watcher = distilled, folder, cap, watcher
        self.teacher_flops = teacher_flops

    @cached_property
    def splits(self) -> Splits:
        return resolve_data(self.distilled)

    @cached_property
    def source(self) -> Recorded:
        return recorded_of(self.distilled, self.splits)

    @cached_property
    def compute(self) -> Compute:
        return compute_of(self.distilled, self.splits)

    @property
    def alone(self) -> Distillation:
        """The student on labels alone. Raises: LeftOut where there are none."""
        if not self.splits.train.labelled:
            raise LeftOut("the rows have no labels to learn from")
        spec = self.distilled
        objective = on_labels_alone(spec.goal)
        return replace(spec, teacher=None, targets=None, objective=objective, views=views_seen(spec))


def _arm(name: str, title: str, about: str, spec: Distillation, space: Space, notes: Mapping[str, Json]) -> Arm:
    return Arm(name=name, kind="rival", title=title, about=about, spec=spec, space=space or None, notes=notes)


def _searched(spec: Distillation, *names: str, **more: Range) -> Space:
    """Return what is searched of a specification: these names, where it has such numbers, and more."""
    try:
        known = default_space(spec)
    except SpecificationError:  # an optimiser whose rate cannot be set: nothing of it can be searched
        known = {}
    return {**{name: known[name] for name in names if name in known}, **more}


def _alone(bench: _Bench) -> Arm:
    return _arm(
        ALONE,
        "student alone, tuned",
        "The same student learns from the labels alone.",
        bench.alone,
        _searched(bench.alone, "rate", "weight_decay"),
        {},
    )


def _smoothed(bench: _Bench) -> Arm:
    objective = bench.alone.goal
    names = [name for name, (_, term) in objective.terms.items() if isinstance(term, HardLabels)]
    if not names:
        raise LeftOut("the objective has no HardLabels, whose labels could be smoothed")
    for name in names:
        term = cast(HardLabels, objective.terms[name].term)
        objective = objective.replaced(name, smoothing=term.smoothing or SMOOTHING)
    spec = replace(bench.alone, objective=objective)
    return _arm(
        SMOOTHED,
        "student alone with label smoothing",
        "The same student learns from labels that are smoothed evenly, by as much as validation rows choose.",
        spec,
        _searched(spec, "rate", "weight_decay", smoothing=Range(0.0, MOST_SMOOTHING)),
        {},
    )


def _pseudo_labels(bench: _Bench) -> Arm:
    spec = bench.distilled
    targets = teacher_labels(bench.source, bench.folder, bench.watcher)
    taught = replace(
        spec, teacher=None, targets=targets, objective=on_choices(spec.goal, labelled=bench.splits.train.labelled)
    )
    return _arm(
        PSEUDO_LABELS,
        "the teacher's choices as labels, tuned",
        "The same student learns from the one class that the teacher finds likeliest, beside the labels if there are "
        "any.",
        taught,
        _searched(taught, "rate", "weight_decay", "hard_weight"),
        {},
    )


def on_choices(objective: Objective, *, labelled: bool) -> Objective:
    """Replace what compares with a teacher by a cross-entropy with its choices: `SoftTargets` of one-hot targets.

    It has the weight of what it replaces. Where labels are there and the objective does not read them, they get half.
    """
    soft = [part for part in objective.parts if is_soft(part.term)]
    choices = Weighted(total_of(soft), SoftTargets(temperature=1.0, name=soft[0].term.name))
    others = tuple(part for part in objective.parts if not is_soft(part.term))
    if labelled and not any(is_hard(part.term) for part in others) and not callable(choices.weight):
        half = choices.weight / 2
        return Objective((Weighted(half, choices.term), Weighted(half, HardLabels()), *others))
    return Objective((choices, *others))


def _warm_start(bench: _Bench) -> Arm:
    weights = _weights_of(bench.distilled.teacher, bench)
    with seeded(0):
        own = called("The student's factory", bench.distilled.student).state_dict()
    shared = agreeing(own, read_tensors(weights))
    if not any(_tells(tensor) for tensor in shared.values()):
        raise LeftOut("no weights of the teacher have the name and the shape of the student's")
    spec = replace(bench.alone, student=partial(started_from, bench.distilled.student, str(weights)))
    numbers = sum(tensor.numel() for tensor in shared.values())
    return _arm(
        WARM_START,
        "student alone, started from the teacher's weights",
        "The same student learns from the labels alone, and starts from the teacher's weights where shapes allow.",
        spec,
        _searched(spec, "rate", "weight_decay"),
        {"tensors": len(shared), "numbers": numbers, "share": numbers / sum(tensor.numel() for tensor in own.values())},
    )


def _tells(tensor: Tensor) -> bool:
    """Whether a tensor is a weight, and no bias, scale or count, of which almost any two networks have some alike."""
    return tensor.dim() > 1


def _weights_of(teacher: "TeacherSource | None", bench: _Bench) -> Path:
    """Find or write the file with a teacher's weights. Raises: LeftOut."""
    if teacher is None:
        raise LeftOut("the teacher's weights are not known: there is nothing but its recorded answers")
    if isinstance(teacher, EnsembleOf | Ensemble):
        raise LeftOut("the teacher is an ensemble, and has no one set of weights to start from")
    if isinstance(teacher, Distillation):
        return _trained(teacher, bench).weights
    if isinstance(teacher, str | Path):
        if is_store(teacher):
            raise LeftOut("the teacher's weights are not known: there is nothing but its recorded answers")
        return Run.open(teacher).weights
    if isinstance(teacher, FrozenTeacher | nn.Module):
        module = teacher if isinstance(teacher, nn.Module) else teacher.module
        path = bench.folder / "weights-of-the-teacher.safetensors"
        write_tensors(path, module.state_dict())
        return path
    if hasattr(teacher, "prepares") or not callable(teacher):
        raise LeftOut(f"the teacher is a {type(teacher).__name__}, whose weights are not known")
    with seeded(bench.distilled.seed):
        built: Any = called("The teacher's factory", teacher)
    return _weights_of(built, bench)


def _trained(teacher: Distillation, bench: _Bench) -> Run:
    """Find a teacher that was trained before its answers were recorded: beside the store, or beside the campaign's."""
    places = [bench.folder.parent]
    if bench.distilled.targets is not None:
        places.append(Path(bench.distilled.targets).parent)
    for place in places:
        run = Run(place / "teachers" / teacher.hash[:16])
        if run.finished:
            return run
    raise LeftOut("the trained teacher is not found beside its recorded answers, so that its weights are not known")


def _longer(bench: _Bench) -> Arm:
    return _stretched(
        bench,
        LONGER,
        "student alone, as much compute",
        "The same student learns from the labels alone for as many floating-point operations as the distilled one and "
        "the teacher's answers took.",
        0.0,
    )


def _longer_with_teacher(bench: _Bench) -> Arm:
    known = bench.teacher_flops
    if known is None and bench.distilled.teacher is None:
        raise LeftOut("what the teacher's training took is not known: there is nothing but its recorded answers")
    return _stretched(
        bench,
        LONGER_WITH_TEACHER,
        "student alone, as much compute with the teacher's training",
        "The same student learns from the labels alone for as many floating-point operations as the distilled one, the "
        "teacher's answers and the teacher's training took.",
        training_flops(bench.distilled.teacher) if known is None else known,  # type: ignore[arg-type]
    )


def _stretched(bench: _Bench, name: str, title: str, about: str, paid: float) -> Arm:
    """Stretch the schedule to the operations of the distilled student, and of what was paid besides.

    Args:
        bench: what rivals share.
        name: of the arm.
        title: for people.
        about: what it does.
        paid: operations besides those of the student and of the teacher's answers.
    """
    alone, compute = bench.alone, bench.compute
    # Where the answers were bought elsewhere, what is known of the teacher is at most its training.
    if compute.teaching is None and not paid:
        raise LeftOut(compute.why or "the operations of the teacher's answers are not known")
    total = compute.student + (compute.teaching or 0.0) + paid
    ratio = total / compute.student
    wanted = math.floor(total / compute.epoch + 1e-9)
    most = min(wanted, math.floor(bench.cap * alone.epochs))
    if most <= alone.epochs:
        raise LeftOut(
            f"the same compute comes to {ratio:.2f} times that of the student, less than one epoch more than its "
            f"{alone.epochs}"
            if wanted <= alone.epochs
            else f"the cap of {bench.cap:g} leaves no epoch more than the distilled student's {alone.epochs}"
        )
    spec = replace(alone, epochs=most)
    length = Range(float(alone.epochs), float(most), whole=True)
    notes: dict[str, Json] = {
        "epochs": most,
        "epochs_cap": bench.cap,
        "epochs_wanted": wanted,
        "capped": most < wanted,
        "compute": ratio,
        "flops": total,
    }
    return _arm(name, title, about, spec, _searched(spec, "rate", "weight_decay", epochs=length), notes)


def _require_another_length(arm: Arm, arms: Sequence[Arm]) -> None:
    """Refuse the second of two arms that came out alike. Raises: LeftOut."""
    for other in arms:
        if {arm.name, other.name} == {LONGER, LONGER_WITH_TEACHER} and arm.spec.epochs == other.spec.epochs:
            raise LeftOut(
                f"it comes to the same {arm.spec.epochs} epochs as {other.name!r}"
                + (f", the cap of {arm.notes['epochs_cap']:g} times the distilled student's" if _capped(arm) else "")
            )


def _capped(arm: Arm) -> bool:
    return bool(arm.notes["capped"])


_BUILDERS: Mapping[str, Callable[[_Bench], Arm]] = {
    ALONE: _alone,
    SMOOTHED: _smoothed,
    PSEUDO_LABELS: _pseudo_labels,
    WARM_START: _warm_start,
    LONGER: _longer,
    LONGER_WITH_TEACHER: _longer_with_teacher,
}
