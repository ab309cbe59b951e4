"""`distill_stacked(jobs) -> runs`: what `distill` does for each of many specifications, in one stacked model."""

from collections.abc import Sequence
from pathlib import Path

from limbeck.data.splits import Splits
from limbeck.errors import CannotStack
from limbeck.models import architecture
from limbeck.specification import Distillation, Json
from limbeck.training import randomness
from limbeck.training.checkpoint import newest
from limbeck.training.distill import (
    distill,
    finished,
    room_beside,
    rows_for,
    teachers_for,
    with_student,
)
from limbeck.training.interrupt import StopRequest, stop_on_ctrl_c
from limbeck.training.place import Place, find_place
from limbeck.training.progress import Watcher
from limbeck.training.progress import watcher as default_watcher
from limbeck.training.randomness import seeded
from limbeck.training.run import Run, claim
from limbeck.training.stacking.fit import StackedFit
from limbeck.training.stacking.reasons import encoded, why_not_stacked
from limbeck.training.stacking.replica import Replica
from limbeck.types import Teacher

Job = tuple[Distillation, Path]
"""A specification, and the folder of its run."""


def distill_stacked(
    jobs: Sequence[tuple[Distillation, Path | str]],
    *,
    resume: bool = False,
    watcher: Watcher | None = None,
    origin: Json = None,
    found: "Shared | None" = None,
) -> list[Run]:
    """Train the students of many specifications at once; each leaves the run that `distill(spec, out)` would have left.

    A replica has its own initial weights, order of rows, dropout masks, BatchNorm statistics, objective, targets,
    optimiser, schedule and number of epochs, and its numbers are those of a run of its own but for rounding. A stack
    that is stopped or killed leaves the runs that had come to their end; the others are begun anew. A run whose loss
    breaks does not disturb the others: it is trained once more apart, where it raises what it raises.

    Args:
        jobs: specifications with their folders, each new or empty.
        resume: take a finished run as it is; one that left a checkpoint is gone on with apart, any other begun anew.
        watcher: is told how far it has come; None for a bar on a terminal and plain lines elsewhere.
        origin: how the runs were asked for, kept in each spec.json.
        found: data and targets that are loaded already.

    Returns: the runs, in the order of the jobs.

    Raises: CannotStack, before anything is written, for what cannot be trained as one stack; else what `distill`
        raises.
    """
    watcher = watcher or default_watcher()
    asked = [(spec, Path(out)) for spec, out in jobs]
    for _spec, out in asked:
        claim(out, resume=resume, overwrite=False)
    found = found or Shared()
    begun: list[Job] = []
    fresh: list[Job] = []
    for spec, out in asked:
        if resume and finished(spec, out, found.splits(spec)) is not None:
            continue
        (begun if newest(out / "checkpoints", "last") is not None else fresh).append((spec, out))
    broken: list[Replica] = []
    if fresh:
        with seeded(fresh[0][0].seed), stop_on_ctrl_c() as stop:
            broken = stacked_fit(fresh, watcher=watcher, stop=stop, origin=origin, found=found).run()
    apart = {out for _, out in begun} | {own.out for own in broken}
    for spec, out in asked:
        if out in apart:
            distill(spec, out, resume=True, watcher=watcher, origin=origin)
    return [Run(out) for _, out in asked]


class Shared:
    """Data and recorded teachers, loaded once for all replicas that name the same."""

    def __init__(self) -> None:
        self._splits: dict[str, Splits] = {}
        self._teachers: dict[str, dict[str, Teacher]] = {}

    def splits(self, spec: Distillation) -> Splits:
        """The rows that a specification names. Raises: the errors of loading."""
        key = _rows_key(spec)
        if key not in self._splits:
            self._splits[key] = rows_for(spec)
        elif not self._splits[key].train.labelled:
            rows_for(spec)  # whether they are enough for this specification's terms is another question
        return self._splits[key]

    def teachers(self, spec: Distillation, out: Path, place: Place, watcher: Watcher) -> dict[str, Teacher]:
        """Who answers for the rows of each split. Raises: as `distill` does."""
        if not spec.goal.needs_teacher:
            return {}
        named = (str(place.device), str(spec.targets), encoded(spec.teacher), encoded(spec.teacher_prepare))
        key = "\n".join((*named, encoded(spec.views), _rows_key(spec)))
        if key not in self._teachers:
            room = room_beside(out, place, watcher, 1)
            self._teachers[key] = teachers_for(spec, self.splits(spec), room)
        return self._teachers[key]


def _rows_key(spec: Distillation) -> str:
    return "\n".join(map(encoded, (spec.data, spec.validation, spec.split_seed, spec.augment, spec.view_seed)))


def stacked_fit(
    jobs: Sequence[Job],
    *,
    watcher: Watcher,
    stop: StopRequest | None = None,
    origin: Json = None,
    found: Shared | None = None,
) -> StackedFit:
    """Put a stack together; nothing is written yet. The global generators are used, and not put back.

    Raises: CannotStack; the errors of loading and of what does not fit together, as `distill` does.
    """
    reason = why_not_stacked([spec for spec, _ in jobs])
    if reason is not None:
        raise CannotStack(reason)
    place = find_place(jobs[0][0].device, jobs[0][0].precision)
    found = found or Shared()
    replicas = [_replica(spec, out, found, place, watcher) for spec, out in jobs]
    if len({architecture(own.materials.student) for own in replicas}) > 1:
        raise CannotStack("their students are not of one architecture")
    return StackedFit(replicas, place=place, watcher=watcher, stop=stop or StopRequest(), origin=origin)


def _replica(spec: Distillation, out: Path, found: Shared, place: Place, watcher: Watcher) -> Replica:
    teachers = found.teachers(spec, out, place, watcher)
    materials = with_student(spec, found.splits(spec), teachers, place)
    return Replica(spec=spec, out=out, materials=materials, generators=randomness.capture())
