"""What a comparison is made of: arms, each with its runs by seed, and whether they may be compared at all.

Shape legend, this file:  S seeds, N test rows.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray

from limbeck.errors import LimbeckError, MismatchError, RunError, SpecificationError
from limbeck.evidence.exposure import exposure
from limbeck.evidence.question import Question
from limbeck.files import read_json
from limbeck.specification import Json, from_json, identity
from limbeck.training.evaluate import Predictions
from limbeck.training.resolve import resolve_data
from limbeck.training.run import Run
from limbeck.training.surroundings import rows_of

PLAN = "campaign.json"
"""The file that holds a campaign's plan, choices and runs, and marks its folder."""

DISTILLED, ALONE = "distilled", "alone"
"""The two arms of the primary contrast."""


@final
@dataclass(frozen=True, kw_only=True)
class ArmRuns:
    """One arm: the same student and settings at several seeds."""

    name: str
    """Such as "distilled"."""
    kind: str
    """distilled, rival or ablation."""
    title: str
    """For people."""
    about: str
    """One sentence: what a user would do instead, or the one thing that was replaced."""
    runs: Mapping[int, Run]
    """By seed."""
    settings: Mapping[str, float] = field(default_factory=dict)
    """What the search chose; nothing where it was not searched."""
    notes: Mapping[str, Json] = field(default_factory=dict)
    """What else is known of it."""


@final
@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Arms that may be compared: the same rows, the same seeds, all of them finished."""

    folder: Path
    """Where facts and page go."""
    title: str
    """Of the page."""
    question: Question
    """What was to be found out."""
    arms: Mapping[str, ArmRuns]
    """By name, the distilled student first, then `alone`."""
    look: int = 1
    """Which look at the test rows this is, from 1."""
    earlier: Sequence[int] = ()
    """Pairs at each look before this one."""
    tuned: bool = False
    """Whether the settings of the distilled student and of its rivals were searched with equal trials."""
    saw: Mapping[str, Any] | None = None
    """What `exposure` tells of the teacher; None where nothing is known."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """campaign.json; empty for runs that were made by hand."""


def of_campaign(folder: Path) -> Comparison:
    """Read a campaign's folder. Raises: RunError where it has not finished or is damaged."""
    record = read_json(folder / PLAN)
    if not isinstance(record, dict) or not {"plan", "looks"} <= record.keys():
        raise RunError(f"{folder / PLAN} is damaged: a campaign's has a plan and looks.")
    if not record.get("runs") or not all(look["finished"] for look in record["looks"]):
        raise RunError(f"The campaign {folder} has not finished; go on with --resume.")
    arms = {arm["name"]: _arm_of(arm, record["runs"], folder) for arm in record["arms"]}
    comparison = Comparison(
        folder=folder,
        title=_title(record),
        question=from_json(record["plan"]["question"]),
        arms=arms,
        look=len(record["looks"]),
        earlier=[len(look["seeds"]) for look in record["looks"][:-1]],
        tuned=bool(record["plan"]["trials"]),
        saw=record.get("saw"),
        record=record,
    )
    require_comparable(comparison.arms)
    return comparison


def _title(record: Mapping[str, Any]) -> str:
    named = (record.get("origin") or {}).get("title")
    return str(named or "Was the teaching worth it?")


def _arm_of(arm: Mapping[str, Any], runs: Mapping[str, Mapping[str, str]], folder: Path) -> ArmRuns:
    named = {int(seed): folder / "runs" / name for seed, name in runs[arm["name"]].items()}
    for seed, path in named.items():
        _require_planned(Run.open(path), arm, seed)
    return ArmRuns(
        name=arm["name"],
        kind=arm["kind"],
        title=arm["title"],
        about=arm["about"],
        runs={seed: Run.open(path) for seed, path in named.items()},
        settings=arm["settings"],
        notes=arm["notes"],
    )


