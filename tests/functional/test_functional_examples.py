"""Every public function has an example in its docstring, and every example runs."""

import doctest
import inspect
import pkgutil
from importlib import import_module

import pytest

from functional.cases import PUBLIC
from limbeck import functional

MODULES = [f"{functional.__name__}.{module.name}" for module in pkgutil.iter_modules(functional.__path__)]


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    assert doctest.testmod(import_module(module)).failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_has_an_example(name):
    assert doctest.DocTestParser().get_examples(inspect.getdoc(PUBLIC[name]))
