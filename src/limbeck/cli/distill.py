"""`limbeck distill SPEC` and `limbeck distill --data … --teacher … --student …`."""

import contextlib
import difflib
import importlib
import pkgutil
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import limbeck_recipes
from limbeck.cli.flags import (
    call_with_flags,
    flags_of,
    help_of,
    help_of_overrides,
    names_of_overrides,
    overridden,
)
from limbeck.cli.parts import from_parts
from limbeck.cli.show import show_run
from limbeck.errors import SpecificationError
from limbeck.objective import HardLabels, SoftTargets
from limbeck.references import load
from limbeck.specification import Distillation
from limbeck.training.distill import distill

_USAGE = """usage: limbeck distill SPEC [flags]
       limbeck distill --data FOLDER|FILE|ID --student FILE.py:factory [--teacher FILE.py:object|RUN] [flags]

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

    def __post_init__(self) -> None:
        if self.parallel is not None and self.parallel < 1:
            raise SpecificationError(f"--parallel must be a whole number of at least 1. Got {self.parallel}.")


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
        print(_help([word for word in words if word not in ("-h", "--help")]))
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
    name, function, rest = _specification(list(words))
    prog = f"limbeck distill {name}".rstrip()
    common, rest = call_with_flags(Common, rest, prog)
    spec, left = call_with_flags(function, rest, prog, who=name)
    if not isinstance(spec, Distillation):
        raise SpecificationError(f"{name} must return a Distillation. It returned {_a(spec)}.")
    _refuse_shared_names(function, spec, name)
    others = [*Common.__dataclass_fields__, *flags_of(function)]
    return Asked(name, overridden(spec, left, prog, others=others), common)


def _specification(words: list[str]) -> tuple[str, Callable[..., Any], list[str]]:
    """Return the SPEC's name, what makes the specification, and the flags: ("", from_parts, words) without a SPEC."""
    if not words or words[0].startswith("-"):
        if not any(word.partition("=")[0] in ("--data", "--student") for word in words):
            raise SpecificationError(
                "Name a SPEC (file.py:function or a recipe) before the flags, or give --data and --student; "
                "`limbeck distill --help` tells more."
            )
        return "", from_parts, words
    name, *rest = words
    if name.endswith(".py"):
        raise SpecificationError(f"{name} names no function; write {name}:function, where it returns a Distillation.")
    found = load(name) if ":" in name else _recipe(name)
    if not callable(found):
        raise SpecificationError(f"{name} must be a function that returns a Distillation. It is {_a(found)}.")
    return name, found, rest


def _a(value: Any) -> str:
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def recipes() -> list[str]:
    """The names of the recipes that are installed."""
    return sorted(module.name for module in pkgutil.iter_modules(limbeck_recipes.__path__))


def _recipe(name: str) -> Any:
    if name not in recipes():
        close = difflib.get_close_matches(name, recipes(), n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(recipes())}."
        raise SpecificationError(f"There is no recipe {name!r}. {hint} A function of yours is file.py:function.")
    return getattr(importlib.import_module(f"limbeck_recipes.{name}"), name)


def _refuse_shared_names(function: Callable[..., Any], spec: Distillation, name: str) -> None:
    shared = sorted({*flags_of(function)} & {*names_of_overrides(spec), *Common.__dataclass_fields__})
    if shared:
        raise SpecificationError(
            f"{name or 'limbeck distill'} has a parameter {shared[0]!r}, which is a flag of every run too; rename it."
        )


def _help(words: list[str]) -> str:
    """The help of `limbeck distill`, or of a SPEC and whatever of its flags are among the words."""
    names_one = bool(words) and not words[0].startswith("-")
    name, function, rest = _specification(words) if names_one else ("", from_parts, [])
    prog = f"limbeck distill {name}".rstrip()
    spec = _example() if not name else None
    # A function with required arguments makes no specification to show the fields of, before they are given.
    with contextlib.suppress(SpecificationError):
        spec = spec or call_with_flags(function, call_with_flags(Common, rest, prog)[1], prog, who=name)[0]
    numbers = (
        help_of_overrides(spec, prog)
        if isinstance(spec, Distillation)
        else f"`{prog} … --help` with the flags that are required lists those of its specification."
    )
    return "\n\n".join(
        [
            _USAGE.format(recipes=", ".join(recipes())).rstrip(),
            help_of(function, prog),
            help_of(Common, prog),
            "Flags of the specification.",
            numbers,
        ]
    )


def _example() -> Distillation:
    """A specification with the fields of one that `from_parts` makes, to show them."""
    objective = 0.9 * SoftTargets() + 0.1 * HardLabels()
    return Distillation(data=tuple, student=tuple, teacher="teacher", objective=objective)  # type: ignore[arg-type]
