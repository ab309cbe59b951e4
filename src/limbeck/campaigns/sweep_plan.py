"""What a sweep is to do: one number of a specification, its values, the seeds, the rows that errors are counted on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import ceil, isfinite
from pathlib import Path
from typing import Any, final, get_args

from limbeck.campaigns.row_share import epochs_for_equal_steps
from limbeck.campaigns.settings import applied, listed, setting_named
from limbeck.campaigns.space import Choice, check_space
from limbeck.data.splits import Splits, fewer_rows, without_test
from limbeck.errors import ArgumentError, DataError, ResumeError, SpecificationError
from limbeck.evidence.sweep import Fixed, Score
from limbeck.specification import Distillation, Json, check_whole, identity, require_importable, to_json
from limbeck.training.recorded import recorded_teacher
from limbeck.training.resolve import resolve_data

ROWS = "rows"
"""The number whose sweep is a data sweep."""

FOLLOWED = (ROWS, "epochs")
"""Numbers that are changed in the student alone too: it learns from as many rows, for as many epochs."""


@final
@dataclass(frozen=True, kw_only=True)
class SweepPlan:
    """One number at several values, at several seeds, all else being equal.

    Raises: SpecificationError for a name that is none, ArgumentError for values or seeds that are no sweep.
    """

    spec: Distillation
    """The specification; its own seed is not used."""
    over: str
    """The number's name, of `SETTINGS`."""
    values: Sequence[float]
    """At least two, each once; they are put in ascending order."""
    seeds: Sequence[int]
    """The same at every value."""
    score: Score = "validation"
    """The rows that errors are counted on; no run has the test rows unless these are they."""
    fixed: Fixed = "steps"
    """What stays equal where the share of rows changes: the optimiser's steps, by more epochs, or the epochs."""

    def __post_init__(self) -> None:
        setting_named(self.over)
        values = sorted(map(float, self.values))
        if not all(map(isfinite, values)):
            raise ArgumentError(f"A sweep's values must be finite numbers. Got {listed(values)} of {self.over}.")
        if len(values) < 2:
            raise ArgumentError(f"A sweep needs at least two values of {self.over}. Got {len(values)}.")
        names = list(map(in_name, values))
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ArgumentError(f"A sweep takes each value once. Got {twice} of {self.over} more than once.")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ArgumentError(f"A sweep's seeds must be distinct, and at least one. Got {list(self.seeds)}.")
        for seed in self.seeds:
            check_whole("run_sweep", 0, seed=seed)
        for name, known in (("score", get_args(Score)), ("fixed", get_args(Fixed))):
            if getattr(self, name) not in known:
                raise ArgumentError(f"run_sweep: {name} must be {' or '.join(known)}. Got {getattr(self, name)!r}.")
        if self.fixed == "epochs" and self.over != ROWS:
            raise SpecificationError(
                f"What stays fixed is a question of a sweep over {ROWS}, and this one is over {self.over}; leave it "
                "out."
            )
        object.__setattr__(self, "values", tuple(values))
        object.__setattr__(self, "seeds", tuple(self.seeds))

    @property
    def base(self) -> Distillation:
        """The specification that the values are put into; of a data sweep, that of all rows."""
        return applied(self.spec, {ROWS: 1.0}) if self.over == ROWS else self.spec

    def at(self, spec: Distillation, value: float, rows: int) -> Distillation:
        """Put a value into `base`, or into the same for the student alone.

        `rows` are those of all training rows.
        """
        changed = applied(spec, {self.over: value})
        if self.over != ROWS or self.fixed == "epochs":
            return changed
        fewer = rows_left(value, rows)
        return replace(changed, epochs=epochs_for_equal_steps(spec.epochs, spec.batch_size, rows=rows, fewer=fewer))

    def seen(self, spec: Distillation) -> Distillation:
        """Take from a run what it is not to see: the test rows, unless they are scored."""
        data = spec.data if self.score == "test" else partial(without_test, spec.data)
        return replace(spec, data=data, probe_rows=0)

    def trained_on(self, value: float, rows: int) -> int:
        """How many of all training rows a student learns from at a value."""
        return rows_left(value, rows) if self.over == ROWS else rows

    def as_json(self, rows: Mapping[str, Json]) -> dict[str, Json]:
        """Encode, with the fingerprints of the rows, for a sweep that is gone on with to be known by."""
        return {
            "specification": to_json(replace(self.base, seed=0)),
            "over": self.over,
            "values": list(self.values),
            "seeds": list(self.seeds),
            "score": self.score,
            "fixed": self.fixed,
            "rows": dict(rows),
        }


def in_name(value: float) -> str:
    """Write a value as it stands in the name of a run: with twelve digits at most."""
    return f"{value:.12g}"


def rows_left(share: float, rows: int) -> int:
    """How many rows `fewer_rows` leaves of so many."""
    return max(1, round(share * rows))


def steps_of(spec: Distillation, rows: int) -> int:
    """The optimiser's steps of a run over so many training rows."""
    return spec.epochs * ceil(rows / spec.batch_size)


def check_sweep(plan: SweepPlan) -> Splits:
    """Refuse, before a teacher is trained or asked, what could not be swept; returns the rows.

    Raises: SpecificationError, ArgumentError, MismatchError or DataError, each in one sentence; what loading raises.
    """
    check_space(plan.spec, {plan.over: Choice(tuple(plan.values))}, who="sweep")
    spec = plan.base
    if plan.score == "validation" and spec.validation is None:
        raise SpecificationError(
            "Errors are counted on validation rows, which validation=None leaves out; hold some out, or score the test "
            "rows."
        )
    splits = resolve_data(spec)
    scored = splits.validation if plan.score == "validation" else splits.test
    if scored is None:
        raise DataError("The data bring no test rows to count errors on; give a test split, or score validation rows.")
    if not scored.labelled:
        raise DataError(f"Errors are counted on labelled {plan.score} rows, and the data's have no labels.")
    if plan.over == ROWS:
        for share in plan.values:
            fewer_rows(splits, share=share, validation=None, split_seed=spec.split_seed)
    if spec.targets is not None and spec.teacher is not None:
        recorded_teacher(spec, splits)  # refuses targets of another teacher
    targets = Path("targets") if spec.goal.needs_teacher else None
    require_importable(replace(spec, teacher=None, targets=targets))
    return splits


_CALLED = {"specification": "specification (or code that it names has changed)", "rows": "data"}
"""What parts of a plan are called where a sentence speaks of them."""


def require_same_sweep(before: Mapping[str, Any], plan: Mapping[str, Any], out: Path) -> None:
    """Refuse to go on with another sweep; more values and more seeds are none. Raises: ResumeError."""
    for name in ("over", "specification", "rows", "score", "fixed"):
        if identity(before.get(name)) != identity(plan[name]):
            raise ResumeError(
                f"The sweep {out} was begun with another {_CALLED.get(name, name)}; go on with what it was begun with, "
                "or choose another --out."
            )
    for name in ("values", "seeds"):
        if not set(before[name]) <= set(plan[name]):
            raise ResumeError(
                f"The sweep {out} was begun with the {name} {listed(before[name])}; go on with these, or with more."
            )
