"""Every reader stands up to damaged and hostile files, by a fixed seed."""

from pathlib import Path

import pytest

from tests.robustness.fuzz.run import check, fuzz
from tests.robustness.fuzz.targets import TARGETS, Target

CASES = 12
FOUND = sorted((Path(__file__).parent / "found").iterdir())
"""Files that a reader did not stand up to before; their names begin with that of the target."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_read_or_refused(name):
    *failures, tried = fuzz(name, 0, range(CASES))
    assert tried == CASES
    assert not [failure.key for failure in failures]


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_a_file_of_an_earlier_failure_is_read_or_refused(path, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    target = TARGETS[path.stem.rpartition("-")[0]]
    target.files(tmp_path)
    assert not check(target, tmp_path, path.read_bytes())


def test_a_failure_is_seen(tmp_path):
    """An error that is not of ovtool is a failure."""

    def read(folder):
        raise KeyError("x")

    target = Target(lambda _: None, "x", read)
    assert check(target, tmp_path, b"").startswith("KeyError at test_fuzz.py")
