"""Flags from Python: a function's parameters, and the scalar fields of the specification that it returns."""

import contextlib
import difflib
import io
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import partial, wraps
from typing import Annotated, Any, TypeVar

import tyro

from limbeck.errors import LimbeckError, SpecificationError
from limbeck.objective import Objective
from limbeck.specification import Distillation, Precision

Result = TypeVar("Result")

_SCALARS: Mapping[str, Any] = {
    "epochs": int,
    "batch_size": int,
    "microbatches": int,
    "clip_norm": float | None,
    "precision": Precision,
    "validation": float | None,
    "seed": int,
    "split_seed": int,
    "device": str | None,
    "workers": int,
    "log_every": int,
    "probe_rows": int,
    "checkpoint_seconds": float,
    "keep_every": int | None,
    "track": tuple[str, ...],
}
"""The fields of a `Distillation` that a flag may set, with the types to read them as."""


def call_with_flags(function: Callable[..., Result], words: Sequence[str], prog: str) -> tuple[Result, list[str]]:
    """Call a function with the words that name its parameters; return what it gave and the words left over.

    Raises: SpecificationError for a word that cannot be read, and for whatever the function itself raises.
    """
    with _one_sentence(prog):
        # tyro only reads: the function is called outside, where its errors are its own.
        arguments, left = tyro.cli(_reader_of(function), args=words, prog=prog, return_unknown_args=True)
    try:
        return function(**arguments), left
    except LimbeckError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        name = getattr(function, "__name__", str(function))
        raise SpecificationError(
            f"{name} raised {type(error).__name__}: {error} ({where.filename}, line {where.lineno})."
        ) from error


def _reader_of(function: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    @wraps(function)
    def arguments(**named: Any) -> dict[str, Any]:
        return named

    return arguments


def parsed(record: type[Result], words: Sequence[str], prog: str) -> Result:
    """Read all words into a dataclass of flags. Raises: SpecificationError for a word that fits none of them."""
    found, left = call_with_flags(record, words, prog)
    if left:
        _refuse_unknown(left, list(getattr(record, "__dataclass_fields__", ())), prog)
    return found


def overridden(spec: Distillation, words: Sequence[str], prog: str) -> Distillation:
    """Set scalar fields of a specification from flags such as `--epochs 5` and `--objective.soft.temperature 2`.

    Raises: SpecificationError for an unknown flag, with the closest known one, or a value that cannot be read.
    """
    flags = {flag.name: flag for flag in _flags_of(spec)}
    if not words:
        return spec
    _refuse_unknown(words, list(flags), prog)
    with _one_sentence(prog):
        values: Any = tyro.cli(_record(flags), args=words, prog=prog)
    changed = {name: value for name in flags if (value := getattr(values, _python_name(name))) != flags[name].current}
    return _applied(spec, changed)


def names_of_overrides(spec: Distillation) -> list[str]:
    """The dotted names that `overridden` understands for a specification."""
    return [flag.name for flag in _flags_of(spec)]


def print_overrides(spec: Distillation, prog: str) -> None:
    """Print the help of the specification's own flags."""
    with contextlib.suppress(SystemExit):
        tyro.cli(_record({flag.name: flag for flag in _flags_of(spec)}), args=["--help"], prog=prog)


@dataclass(frozen=True, kw_only=True)
class _Flag:
    name: str
    kind: Any
    current: Any


def _flags_of(spec: Distillation) -> Iterator[_Flag]:
    for name, kind in _SCALARS.items():
        current = getattr(spec, name)
        yield _Flag(name=name, kind=kind, current=tuple(current) if name == "track" else current)
    for term_name, (weight, term) in spec.goal.terms.items():
        settings = {"weight": weight} | {part.name: getattr(term, part.name) for part in fields(term)}  # type: ignore[arg-type]
        for setting, current in settings.items():
            if isinstance(current, int | float) and not isinstance(current, bool):
                yield _Flag(name=f"objective.{term_name}.{setting}", kind=float, current=float(current))
    if isinstance(spec.optimizer, partial):
        for keyword, current in spec.optimizer.keywords.items():
            if isinstance(current, bool | int | float):
                yield _Flag(name=f"optimizer.{keyword}", kind=type(current), current=current)


def _python_name(name: str) -> str:
    return name.replace(".", "__")


def _record(flags: Mapping[str, _Flag]) -> type:
    parts = [
        (_python_name(name), Annotated[flag.kind, tyro.conf.arg(name=name)], field(default=flag.current))
        for name, flag in flags.items()
    ]
    return make_dataclass("Specification", parts)


def _applied(spec: Distillation, changed: Mapping[str, Any]) -> Distillation:
    own: dict[str, Any] = {}
    objective: Objective = spec.goal
    for name, value in changed.items():
        head, _, rest = name.partition(".")
        if head == "objective":
            term, _, setting = rest.rpartition(".")
            objective = objective.replaced(term, **{setting: value})
        elif head == "optimizer":
            optimizer = own.get("optimizer", spec.optimizer)
            own["optimizer"] = partial(optimizer.func, *optimizer.args, **{**optimizer.keywords, rest: value})
        else:
            own[name] = value
    return replace(spec, objective=objective, **own)


def _refuse_unknown(words: Sequence[str], known: Sequence[str], prog: str) -> None:
    accepted = {f"--{name}" for name in known} | {f"--{name.replace('_', '-')}" for name in known}
    for word in words:
        flag = word.partition("=")[0]
        if word.startswith("--") and flag not in accepted and not flag.startswith("--no-"):
            close = difflib.get_close_matches(flag, sorted(accepted), n=1, cutoff=0.5)
            hint = f" Did you mean {close[0]}?" if close else f" `{prog} --help` lists the flags."
            raise SpecificationError(f"There is no flag {flag}.{hint}")
    if words and not words[0].startswith("--"):
        raise SpecificationError(f"The word {words[0]!r} belongs to no flag; `{prog} --help` lists the flags.")


@contextlib.contextmanager
def _one_sentence(prog: str) -> Iterator[None]:
    """Turn tyro's framed complaint into the sentence in its middle; let its help through."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            yield
    except SystemExit as leaving:
        if not leaving.code:
            raise
        raise SpecificationError(f"{_middle(said.getvalue())} `{prog} --help` lists the flags.") from None


def _middle(framed: str) -> str:
    lines = [line.strip(" │|╭╮╰╯─-") for line in framed.splitlines()]
    body: list[str] = []
    for line in [line for line in lines if line][1:]:
        if line.startswith(("Argument helptext", "For full helptext", "Usage")):
            break
        body.append(line)
    text = " ".join(body).replace("Error parsing ", "")
    return text if text.endswith(".") else f"{text}."
