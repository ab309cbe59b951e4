"""`limbeck reproduce NAME`: a published table made again, row by row, each row at several seeds."""

import ast
import difflib
import importlib
import pkgutil
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from rich.console import Console
from rich.table import Table

import limbeck_recipes.reproductions
from limbeck.campaigns.engine import Engine
from limbeck.campaigns.means import Means
from limbeck.campaigns.pieces import PieceTable
from limbeck.campaigns.reproduction import Plan, Reproduction
from limbeck.cli.flags import check_counts, parsed
from limbeck.errors import SpecificationError
from limbeck.specification import Json
from limbeck.training.runner import Backend


@dataclass(frozen=True)
class Reproduce:
    """Make a published table again: every row trained at several seeds and scored once.

    What stands in the table already is left alone, so that a table may be made in pieces, and by several machines one
    after the other. Without --rows, all rows are made.
    """

    data: str
    """The folder of the data, or a hub id."""
    rows: tuple[str, ...] = ()
    """Which rows: names, or the name of a family for all of its rows; all unless given."""
    seeds: int | None = None
    """At how many seeds each row is run, at least 2 (1 with --validate); 6 unless given, and 2 of a quick table."""
    quick: bool = False
    """The same way in minutes, on a few rows and epochs: nothing of it is a result, and no test row is scored."""
    validate: bool = False
    """Develop: train on five sixths of the training rows and score the rest; no test row is scored."""
    set: tuple[str, ...] = ()
    """With --validate, settings to try: ROW.NAME=VALUE, such as distilled-T20.epochs=20."""
    out: Path | None = None
    """Where runs, recorded targets and answers go; runs/NAME unless given."""
    table: Path | None = None
    """The JSON file that the results are merged into; results/NAME.json unless given."""
    ledger: Path | None = None
    """The file of scorings of test rows, a line each, whatever table they go to; results/NAME-test-ledger.jsonl."""
    replace: bool = False
    """Let rows that stand in the table with other settings give way; each is another look at the test rows."""
    parallel: int | None = None
    """How many processes train at once, at most; one per core unless given."""
    backend: Backend = "loky"
    """Who trains them: loky, processes of this machine; ray, the cluster of `ray start --head` or RAY_ADDRESS."""
    engine: Engine = "auto"
    """stacked: runs of one architecture share one model; apart; or what a quick trial finds quicker."""

    def __post_init__(self) -> None:
        # One seed is no result, and enough to try a setting.
        check_counts(self, seeds=1 if self.validate else 2, parallel=1)
        if self.set and not self.validate:
            raise SpecificationError("--set tries other settings on validation rows; give --validate with it.")


def run(words: Sequence[str]) -> None:
    """Make the rows that are asked for, and print the table."""
    name, module, asked = asked_for(words)
    folder = asked.out or Path("runs") / (name + _ending(asked))
    scope = "development" if asked.validate or asked.quick else "final"
    changes = _changes(asked.set)
    seeds = asked.seeds or (2 if asked.quick else 6)
    plan: Plan = module.plan(asked.data, folder, scope=scope, seeds=seeds, quick=asked.quick, changes=changes)
    chosen = _chosen(plan, asked.rows)
    path = asked.table or _table(name, folder, asked)
    scored = plan.scored()
    kind: Json = {"split": plan.split, "quick": asked.quick, "rows": len(scored), "content": scored.fingerprint[:12]}
    head: dict[str, Json] = {"command": shlex.join(["limbeck", "reproduce", name]), "scored": kind}
    ledger = None if scope != "final" else asked.ledger or Path("results") / f"{name}-test-ledger.jsonl"
    table = PieceTable(path, head, by_settings=asked.validate, replace=asked.replace)
    means = Means(parallel=asked.parallel, backend=asked.backend, engine=asked.engine)
    reproduction = Reproduction(plan, folder, table=table, ledger=ledger, means=means)
    reproduction.make(chosen)
    _show(path, reproduction.lines(chosen), plan)


def asked_for(words: Sequence[str]) -> tuple[str, ModuleType, Reproduce]:
    """Read the words: the table's name, its module and the flags. Raises: SpecificationError for what is none."""
    if not words or words[0].startswith("-"):
        if any(word in ("-h", "--help") for word in words):
            parsed(Reproduce, words, "limbeck reproduce NAME")
        raise SpecificationError(f"Name what to reproduce, before the flags; there is: {', '.join(names())}.")
    name, *flags = words
    return name, _module(name), parsed(Reproduce, flags, f"limbeck reproduce {name}")


def names() -> list[str]:
    """The names of the tables that can be made again."""
    found = pkgutil.iter_modules(limbeck_recipes.reproductions.__path__)
    return sorted(module.name for module in found if "_" not in module.name)


def _module(name: str) -> ModuleType:
    if name not in names():
        close = difflib.get_close_matches(name, names(), n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There is: {', '.join(names())}."
        raise SpecificationError(f"There is nothing to reproduce named {name!r}. {hint}")
    return importlib.import_module(f"limbeck_recipes.reproductions.{name}")


def _ending(asked: Reproduce) -> str:
    return "-quick" if asked.quick else "-validation" if asked.validate else ""


def _table(name: str, folder: Path, asked: Reproduce) -> Path:
    """Where the table goes: what is no result stays with the runs."""
    return folder / f"{name}.json" if asked.quick else Path("results") / f"{name}{_ending(asked)}.json"


def _chosen(plan: Plan, rows: Sequence[str]) -> list[str]:
    """The names of the rows that are asked for, families spelled out. Raises: SpecificationError."""
    known = [row.name for row in plan.rows]
    families = list(dict.fromkeys(row.family for row in plan.rows if row.family is not None))
    for asked in rows:
        if asked not in known and asked not in families:
            close = difflib.get_close_matches(asked, [*known, *families], n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(_short(plan))}."
            raise SpecificationError(f"The table has no row {asked!r}. {hint}")
    return [row.name for row in plan.rows if row.name in rows or row.family in rows or not (rows or row.aside)]


def _short(plan: Plan) -> list[str]:
    return list(dict.fromkeys(row.family or row.name for row in plan.rows))


def _changes(words: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Read ROW.NAME=VALUE. Raises: SpecificationError for a word that is none."""
    changes: dict[str, dict[str, Any]] = {}
    for word in words:
        where, equals, value = word.partition("=")
        row, dot, setting = where.rpartition(".")
        if not (equals and dot and row and setting):
            raise SpecificationError(f"--set takes ROW.NAME=VALUE, such as teacher.epochs=20. Got {word!r}.")
        changes.setdefault(row, {})[setting] = _value(value)
    return changes


def _value(text: str) -> Any:
    if text.lower() in ("true", "false", "none"):
        text = text.capitalize()
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _show(path: Path, lines: Sequence[Mapping[str, Any]], plan: Plan) -> None:
    title = "Errors on the test rows" if plan.split == "test" else "Errors on held-out training rows: no result"
    table = Table(title=title)
    for name in ("row", "paper", "mean", "sd", "seeds", "seconds a seed"):
        table.add_column(name, justify="left" if name == "row" else "right")
    for line in lines:
        table.add_row(*_cells(line))
    Console().print(table)
    print(f"table: {path}")


def _cells(line: Mapping[str, Any]) -> list[str]:
    errors, seconds = line["errors"], line["seconds"]
    paper = "" if line["paper"] is None else f"{line['paper']:g}"
    spread = "" if errors["sd"] is None else f"{errors['sd']:.1f}"
    each = sum(seconds) / len(seconds)
    return [line["row"], paper, f"{errors['mean']:.1f}", spread, str(len(errors["values"])), f"{each:.1f}"]
