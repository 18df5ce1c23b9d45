"""Every reader stands up to damaged and hostile files, by a fixed seed."""

import random
from pathlib import Path

import pytest

from ovtool.core.errors import OvtoolError
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.variant import Variant
from ovtool.roofline import calibration
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


FLIPS = 150


def read_sweep(folder):
    sweep = SweepFolder.create(folder / "s")
    return sweep.plan, sweep.environment, list(sweep.measurements())


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("variant-record", lambda folder: Variant.load(folder / "v")),
        ("plan", read_sweep),
        ("environment", read_sweep),
        ("journal", read_sweep),
        ("calibration", lambda _: calibration.read("e", "CPU")),
    ],
)
def test_a_flipped_bit_never_gives_other_figures(tmp_path, monkeypatch, name, read):
    """A line that a flip breaks is skipped or refused; no other value is read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    target = TARGETS[name]
    target.files(tmp_path)
    victim = tmp_path / target.victim
    valid, rng = victim.read_bytes(), random.Random(name)
    expected = repr(read(tmp_path))
    refused = 0
    for place in rng.sample(range(len(valid)), FLIPS):
        damaged = bytearray(valid)
        damaged[place] ^= 1 << rng.randrange(7)
        victim.write_bytes(damaged)
        try:
            assert repr(read(tmp_path)) == expected
        except OvtoolError:
            refused += 1
    assert refused > FLIPS / 2


def test_a_failure_is_seen(tmp_path):
    """An error that is not of ovtool is a failure."""

    def read(folder):
        raise KeyError("x")

    target = Target(lambda _: None, "x", read)
    assert check(target, tmp_path, b"").startswith("KeyError at test_fuzz.py")
