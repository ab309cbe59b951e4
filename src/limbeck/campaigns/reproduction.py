"""A published table made again: rows that are trained or derived, scored once on rows that no training saw.

Training never sees the scored rows: a row's runs are ordinary runs of ordinary specifications, and their students
answer the scored rows afterwards, in a step of its own that is entered in a ledger first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeAlias, final

from limbeck.campaigns.ground import only_one
from limbeck.campaigns.means import Means, executor, with_recorded_targets
from limbeck.campaigns.pieces import Piece, PieceTable, begun_by, note_beginning, seconds_of
from limbeck.data.loader import Loader
from limbeck.errors import RunError, SpecificationError
from limbeck.evidence.ledger import enter_line
from limbeck.models import caller_of
from limbeck.specification import Distillation, EnsembleOf, Json, from_json, hash_of, to_json
from limbeck.training.evaluate import Predictions, predict_student
from limbeck.training.place import find_place
from limbeck.training.rebuild import load_student
from limbeck.training.resolve import resolve_data, teacher_of
from limbeck.training.run import Run
from limbeck.training.runner import cores
from limbeck.training.surroundings import rows_of
from limbeck.types import TransferSet

Named: TypeAlias = tuple[str, int]
"""A row's name and a seed: one piece of the table."""


@final
@dataclass(frozen=True, kw_only=True)
class Found:
    """What a piece found."""

    predictions: Predictions
    """Answers to the scored rows, with their labels."""
    measures: Mapping[str, float] = field(default_factory=dict)
    """What else is measured, by name."""


class Reader(Protocol):
    """What a piece may look at: other pieces."""

    def run(self, name: str, seed: int) -> Run:
        """The run of a piece; finished, where the row named it among its needs."""

    def answers(self, name: str, seed: int) -> Predictions:
        """The answers of a piece's student to the scored rows."""


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table: a specification for each seed, or something derived from other lines.

    Raises: SpecificationError for a row that is neither trained nor derived.
    """

    name: str
    """Such as "distilled-T20"; a row of a family is "FAMILY/WHICH"."""
    about: str
    """One sentence."""
    seeds: Sequence[int]
    """At which seeds it is run."""
    settings: Mapping[str, Json]
    """What was chosen for it, as plain numbers and words."""
    paper: float | None = None
    """Errors on the scored rows in the publication."""
    goal: float | None = None
    """At most so many errors are hoped for in the mean."""
    aside: bool = False
    """Whether it is there for others to rest on, and made for itself only where it is asked for by name."""
    x: float | str | None = None
    """Where a row of a family stands in it."""
    train: Callable[[Reader, int], Distillation] | None = None
    """The specification at a seed; its teachers are runs of the reader, and its data bring no scored rows."""
    needs: Callable[[int], Sequence[Named]] = lambda _seed: ()
    """Which pieces must be trained before: teachers, and what a derived piece reads."""
    found: Callable[[Reader, int], Found] | None = None
    """What the piece answers; None for the trained student's own answers."""

    def __post_init__(self) -> None:
        if self.train is None and self.found is None:
            raise SpecificationError(f"The row {self.name!r} is neither trained nor derived from others.")

    @property
    def family(self) -> str | None:
        """The part of the name before a stroke."""
        return self.name.partition("/")[0] if "/" in self.name else None

    def as_json(self) -> dict[str, Json]:
        """What stands in the table beside the pieces."""
        told = {"row": self.name, "family": self.family, "x": self.x, "about": self.about}
        return {**told, "paper": self.paper, "goal": self.goal, "settings": dict(self.settings)}


@final
@dataclass(frozen=True, kw_only=True)
class Plan:
    """A table to be made."""

    rows: Sequence[Row]
    """All rows, also those that are not asked for now: others may need them."""
    scored: Callable[[], TransferSet]
    """Loads the rows that every piece is scored on."""
    split: str
    """What those are called: "test", or "validation" in development."""
    beside: Callable[[Reader], Mapping[str, Json]] | None = None
    """What the table shows beside its rows, of pieces that are finished; nothing of those that are not."""


