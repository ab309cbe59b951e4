"""Every example in a docstring of the store runs."""

import doctest
import pkgutil
from importlib import import_module

import pytest

import limbeck.targets

MODULES = [
    f"limbeck.targets.{module.name}" for module in pkgutil.iter_modules(limbeck.targets.__path__) if not module.ispkg
]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    assert doctest.testmod(import_module(module)).failed == 0


def test_exported_names_are_sorted_and_exist():
    assert limbeck.targets.__all__ == sorted(limbeck.targets.__all__)
    assert all(hasattr(limbeck.targets, name) for name in limbeck.targets.__all__)
