"""Verdicts of measurements with real disturbances; ``make bench`` runs it."""

import contextlib
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from ovtool.benchmark.engine import measure_group
from ovtool.benchmark.process import ProcessRunner
from ovtool.core.sweep_spec import MeasurementSettings
from tests.benchmarks.conftest import busy_processes, job_of

GROUP = Path("/sys/fs/cgroup/cpu/ovtool-bench")
V2 = Path("/sys/fs/cgroup/ovtool-bench")


def measured(variant, prepare=None, on_progress=None):
    runner = ProcessRunner()
    job = job_of(variant, precision="f32")
    runner.prepare([job])
    ((worker,),) = runner._ready.values()
    pid = worker.pid
    if prepare:
        prepare(pid)
    settings = MeasurementSettings(starts=False, max_seconds=6, target_pct=3)
    (row,) = measure_group(
        [job],
        runner,
        settings,
        "bench",
        on_progress=lambda step: on_progress(pid, step) if on_progress else None,
    )
    assert row.status == "ok", row.reason
    return row


def report_verdict(name, row):
    figures = row.figures
    shown = ", ".join(
        f"{key} {figures[key]:.3g}"
        for key in ("others_cpu_pct", "cpu_wait_pct", "quota_wait_pct", "drift_pct")
        if key in figures
    )
    notes = "; ".join(
        f"{n.id}: {n.evidence}"
        for n in row.notes
        if n.id.startswith(("disturbed", "throughput-not-stable"))
    )
    quiet = f"{figures['quiet_windows']:.0f} of {figures['windows']:.0f} windows quiet"
    print(f"verdict, {name}: {row.verdict} ({quiet}; {shown}) {notes}")


@pytest.mark.benchmark
def test_quiet_machine(variants):
    row = measured(variants["fp32"])
    report_verdict("quiet", row)
    assert row.verdict in ("stable", "unsteady"), "the speed of the machine may drift"
    assert row.figures["quiet_windows"] > 0.8 * row.figures["windows"]


@pytest.mark.benchmark
def test_busy_process(variants):
    with busy_processes(busy_s=0, count=1):
        row = measured(variants["fp32"])
    report_verdict("one busy process", row)
    assert row.verdict == "contended"


@contextlib.contextmanager
def half_a_core():
    folder = GROUP if GROUP.parent.is_dir() else V2
    try:
        folder.mkdir()
        if folder == GROUP:
            (folder / "cpu.cfs_quota_us").write_text("50000")
        else:
            (folder / "cpu.max").write_text("50000 100000")
    except OSError as error:
        pytest.skip(f"no permission to create a control group: {error}")
    try:
        yield folder
    finally:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                folder.rmdir()
                break
            time.sleep(0.1)


@pytest.mark.benchmark
def test_quota_of_half_a_core(variants):
    with half_a_core() as folder:
        row = measured(variants["fp32"], lambda pid: (folder / "cgroup.procs").write_text(str(pid)))
    report_verdict("a control group of half a core", row)
    assert row.verdict == "throttled"
    assert row.figures["quota_cpus"] == 0.5


@pytest.mark.benchmark
def test_stopped_process(variants):
    def on_progress(pid, step):
        if step.stage == "round 3":
            threading.Timer(0.1, os.kill, (pid, signal.SIGSTOP)).start()
            threading.Timer(1.1, os.kill, (pid, signal.SIGCONT)).start()

    row = measured(variants["fp32"], on_progress=on_progress)
    report_verdict("stopped for a second", row)
    assert row.verdict == "unsteady"
    assert "disturbed-paused" in {note.id for note in row.notes}
