"""Every example in a docstring of the imports runs, and the room asks for no extra."""

import doctest
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import limbeck.targets.imports

MODULES = [
    f"limbeck.targets.imports.{module.name}" for module in pkgutil.iter_modules(limbeck.targets.imports.__path__)
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    assert doctest.testmod(import_module(module)).failed == 0


def test_importing_the_room_imports_no_extra():
    program = (
        "import limbeck.targets.imports.open, sys; print(sorted({'pyarrow', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
