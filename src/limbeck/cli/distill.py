"""`limbeck distill SPEC` and `limbeck distill --data … --teacher … --student …`."""

import contextlib
import importlib
import inspect
import pkgutil
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

import limbeck_recipes
from limbeck.cli.flags import call_with_flags, names_of_overrides, overridden, print_overrides
from limbeck.cli.parts import from_parts
from limbeck.cli.show import show_run
from limbeck.errors import SpecificationError
from limbeck.references import load
from limbeck.specification import Distillation
from limbeck.training.distill import distill

_HELP = """usage: limbeck distill SPEC [flags]
       limbeck distill --data FOLDER|FILE|ID --student FILE.py:factory [--teacher FILE.py:object|RUN] [flags]

SPEC is file.py:function, where the function returns a Distillation, or the name of a recipe: {recipes}.

flags of every run:
  --out FOLDER       where the run goes (runs/NAME)
  --resume           go on from the last checkpoint in --out
  --overwrite        delete the run that stands in --out first
  --parallel N       how many members of an ensemble are trained at once, at most
"""


@dataclass(frozen=True)
class Common:
    """Flags of every command that trains."""

    out: Path | None = None
    """Where the run goes."""
    resume: bool = False
    """Go on from the last checkpoint."""
    overwrite: bool = False
    """Delete the run that stands there first."""
    parallel: int | None = None
    """How many members of an ensemble are trained at once, at most."""


@dataclass(frozen=True)
class Asked:
    """What the words of a command ask for."""

    name: str
    """The SPEC, or nothing where the specification comes in parts."""
    spec: Distillation
    """The specification, flags applied."""
    common: Common
    """Where it goes and what may stand there."""

    @property
    def out(self) -> Path:
        """The run's folder: --out, or runs/ and the name of the SPEC's file or recipe."""
        stem = Path(self.name.partition(":")[0]).stem if self.name else "student"
        return self.common.out or Path("runs") / stem


def run(words: Sequence[str]) -> None:
    """Train a student and print where it landed."""
    if any(word in ("-h", "--help") for word in words):
        _print_help(list(words))
        return
    asked = specification_of(words)
    origin = {"command": shlex.join(["limbeck", "distill", *words]), "specification": asked.name or "parts"}
    common = asked.common
    finished = distill(
        asked.spec, asked.out, resume=common.resume, overwrite=common.overwrite, parallel=common.parallel, origin=origin
    )
    show_run(finished)


def specification_of(words: Sequence[str]) -> Asked:
    """Read the words of `limbeck distill`: the SPEC, its own flags, and those of the specification that it returns.

    Raises: SpecificationError for whatever cannot be found, called or read.
    """
    if not words:
        raise SpecificationError(
            "Name a SPEC (file.py:function or a recipe), or give --data and --student; "
            "`limbeck distill --help` tells more."
        )
    name, function, rest = _specification(list(words))
    prog = f"limbeck distill {name}".rstrip()
    common, rest = call_with_flags(Common, rest, prog)
    spec, left = call_with_flags(function, rest, prog)
    if not isinstance(spec, Distillation):
        raise SpecificationError(f"{name} must return a Distillation. It returned a {type(spec).__name__}.")
    _refuse_shared_names(function, spec, name)
    return Asked(name, overridden(spec, left, prog), common)


def _specification(words: list[str]) -> tuple[str, Callable[..., Any], list[str]]:
    if not words or words[0].startswith("-"):
        return "", from_parts, words
    name, *rest = words
    if name.endswith(".py"):
        raise SpecificationError(f"{name} names no function; write {name}:function, where it returns a Distillation.")
    found = load(name) if ":" in name else _recipe(name)
    if not callable(found):
        raise SpecificationError(f"{name} is a {type(found).__name__}, not a function that returns a Distillation.")
    return name, found, rest


def recipes() -> list[str]:
    """The names of the recipes that are installed."""
    return sorted(module.name for module in pkgutil.iter_modules(limbeck_recipes.__path__))


def _recipe(name: str) -> Any:
    if name not in recipes():
        raise SpecificationError(
            f"There is no recipe {name!r}. There are: {', '.join(recipes())}; or name a function as file.py:function."
        )
    return getattr(importlib.import_module(f"limbeck_recipes.{name}"), name)


def _refuse_shared_names(function: Callable[..., Any], spec: Distillation, name: str) -> None:
    own = set(inspect.signature(function).parameters)
    shared = sorted(own & {*names_of_overrides(spec), *Common.__dataclass_fields__})
    if shared:
        raise SpecificationError(
            f"{name or 'limbeck distill'} has a parameter {shared[0]!r}, which is a flag of every run too; rename it."
        )


def _print_help(words: list[str]) -> None:
    print(_HELP.format(recipes=", ".join(recipes())), flush=True)
    name, function, _ = _specification(words)
    prog = f"limbeck distill {name}".rstrip()
    with contextlib.suppress(SystemExit):
        tyro.cli(function, args=["--help"], prog=prog)
    if name:
        # A specification with required arguments has no fields to show yet.
        with contextlib.suppress(Exception):
            spec = function()
            print("\nand of its specification:\n", flush=True)
            print_overrides(spec, prog)
