"""Planted causes against measured times; ``make bench`` runs it on an idle machine."""

import pytest

from ovtool import api
from ovtool.profiling.causes import UNEXPLAINED
from tests.helpers import graphs
from tests.helpers.slow_int8 import PLANTED


@pytest.mark.benchmark
@pytest.mark.parametrize("cause", PLANTED)
def test_the_planted_cause_is_the_first_of_the_layers(cause, tmp_path):
    before, after = PLANTED[cause]
    a, b = graphs.save(tmp_path / "a", before()), graphs.save(tmp_path / "b", after())
    result = api.why(a, b)
    # The overhead of a request can be longer than layers this small.
    of_layers = [found for found in result.causes if found.id != UNEXPLAINED]
    assert of_layers[0].id == cause, result.causes
