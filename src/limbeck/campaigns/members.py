"""The members of an ensemble and the models of a trial, looked at one by one: errors, size, time to answer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from limbeck.campaigns.trial import TrialRuns
from limbeck.data.loader import Loader
from limbeck.errors import SpecificationError
from limbeck.evidence.latency import latencies
from limbeck.evidence.ledger import enter
from limbeck.models import parameter_count
from limbeck.specification import Distillation, EnsembleOf
from limbeck.teachers.ensemble import Ensemble
from limbeck.teachers.frozen import FrozenTeacher
from limbeck.training.evaluate import predict_teacher, scores
from limbeck.training.place import find_place
from limbeck.training.rebuild import load_student
from limbeck.training.resolve import resolve_data, teacher_of
from limbeck.training.run import Run
from limbeck.types import Batch, Teacher


def trained_members(spec: Distillation, folder: Path) -> list[FrozenTeacher]:
    """Load the trained members of a specification's ensemble from the folder that holds them by hash."""
    if not isinstance(spec.teacher, EnsembleOf):
        raise SpecificationError("The teacher is not an ensemble, so it has no members to look at.")
    return [
        teacher_of(Run.open(folder / member.hash[:16]))
        for member in spec.teacher.members
        if isinstance(member, Distillation)
    ]


def rows_of_teacher(spec: Distillation, folder: Path) -> int:
    """Labelled rows that each trained member saw; of members that saw different numbers, the most."""
    if not isinstance(spec.teacher, EnsembleOf):
        raise SpecificationError("The teacher is not an ensemble, so it has no members to look at.")
    members = (member for member in spec.teacher.members if isinstance(member, Distillation))
    return max(int(Run.open(folder / member.hash[:16]).spec["data"]["train"]["rows"]) for member in members)


def score_teachers(
    spec: Distillation, members: Sequence[FrozenTeacher], *, folder: Path | None = None
) -> dict[str, Any]:
    """Score each member and the ensemble on the test rows: `{"members": [scores, …], "ensemble": scores}`.

    `folder` is the campaign's, in whose ledger the scoring is entered.
    """
    splits = resolve_data(spec)
    if splits.test is None:
        raise SpecificationError("The data have no test rows to score the ensemble on.")
    if folder is not None:
        enter(folder, rows=len(splits.test), who="the teacher and its members")
    place = find_place("cpu", "float32")
    ensemble = ensemble_of(spec, members)
    loader = Loader(splits.test, ensemble.prepares, batch_size=512)

    def score(teacher: Teacher) -> dict[str, float]:
        answers = predict_teacher(teacher, loader.sequential(), place)
        assert answers is not None  # a live teacher answers at T = 1
        return scores(answers, None, teacher.head)

    return {"members": [score(member) for member in members], "ensemble": score(ensemble)}


def ensemble_of(spec: Distillation, members: Sequence[FrozenTeacher]) -> Ensemble:
    """Build a specification's ensemble from its loaded members."""
    assert isinstance(spec.teacher, EnsembleOf)  # trained_members has looked
    return Ensemble(members, mean=spec.teacher.mean, weights=spec.teacher.weights, stacked=spec.teacher.stacked)


def sizes(members: Sequence[FrozenTeacher], runs: TrialRuns) -> dict[str, int]:
    """Parameters of one member, of the ensemble and of the student."""
    per_member = [parameter_count(member.module) for member in members]
    student = next(iter(runs.runs["taught"].values())).summary["student"]["parameters"]
    return {"member": per_member[0], "ensemble": sum(per_member), "student": student}


def seconds_per_row(spec: Distillation, members: Sequence[FrozenTeacher], runs: TrialRuns) -> Mapping[str, float]:
    """Median seconds to answer one row, on one thread: of a member, of the ensemble at T = 1, of the student."""
    run = next(iter(runs.runs["taught"].values()))
    ensemble, student = ensemble_of(spec, members), load_student(run)
    teacher = FrozenTeacher(student, prepare=members[0].prepare)
    splits = resolve_data(spec)
    row = next(Loader(splits.train, [*ensemble.prepares, *teacher.prepares], batch_size=1).sequential())
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return latencies(
            {
                "member": lambda: _answer(members[0], row),
                "ensemble": lambda: _answer(ensemble, row),
                "student": lambda: _answer(teacher, row),
            }
        )
    finally:
        torch.set_num_threads(threads)


def _answer(teacher: Teacher, row: Batch) -> object:
    return teacher(row).at(1.0)
