"""Bytes against error for every encoding of soft targets, and what an encoding costs a student.

    python benchmarks/encodings.py --data FOLDER       results/encodings.json, about an hour on one core

The teacher is a language model over 1,000 tokens of Tiny Shakespeare (`shakespeare.py`): the geometric mean of two
recurrent networks trained on the whole training text. The student, a small feed-forward model, is taught on a sample
of its positions. Everything is chosen on the validation split. Each finished piece is kept in `--work`, and a
measurement that was stopped goes on where it was.

Shape legend, this file:  N rows, C classes.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, final

import joblib
import torch
import tyro
from record import write_record
from shakespeare import CLASSES, CONTEXT, Recurrent, mean_nll, read_streams, rows_of, sampled_positions, train_member
from torch import Tensor

from limbeck.data import TensorSet
from limbeck.data.loader import Loader
from limbeck.data.prepare import plain_features
from limbeck.files import read_tensors, write_tensors
from limbeck.teachers import Ensemble, FrozenTeacher
from limbeck.types import Teacher

MEMBERS = (0, 1)
"""Seeds of the teacher's networks."""
ROWS = 60_000
"""Positions of the training text that the student is taught on."""
ROWS_SEED = 0


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Bench:
    """The pieces of the measurement, each made when it is first asked for and kept in `work`."""

    data: Path
    work: Path
    parallel: int

    @cached_property
    def streams(self) -> dict[str, Tensor]:
        """The tokens of each split."""
        return read_streams(self.data, self.work)

    @cached_property
    def train(self) -> TensorSet:
        """The student's rows."""
        return rows_of(self.streams["train"], sampled_positions(self.streams["train"], ROWS, ROWS_SEED))

    def rows(self, split: str) -> TensorSet:
        """All rows of a split."""
        return rows_of(self.streams[split])

    @cached_property
    def teacher(self) -> Teacher:
        """The ensemble; members that are not there yet are trained side by side."""
        missing = [seed for seed in MEMBERS if not self._member(seed).is_file()]
        if missing:
            joblib.Parallel(n_jobs=self.parallel)(
                joblib.delayed(train_and_keep)(self.streams["train"], seed, self._member(seed)) for seed in missing
            )
        members = []
        for seed in MEMBERS:
            member = Recurrent()
            member.load_state_dict(read_tensors(self._member(seed)))
            members.append(FrozenTeacher(member, prepare=plain_features))
        return Ensemble(members, mean="geometric")

    def _member(self, seed: int) -> Path:
        return self.work / f"member-{seed}.safetensors"

    def logits(self, split: str) -> Tensor:
        """The teacher's answers to all of a split's rows; of the training text, to the student's.  -> (N, C)."""
        path = self.work / f"logits-{split}.safetensors"
        if not path.is_file():
            rows = self.train if split == "train" else self.rows(split)
            write_tensors(path, {"logits": answered(self.teacher, rows)})
        return read_tensors(path)["logits"]


def train_and_keep(stream: Tensor, seed: int, path: Path) -> None:
    """Train a member of the teacher into a file."""
    torch.set_num_threads(1)
    write_tensors(path, train_member(stream, seed).state_dict())


def answered(teacher: Teacher, rows: TensorSet) -> Tensor:
    """A teacher's logits on all rows.  -> (N, C)."""
    batches = Loader(rows, teacher.prepares, batch_size=512).sequential()
    return torch.cat([teacher(batch).at(1.0).logits for batch in batches])


def main(
    *, data: Path, work: Path = Path("runs/encodings"), out: Path = Path("results/encodings.json"), parallel: int = 1
) -> None:
    """Measure and record.

    Args:
        data: a folder with Tiny Shakespeare.
        work: where finished pieces are kept.
        out: where the record goes.
        parallel: how many runs at once, each on one core.
    """
    torch.set_num_threads(1)
    bench = Bench(data=data.resolve(), work=work, parallel=parallel)
    for split in ("train", "validation", "test"):
        rows = bench.train if split == "train" else bench.rows(split)
        print(split, mean_nll(bench.logits(split), rows.labels))


if __name__ == "__main__":
    tyro.cli(main)
