"""Every reader stands up to damaged and hostile files, by a fixed seed."""

import pytest

from tests.robustness.fuzz.run import fuzz
from tests.robustness.fuzz.targets import TARGETS

CASES = 12


@pytest.mark.slow
@pytest.mark.parametrize("name", [t for t in TARGETS if not t.startswith("variant-")])
def test_a_damaged_file_is_read_or_refused(name):
    *failures, tried = fuzz(name, 0, range(CASES))
    assert tried == CASES
    assert not [failure.key for failure in failures]