def _require_planned(run: Run, arm: Mapping[str, Any], seed: int) -> None:
    """Refuse a run that is not the one that the record calls by its name. Raises: MismatchError."""
    found = run.spec["specification"]
    planned = identity(arm["spec"], leave_out=("seed",))
    if found["fields"]["seed"] != seed or identity(found, leave_out=("seed",)) != planned:
        raise MismatchError(
            f"The run {run.path} is not that of {arm['name']!r} at the seed {seed}, which the campaign's record says; "
            "put it back, or begin the campaign anew."
        )


def of_runs(runs: Sequence[Run], question: Question, folder: Path) -> Comparison:
    """Sort runs into the distilled arm and the one on labels alone, by their specifications.

    Runs of one arm differ in nothing but their seeds.

    Raises: SpecificationError where there is not one arm of each, or two runs of an arm have one seed; MismatchError
        for runs that cannot be compared.
    """
    groups: dict[str, dict[int, Run]] = {}
    for run in runs:
        fields = run.spec["specification"]["fields"]
        key = json.dumps(identity(run.spec["specification"], leave_out=("seed",)), sort_keys=True)
        row = groups.setdefault(key, {})
        if fields["seed"] in row:
            raise SpecificationError(
                f"{row[fields['seed']].path} and {run.path} are the same specification with the same seed; name one."
            )
        row[fields["seed"]] = run
    taught = [row for row in groups.values() if _is_taught(next(iter(row.values())))]
    alone = [row for row in groups.values() if not _is_taught(next(iter(row.values())))]
    if len(taught) != 1 or len(alone) != 1:
        raise SpecificationError(
            "Name the runs of one distilled student and of the same student on labels alone, each at several seeds and "
            f"otherwise alike. Got {_kinds(taught, 'with a teacher')} and {_kinds(alone, 'without one')}."
        )
    arms = {
        DISTILLED: _plain_arm(DISTILLED, DISTILLED, "student, distilled", taught[0]),
        ALONE: _plain_arm(ALONE, "rival", "student alone", alone[0]),
    }
    require_comparable(arms)
    _require_same_student(next(iter(taught[0].values())), next(iter(alone[0].values())))
    saw = _exposed(next(iter(taught[0].values())))
    return Comparison(folder=folder, title="Was the teaching worth it?", question=question, arms=arms, saw=saw)


def _exposed(run: Run) -> Mapping[str, Any] | None:
    """What the teacher of a run saw, where its specification still leads to its rows."""
    with suppress(LimbeckError):
        spec = from_json(run.spec["specification"])
        splits = resolve_data(spec)
        return exposure(spec, splits) if rows_of(splits) == run.spec["data"] else None
    return None


_MAY_DIFFER = ("teacher", "targets", "teacher_prepare", "objective", "optimizer", "views")
"""Between a distilled student and the same student alone: its teaching, and its optimiser, as settings are tuned."""
_ROWS = ("data", "validation", "split_seed")
"""What leads to the rows; these are compared themselves."""


def _require_same_student(taught: Run, alone: Run) -> None:
    """Refuse another student, or one that was trained otherwise than by its teaching. Raises: MismatchError."""
    ours, theirs = _training_of(taught), _training_of(alone)
    for name in {**ours, **theirs}:  # a field without effect is left out of either
        if ours.get(name) != theirs.get(name):
            raise MismatchError(
                f"{taught.path} and {alone.path} differ in {name.replace('_', ' ')}, not only in their teaching; "
                "compare the same student, trained alike with and without its teacher."
            )


def _training_of(run: Run) -> dict[str, Any]:
    reduced: Any = identity(run.spec["specification"], leave_out=("seed", *_MAY_DIFFER, *_ROWS))
    found: dict[str, Any] = reduced["fields"]
    return found


def _plain_arm(name: str, kind: str, title: str, runs: Mapping[int, Run]) -> ArmRuns:
    about = "As it was run, at the settings that it was given."
    return ArmRuns(name=name, kind=kind, title=title, about=about, runs=dict(sorted(runs.items())))


def _is_taught(run: Run) -> bool:
    return run.spec["teacher"] is not None


def _kinds(groups: Sequence[Mapping[int, Run]], what: str) -> str:
    return f"{len(groups)} {'specification' if len(groups) == 1 else 'specifications'} {what}"


