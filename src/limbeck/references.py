"""Floor 1. Naming Python objects so that another process, or a later day, finds them again.

A reference is `module:qualname` or `file.py:qualname`. What has none (a lambda, a closure, a live object) is refused
where a name is needed, and described where a record is enough.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import sysconfig
import textwrap
import traceback
from collections.abc import Callable, Iterator
from functools import cache, lru_cache, partial
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, TypeVar

from limbeck.errors import LimbeckError, NotImportable, SpecificationError

Result = TypeVar("Result")

_FILE_MODULES = "_limbeck_file_"
_FOLDERS: set[str] = set()
"""Folders that are on the import path for a file's sake: another process finds what lies there by its path only."""


def load_file(path: Path) -> ModuleType:
    """Import a Python file by its path, once per process; a file that has changed since is imported anew.

    Its folder is put at the end of the import path, so that it can import the files beside it.

    Raises: SpecificationError where it is missing, does not parse or fails while it is imported.
    """
    path = Path(path).resolve()
    if not path.is_file():
        raise SpecificationError(f"There is no file {path}.")
    text = path.read_bytes()
    name = f"{_FILE_MODULES}{hashlib.sha256(str(path).encode() + text).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise SpecificationError(f"{path} is not a Python file: its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
        _FOLDERS.add(str(path.parent))
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        del sys.modules[name]
        raise SpecificationError(f"{path} does not parse: line {error.lineno}: {error.msg}.") from error
    except Exception as error:
        del sys.modules[name]
        raise SpecificationError(f"{path} failed while it was imported: {what_was_raised(error)}.") from error
    return module


def load(reference: str) -> Any:
    """Find what a reference names.

    Raises: SpecificationError where the reference is malformed, or its module, file or name does not exist.
    """
    home, _, qualname = reference.rpartition(":")
    if not home or not qualname:
        raise SpecificationError(f"{reference!r} names no object: write file.py:name or package.module:name.")
    if home.endswith(".py"):
        module = load_file(Path(home))
    else:
        try:
            module = importlib.import_module(home)
        except ImportError as error:
            raise SpecificationError(
                f"{reference!r} cannot be imported: {error}. A module of yours must lie on PYTHONPATH."
            ) from error
    found: Any = module
    for part in qualname.split("."):
        if not hasattr(found, part):
            public = ", ".join(sorted(_defined_here(module))) or "nothing"
            raise SpecificationError(f"{home} defines no {qualname!r}; it defines: {public}.")
        found = getattr(found, part)
    return found


def _defined_here(module: ModuleType) -> Iterator[str]:
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield name


def called(who: str, function: Callable[..., Result], /, *args: Any, **named: Any) -> Result:
    """Call a user's function and return what it returns.

    Raises: SpecificationError that says what `who` raised and in which line of the user's; a LimbeckError as it is.
    """
    try:
        return function(*args, **named)
    except LimbeckError:
        raise
    except Exception as error:
        raise SpecificationError(f"{who} raised {what_was_raised(error)}.") from error


def what_was_raised(error: BaseException) -> str:
    """Describe an error by its type, its text and the last line of a user's file on its way."""
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _is_library(Path(frame.filename)) and not _is_ours(frame.filename)]
    where = f" ({theirs[-1].filename}, line {theirs[-1].lineno})" if theirs else ""
    text = " ".join(str(error).split()).removesuffix(".")
    return f"{type(error).__name__}: {text}{where}" if text else f"{type(error).__name__}{where}"


def _is_ours(file: str) -> bool:
    return Path(file).is_relative_to(Path(__file__).parent)


def reference_of(value: Any) -> str:
    """The reference of a function or a class.

    Raises: NotImportable for a lambda, a closure or anything else that a fresh process could not find by name.
    """
    home = getattr(value, "__module__", None)
    qualname = getattr(value, "__qualname__", None)
    if not home or not qualname:
        raise NotImportable(f"{value!r} has no importable name; pass a function or class of a module or file instead.")
    if "<" in qualname:
        raise NotImportable(
            f"{describe(value)} cannot be found by name, which another process or a resume needs; define it with "
            "`def` at the top level of a module or file, or use functools.partial of such a function."
        )
    module = sys.modules.get(home)
    found: Any = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    # A method of an instance is found under its class as another thing, without the instance's state.
    if found is not value and not (inspect.ismethod(value) and found == value):
        raise NotImportable(
            f"{describe(value)} cannot be imported as {home}:{qualname}: something else stands there, or nothing; use "
            "a function or class of a module or file, or functools.partial of one."
        )
    file = getattr(module, "__file__", None)
    if home != "__main__" and not home.startswith(_FILE_MODULES) and not _lies_beside(home, file):
        return f"{home}:{qualname}"
    if not file:
        raise NotImportable(f"{describe(value)} was typed into a session, where no other finds it; put it in a file.")
    return f"{Path(file).resolve()}:{qualname}"


