"""Flags from Python: a function's parameters, and the scalar fields of the specification that it returns."""

import ast
import contextlib
import difflib
import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import partial, wraps
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypeVar

import tyro

from limbeck.cli.complaints import one_sentence, paper, written_on
from limbeck.errors import SpecificationError
from limbeck.objective import Objective, Term
from limbeck.references import called
from limbeck.specification import Distillation, Precision

Result = TypeVar("Result")

_SCALARS: Mapping[str, Any] = {
    "targets": str | None,
    "views": int | None,
    "view_seed": int,
    "epochs": int,
    "batch_size": int,
    "microbatches": int,
    "clip_norm": float | None,
    "max_norm": float | None,
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


def call_with_flags(
    function: Callable[..., Result], words: Sequence[str], prog: str, *, who: str = ""
) -> tuple[Result, list[str]]:
    """Call a function with the words that name its parameters; return what it gave and the words left over.

    Raises: SpecificationError for a word that cannot be read, and for whatever the function itself raises.
    """
    # tyro only reads: the function is called outside, where its errors are its own.
    (args, named), left = _read(_reader_of(function), words, prog, return_unknown_args=True)
    return called(who or prog, function, *args, **named), left


def _read(what: Callable[..., Any], words: Sequence[str], prog: str, **how: bool) -> Any:
    """Read words as the parameters of a function or class. Raises: SpecificationError for what it cannot take."""
    _refuse_repeated(words)
    with one_sentence(words, prog):
        return tyro.cli(what, args=words, prog=prog, **how)  # type: ignore[call-overload]


def _reader_of(function: Callable[..., Any]) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
    @wraps(function)
    def arguments(*args: Any, **named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return args, named

    return arguments


def parsed(function: Callable[..., Result], words: Sequence[str], prog: str) -> Result:
    """Call a function of ours with all words. Raises: SpecificationError for a word that it cannot take."""
    refuse_unknown([word for word in words if word not in ("-h", "--help")], flags_of(function), prog)
    args, named = _read(_reader_of(function), words, prog)
    return function(*args, **named)


def flags_of(function: Callable[..., Any]) -> list[str]:
    """The names of a function's parameters."""
    return list(inspect.signature(function).parameters)


def overridden(spec: Distillation, words: Sequence[str], prog: str, *, others: Iterable[str] = ()) -> Distillation:
    """Set scalar fields of a specification from flags such as `--epochs 5` and `--objective.soft.temperature 2`.

    `others` are names of flags that were read before, to suggest where a word resembles one.

    Raises: SpecificationError for an unknown flag, with the closest known one, or a value that cannot be read.
    """
    flags = {flag.name: flag for flag in _flags_of(spec)}
    if not words:
        return spec
    refuse_unknown(words, list(flags), prog, others=others)
    if not words[0].startswith("--"):
        raise SpecificationError(f"The word {words[0]!r} belongs to no flag; `{prog} --help` lists the flags.")
    values = _read(_record(flags), words, prog)
    changed = {name: value for name in flags if (value := getattr(values, _python_name(name))) != flags[name].current}
    return _applied(spec, changed)


def names_of_overrides(spec: Distillation) -> list[str]:
    """The dotted names that `overridden` understands for a specification."""
    return [flag.name for flag in _flags_of(spec)]


def words_between(before: Distillation, after: Distillation) -> list[str]:
    """Return the words by which `overridden` makes one specification of another, in what flags can set."""
    known = {flag.name: flag.current for flag in _flags_of(before)}
    differ = [flag for flag in _flags_of(after) if known.get(flag.name) != flag.current]
    return [word for flag in differ for word in (dashed(flag.name), _written(flag.current))]


def _written(value: object) -> str:
    """Write a value as a person would: 1 - 0.066 is 0.934.

    >>> _written(1 - 0.066), _written(4.0), _written(8)
    ('0.934', '4.0', '8')
    """
    return str(float(f"{value:.12g}")) if isinstance(value, float) else str(value)


def help_of(flags: Callable[..., Any], prog: str) -> str:
    """Return the help of a function's flags, laid out for this terminal, without the line on usage."""
    said = paper()
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit), one_sentence(["--help"], prog):
        tyro.cli(flags, args=["--help"], prog=prog)
    return written_on(said).partition("\n\n")[2].strip("\n")


def help_of_overrides(spec: Distillation, prog: str, *, leave_out: Iterable[str] = ()) -> str:
    """Return the help of a specification's own flags, but for those that were shown before."""
    return help_of(_record({flag.name: flag for flag in _flags_of(spec) if flag.name not in leave_out}), prog)


@dataclass(frozen=True, kw_only=True)
class _Flag:
    name: str
    kind: Any
    current: Any
    about: str


def _flags_of(spec: Distillation) -> Iterator[_Flag]:
    about = docs_of_fields(Distillation)
    for name, kind in _SCALARS.items():
        yield _Flag(name=name, kind=kind, current=_plain(getattr(spec, name)), about=about[name])
    for term_name, (weight, term) in spec.goal.terms.items():
        about = {"weight": f"Of the term {term_name} in the sum.", **docs_of_fields(type(term))}
        for setting, current in _settings(weight, term).items():
            if isinstance(current, int | float) and not isinstance(current, bool):
                name = f"objective.{term_name}.{setting}"
                yield _Flag(name=name, kind=float, current=float(current), about=about.get(setting, ""))
    if isinstance(spec.optimizer, partial):
        about_all = f"Of {getattr(spec.optimizer.func, '__name__', 'the optimiser')}."
        for keyword, current in _numbers_of(spec.optimizer).items():
            if isinstance(current, bool | int | float):
                kind = float if keyword in _OF_ANY_OPTIMIZER else type(current)
                yield _Flag(name=f"optimizer.{keyword}", kind=kind, current=kind(current), about=about_all)


_OF_ANY_OPTIMIZER = ("lr", "weight_decay")
"""Real numbers that can be set even where a specification leaves them at their defaults."""


def _numbers_of(optimizer: partial[Any]) -> dict[str, Any]:
    """What a partial sets of an optimiser, and the numbers of any that it leaves at their defaults."""
    try:
        known = inspect.signature(optimizer.func).parameters
    except (ValueError, TypeError):  # a builtin without a signature
        known = {}  # type: ignore[assignment]
    defaults = {name: known[name].default for name in _OF_ANY_OPTIMIZER if name in known}
    return {**defaults, **optimizer.keywords}


def _plain(value: Any) -> Any:
    """Return a field's value as a flag would give it."""
    if isinstance(value, Path):
        return str(value)
    return tuple(value) if isinstance(value, list) else value


def _settings(weight: Any, term: Term) -> dict[str, Any]:
    return {"weight": weight} | {part.name: getattr(term, part.name) for part in fields(term)}  # type: ignore[arg-type]


def docs_of_fields(kind: type) -> dict[str, str]:
    """Return the docstrings that stand under the fields of a dataclass, by name; none for a class without source."""
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    except (OSError, TypeError, SyntaxError):
        return {}
    assert isinstance(definition, ast.ClassDef)
    return {
        part.target.id: " ".join(below.value.value.split())
        for part, below in pairwise(definition.body)
        if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) and isinstance(below.value.value, str)
    }


