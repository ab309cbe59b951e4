"""`limbeck judge A.npz B.npz`: the verdicts on predictions that Limbeck did not train."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from rich.console import Console
from rich.table import Table
from rich.text import Text

from limbeck.cli.flags import help_of, parsed
from limbeck.cli.show import say
from limbeck.errors import SpecificationError
from limbeck.evidence.judge import Judgement, judge
from limbeck.evidence.predicted import read_labels, read_predicted
from limbeck.evidence.question import Question
from limbeck.evidence.statistics import mean_and_sd
from limbeck.evidence.verdict import Saw
from limbeck.evidence.words import percent, points
from limbeck.files import write_json

_USAGE = """usage: limbeck judge DISTILLED.npz ALONE.npz [--labels LABELS] [--teacher TEACHER.npz] [flags]

Did it help? DISTILLED and ALONE hold what the distilled student and the same student without a teacher predicted for
the same test rows: `predictions` (class indices, seeds × rows), or `logits` or `probabilities` (seeds × rows ×
classes); one run may leave out the axis of seeds. Each may hold ids (of rows), seeds (of runs), labels, and classes
(their names) too.
"""


@dataclass(frozen=True)
class Judge:
    """Judge predictions: was the teaching worth it, and can the student replace the teacher?"""

    distilled: Annotated[Path, tyro.conf.Positional]
    """Predictions of the distilled student."""
    alone: Annotated[Path, tyro.conf.Positional]
    """Predictions of the same student without a teacher, at the same seeds."""
    labels: Path | None = None
    """The true classes: an .npy file, or an .npz with labels and ids; those in the archives unless given."""
    teacher: Path | None = None
    """Predictions of the teacher, one run."""
    worth: float | None = None
    """The smallest difference worth having, in percentage points of the error rate."""
    within: float | None = None
    """By how many percentage points more than the teacher's the student's error rate may be, to replace it."""
    level: float = 0.95
    """Confidence level of all verdicts."""
    looks: int = 1
    """How many looks at these rows were planned; each spends a part of what may go wrong."""
    look: int = 1
    """Which of them this is."""
    saw_test: Saw = "unknown"
    """Whether the teacher was trained on these rows."""
    out: Path | None = None
    """A JSON file to write all numbers to."""

    def __post_init__(self) -> None:
        for name in ("worth", "within"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 100:
                raise SpecificationError(
                    f"--{name} must be a number of percentage points above 0 and below 100. Got {value:g}."
                )
        if not 0.5 <= self.level < 1:
            raise SpecificationError(f"--level must be at least 0.5 and below 1. Got {self.level:g}.")
        for name in ("looks", "look"):
            if getattr(self, name) < 1:
                raise SpecificationError(f"--{name} must be a whole number, at least 1. Got {getattr(self, name)}.")
        inputs = [path.absolute() for path in (self.distilled, self.alone, self.labels, self.teacher) if path]
        if self.distilled.absolute() == self.alone.absolute():
            raise SpecificationError(f"{self.distilled} was named twice; name the distilled student's and the other's.")
        if self.out is not None and self.out.absolute() in inputs:
            raise SpecificationError(f"--out {self.out} is one of the files to be judged; name another.")


def run(words: Sequence[str]) -> None:
    """Read, judge, print and write."""
    if any(word in ("-h", "--help") for word in words):
        print("\n\n".join([_USAGE.rstrip(), help_of(Judge, "limbeck judge")]))
        return
    if sum(not word.startswith("-") for word in words) < 2:
        raise SpecificationError(
            "Name two files, as in: limbeck judge distilled.npz alone.npz --labels labels.npy --worth 1."
        )
    asked = parsed(Judge, words, "limbeck judge")
    found = judge(
        read_predicted(asked.distilled),
        read_predicted(asked.alone),
        Question(worth=asked.worth, within=asked.within, level=asked.level, looks=asked.looks),
        labels=None if asked.labels is None else read_labels(asked.labels),
        teacher=None if asked.teacher is None else read_predicted(asked.teacher),
        look=asked.look,
        saw_test=asked.saw_test,
    )
    _show(found)
    if asked.out is not None:
        write_json(asked.out, found.as_json())
        print(f"written: {asked.out}")


def _show(found: Judgement) -> None:
    table = Table(title=f"Error rates on {found.wrong['distilled'].shape[1]:,} test rows")
    for name in ("", "runs", "wrong (mean ± sd)"):
        table.add_column(name, justify="left" if not name else "right")
    for who, wrong_SN in found.wrong.items():
        mean, sd = mean_and_sd((100 * wrong_SN.mean(1)).tolist())
        spread = f" ± {points(sd)}" if len(wrong_SN) > 1 else ""
        table.add_row(Text(who), str(len(wrong_SN)), f"{points(mean)}{spread} %")
    Console().print(table)
    sentences = [found.verdict.sentence]
    if found.verdict.why is not None:
        sentences.append(found.verdict.why)
    sentences.extend(_resolved(found))
    sentences.extend(checkpoints.sentence for name, checkpoints in found.checkpoints.items() if name == "alone")
    if found.replace.outcome != "not asked" or "teacher" in found.wrong:
        sentences.append(found.replace.sentence)
        sentences.extend(_against_teacher(found))
    sentences.extend(_gap(found))
    say(*sentences, *found.notes)


def _resolved(found: Judgement) -> list[str]:
    resolved = found.verdict.resolution
    if resolved.seeds is None or resolved.both is None:
        return []
    return [
        f"The smallest true difference that so many seeds show four times in five: {points(resolved.seeds)} points; "
        f"with the chance of test rows, {points(resolved.both)}."
    ]


def _against_teacher(found: Judgement) -> list[str]:
    if "teacher" not in found.checkpoints:
        return []
    low, high = found.checkpoints["teacher"].interval
    level = percent(found.checkpoints["teacher"].level)
    return [
        f"This checkpoint against the teacher: its error rate differs by {points(-high)} to {points(-low)} points "
        f"({level} over test rows)."
    ]


def _gap(found: Judgement) -> list[str]:
    if "teacher" not in found.wrong or found.verdict.contrast.pairs < 2:
        return []
    if found.gap.closed is None or found.gap.interval is None:
        return [f"What share of the gap was closed is left out. {found.gap.why}"]
    low, high = (_share(end) for end in found.gap.interval)
    return [
        f"Of the gap between the student alone and the teacher, {_share(found.gap.closed)} was closed ({low} to "
        f"{high})."
    ]


def _share(value: float) -> str:
    return f"{value:.0%}".replace("-", "−")
