"""After a loss of power, a sweep has every acknowledged trial, and a variant is old or new."""

import pytest

from tests.robustness import inputs, powerloss
from tests.robustness.disk import Disk
from tests.robustness.forkserver import ForkServer

needs_strace = pytest.mark.skipif(bool(powerloss.available()), reason=powerloss.available())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    folder = tmp_path_factory.mktemp("powerloss")
    source = inputs.build(folder / "inputs")
    with ForkServer() as server:
        names = ("sweep", "convert", "replace")
        return source, {n: powerloss.record(server, source, n, folder / n) for n in names}


@needs_strace
@pytest.mark.slow
@pytest.mark.parametrize(("name", "step"), [("sweep", 8), ("convert", 1), ("replace", 1)])
def test_every_state_after_a_loss_of_power_is_valid(recorded, name, step):
    source, commands = recorded
    tried, bad = powerloss.find_invalid(commands[name], source, step)
    assert tried > 10
    assert not bad


def test_what_was_not_flushed_may_be_lost(tmp_path):
    (tmp_path / "old").write_bytes(b"old")
    disk = Disk(tmp_path)
    node = disk.create("new")
    node.data += b"new!"
    disk.rename("new", "old")
    states = list(disk.after_power_loss())
    assert {"old": b"old"} in states, "no change happened"
    assert {"old": b""} in states, "the names changed, the content is missing"
    assert {"old": b"ne"} in states, "the content is torn"
    disk.sync(node)
    disk.sync(disk.root)
    assert list(disk.after_power_loss()) == 3 * [{"old": b"new!"}]
