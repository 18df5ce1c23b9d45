"""A command that is killed or stopped at any moment leaves its old or its new state."""

import signal

import pytest

from tests.robustness.forkserver import ForkServer
from tests.robustness.signals import Signals, stepped

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def signals(tmp_path_factory):
    with ForkServer() as server:
        yield Signals(tmp_path_factory.mktemp("signals"), server)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_at_any_moment(signals, number):
    outcomes = list(stepped(signals, ["sweep", "replace"], number, 3))
    assert any(outcome.reached for outcome in outcomes)
    assert not [outcome for outcome in outcomes if outcome.problems]
