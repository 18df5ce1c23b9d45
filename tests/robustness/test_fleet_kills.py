"""Sweeps of a fleet of processes while its processes are killed."""

import sys

import pytest

from tests.fleet.conftest import needs_dask
from tests.robustness.fleet_kills import KINDS, run_kills


@needs_dask
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.skipif(sys.platform == "win32", reason="kills processes")
def test_no_row_is_lost_or_repeated_when_each_kind_of_process_is_killed(tmp_path):
    kinds = set(KINDS) - {"link"}  # needs root
    outcome = run_kills(tmp_path, len(kinds), seed=0, namespaces=False)
    assert outcome.good, outcome.text
    assert dict(outcome.kills) == dict.fromkeys(kinds, 1)
    assert outcome.rows == 18 * outcome.sweeps
    assert outcome.resumed >= 1  # the client was killed
