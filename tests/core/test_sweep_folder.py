import contextlib
import errno
import os
import re
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
    folder = SweepFolder(tmp_path)
    folder.append([row(1), row(2)])
    return folder


@pytest.mark.slow
@given(st.lists(st.lists(measurements, max_size=3), max_size=3))
@settings(max_examples=25)
def test_appended_measurements_are_read_in_order(tmp_path_factory, groups):
    sweep = SweepFolder(tmp_path_factory.mktemp("sweep"))
    for group in groups:
        sweep.append(group)
    assert list(sweep.measurements()) == [m for group in groups for m in group]


def test_a_missing_journal_has_no_measurements(tmp_path):
    assert batches(SweepFolder(tmp_path)) == []


def test_an_incomplete_line_is_skipped_and_then_overwritten(tmp_path):
    """Long lines, so that the search for the last line end takes several steps."""
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
def test_a_damaged_line_is_reported_with_file_and_number(sweep, damage):
    journal = sweep.path / JOURNAL
    lines = journal.read_bytes().split(b"\n")
    journal.write_bytes(b"\n".join([lines[0], damage, *lines[1:]]))
    with pytest.raises(InputError, match=r"journal.jsonl, line 2") as caught:
        batches(sweep)
    assert "\n" not in str(caught.value)
    assert caught.value.hint


@pytest.mark.slow
@given(data=st.data())
@settings(max_examples=200)
def test_a_flipped_bit_is_never_another_measurement(tmp_path_factory, data):
    sweep = SweepFolder(tmp_path_factory.mktemp("sweep"))
    written = [row(1), row(2, "0.5 of 15"), row(3)]
    sweep.append(written)
    content = bytearray((sweep.path / JOURNAL).read_bytes())
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    content[bit // 8] ^= 1 << bit % 8
    (sweep.path / JOURNAL).write_bytes(content)
    read = []
    with contextlib.suppress(InputError):
        read.extend(sweep.measurements())
    assert all(m in written for m in read)


def test_a_nan_figure_is_rejected_before_writing(sweep):
    before = (sweep.path / JOURNAL).read_bytes()
    nan = Measurement(row(3).trial, "e", "ok", figures={"latency_p50_ms": float("nan")})
    with pytest.raises(ValueError, match="JSON"):
        sweep.append([row(4), nan])
    assert (sweep.path / JOURNAL).read_bytes() == before


def test_a_full_disk_at_the_flush_keeps_finished_lines(sweep, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(InputError, match=JOURNAL):
            sweep.append([row(3), row(4)])
    assert batches(sweep) == [1, 2]
    sweep.append([row(5)])
    assert batches(sweep) == [1, 2, 5]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no limit of the file size")
@pytest.mark.parametrize("length", [3_000, 300_000])
def test_a_partial_write_keeps_finished_lines(sweep, length):
    """The limit of the file size allows two thirds of the line."""
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
    assert JOURNAL in done.stdout
    assert (sweep.path / JOURNAL).read_bytes() == before


def test_plan_and_environment_are_read_back(tmp_path):
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
    ("content", "value"),
    [
        (b"", "plan.json"),
        (b"{", "plan.json: content: "),
        (b"\xff\x00", "plan.json: "),
        (b"[1]", "plan.json: "),
        (b'{"name": "p", "variants": {}, "trials": [], "extra": 1}', "plan.json: extra: "),
        (b'{"name": "p", "variants": {}, "trials": [{"variant": 1}]}', "plan.json: trials.0"),
        (b'{"schema_version": 2, "name": "p", "variants": {}, "trials": []}', "schema_version"),
    ],
)
def test_a_damaged_plan_gives_an_error_of_one_line(tmp_path, content, value):
    (tmp_path / "plan.json").write_bytes(content)
    with pytest.raises(InputError, match=value) as caught:
        _ = SweepFolder.open(tmp_path).plan
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=60))
def test_any_bytes_give_an_input_error(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "plan.json").write_bytes(content)
    with pytest.raises(InputError):
        _ = SweepFolder(folder).plan
    (folder / JOURNAL).write_bytes(content + b"\n")
    with pytest.raises(InputError):
        batches(SweepFolder(folder))


def test_other_folders_are_rejected(tmp_path):
    with pytest.raises(InputError, match=r"plan\.json"):
        SweepFolder.open(tmp_path)
    with pytest.raises(InputError, match=r"none$"):
        SweepFolder.open(tmp_path / "none")


@pytest.mark.parametrize("name", ["plan.json", JOURNAL, "environment.json", "results.parquet"])
def test_files_of_others_are_no_sweep(tmp_path, name):
    (tmp_path / name).write_text('{"my": "own"}')
    with pytest.raises(InputError, match=re.escape(name)):
        SweepFolder.create(tmp_path)
    assert (tmp_path / name).read_text() == '{"my": "own"}'


def test_a_new_folder_and_a_sweep_can_be_swept_into(tmp_path):
    assert SweepFolder.create(tmp_path / "new").path == tmp_path / "new"
    (tmp_path / "model").mkdir()  # a conversion of a sweep that was stopped before its plan
    sweep = SweepFolder.create(tmp_path)
    sweep.write_plan(SweepPlan(name="s", variants={}, trials=()))
    sweep.append([row(1)])
    assert batches(SweepFolder.create(tmp_path)) == [1]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_journal_that_is_a_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / JOURNAL)
    folder = SweepFolder(tmp_path)
    with pytest.raises(InputError, match="not a file"):
        next(folder.measurements())
    with pytest.raises(InputError, match="not a file"):
        folder.append([])


def test_the_folder_of_a_recipe_is_refused_with_its_sweep(tmp_path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "plan.json").touch()
    with pytest.raises(InputError) as caught:
        SweepFolder.open(tmp_path)
    assert str(tmp_path / "sweep") in caught.value.hint
