"""Every reader stands up to damaged and hostile files, by a fixed seed."""

import random
import re
from pathlib import Path

import pytest

from ovtool.core.errors import InputError, OvtoolError
from ovtool.core.sweep_folder import JOURNAL, RESULTS, SweepFolder
from ovtool.core.variant import Variant
from ovtool.results.sweep_rows import load_sweep_rows
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


@pytest.mark.slow
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("variant-record", lambda folder: Variant.load(folder / "v")),
        ("variant-graph", lambda folder: Variant.load(folder / "v").verify()),
        ("variant-weights", lambda folder: Variant.load(folder / "v").verify()),
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


def test_a_flipped_bit_in_a_line_of_the_journal_is_an_error_with_its_number(tmp_path):
    TARGETS["journal"].files(tmp_path)
    journal = tmp_path / "s" / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    assert len(lines) > 1
    for index, line in enumerate(lines):
        digit = re.search(rb'"latencies_ms": \[\D*(\d)', line) or re.search(rb"\d", line)
        damaged = line[: digit.end() - 1] + bytes([line[digit.end() - 1] ^ 1]) + line[digit.end() :]
        journal.write_bytes(b"".join([*lines[:index], damaged, *lines[index + 1 :]]))
        with pytest.raises(InputError, match=rf"{JOURNAL}, line {index + 1}\b"):
            read_sweep(tmp_path)


@pytest.mark.slow
def test_a_flipped_bit_in_the_rows_never_gives_other_figures(tmp_path):
    """The rows are read from the journal again."""
    TARGETS["rows"].files(tmp_path)
    results, rng = tmp_path / "s" / RESULTS, random.Random(0)
    valid = results.read_bytes()
    expected = load_sweep_rows(tmp_path / "s").rows.combine_chunks()
    for place in rng.sample(range(len(valid)), 25):
        damaged = bytearray(valid)
        damaged[place] ^= 1 << rng.randrange(8)
        results.write_bytes(damaged)
        assert load_sweep_rows(tmp_path / "s").rows.equals(expected)


def test_a_failure_is_seen(tmp_path):
    """An error that is not of ovtool is a failure."""

    def read(folder):
        raise KeyError("x")

    target = Target(lambda _: None, "x", read)
    assert check(target, tmp_path, b"").startswith("KeyError at test_fuzz.py")
