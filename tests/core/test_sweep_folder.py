import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.core.measurement import Measurement
from ovtool.core.sweep_folder import JOURNAL, Environment, SweepFolder, SweepPlan
from ovtool.core.trial import Trial
from tests.core.test_measurement import measurements


def row(batch, reason="too long"):
    return Measurement(Trial("v", "v", "CPU", batch), "e", "failed", reason=reason)


def batches(sweep):
    return [m.trial.batch for m in sweep.measurements()]


@pytest.fixture
def sweep(tmp_path):
    made = SweepFolder(tmp_path)
    made.append([row(1), row(2)])
    return made


@given(st.lists(st.lists(measurements, max_size=3), max_size=3))
@settings(max_examples=25)
def test_what_was_appended_is_read_in_order(tmp_path_factory, groups):
    sweep = SweepFolder(tmp_path_factory.mktemp("sweep"))
    for group in groups:
        sweep.append(group)
    assert list(sweep.measurements()) == [one for group in groups for one in group]


def test_no_journal_is_no_measurement(tmp_path):
    assert batches(SweepFolder(tmp_path)) == []


def test_a_line_torn_at_any_byte_is_left_out_and_then_written_over(tmp_path):
    """As a crash leaves it; long lines, so that the search for the last line end takes steps."""
    sweep, journal = SweepFolder(tmp_path), tmp_path / JOURNAL
    sweep.append([row(1)])
    first = journal.stat().st_size
    sweep.append([row(2, reason="long " * 40_000)])
    whole = journal.read_bytes()
    for length in (0, 1, first - 1, first, first + 1, first + 70_000, len(whole) - 1):
        journal.write_bytes(whole[:length])
        kept = [1] if length >= first else []
        assert batches(sweep) == kept
        sweep.append([row(3)])
        assert batches(sweep) == [*kept, 3]


@pytest.mark.parametrize("damage", [b"{}", b"", b"not json", b"\xff\xfe\x00"])
def test_a_damaged_line_is_named_with_its_file_and_number(sweep, damage):
    journal = sweep.path / JOURNAL
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([lines[0], damage, *lines[1:]]))
    with pytest.raises(InputError, match=r"journal.jsonl, line 2: not a measurement") as caught:
        batches(sweep)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


def test_an_unknown_figure_is_refused_before_anything_is_written(sweep):
    before = (sweep.path / JOURNAL).read_bytes()
    nan = Measurement(row(3).trial, "e", "ok", figures={"latency_p50_ms": float("nan")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        sweep.append([row(4), nan])
    assert (sweep.path / JOURNAL).read_bytes() == before


def test_a_disk_that_is_full_at_the_flush_keeps_the_finished_lines(sweep, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InputError, match="the disk is full"):
            sweep.append([row(3), row(4)])
    assert batches(sweep) == [1, 2]
    sweep.append([row(5)])
    assert batches(sweep) == [1, 2, 5]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of a file's size")
@pytest.mark.parametrize("length", [3_000, 300_000])
def test_a_write_that_the_disk_cuts_short_keeps_the_finished_lines(sweep, length):
    """The system takes two thirds of the line and refuses the rest, as a full disk does."""
    before = (sweep.path / JOURNAL).read_bytes()
    program = f"""
        import pathlib, resource, signal
        from ovtool.core.errors import InputError
        from ovtool.core.sweep_folder import SweepFolder
        from tests.core.test_sweep_folder import row

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limit = {len(before) + length * 2 // 3}
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            SweepFolder(pathlib.Path({str(sweep.path)!r})).append([row(3, "x" * {length})])
        except InputError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert "too large" in done.stdout
    assert (sweep.path / JOURNAL).read_bytes() == before


def test_plan_and_environment_come_back(tmp_path):
    sweep = SweepFolder(tmp_path)
    plan = SweepPlan(
        name="p", variants={}, trials=(Trial("v", "v", "CPU", 1, shapes=(("x", (1,)),)),)
    )
    environment = Environment(id="e", machine="m", facts={"cpu": "x"}, unknown={"clock": "why"})
    sweep.write_plan(plan)
    sweep.write_environment(environment)
    assert SweepFolder.open(tmp_path).plan == plan
    assert sweep.environment == environment
    assert sorted(p.name for p in tmp_path.iterdir()) == ["environment.json", "plan.json"]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "is empty"),
        (b"{", "plan.json: content: "),
        (b"\xff\x00", "plan.json: "),
        (b"[1]", "plan.json: "),
        (b'{"name": "p", "variants": {}, "trials": [], "extra": 1}', "plan.json: extra: "),
        (b'{"name": "p", "variants": {}, "trials": [{"variant": 1}]}', "plan.json: trials.0"),
        (b'{"schema_version": 2, "name": "p", "variants": {}, "trials": []}', "schema_version"),
    ],
)
def test_a_damaged_plan_is_one_clear_line(tmp_path, content, why):
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=why) as caught:
        _ = SweepFolder.open(tmp_path).plan
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=60))
def test_no_bytes_make_more_than_an_input_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "plan.json").write_bytes(content)
    with pytest.raises(InputError):
        _ = SweepFolder(folder).plan
    (folder / JOURNAL).write_bytes(content + b"\n")
    with pytest.raises(InputError):
        batches(SweepFolder(folder))


def test_a_folder_that_is_no_sweep_says_so(tmp_path):
    with pytest.raises(InputError, match=r"plan\.json"):
        SweepFolder.open(tmp_path)
    with pytest.raises(InputError, match="sweep folder not found"):
        SweepFolder.open(tmp_path / "none")
