"""`limbeck record SPEC`: run the teacher once over the rows, and keep what it answered."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Literal

import tyro

from limbeck.cli.flags import check_counts, dashed
from limbeck.cli.parts import teacher_from_parts
from limbeck.cli.show import show_targets
from limbeck.cli.specs import Asked, Command, asked_of, folder_here, help_for
from limbeck.errors import SpecificationError
from limbeck.targets.imports.open import ENDINGS
from limbeck.training.forms import EncodingName, Form
from limbeck.training.recording import record
from limbeck.training.runner import Backend

_USAGE = """usage: limbeck record SPEC [flags]
       limbeck record --data FOLDER|FILE|ID --teacher FILE.py:object|RUN [flags]

SPEC is the one that `limbeck distill` takes: file.py:function, or the name of a recipe: {recipes}. A student is then
taught by `limbeck distill SPEC --targets STORE`, as often as you like; the teacher does not run again.
"""

_ENCODINGS = (
    "dense: every logit; members: every logit of every member of an ensemble; top-k: the likeliest classes and the "
    "weight of the rest; low-rank: int8 coefficients in a basis; sampled: classes drawn from the distribution."
)

_SETTINGS_OF = {"dtype": ("dense", "members"), "k": ("top-k",), "rank": ("low-rank",), "draws": ("sampled",)}
"""The encodings that a setting is of."""


@dataclass(frozen=True)
class Common:
    """Flags of a recording."""

    out: str | None = None
    """The folder of the store; the specification's `targets`, or runs/NAME-targets, unless given."""
    resume: bool = False
    """Go on with a recording that was stopped; whole shards are kept."""
    parallel: int | None = None
    """How many members of an ensemble that must first be trained are trained at once; one per core unless given."""
    backend: Backend = "loky"
    """Who trains them: loky, processes of this machine; ray, the cluster of `ray start --head` or RAY_ADDRESS."""
    encoding: Annotated[EncodingName, tyro.conf.arg(help=_ENCODINGS)] = "dense"
    """How answers are stored."""
    dtype: Literal["float32", "float16", "bfloat16"] = "float32"
    """Of the logits of dense and members."""
    temperatures: tuple[float, ...] = ()
    """At which an arithmetic ensemble, top-k or sampled can be asked; 1 and the objective's unless given."""
    k: int = 16
    """Classes that top-k tells apart; all of them where there are fewer."""
    rank: int = 32
    """Coefficients of low-rank; as many as there are classes where these are fewer."""
    draws: int = 32
    """Classes that sampled draws for each row."""
    features: tuple[str, ...] = ()
    """Submodules of the teacher whose outputs are kept too."""
    share: tuple[int, int] | None = None
    """NUMBER OF: write only the shards of one of several processes that start by themselves, numbered from 0."""
    recording_batch: int = 512
    """Rows that the teacher answers at once."""
    shard_rows: int | None = None
    """Rows of a shard, which is what a stop loses at most; about an eighth of all unless given."""

    def __post_init__(self) -> None:
        check_counts(self, parallel=1, k=1, rank=1, draws=1, recording_batch=1, shard_rows=1)
        for temperature in self.temperatures:
            if not 0 < temperature < math.inf:
                raise SpecificationError(f"--temperatures must be positive numbers. Got {temperature:g}.")
        if self.share is not None and not 0 <= self.share[0] < self.share[1]:
            raise SpecificationError(
                "--share must be the number of this process, from 0 on, and how many there are, as in --share 0 2. Got "
                f"{self.share[0]} {self.share[1]}."
            )
        for name, encodings in _SETTINGS_OF.items():
            if getattr(self, name) != getattr(type(self), name) and self.encoding not in encodings:
                raise SpecificationError(
                    f"{dashed(name)} is a setting of --encoding {' or '.join(encodings)}, and the encoding is "
                    f"{self.encoding}."
                )


COMMAND = Command(name="record", common=Common, parts=teacher_from_parts, needs=("--data", "--teacher"), usage=_USAGE)


def run(words: Sequence[str]) -> None:
    """Record, and print what the store holds."""
    if any(word in ("-h", "--help") for word in words):
        print(help_for(COMMAND, [word for word in words if word not in ("-h", "--help")]))
        return
    asked = asked_of(COMMAND, words)
    common, folder = asked.common, folder_of(asked)
    form = Form(**{field.name: getattr(common, field.name) for field in fields(Form)})
    targets = record(
        asked.spec,
        folder,
        form=form,
        batch_size=common.recording_batch,
        shard_rows=common.shard_rows,
        features=common.features,
        resume=common.resume,
        share=common.share,
        parallel=common.parallel,
        backend=common.backend,
    )
    if targets is None:
        print(f"This share is written; the store {folder} is whole once every other one is, too.")
    else:
        show_targets(targets, folder)


def folder_of(asked: Asked[Common]) -> Path:
    """The store's folder: --out, or where the specification looks for its targets, or runs/NAME-targets.

    Raises: SpecificationError for what can be taught from and not be recorded into.
    """
    if asked.common.out is not None:
        return folder_here(asked.common.out)
    named = asked.spec.targets
    if named is None:
        return Path("runs") / f"{asked.stem('teacher')}-targets"
    if str(named).endswith(ENDINGS):
        raise SpecificationError(f"{named} is a file of predictions; name the folder of a store by --out.")
    return folder_here(str(named))
