"""What holds for every test."""

import os
from pathlib import Path

import pytest
import torch

from limbeck.data.hub import hub

# Sums of floats depend on how many threads share them, and tiny matrices are quickest on one. The processes that tests
# start inherit the choice.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def data_folder():
    """Where real datasets lie: LIMBECK_DATA, or shared/data beside the repository; not part of it."""
    beside = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("LIMBECK_DATA", beside))
    if not folder.is_dir():
        pytest.skip("the real datasets are absent: set LIMBECK_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def mnist(data_folder):
    """MNIST in memory, read once for all tests."""
    return hub(data_folder / "mnist")
