"""A command whose output is taken away ends with one error, and creates no half output."""

import pytest

from tests.robustness.forkserver import ForkServer
from tests.robustness.removal import Remover, stepped

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("whole", [False, True])
def test_the_output_is_taken_away_at_any_moment(tmp_path, whole):
    with ForkServer() as server:
        outcomes = list(stepped(Remover(tmp_path, server, whole), ["sweep"], 2))
    assert any(outcome.reached for outcome in outcomes)
    assert not [outcome for outcome in outcomes if outcome.problems]
