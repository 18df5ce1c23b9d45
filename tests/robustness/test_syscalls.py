"""A command whose system call fails ends with a line, and leaves its old or its new state."""

import pytest

from tests.robustness import attack, syscalls

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(syscalls.available()), reason=syscalls.available()),
]


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    with syscalls.injector(tmp_path_factory.mktemp("syscalls")) as made:
        yield made


@pytest.mark.parametrize(
    ("name", "kind", "place"),
    [
        ("replace", "rename", 1),
        ("compress", "fsync", 2),
        ("sweep", "truncate", 1),
        ("sweep", "lock", 1),
        ("compare", "mkdir", 1),
    ],
)
def test_a_failing_call_leaves_the_old_or_the_new_state(calls, name, kind, place):
    outcome = calls.attack(name, kind, syscalls.KINDS[kind][0], place)
    assert outcome.reached
    assert not outcome.problems, outcome


@pytest.mark.parametrize(("name", "kind"), [("replace", "rename"), ("sweep", "fsync")])
def test_a_kill_leaves_the_old_or_the_new_state(calls, name, kind):
    outcome = calls.attack(name, kind, syscalls.KILL, 1)
    assert outcome.reached
    assert not outcome.problems, outcome


def test_problems_are_seen(calls):
    """A command that is killed from outside is no success."""
    outcome = calls.ground.attack("choose", "kill", lambda child: child.kill() or True)
    assert outcome.problems == ("exit -9",)
    assert attack.summary([outcome]).split()[-2:] == ["1", "1"]
