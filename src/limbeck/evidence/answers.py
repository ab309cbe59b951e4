"""What models answered on the same rows, brought together by ids; what a run's teacher says at a temperature.

Shape legend, this file:  N rows, C classes or labels.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from limbeck.errors import LimbeckError, MismatchError
from limbeck.files import read_tensors
from limbeck.knowledge import shown_logits
from limbeck.targets.open import open_targets
from limbeck.targets.store import Targets
from limbeck.training.evaluate import Predictions
from limbeck.training.run import Run
from limbeck.types import Answer, Dense, Head, Knowledge, LogitKnowledge


@final
@dataclass(frozen=True, slots=True, eq=False)
class AtOne:
    """Answers that are known at T = 1 only, and were those of a mixture: at other temperatures they are not theirs."""

    logits: Tensor
    """(N, C)."""
    head: Head
    """How the logits become probabilities."""
    features: Mapping[str, Tensor] = field(default_factory=dict)
    """Always empty."""

    def at(self, temperature: float) -> Dense:
        """Answer at T = 1. Raises: MismatchError at any other."""
        if temperature != 1:
            raise MismatchError(f"The teacher's answers were kept at T = 1, and T = {temperature:g} was asked for.")
        return Dense(self.logits, self.head)


def targets_of(run: Run) -> Targets | None:
    """Open the targets that a run was taught from; None where it was not, or where they are gone.

    They are known by their fingerprint: where a campaign was moved, they are looked for in its folder, and a store that
    took their place since is not theirs.
    """
    where, taught = run.spec["specification"]["fields"].get("targets"), run.spec["teacher"]
    if where is None or taught is None:
        return None
    for place in (where, run.path.parent.parent / Path(where).name):
        with suppress(LimbeckError):
            found = open_targets(place, classes=run.spec["classes"], head=run.spec["head"])
            if found.fingerprint == taught["fingerprint"]:
                return found
    return None


def aligned(answers: Predictions, ids: Tensor, whose: str) -> Predictions:
    """Bring answers into the order of `ids`, (N,). Raises: MismatchError where they are not those of the same rows."""
    if len(answers.ids) != len(ids):
        raise MismatchError(
            f"{whose} answered other rows ({len(answers.ids)}) than it is compared on ({len(ids)}); compare runs of "
            "the same data and split."
        )
    return _taken(answers, ids, whose)


def _taken(answers: Predictions, ids: Tensor, whose: str) -> Predictions:
    """The answers to some of the rows, in the order of `ids`."""
    order = answers.ids.argsort()
    places = order[torch.searchsorted(answers.ids[order], ids).clamp(max=len(order) - 1)]
    missing = ids[answers.ids[places] != ids]
    if len(missing):
        raise MismatchError(
            f"{whose} did not answer {len(missing)} of the {len(ids)} rows that it is compared on (the first id: "
            f"{int(missing[0])}); compare runs of the same data and split."
        )
    labels = None if answers.labels is None else answers.labels[places]
    return Predictions(ids=ids, logits=answers.logits[places], labels=labels)


def teacher_on(run: Run, split: str, ids: Tensor, targets: Targets | None = None) -> Knowledge | None:
    """What the teacher of a run says of the rows with these ids; None where nothing is known.

    A store answers whatever it recorded. Stored predictions are logits at T = 1: they answer at other temperatures
    where the run's samples show that the teacher's distributions are those of one row of logits, divided; an
    arithmetic ensemble's are not.

    Raises: MismatchError where the run's teacher answered other rows.
    """
    recorded = None if targets is None else _recorded(targets, ids, split)
    if recorded is not None:
        return recorded
    kept = run.predictions("teacher", split)
    if kept is None:
        return None
    logits = _taken(kept, ids, f"The teacher of the run {run.path}").logits
    recorded = None if targets is None else _recorded(targets, ids, "train")
    if recorded is not None and _agree(recorded, logits):
        return recorded  # rows that were held out stand among those that they were taken from
    head: Head = run.spec["head"]
    return LogitKnowledge(logits, head) if _is_tempered(run) else AtOne(logits, head)


def answer_at(knowledge: Knowledge | None, temperature: float) -> Answer | None:
    """The answer at a temperature; None where it is not known."""
    with suppress(MismatchError):
        return None if knowledge is None else knowledge.at(temperature)
    return None


def class_names(run: Run, count: int) -> list[str]:
    """The names of the classes, or their numbers."""
    named = run.spec["classes"]
    return [str(number) for number in range(count)] if named is None else list(named)


def _recorded(targets: Targets, ids: Tensor, part: str) -> Knowledge | None:
    with suppress(MismatchError):
        return targets.knowledge(ids, part=part)
    return None


def _agree(knowledge: Knowledge, logits: Tensor) -> bool:
    """Whether rows with the same ids are the same rows: a test file of its own has a row 0 too."""
    shown = shown_logits(knowledge)
    if shown is None or shown.shape != logits.shape:
        return False
    return bool(torch.allclose(shown.double().softmax(-1), logits.double().softmax(-1), atol=1e-3))


def _is_tempered(run: Run) -> bool:
    """Whether the teacher's answers to the run's sample rows at all temperatures are one row of logits, divided."""
    folder = run.path / "samples"
    split = next((name for name in ("test", "validation", "train") if run.spec["data"].get(name)), "train")
    with suppress(LimbeckError):
        ids, answers = read_tensors(folder / "rows.safetensors")["ids"], read_tensors(folder / "answers.safetensors")
        kept = run.predictions("teacher", split)
        told = {name.partition("@")[2]: probs for name, probs in answers.items() if name.startswith("teacher@")}
        if kept is None or len(told) < 2:
            return False
        logits = _taken(kept, ids, f"The teacher of the run {run.path}").logits.double()
        as_probs = torch.softmax if run.spec["head"] == "softmax" else _sigmoid
        return all(
            torch.allclose(as_probs(logits / float(t), -1), probs.double(), atol=1e-4) for t, probs in told.items()
        )
    return False


def _sigmoid(logits: Tensor, _axis: int) -> Tensor:
    return logits.sigmoid()
