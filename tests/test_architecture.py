"""The shape of the library: floors, cycles, documentation, what an import needs."""

import ast
import importlib
import inspect
import subprocess
import sys
import textwrap
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import limbeck

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for package in ("limbeck", "limbeck_recipes") for path in (ROOT / "src" / package).rglob("*.py"))

FLOORS = [
    ("types", "errors", "_checks", "_version"),
    ("functional", "knowledge", "models", "schedules", "references", "files", "keyed"),
    ("data", "teachers", "targets", "objective"),
    ("specification", "training"),
    ("methods",),
    ("evidence",),
    ("campaigns",),
    ("report",),
    ("cli",),
    ("limbeck_recipes",),
]
"""Rooms from the ground up: a file imports from its own room and from below, as in docs/architecture.md."""

FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

NEIGHBOURS_ALLOWED = {
    ("training", "specification"),  # the loop runs a specification
    ("cli", "limbeck_recipes"),  # recipes are found by name, as any user's file is
}


def module_of(path):
    parts = path.relative_to(ROOT / "src").with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in SOURCES}


def imported(path):
    """The project's own modules that a file imports anywhere in it, functions and type checks included."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative imports hide where a name comes from"
            for alias in node.names:
                submodule = f"{node.module}.{alias.name}"
                found.add(submodule if submodule in MODULES else node.module)
    return {name for name in found if name in MODULES}


def room_of(module):
    first, *rest = module.split(".")
    return first if first == "limbeck_recipes" else rest[0] if rest else "limbeck"


def may_import(home, other):
    if home == other or (home, other) in NEIGHBOURS_ALLOWED:
        return True
    if FLOOR[home] <= 1:  # the ground and the first floor: small files that know one another
        return FLOOR[other] <= FLOOR[home]
    return FLOOR[other] < FLOOR[home]


INSIDE = [module for module in MODULES if module != "limbeck"]


@pytest.mark.parametrize("module", INSIDE)
def test_imports_only_point_down(module):
    home = room_of(module)
    assert home in FLOOR, f"{module} stands on no floor"
    others = {room_of(other) for other in imported(MODULES[module])}
    assert "limbeck" not in others, f"{module} imports the package's own front door; import from the defining module"
    wrong = {other for other in others if not may_import(home, other)}
    assert not wrong, f"{module} (floor {FLOOR[home]}) imports {sorted(wrong)}"


def test_no_module_imports_itself_by_a_way_round():
    graph = {module: imported(path) - {module} for module, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"import cycle: {' -> '.join(error.args[1])}")


def test_a_cycle_would_be_found():
    with pytest.raises(CycleError):
        TopologicalSorter({"a": {"b"}, "b": {"c"}, "c": {"a"}}).prepare()


def undocumented(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if ast.get_docstring(tree) is None:
        yield "the module"
    yield from undocumented_inside(tree, "")


def undocumented_inside(scope, prefix):
    for node in scope.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield prefix + node.name
        if isinstance(node, ast.ClassDef):
            yield from undocumented_inside(node, f"{prefix}{node.name}.")


@pytest.mark.parametrize("module", [module for module in MODULES if not module.rpartition(".")[2].startswith("_")])
def test_every_public_name_is_documented(module):
    assert not list(undocumented(MODULES[module]))


def bare_fields(kind):
    """The fields of a record without a string under them."""
    scope = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body
    for node, following in zip(scope, [*scope[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign) or node.target.id.startswith("_") or "ClassVar" in ast.unparse(node):
            continue
        if not (isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)):
            yield f"{kind.__name__}.{node.target.id}"


def test_every_field_of_the_records_that_the_package_offers_is_documented():
    kinds = [found for name in limbeck.__all__ if inspect.isclass(found := getattr(limbeck, name))]
    assert not [field for kind in kinds for field in bare_fields(kind)]


def test_every_name_that_the_package_offers_is_there():
    assert limbeck.__all__ == sorted(limbeck.__all__, key=str.lower) or len(set(limbeck.__all__)) == len(
        limbeck.__all__
    )
    for name in limbeck.__all__:
        assert getattr(limbeck, name) is not None
    with pytest.raises(AttributeError):
        limbeck.no_such_name  # noqa: B018


@pytest.mark.parametrize(
    "module", [module for module, path in MODULES.items() if path.name == "__init__.py" and module != "limbeck"]
)
def test_every_name_that_a_room_offers_is_there(module):
    found = importlib.import_module(module)
    for name in getattr(found, "__all__", ()):
        assert hasattr(found, name)


EXTRAS = (
    "datasets",
    "transformers",
    "PIL",
    "pyarrow",
    "sklearn",
    "plotly",
    "jinja2",
    "statsmodels",
    "tensorboard",
    "pandas",
)

BLOCKED = f"""
import sys
from importlib.machinery import PathFinder

class WithoutExtras:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.partition(".")[0] in {EXTRAS!r} else PathFinder.find_spec(name, path, target)

sys.meta_path = [WithoutExtras if finder is PathFinder else finder for finder in sys.meta_path]
"""


def run_python(text, *arguments):
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT / "tests",
    )


def test_the_core_needs_none_of_the_extras(tmp_path):
    script = f"""{BLOCKED}
import limbeck
for name in limbeck.__all__:
    getattr(limbeck, name)
from tiny import specification, splits
run = limbeck.distill(specification(data=splits, epochs=1), sys.argv[1])
assert limbeck.load_student(run) is not None
"""
    done = run_python(script, tmp_path / "run")
    assert done.returncode == 0, done.stderr


def test_the_command_lines_help_does_not_wait_for_torch():
    target = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]["limbeck"]
    module, _, function = target.partition(":")
    script = f"""
import sys
sys.argv = ["limbeck", "--help"]
import {module}
try:
    status = {module}.{function}()
except SystemExit as error:
    status = error.code
assert not status, status
heavy = {{"torch", "numpy", "accelerate", "transformers"}} & set(sys.modules)
assert not heavy, heavy
"""
    done = run_python(script)
    assert done.returncode == 0, done.stderr
    assert "distill" in done.stdout
