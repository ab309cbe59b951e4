"""What `limbeck distill` and `limbeck record` share: finding a SPEC, reading its flags, showing its help."""

import contextlib
import difflib
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import limbeck_recipes
from limbeck.cli.flags import (
    call_with_flags,
    flags_of,
    help_of,
    help_of_overrides,
    names_of_overrides,
    overridden,
)
from limbeck.errors import SpecificationError
from limbeck.objective import HardLabels, SoftTargets
from limbeck.references import load
from limbeck.specification import Distillation
from limbeck.targets.remote import is_address

Common = TypeVar("Common")


@dataclass(frozen=True)
class Command(Generic[Common]):
    """A command that takes a SPEC, or the parts of one."""

    name: str
    """Such as "distill"."""
    common: type[Common]
    """A dataclass of the flags that it has for every SPEC."""
    parts: Callable[..., Distillation]
    """Makes the specification from flags where there is no SPEC."""
    needs: tuple[str, ...]
    """Flags of which one at least must be there where there is no SPEC, and which are all required."""
    usage: str
    """Its two lines of usage."""

    def prog(self, name: str) -> str:
        """Return what a complaint calls it."""
        return f"limbeck {self.name} {name}".rstrip()


@dataclass(frozen=True)
class Asked(Generic[Common]):
    """What the words of a command ask for."""

    name: str
    """The SPEC, or nothing where the specification comes in parts."""
    spec: Distillation
    """The specification, flags applied."""
    common: Common
    """The command's own flags."""

    def stem(self, otherwise: str) -> str:
        """The name of the SPEC's file or recipe."""
        return Path(self.name.partition(":")[0]).stem if self.name else otherwise


def asked_of(command: Command[Common], words: Sequence[str]) -> Asked[Common]:
    """Read the words of a command: the SPEC, its own flags, and those of the specification that it returns.

    Raises: SpecificationError for whatever cannot be found, called or read.
    """
    name, function, rest = _specification(command, list(words))
    prog = command.prog(name)
    common, rest = call_with_flags(command.common, rest, prog)
    spec, left = call_with_flags(function, rest, prog, who=name)
    if not isinstance(spec, Distillation):
        raise SpecificationError(f"{name} must return a Distillation. It returned {_a(spec)}.")
    own = _own_flags(command)
    if name:
        _refuse_shared_names(function, spec, name, own)
    return Asked(name, overridden(spec, left, prog, others=[*own, *flags_of(function)]), common)


def _own_flags(command: Command[Any]) -> list[str]:
    return list(command.common.__dataclass_fields__)


def _specification(command: Command[Any], words: list[str]) -> tuple[str, Callable[..., Any], list[str]]:
    """Return the SPEC's name, what makes the specification, and the flags: ("", parts, words) without a SPEC."""
    if not words or words[0].startswith("-"):
        if not any(word.partition("=")[0] in command.needs for word in words):
            raise SpecificationError(
                f"Name a SPEC (file.py:function or a recipe) before the flags, or give {' and '.join(command.needs)}; "
                f"`limbeck {command.name} --help` tells more."
            )
        return "", command.parts, words
    name, *rest = words
    if name.endswith(".py"):
        raise SpecificationError(f"{name} names no function; write {name}:function, where it returns a Distillation.")
    found = load(name) if ":" in name else _recipe(name)
    if not callable(found):
        raise SpecificationError(f"{name} must be a function that returns a Distillation. It is {_a(found)}.")
    return name, found, rest


def _a(value: Any) -> str:
    return "nothing" if value is None else f"an object of type {type(value).__name__}"


def folder_here(named: str) -> Path:
    """Return the folder that a store is written into. Raises: SpecificationError for an address, which only is read."""
    if is_address(named):
        raise SpecificationError(
            f"A store is written into a folder here, and {named} is an address; name a folder by --out, and copy it."
        )
    return Path(named)


def recipes() -> list[str]:
    """The names of the recipes that are installed."""
    return sorted(module.name for module in pkgutil.iter_modules(limbeck_recipes.__path__) if not module.ispkg)


def _recipe(name: str) -> Any:
    if name not in recipes():
        close = difflib.get_close_matches(name, recipes(), n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(recipes())}."
        raise SpecificationError(f"There is no recipe {name!r}. {hint} A function of yours is file.py:function.")
    return getattr(importlib.import_module(f"limbeck_recipes.{name}"), name)


def _refuse_shared_names(function: Callable[..., Any], spec: Distillation, name: str, own: Sequence[str]) -> None:
    shared = sorted({*flags_of(function)} & {*names_of_overrides(spec), *own})
    if shared:
        raise SpecificationError(f"{name} has a parameter {shared[0]!r}, which is a flag of every run too; rename it.")


def help_for(command: Command[Any], words: Sequence[str]) -> str:
    """Return the help of a command, or of a SPEC and whatever of its flags are among the words."""
    names_one = bool(words) and not words[0].startswith("-")
    name, function, rest = _specification(command, list(words)) if names_one else ("", command.parts, [])
    prog = command.prog(name)
    spec = _example() if not name else None
    # A function with required arguments makes no specification to show the fields of, before they are given.
    with contextlib.suppress(SpecificationError):
        spec = spec or call_with_flags(function, call_with_flags(command.common, rest, prog)[1], prog, who=name)[0]
    numbers = (
        help_of_overrides(spec, prog, leave_out=flags_of(function))
        if isinstance(spec, Distillation)
        else f"`{prog} … --help` with the flags that are required lists those of its specification."
    )
    return "\n\n".join(
        [
            command.usage.format(recipes=", ".join(recipes())).rstrip(),
            help_of(function, prog),
            help_of(command.common, prog),
            "Flags of the specification.",
            numbers,
        ]
    )


def _example() -> Distillation:
    """A specification with the fields of one that `from_parts` makes, to show them."""
    objective = 0.9 * SoftTargets() + 0.1 * HardLabels()
    return Distillation(data=tuple, student=tuple, teacher="teacher", objective=objective)  # type: ignore[arg-type]
