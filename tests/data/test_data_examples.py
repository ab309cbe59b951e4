"""Every example in a docstring of this room runs, and the room itself asks for no extra."""

import doctest
import pkgutil
import subprocess
import sys
from importlib import import_module

import pytest

import limbeck.data

MODULES = [f"limbeck.data.{module.name}" for module in pkgutil.iter_modules(limbeck.data.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    assert doctest.testmod(import_module(module)).failed == 0


def test_importing_the_room_imports_no_extra():
    program = "import limbeck.data, sys; print(sorted({'datasets', 'PIL', 'pyarrow', 'sklearn'} & set(sys.modules)))"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_exported_names_are_sorted_and_exist():
    assert limbeck.data.__all__ == sorted(limbeck.data.__all__)
    assert all(hasattr(limbeck.data, name) for name in limbeck.data.__all__)