def _python_name(name: str) -> str:
    return name.replace(".", "__")


def _record(flags: Mapping[str, _Flag]) -> type:
    parts = [
        (
            _python_name(name),
            Annotated[flag.kind, tyro.conf.arg(name=name, help=flag.about)],
            field(default=flag.current),
        )
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


def refuse_unknown(words: Sequence[str], known: Iterable[str], prog: str, *, others: Iterable[str] = ()) -> None:
    """Refuse a flag that is not known, with the one that it resembles. Raises: SpecificationError."""
    accepted = [dashed(name) for name in known]
    for word in words:
        flag = word.partition("=")[0]
        if flag.startswith("--") and _positive(dashed(flag)) not in accepted:
            close = _closest(dashed(flag), [*accepted, *(dashed(name) for name in others)])
            hint = f"Did you mean {close}?" if close else f"`{prog} --help` lists the flags."
            raise SpecificationError(f"There is no flag {flag}. {hint}")


def _refuse_repeated(words: Sequence[str]) -> None:
    """Refuse a flag that is given twice, of which only the last would count. Raises: SpecificationError."""
    given = [_positive(dashed(word.partition("=")[0])) for word in words if word.startswith("--")]
    for flag in dict.fromkeys(given):
        if given.count(flag) > 1:
            raise SpecificationError(f"The flag {flag} is given twice; give it once, with all that belongs to it.")


def check_counts(flags: object, **least: int) -> None:
    """Refuse a count that is too small, None excepted. Raises: SpecificationError.

    >>> from types import SimpleNamespace
    >>> check_counts(SimpleNamespace(seeds=2, parallel=None), seeds=1, parallel=1)
    """
    for name, smallest in least.items():
        value = getattr(flags, name)
        if value is not None and value < smallest:
            raise SpecificationError(f"{dashed(name)} must be a whole number of at least {smallest}. Got {value}.")


def dashed(name: str) -> str:
    """The flag of a parameter's name.

    >>> dashed("recording_batch")
    '--recording-batch'
    """
    return "--" + name.removeprefix("--").replace("_", "-")


def _positive(flag: str) -> str:
    """What a switch's opposite belongs to: --no-resume to --resume."""
    return flag.replace("--no-", "--", 1)


def _closest(flag: str, known: Sequence[str]) -> str | None:
    """Return the flag whose last part this is (--temperature: --objective.soft.temperature), or the most alike."""
    ends = [name for name in known if name.endswith("." + flag.removeprefix("--"))]
    return next(iter(ends or difflib.get_close_matches(flag, known, n=1, cutoff=0.7)), None)