def _lies_beside(home: str, file: str | None) -> bool:
    return "." not in home and file is not None and str(Path(file).resolve().parent) in _FOLDERS


def describe(value: Any) -> str:
    """Where a thing without a name was defined, for people."""
    code = getattr(value, "__code__", None)
    if code is None:
        return repr(value)
    return f"{value.__qualname__} ({Path(code.co_filename).name}, line {code.co_firstlineno})"


def source_hash(value: Any) -> str | None:
    """SHA-256 of the source of a function or class and of all of the user's that it names; None for libraries.

    Follows functions, classes, partials and plain constants, also into the user's other modules, so that a factory's
    hash changes when the class it builds is edited, and does not when something unrelated in the file is.
    """
    if _module_of(value) is None:
        return None
    seen: dict[str, str] = {}
    _collect(value, seen)
    return hashlib.sha256("\n".join(seen[name] for name in sorted(seen)).encode()).hexdigest()


def _module_of(value: Any) -> ModuleType | None:
    """The user's module that defines a thing; None for what a library defines, Limbeck itself among them."""
    module = sys.modules.get(getattr(value, "__module__", None) or "")
    file = getattr(module, "__file__", None)
    if module is None or not file or _is_library(Path(file)) or module.__name__.partition(".")[0] == "limbeck":
        return None
    return module


def _is_library(file: Path) -> bool:
    return file.is_relative_to(_standard_library()) or not {"site-packages", "dist-packages"}.isdisjoint(file.parts)


@cache
def _standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def code_hash(value: Any) -> str | None:
    """SHA-256 of what a function without a name does: its code, constants, defaults and closed-over plain values.

    None for what is no Python function. The hash of a method of an instance holds the instance's `repr`.
    """
    code = getattr(value, "__code__", None)
    if code is None:
        return None
    cells = [cell.cell_contents for cell in value.__closure__ or ()]
    plain = [cell for cell in cells if isinstance(cell, int | float | str | tuple | None)]
    around = (plain, value.__defaults__, value.__kwdefaults__, getattr(value, "__self__", None))
    return hashlib.sha256("\n".join((*_code_parts(code), repr(around))).encode()).hexdigest()


def _code_parts(code: CodeType) -> Iterator[str]:
    yield code.co_code.hex()
    yield repr(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _code_parts(constant)
        else:  # the order of a set's repr changes from process to process
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)


def _collect(value: Any, seen: dict[str, str]) -> None:
    if isinstance(value, partial):
        _collect(value.func, seen)
        return
    module = _module_of(value)
    name = f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', '')}"
    if module is None or name.endswith(":") or name in seen:
        return
    try:
        text = textwrap.dedent(inspect.getsource(value))
        tree = _parsed(text)
    except (OSError, TypeError, SyntaxError):
        return  # a builtin, or a line that holds more than the function: its name has to do
    seen[name] = text
    for home, path, found in _named_in(tree, module):
        _collect(found, seen)
        assigned = _assignments(home).get(path)
        if assigned is not None:  # its text: the value may change while the program runs
            seen[f"{home.__name__}:{path}"] = assigned


def _named_in(tree: ast.AST, module: ModuleType) -> Iterator[tuple[ModuleType, str, Any]]:
    """What a piece of source names: of its own module, and `other.name` of a module that it names."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in vars(module):
            yield module, node.id, vars(module)[node.id]
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            home = vars(module).get(node.value.id)
            if isinstance(home, ModuleType) and hasattr(home, node.attr):
                yield home, node.attr, getattr(home, node.attr)


def _assignments(module: ModuleType) -> dict[str, str]:
    """The source of a user's module's top-level assignments to single names; nothing for a library's."""
    file = getattr(module, "__file__", None)
    if not file or _is_library(Path(file)) or module.__name__.partition(".")[0] == "limbeck":
        return {}
    try:
        return _assigned_in(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return {}


# A campaign encodes hundreds of specifications that name the same few sources: a text is parsed once.
@lru_cache(maxsize=256)
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


@lru_cache(maxsize=64)
def _assigned_in(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for statement in _parsed(text).body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            if isinstance(target, ast.Name):
                found[target.id] = ast.get_source_segment(text, statement) or ""
    return found
