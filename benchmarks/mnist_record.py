"""What the records of MNIST's section hold, for the page: every line, also where some are not yet run."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Self, final

from limbeck.evidence.published import AgainstPublished, against_published
from limbeck.evidence.statistics import PairedDifference, jackknife_variance, paired_difference
from limbeck.files import read_json

NOT_YET = "not yet run"
MINUS = "−"


@final
@dataclass(frozen=True, eq=False)
class Line:
    """One row of the table."""

    name: str
    about: str
    x: Any
    paper: float | None
    goal: float | None
    errors: Mapping[int, float]
    """By seed."""
    measures: Mapping[str, Sequence[float]]
    """What else was measured, by name, over the seeds."""
    settings: Mapping[str, Any]
    made_of: Mapping[str, Any]
    """Its settings and, as row.name, those of the rows that it rests on."""
    seconds: Sequence[float]
    pieces: Sequence[Mapping[str, Any]]
    scorings: int | None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """Read a row of the JSON, whatever of it is there."""
        values = (record.get("errors") or {}).get("values") or []
        seeds = record.get("seeds") or range(len(values))
        measures = {name: found["values"] for name, found in (record.get("measures") or {}).items()}
        return cls(
            name=record["row"],
            about=record.get("about") or "",
            x=record.get("x"),
            paper=record.get("paper"),
            goal=record.get("goal"),
            errors=dict(zip(seeds, values, strict=True)),
            measures={name: found for name, found in measures.items() if None not in found},
            settings=record.get("settings") or {},
            made_of=made_of(record),
            seconds=record.get("seconds") or [],
            pieces=record.get("pieces") or [],
            scorings=record.get("scorings"),
        )

    @property
    def values(self) -> list[float]:
        """Errors, in the order of the seeds."""
        return list(self.errors.values())

    @property
    def mean(self) -> float:
        """Of the errors."""
        return fmean(self.values)

    def measure(self, name: str) -> float | None:
        """The mean of a measure, or None where it was not taken."""
        return fmean(self.measures[name]) if self.measures.get(name) else None


@final
@dataclass(frozen=True)
class Table:
    """All that was recorded."""

    lines: Mapping[str, Line]
    softened: Sequence[Mapping[str, Any]]
    """Digits that the teacher is not sure of."""
    sure: Mapping[str, Any] | None
    """Those that it is sure of, counted, and two of them; None where they are not recorded."""
    tried: Mapping[str, Sequence[Mapping[str, Any]]]
    """What was scored on validation rows, by row."""
    looks: Mapping[str, int]
    """Scorings of the test rows, by row."""

    def __getitem__(self, name: str) -> Line | None:
        return self.lines.get(name)

    def __contains__(self, name: str) -> bool:
        return name in self.lines

    def family(self, name: str) -> list[Line]:
        """The rows of a family, in the order of the record."""
        return [line for line in self.lines.values() if line.name.startswith(f"{name}/")]

    def curve(self, name: str, kind: str = "") -> list[Line]:
        """The rows of a family that lie on one curve, by their place on it; `kind` is the word before the @."""
        start = f"{name}/{kind}@" if kind else f"{name}/"
        lines = [line for line in self.family(name) if line.name.startswith(start) and isinstance(line.x, int | float)]
        return sorted(lines, key=lambda line: line.x)

    def stand(self, line: Line) -> AgainstPublished:
        """How a row stands against the paper; ensembles overlap, and what they teach shares members."""
        return against_published(
            line.values, figure=line.paper, goal=line.goal, variance_of_mean=self._variance_of_mean(line)
        )

    def _variance_of_mean(self, line: Line) -> float | None:
        """Of ensembles, and of students by the same means of them, that of the jackknife; None where seeds suffice."""
        kind, _, mean = line.name.partition("-")
        ensembles = self[f"ensemble-{mean}"]
        if kind not in ("ensemble", "distilled") or ensembles is None or len(ensembles.values) < 2:
            return None
        members = jackknife_variance(ensembles.values)
        alone = against_published(line.values).sd or 0.0
        return members if kind == "ensemble" else members + alone**2 / len(line.values)

    def times_scored(self, line: Line) -> int | None:
        """How often the row was scored on test rows, by the ledger, or by the record where there is none."""
        return self.looks.get(line.name) or line.scorings


def read_table(results: Path) -> Table:
    """Read the three records of a folder; what is missing is empty."""
    record = read_json(results / "mnist.json") if (results / "mnist.json").is_file() else {}
    lines = [Line.of(row) for row in record.get("rows") or []]
    return Table(
        lines={line.name: line for line in lines if line.errors},
        softened=record.get("softened") or [],
        sure=record.get("sure"),
        tried=_tried(results / "mnist-validation.json"),
        looks=_looks(results / "mnist-test-ledger.jsonl"),
    )


def made_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a row of the JSON and, as row.name, those of the rows that it rests on."""
    rests_on = {}
    for need in record.get("rests_on") or []:
        several = {"pieces": need["pieces"]} if need["pieces"] > 1 else {}
        rests_on |= {f"{need['row']}.{name}": value for name, value in {**need["settings"], **several}.items()}
    return {**(record.get("settings") or {}), **rests_on}


