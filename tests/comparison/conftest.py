"""The baseline sweep."""

import pytest

from tests.helpers.compared_sweeps import run


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return run(tmp_path_factory.mktemp("compare") / "a")
