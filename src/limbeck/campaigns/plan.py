"""campaign.json: what was planned before a test row was scored, what was chosen, and which run answers what."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, final

from limbeck.campaigns.arms import ABLATIONS, RIVALS, Arm, chosen_names
from limbeck.campaigns.space import Space, space_to_json
from limbeck.errors import ArgumentError, ResumeError, SpecificationError
from limbeck.evidence.comparison import PLAN
from limbeck.evidence.question import Question
from limbeck.files import read_json, write_json
from limbeck.specification import Distillation, Json, check_whole, identity, to_json
from limbeck.training.run import Run


@final
@dataclass(frozen=True, kw_only=True)
class Campaign:
    """Many runs with one question, fixed before a test row is scored: was the teaching worth it?

    Raises: ArgumentError for a number out of its range, SpecificationError for a plan that could not be judged.
    """

    distilled: Distillation
    """The student with its teacher, or with recorded targets; its own seed is not used."""
    question: Question = field(default_factory=Question)
    """The smallest difference worth having, the margin against the teacher, the level, the planned looks."""
    seeds: Sequence[int] = tuple(range(8))
    """Seeds of the runs that are scored on the test rows, the same in every arm."""
    selection_seeds: Sequence[int] = (1000, 1001)
    """Seeds of the runs that choose settings on the validation rows; none of them is among `seeds`."""
    trials: int = 12
    """Settings tried for the distilled student, and as many for each rival; 0 judges them all at the settings given."""
    rivals: Sequence[str] = RIVALS
    """What a user would do instead: tuned like the distilled student. `alone` is always among them."""
    ablations: Sequence[str] = ABLATIONS
    """The distilled student with one thing replaced, to explain."""
    space: Space | None = None
    """What may be changed of the distilled student; None for what suits its specification and its targets. Rivals have
    spaces that suit theirs, and look for a rate and a weight decay where the distilled student does."""
    cap: float = 10.0
    """The compute-matched rival trains for at most so many times the epochs of the distilled student."""

    def __post_init__(self) -> None:
        if len(set(self.seeds)) != len(self.seeds) or not self.seeds:
            raise ArgumentError(f"Campaign: seeds must be distinct, and at least one. Got {list(self.seeds)}.")
        for seed in (*self.seeds, *self.selection_seeds):
            check_whole("Campaign", 0, seed=seed)
        if set(self.seeds) & set(self.selection_seeds):
            raise SpecificationError("Campaign: a seed that helped to choose a setting cannot also judge it.")
        if self.trials < 0 or (self.trials and not self.selection_seeds):
            raise ArgumentError(f"Campaign: trials must be 0 or more, with a selection seed. Got {self.trials}.")
        if not 1 <= self.cap < math.inf:
            raise ArgumentError(f"Campaign: cap must be a number of at least 1. Got {self.cap}.")
        object.__setattr__(self, "rivals", chosen_names(self.rivals, RIVALS))
        object.__setattr__(self, "ablations", chosen_names(self.ablations, ABLATIONS))
        if "epochs" in (self.space or {}):
            raise SpecificationError(
                "Campaign: the distilled student and the student alone train for the same epochs, so a search cannot "
                "choose them for one; leave them out of the space, or ask for the rival that trains longer."
            )
        if not self.distilled.goal.needs_teacher:
            raise SpecificationError(
                "A campaign asks what a teacher was worth, and this objective has no soft term; add one."
            )
        if self.distilled.validation is None:
            raise SpecificationError(
                "A campaign chooses settings on validation rows, which validation=None leaves out; hold some out."
            )


@final
class Record:
    """campaign.json in its folder: read when a campaign is gone on with, written after each part of it."""

    def __init__(self, campaign: Campaign, out: Path, rows: Json, *, origin: Json = None) -> None:
        """Take up the record in `out`, or begin it.

        `rows` are the fingerprints of the data. Raises: ResumeError where another campaign was begun there.
        """
        self.path = out / PLAN
        plan = {**_plan(campaign), "rows": rows}
        self.state: dict[str, Any] = {
            "begun": datetime.now(UTC).isoformat(timespec="seconds"),
            "origin": origin,
            "plan": plan,
            "looks": [],
            "folder": str(out),
        }
        if self.path.is_file():
            self.state = read_json(self.path)
            _require_same_plan(self.state, plan, campaign, out)
        seeds = list(campaign.seeds)
        if seeds not in [look["seeds"] for look in self.state["looks"]]:
            self.state["looks"].append({"seeds": seeds, "finished": None})
        self.write()

    def write(self, **found: Json) -> None:
        """Add what was found, and write the whole."""
        self.state.update(found)
        write_json(self.path, self.state)

    def finished(self, seeds: Sequence[int]) -> bool:
        """Whether the look at these seeds was done."""
        return any(look["seeds"] == list(seeds) and look["finished"] for look in self.state["looks"])

    def whole(self, out: Path) -> bool:
        """Whether each run that answers an arm and a seed still stands there, finished."""
        named = (run for row in (self.state.get("runs") or {}).values() for run in row.values())
        return all(Run(out / "runs" / name).finished for name in named)

    def finish(self, seeds: Sequence[int]) -> None:
        """Mark the look at these seeds as done."""
        for look in self.state["looks"]:
            if look["seeds"] == list(seeds) and look["finished"] is None:
                look["finished"] = datetime.now(UTC).isoformat(timespec="seconds")
        self.write()


def _plan(campaign: Campaign) -> dict[str, Json]:
    return {
        "distilled": to_json(replace(campaign.distilled, seed=0)),
        "question": to_json(campaign.question),
        "selection_seeds": list(campaign.selection_seeds),
        "trials": campaign.trials,
        "rivals": list(campaign.rivals),
        "ablations": list(campaign.ablations),
        "space": None if campaign.space is None else space_to_json(campaign.space),
        "cap": campaign.cap,
    }


_CALLED = {"distilled": "distilled student (its specification, or code that it names, has changed)"}
"""What parts of a plan are called where a sentence speaks of them."""


def _require_same_plan(state: Mapping[str, Any], plan: Mapping[str, Json], campaign: Campaign, out: Path) -> None:
    """Refuse other settings, and more looks than were planned. Raises: ResumeError."""
    before = state["plan"]
    for name in plan:
        if identity(before.get(name)) != identity(plan[name]):
            raise ResumeError(
                f"The campaign {out} was begun with another {_CALLED.get(name, name.replace('_', ' '))}; go on with "
                "what it was begun with, or choose another --out."
            )
    done = any(look["seeds"] == list(campaign.seeds) and look["finished"] for look in state["looks"])
    if state.get("folder") != str(out) and not done:
        raise ResumeError(
            f"The campaign {out} was begun in {state.get('folder')}, and its runs name what lies there; move it back "
            "to go on."
        )
    looks = [look["seeds"] for look in state["looks"]]
    seeds = list(campaign.seeds)
    if seeds in looks:
        return
    # More seeds after the test rows were scored are another look, which the plan must have foreseen.
    last = looks[-1] if looks else []
    if not set(last) < set(seeds):
        raise ResumeError(
            f"The campaign {out} was begun with the seeds {', '.join(map(str, last))}; a later look keeps them all and "
            "adds others."
        )
    if not all(look["finished"] for look in state["looks"]):
        raise ResumeError(
            f"The campaign {out} has not finished its look at the seeds {', '.join(map(str, last))}; finish it before "
            "you add seeds."
        )
    if len(looks) >= campaign.question.looks:
        raise ResumeError(
            f"The campaign {out} has had its {campaign.question.looks} planned "
            f"{'look' if campaign.question.looks == 1 else 'looks'} at the test rows; more seeds now would be a plan "
            "made with the result in sight. Begin another campaign with --looks 2 or more."
        )


def arm_to_json(arm: Arm, settings: Mapping[str, float]) -> dict[str, Json]:
    """Describe an arm for the record: what it is, the settings chosen for it, and its specification."""
    return {
        "name": arm.name,
        "kind": arm.kind,
        "title": arm.title,
        "about": arm.about,
        "settings": dict(settings),
        "notes": dict(arm.notes),
        "spec": to_json(replace(arm.spec, seed=0)),
    }