def require_comparable(arms: Mapping[str, ArmRuns]) -> None:
    """Refuse arms of other rows, classes or seeds than the first. Raises: MismatchError with one sentence."""
    first = next(iter(arms.values()))
    base = next(iter(first.runs.values()))
    for arm in arms.values():
        if sorted(arm.runs) != sorted(first.runs):
            raise MismatchError(
                f"The seeds do not pair: {first.title} was run at {_listed(first.runs)} and {arm.title} at "
                f"{_listed(arm.runs)}; run the same seeds in both."
            )
        for run in arm.runs.values():
            _require_same_judges(base, run)


def _require_same_judges(base: Run, run: Run) -> None:
    ours, theirs = base.spec, run.spec
    if ours["head"] != theirs["head"]:
        raise MismatchError(
            f"{base.path} has a {ours['head']} head and {run.path} a {theirs['head']} head; their errors are not of "
            "one kind."
        )
    for split in ("test", "validation", "train"):
        if ours["data"][split] != theirs["data"][split]:
            rows = [(found or {}).get("rows", "no") for found in (ours["data"][split], theirs["data"][split])]
            raise MismatchError(
                f"{base.path} and {run.path} have other {split} rows ({rows[0]} and {rows[1]}, by content); compare "
                "runs of the same data and split."
            )


def _listed(runs: Mapping[int, Run]) -> str:
    return ", ".join(map(str, sorted(runs)))


def predictions_of(run: Run, who: str, split: str) -> Predictions:
    """Return a run's stored answers. Raises: RunError where there are none."""
    found = run.predictions(who, split)
    if found is None:
        raise RunError(
            f"The run {run.path} holds no answers of the {who} to the {split} rows, so it cannot be compared: its data "
            f"bring none, or predictions/{who}-{split}.safetensors is missing."
        )
    return found


def wrong_rows(
    runs: Mapping[int, Run], who: str = "student", split: str = "test", like: Predictions | None = None
) -> NDArray[np.bool_]:
    """Which rows each run gets wrong, in ascending order of their ids, seeds in ascending order.  -> (S, N) bool.

    A row of a sigmoid head is wrong if any of its label decisions is. `like` are answers to the rows that all are to
    have answered; those of the first run if None.
    Raises: RunError for missing answers or labels; MismatchError for runs that answered other rows.
    """
    found = [predictions_of(runs[seed], who, split) for seed in sorted(runs)]
    for seed, one in zip(sorted(runs), found, strict=True):
        require_same_answered(like or found[0], one, f"The run {runs[seed].path}", split)
    return np.stack([wrong_of(one) for one in found])


def require_same_answered(first: Predictions, other: Predictions, whose: str, split: str = "test") -> None:
    """Refuse answers to other rows, to a row twice, or beside other labels. Raises: MismatchError."""
    ours, theirs = first.ids.argsort(), other.ids.argsort()
    if len(torch.unique(other.ids)) != len(other.ids) or not torch.equal(first.ids[ours], other.ids[theirs]):
        raise MismatchError(f"{whose} answered other {split} rows than those that it is compared on.")
    if first.labels is None or other.labels is None:
        return
    if not torch.equal(first.labels[ours], other.labels[theirs]):
        raise MismatchError(f"{whose} was judged by other labels of the {split} rows than what it is compared with.")


def wrong_of(answers: Predictions) -> NDArray[np.bool_]:
    """Which rows are wrong, in ascending order of their ids.  -> (N,) bool. Raises: RunError without labels."""
    if answers.labels is None:
        raise RunError("The rows have no labels, so nothing can be counted as wrong.")
    if answers.labels.ndim == 1:
        wrong = answers.logits.argmax(-1) != answers.labels
    else:
        wrong = ((answers.logits > 0) != (answers.labels > 0.5)).any(-1)
    wrong |= answers.logits.isnan().any(-1)  # of which argmax would make a class, perhaps the right one
    return wrong[answers.ids.argsort()].numpy()