@final
class Reproduction:
    """A plan, the folder of its runs, and the files that it is written to."""

    def __init__(self, plan: Plan, folder: Path, *, table: PieceTable, ledger: Path | None, means: Means) -> None:
        """Nothing is run yet.

        Args:
            plan: the rows, and what they are scored on.
            folder: where runs, recorded targets and answers go; what stands there is not made again.
            table: what pieces are merged into.
            ledger: the file of scorings, a line each, where there is to be one.
            means: how runs are executed.
        """
        self._plan = plan
        self._rows = {row.name: row for row in plan.rows}
        self._folder = folder
        self._table = table
        self._ledger = ledger
        self._means = means
        self._rows_of: dict[str, Json] = {}

    @cached_property
    def scored(self) -> TransferSet:
        """The rows that pieces are scored on."""
        return self._plan.scored()

    def make(self, names: Sequence[str]) -> None:
        """Train, score and merge the rows asked for, family by family; pieces that stand in the table are left alone.

        Raises: what a run raises; RunError where another process is at work in the folder, where the file is another
            table, where a row stands in it with other settings, or for a finished run of other rows; Interrupted.
        """
        for name in names:
            self._table.require_room(self._line(self._rows[name]))
        with only_one(self._folder, "reproduction", "reproduction"):
            for group in self._groups(names):
                missing = [
                    (row.name, seed)
                    for row in group
                    for seed in row.seeds
                    if not self._table.has(self._line(row), seed)
                ]
                for batch in self._in_turn(missing):
                    self._train([need for piece in batch for need in (*self._needs(*piece), piece)])
                    for piece in batch:
                        self._score(*piece)
            if self._plan.beside is not None:
                self._table.note(self._plan.beside(self))

    def lines(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The table's lines of these rows, made with the plan's settings; none of what was not made yet."""
        found = (self._table.line(self._line(self._rows[name])) for name in names)
        return [line for line in found if line is not None]

    def _line(self, row: Row) -> dict[str, Json]:
        """What stands in the table beside a row's pieces: its own settings, and of each row that it rests on.

        Other settings of a teacher make another student, and so do fewer teachers.
        """
        needed = self._needs(row.name, row.seeds[0])
        rests_on: list[Json] = [
            {"row": name, "pieces": count, "settings": dict(self._rows[name].settings)}
            for name, count in _counts(needed).items()
        ]
        return {**row.as_json(), "rests_on": rests_on}

    def _groups(self, names: Sequence[str]) -> list[list[Row]]:
        """Rows of one family are trained together: more to do side by side."""
        groups: dict[str, list[Row]] = {}
        for name in names:
            row = self._rows[name]
            groups.setdefault(row.family or name, []).append(row)
        return list(groups.values())

    def _in_turn(self, pieces: Sequence[Named]) -> Iterator[Sequence[Named]]:
        """Cut what is missing into what is trained, scored and merged at once: as much as there are workers for.

        The pieces of a family are few seconds each, and may share a stack.
        """
        if not pieces or self._rows[pieces[0][0]].family is not None:
            yield pieces
            return
        at_once = self._means.parallel or cores()
        yield from (pieces[first : first + at_once] for first in range(0, len(pieces), at_once))

    def _needs(self, name: str, seed: int) -> list[Named]:
        """All pieces that one rests on, those first that others rest on."""
        found: list[Named] = []
        for need in self._rows[name].needs(seed):
            found += [*self._needs(*need), need]
        return list(dict.fromkeys(found))

    def _train(self, pieces: Sequence[Named]) -> None:
        """Train what is to be trained, teachers before those whom they teach."""
        left = [piece for piece in dict.fromkeys(pieces) if self._is_missing(*piece)]
        while left:
            ready = [piece for piece in left if not set(self._needs(*piece)) & set(left)]
            self._train_now(ready)
            left = [piece for piece in left if piece not in ready]

    def _is_missing(self, name: str, seed: int) -> bool:
        train, run = self._rows[name].train, self.run(name, seed)
        if train is None or not run.finished:
            return train is not None
        if run.spec["data"] != self._data_of(train(self, seed)):
            raise RunError(
                f"The run {run.path} was trained on other rows than {name} asks for now; choose another --out, or "
                "delete the run to train it again."
            )
        return False

    def _data_of(self, spec: Distillation) -> Json:
        """Number and fingerprint of a specification's rows, loaded once for all that name the same."""
        key = hash_of([to_json(spec.data), spec.validation, spec.split_seed])
        if key not in self._rows_of:
            self._rows_of[key] = dict(rows_of(resolve_data(spec)))
        return self._rows_of[key]

    def _train_now(self, pieces: Sequence[Named]) -> None:
        specs: dict[str, Distillation] = {}
        for name, seed in pieces:
            train = self._rows[name].train
            assert train is not None  # `_is_missing` left the others out
            specs[self._called(name, seed)] = self._taught(train(self, seed))
        note_beginning(self._folder / "begun", [self.run(*piece) for piece in pieces])
        what = ", ".join(dict.fromkeys(name.partition("/")[0] for name, _ in pieces))
        executor(self._folder / "runs", self._means)(specs, f"training {what}")

    def _taught(self, spec: Distillation) -> Distillation:
        """Return the specification with recorded targets; of an ensemble of runs, those of each member."""
        if not spec.goal.needs_teacher or spec.targets is not None:
            return replace(spec, teacher=None)
        teacher = spec.teacher
        if not isinstance(teacher, EnsembleOf) or not all(isinstance(one, str | Path) for one in teacher.members):
            return replace(spec, targets=self._recorded(spec), teacher=None)  # the store is known by its teacher
        stores = [self._recorded(replace(spec, teacher=member)) for member in teacher.members]
        return replace(spec, teacher=replace(teacher, members=stores))

    def _recorded(self, spec: Distillation) -> Path | str:
        """The store of what a specification asks of its teacher; whoever asks the same of it shares the store."""
        asked = (spec.data, spec.teacher, spec.prepare, spec.augment, spec.views, spec.view_seed, spec.precision)
        key = hash_of([*(to_json(part) for part in asked), *_weights_of(spec.teacher)])
        folder = self._folder / "targets" / key[:16]
        store = with_recorded_targets(spec, folder, self._means).targets
        assert store is not None  # it was recorded, or found
        return store

    def _called(self, name: str, seed: int) -> str:
        """What the folder of a piece's run is called: other settings, of its own or of a teacher, are another run."""
        counts = _counts(self._needs(name, seed))
        rests_on = [dict(self._rows[need].settings) for need in counts]
        several: list[Json] = [[need, count] for need, count in counts.items() if count > 1]  # ten teachers, or two
        settings = hash_of([dict(self._rows[name].settings), *rests_on, *several])
        return f"{name.replace('/', ',')}-{seed}-{settings[:6]}"

    def run(self, name: str, seed: int) -> Run:
        """The run of a piece; finished once it was trained."""
        return Run(self._folder / "runs" / self._called(name, seed))

    def answers(self, name: str, seed: int) -> Predictions:
        """The answers of a piece's student to the scored rows, kept beside the runs; of other weights or rows, anew."""
        run = self.run(name, seed)
        asked = hash_of([Run.open(run.path).summary["student"]["fingerprint"], self.scored.fingerprint])
        path = self._folder / "answers" / f"{self._called(name, seed)}-{asked[:6]}.safetensors"
        if not path.is_file():
            answers_of(run, self.scored).save(path)
        return Predictions.load(path)

    def _score(self, name: str, seed: int) -> None:
        """Enter the scoring in the ledger, look, and merge what was found into the table."""
        row = self._rows[name]
        if self._table.has(self._line(row), seed):  # another folder's process was quicker, or it was asked for twice
            return
        if self._ledger is not None:
            where = self._called(name, seed)
            enter_line(self._ledger, split=self._plan.split, rows=len(self.scored), who=name, seed=seed, run=where)
        found = Found(predictions=self.answers(name, seed)) if row.found is None else row.found(self, seed)
        labels = found.predictions.labels
        assert labels is not None  # rows without labels cannot be scored
        wrong = int((found.predictions.logits.argmax(-1) != labels).sum())
        trained = self._called(name, seed) if row.train is not None else None
        piece = Piece(
            seed=seed,
            errors=wrong,
            measures=dict(found.measures),
            seconds=0.0 if trained is None else seconds_of(self._folder / "begun", self.run(name, seed)),
            **begun_by(self._folder / "begun", trained),
        )
        self._table.merge(self._line(row), piece)
        self._means.watcher.say(f"{name}, seed {seed}: {wrong} of {len(labels)} wrong")


def _weights_of(teacher: Any) -> list[Json]:
    """Fingerprints of teachers that are finished runs: one trained again in the same folder is another."""
    members = teacher.members if isinstance(teacher, EnsembleOf) else [teacher]
    return [Run.open(one).summary["student"]["fingerprint"] for one in members if isinstance(one, str | Path)]


def _counts(pieces: Sequence[Named]) -> dict[str, int]:
    """How many pieces there are of each row, in the order of the rows' first."""
    names = [name for name, _ in pieces]
    return {name: names.count(name) for name in dict.fromkeys(names)}


def answers_of(run: Run, rows: TransferSet) -> Predictions:
    """Let a finished run's student answer rows that it never saw, in the arithmetic that it was trained in."""
    fields = run.spec["specification"]["fields"]
    student = load_student(run)
    prepare = from_json(fields["prepare"]) or teacher_of(run).prepares[0]
    place = find_place("cpu", fields["precision"])
    batches = Loader(rows, [prepare], batch_size=1000).sequential()
    return predict_student(caller_of(student), student, prepare, run.spec["head"], batches, place)
