"""The parts of docs/mnist.md on what the table took: seconds, machines, and what was tried on validation rows."""

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean, median
from typing import Any

from mnist_record import NOT_YET, Line, Table, count, made_of

from limbeck.evidence.words import counted
from limbeck_recipes.reproductions.mnist_training import SMALL

AT_MOST = 45
"""Minutes that teacher, student alone and distilled student were to take at six seeds, on two cores."""


def costs(table: Table) -> Iterator[str]:
    """Seconds of a run, by row and family, and on what."""
    groups: dict[str, list[Line]] = {}
    for line in table.lines.values():
        groups.setdefault(line.name.partition("/")[0], []).append(line)
    timed = {
        name: [second for line in lines for second in line.seconds if second > 0] for name, lines in groups.items()
    }
    timed = {name: seconds for name, seconds in timed.items() if seconds}
    if not timed:
        yield NOT_YET
        return
    yield from ("| row or family | runs | seconds a run | minutes in all |", "| --- | ---: | ---: | ---: |")
    for name, seconds in timed.items():
        minutes = "stacked" if _stacked(groups[name]) else f"{sum(seconds) / 60:,.1f}"
        yield f"| `{name}` | {len(seconds)} | {_seconds(seconds)} | {minutes} |"
    if any(_stacked(groups[name]) for name in timed):
        yield from ("", "Runs that share a stack have the seconds of the stack each: those of all of them at once.")
    yield from ("", _trio(table), "", _machines(table))


def _stacked(lines: Sequence[Line]) -> bool:
    """Whether the networks are small enough to be trained many at once."""
    return all((line.settings.get("units") or SMALL + 1) <= SMALL for line in lines)


def _seconds(seconds: Sequence[float]) -> str:
    low, high = (f"{end:,.0f}" for end in (min(seconds), max(seconds)))
    return f"{fmean(seconds):,.0f}" + ("" if low == high else f" ({low} to {high})")


def _trio(table: Table) -> str:
    """Teacher, student alone and distilled student at the same seeds."""
    names = ("teacher", "student-alone", "distilled-T20")
    lines = [line for line in map(table.__getitem__, names) if line is not None and line.seconds]
    if len(lines) < len(names):
        return f"Teacher, student alone and distilled student together: {NOT_YET}."
    seeds = [seed for seed in lines[-1].errors if all(seed in line.errors for line in lines)]
    at = [dict(zip(line.errors, line.seconds, strict=False)) for line in lines]
    total = sum(found.get(seed, 0.0) for found in at for seed in seeds) / 60
    usual = len(seeds) * sum(median(line.seconds) for line in lines) / 60
    return (
        f"Teacher, student alone and distilled student at {len(seeds)} seeds: {total:,.1f} minutes of runs, "
        f"{total / 2:,.1f} two side by side on two cores. Some shared the machine with other work: as many runs of "
        f"each row's median length are {usual / 2:,.1f} minutes two side by side, where {AT_MOST} at most was the "
        "goal. A run's seconds are from its specification to its summary, with whatever else the machine did beside "
        "it; derived rows and recorded targets are not in the table."
    )


def _machines(table: Table) -> str:
    pieces = [piece for line in table.lines.values() for piece in line.pieces]
    machines = {_machine(piece.get("machine") or {}) for piece in pieces}
    commits = {str(piece.get("commit"))[:10] for piece in pieces if piece.get("commit")}
    changed = sum(bool(piece.get("changed_since")) for piece in pieces)
    told = f"Machine{'s' if len(machines) > 1 else ''}: {'; '.join(sorted(machines))}. " if machines else ""
    clean = "none of them with changes" if not changed else f"{changed} of them with changes since"
    return f"{told}{len(pieces):,} pieces, made at {len(commits)} commit{'' if len(commits) == 1 else 's'}, {clean}."


def _machine(found: Mapping[str, Any]) -> str:
    half = ", bfloat16" if found.get("bfloat16") else ""
    return f"{found.get('cpu') or 'unknown'}, {found.get('cores') or '?'} cores{half}"


# What was tried -------------------------------------------------------------------------------------------------------


def tried(table: Table) -> Iterator[str]:
    """Everything that was scored on validation rows, by row; what the published table uses is marked."""
    if not table.tried:
        yield NOT_YET
        return
    total = sum(map(len, table.tried.values()))
    yield (
        f"{counted(total, 'setting')} of {counted(len(table.tried), 'row')} were scored on the 10,000 held-out "
        "training rows ([record](../results/mnist-validation.json)). Those of the published table are marked ●. Before "
        "them settings were looked for with a plain loop on the same held-out rows, and what they said stands in "
        "the [log](../LOG.md). What was chosen for `distilled-member`, the students of ensembles have too. Two "
        "networks that differ in their seed alone are some five errors apart: the first of a list is often not told "
        "apart from the next, and not always the one that was chosen. Tries are in the order of their errors at the "
        "seeds that all of them have."
    )
    for row, entries in table.tried.items():
        yield from ("", *_trials(table[row], row, entries))


def _trials(line: Line | None, row: str, entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    varied = _varied([made_of(entry) for entry in entries])
    shared = min(len(entry["errors"]["values"]) for entry in entries)
    scored = {id(entry): fmean(entry["errors"]["values"][:shared]) for entry in entries}
    best = min(scored.values())
    tries = f"{len(entries)} tr{'y' if len(entries) == 1 else 'ies'}"
    yield f"<details><summary><code>{row}</code>: {tries}, fewest errors {count(best)}</summary>"
    yield from ("", "| | settings | errors of 10,000 | seeds | seconds a run |", "| --- | --- | ---: | ---: | ---: |")
    for entry in sorted(entries, key=lambda entry: scored[id(entry)]):
        settings = made_of(entry)
        words = ", ".join(f"{name} {_setting(settings.get(name))}" for name in varied) or "the only ones in the record"
        mark = "●" if line is not None and settings == line.made_of else ""
        errors, seconds = entry["errors"], entry.get("seconds") or []
        seconds = seconds if isinstance(seconds, list) else [seconds]
        values = errors["values"]
        each_seed = f" ({', '.join(f'{value:,.0f}' for value in values)})" if len(values) > 1 else ""
        each = f"{fmean(seconds):,.0f}" if seconds else ""
        yield f"| {mark} | {words} | {count(errors['mean'])}{each_seed} | {len(values)} | {each} |"
    yield from ("", "</details>")


def _varied(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of those that are not the same in all tries."""
    names = list(dict.fromkeys(name for one in settings for name in one))
    return [name for name in names if any(one.get(name) != settings[0].get(name) for one in settings)]


def _setting(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
