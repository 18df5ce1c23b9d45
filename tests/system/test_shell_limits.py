"""Limits of the shell and of containers that end a command before it starts."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ovtool.system import shell_limits

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux only")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("limit", "value", "option"),
    [
        ("RLIMIT_AS", 20 << 20, "-v"),
        ("RLIMIT_AS", 100 << 20, "-v"),
        ("RLIMIT_DATA", 15 << 20, "-d"),
        ("RLIMIT_NOFILE", 12, "-n"),
        ("RLIMIT_FSIZE", 0, "-f"),
    ],
)
def test_a_limit_of_the_shell_below_the_least_is_an_error(limit, value, option):
    """Python itself needs more than 12 MiB and 5 files."""
    number = getattr(resource, limit)
    ran = subprocess.run(
        [sys.executable, "-m", "ovtool", "methods"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        preexec_fn=lambda: resource.setrlimit(number, (value, value)),
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (2, "")
    error, hint = ran.stderr.splitlines()
    assert error.startswith("error: ")
    assert hint.endswith(f"ulimit {option}")


@pytest.mark.parametrize(("mask", "user", "starts"), [
    (0o777, 1000, False), (0o200, 1000, False), (0o077, 1000, True), (0o777, 0, True),
])  # fmt: skip
def test_a_umask_without_rights_for_the_owner_is_an_error(monkeypatch, mask, user, starts):
    monkeypatch.setattr(os, "geteuid", lambda: user)
    before = os.umask(mask)
    try:
        limit = shell_limits.tight_limit()
        after = os.umask(0)
    finally:
        os.umask(before)
    assert (limit is None) == starts
    assert after == mask


def test_without_threads_no_command_starts(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    assert shell_limits.tight_limit() is None
    monkeypatch.setattr("threading.Thread.start", refuse)
    _, hint = shell_limits.tight_limit()
    assert hint.endswith("ulimit -u")


NEEDED = 8 + 4 * len(os.sched_getaffinity(0))


@pytest.fixture
def limited(monkeypatch, tmp_path):
    """Sets the limit of processes of a user, who has 5 threads, and of a container."""

    def limit(user=resource.RLIM_INFINITY, container="max", uid=1000):
        group = tmp_path / "group"
        group.mkdir()
        (group / "pids.max").write_text(f"{container}\n")
        (group / "pids.current").write_text("7\n")
        (tmp_path / "cgroup").write_text("3:cpu:/other\n0::/group\n")

        def path(*parts):
            text = "/".join(parts).replace("/proc/self/cgroup", f"{tmp_path}/cgroup")
            return Path(text.replace("/sys/fs/cgroup//group", str(group)))

        limits = {resource.RLIMIT_NPROC: user}
        unlimited = resource.RLIM_INFINITY
        monkeypatch.setattr(
            resource, "getrlimit", lambda name: (limits.get(name, unlimited), unlimited)
        )
        monkeypatch.setattr(shell_limits, "Path", path)
        monkeypatch.setattr(shell_limits, "_count_threads_of_user", lambda: 5)
        monkeypatch.setattr(os, "getuid", lambda: uid)
        return shell_limits.tight_limit()

    return limit


@pytest.mark.parametrize(("settings", "option"), [
    ({"user": NEEDED + 4}, "ulimit -u"),
    ({"user": NEEDED + 5}, None),
    ({"user": NEEDED, "uid": 0}, None),
    ({"container": NEEDED + 6}, "--pids-limit)"),
    ({"container": NEEDED + 7}, None),
    ({}, None),
])  # fmt: skip
def test_few_free_threads_are_an_error(limited, settings, option):
    found = limited(**settings)
    if option is None:
        assert found is None
    else:
        assert found[1].endswith(option)
        assert str(NEEDED) in found[0]


def test_threads_of_the_user_are_counted(monkeypatch):
    scan, own = os.scandir, str(os.getpid())
    monkeypatch.setattr(os, "scandir", lambda path: [e for e in scan(path) if e.name == own])
    folder = Path("/proc/self/task")
    assert shell_limits._count_threads_of_user() == len(list(folder.iterdir()))
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert shell_limits._count_threads_of_user() == 0