def _tried(path: Path) -> dict[str, list[Mapping[str, Any]]]:
    record = read_json(path) if path.is_file() else {}
    found: dict[str, list[Mapping[str, Any]]] = {}
    for entry in record.get("rows") or []:
        found.setdefault(entry["row"], []).append(entry)
    return found


def _looks(path: Path) -> Counter[str]:
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return Counter(_who(line) for line in lines if line.strip())


def _who(line: str) -> str:
    try:
        return str(json.loads(line)["who"])
    except (ValueError, KeyError):
        return ""  # cut short by a kill: a look all the same, of nobody knows what


def difference(first: Line | None, second: Line | None, *, of: int = 1) -> PairedDifference | None:
    """First minus second over the seeds that both have, with an interval for one of so many comparisons (Bonferroni).

    None where fewer than two seeds pair.
    """
    return None if first is None or second is None else paired(first.errors, second.errors, of=of)


def shared_errors(first: Line | None, second: Line | None) -> list[tuple[float, float]]:
    """Errors of both at each seed that both have."""
    if first is None or second is None:
        return []
    return [(errors, second.errors[seed]) for seed, errors in first.errors.items() if seed in second.errors]


def paired(first: Mapping[int, float], second: Mapping[int, float], *, of: int = 1) -> PairedDifference | None:
    """The same of errors by seed."""
    seeds = [seed for seed in first if seed in second]
    if len(seeds) < 2:
        return None
    return paired_difference([first[seed] for seed in seeds], [second[seed] for seed in seeds], level=1 - 0.05 / of)


def apart(found: PairedDifference) -> int:
    """1 where the first arm makes more errors, -1 where it makes fewer, 0 where its interval holds zero."""
    low, high = found.interval
    return 1 if low > 0 else -1 if high < 0 else 0


# Words ----------------------------------------------------------------------------------------------------------------


def count(value: float) -> str:
    """Errors: one decimal where seeds were averaged, none from a thousand on."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.1f}".replace("-", MINUS)


def whole(value: float | None) -> str:
    """A figure of the paper, or a dash where there is none."""
    return "–" if value is None else f"{value:,.0f}"


def signed(value: float) -> str:
    """A difference of errors."""
    return f"{value:+,.1f}".replace("-", MINUS)


def bounds(interval: tuple[float, float] | None, told: Any = count) -> str:
    return "" if interval is None else f"[{told(interval[0])}, {told(interval[1])}]"


def spread(line: Line | None) -> str:
    """Mean ± sd over the seeds."""
    if line is None:
        return NOT_YET
    found = against_published(line.values)
    told = whole if found.mean >= 1000 else count
    return count(found.mean) + ("" if found.sd is None else f" ± {told(found.sd)}")


def gap(found: PairedDifference | None) -> str:
    """A difference with its interval, for a cell."""
    return "" if found is None else f"{signed(found.mean)} {bounds(found.interval, signed)}"


def listed(words: Sequence[str]) -> str:
    """Such as: 1, 2 and 4."""
    if not words:
        return ""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def percent(share: float) -> str:
    return f"{100 * share:.1f} %".replace("-", MINUS)
