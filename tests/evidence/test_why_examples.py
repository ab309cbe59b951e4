"""The examples in the docstrings of what explains a verdict."""

import doctest

import pytest

from limbeck.evidence import confusion, gradient_facts, gradient_variance, landscape


@pytest.mark.parametrize(
    "module", [confusion, gradient_facts, gradient_variance, landscape], ids=lambda module: module.__name__
)
def test_examples_run(module):
    found = doctest.testmod(module)
    assert found.attempted > 0
    assert found.failed == 0
