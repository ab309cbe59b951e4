import os
from pathlib import Path

import pytest

from limbeck.data.hub import hub


@pytest.fixture(scope="session")
def data_folder():
    """Where real datasets lie: LIMBECK_DATA, or shared/data beside the repository; not part of it."""
    beside = Path(__file__).parents[3] / "shared" / "data"
    folder = Path(os.environ.get("LIMBECK_DATA", beside))
    if not folder.is_dir():
        pytest.skip("the real datasets are absent: set LIMBECK_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def mnist(data_folder):
    """MNIST in memory, read once for all tests."""
    return hub(data_folder / "mnist")
