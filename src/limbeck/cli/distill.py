"""`limbeck distill SPEC` and `limbeck distill --data … --teacher … --student …`."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from limbeck.cli.parts import from_parts
from limbeck.cli.show import show_run
from limbeck.cli.specs import Asked, Command, asked_of, help_for
from limbeck.errors import SpecificationError
from limbeck.training.distill import distill
from limbeck.training.runner import Backend

_USAGE = """usage: limbeck distill SPEC [flags]
       limbeck distill --data FOLDER|FILE|ID --student FILE.py:factory [--teacher FILE.py:object|RUN] [flags]
       limbeck distill --data FOLDER|FILE|ID --student FILE.py:factory --targets STORE|FILE [flags]

SPEC is file.py:function, where the function returns a Distillation, or the name of a recipe: {recipes}.
"""


@dataclass(frozen=True)
class Common:
    """Flags of every run."""

    out: Path | None = None
    """Where the run goes; runs/NAME unless given."""
    resume: bool = False
    """Go on from the last checkpoint in --out."""
    overwrite: bool = False
    """Delete the run that stands in --out first."""
    parallel: int | None = None
    """How many members of an ensemble are trained at once, at most; one per core unless given."""
    backend: Backend = "loky"
    """Who trains them: loky, processes of this machine; ray, the cluster of `ray start --head` or RAY_ADDRESS."""

    def __post_init__(self) -> None:
        if self.parallel is not None and self.parallel < 1:
            raise SpecificationError(f"--parallel must be a whole number of at least 1. Got {self.parallel}.")


COMMAND = Command(name="distill", common=Common, parts=from_parts, needs=("--data", "--student"), usage=_USAGE)


def run(words: Sequence[str]) -> None:
    """Train a student and print where it landed."""
    if any(word in ("-h", "--help") for word in words):
        print(help_for(COMMAND, [word for word in words if word not in ("-h", "--help")]))
        return
    asked = asked_of(COMMAND, words)
    origin = {"command": shlex.join(["limbeck", "distill", *words]), "specification": asked.name or "parts"}
    common = asked.common
    finished = distill(
        asked.spec,
        folder_of(asked),
        resume=common.resume,
        overwrite=common.overwrite,
        parallel=common.parallel,
        backend=common.backend,
        origin=origin,
    )
    show_run(finished)


def folder_of(asked: Asked[Common]) -> Path:
    """The run's folder: --out, or runs/ and the name of the SPEC's file or recipe."""
    return asked.common.out or Path("runs") / asked.stem("student")


def specification_of(words: Sequence[str]) -> Asked[Common]:
    """Read the words of `limbeck distill`. Raises: SpecificationError for whatever cannot be found, called or read."""
    return asked_of(COMMAND, words)
