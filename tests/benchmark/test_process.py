"""Processes that die, hang or talk nonsense: each costs one trial, with a reason."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from ovtool.benchmark import process
from ovtool.benchmark.engine import MeasurementSettings, measure_group
from ovtool.benchmark.process import ProcessRunner
from ovtool.benchmark.session import TrialFailedError
from ovtool.benchmark.worker_protocol import executed_precision
from ovtool.system.host import Unknown
from tests.benchmark.conftest import children
from tests.benchmark.scripted import jobs

OPENED = {
    "compile_ms": 1.0,
    "first_inference_ms": 1.0,
    "warm_up_s": 0.3,
    "steady": True,
    "usable_cpus": 2,
    "quota_cpus": None,
    "precision": "f32",
    "layers": None,
    "flops": 1000,
    "streams": 1,
    "requests": 1,
    "threads": 1,
    "pinned": 1,
    "loaded_from_cache": False,
    "execution_devices": ["CPU"],
}
WINDOW = {"seconds": 0.1, "inferences": 10, "latency_mean_ms": 10.0, "latency_max_ms": 10.0}
ROUND = {
    "windows": [WINDOW],
    "latencies_ms": [[10.0] * 10],
    "stretches": [[0.1, 10, 0.1, 0.0]],
    "peak_rss_mib": 1.0,
    "rss_growth_mib": 0.5,
}
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
pytestmark = pytest.mark.usefixtures("no_process_left")


@pytest.fixture
def worker(monkeypatch):
    """Replaces the worker by a program; ``answer(...)`` in it reads a command and answers it.

    It ends when it is told to close.
    """

    def use(program, timeout_s=20.0):
        start = (
            "import json, os, signal, sys, time\n"
            "def answer(value):\n"
            "    command = json.loads(sys.stdin.readline())\n"
            "    if command['do'] == 'close':\n"
            "        sys.exit()\n"
            "    print(json.dumps(value), flush=True)\n"
            "    return command\n"
            f"opened, measured = {({'ok': OPENED}, {'ok': ROUND})!r}\n"
            "print(json.dumps({'ok': {}}), flush=True)\n"
        )
        code = start + textwrap.dedent(program)
        monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", code))
        return ProcessRunner(timeout_s=timeout_s)

    return use


@pytest.fixture
def job(tmp_path):
    return jobs(tmp_path, "a")[0]


DEATHS = [
    pytest.param("import ctypes; ctypes.string_at(0)", "SIGSEGV", marks=posix),
    pytest.param("os.kill(os.getpid(), signal.SIGABRT)", "SIGABRT", marks=posix),
    pytest.param("os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL", marks=posix),
    ("sys.exit(3)", "exit code 3$"),
    ("print('a\\nb\\n\\nc\\nd', file=sys.stderr); sys.exit(3)", r"exit code 3: c \| d$"),
    ("raise RuntimeError('no driver')", r"exit code 1: .*RuntimeError: no driver$"),
    ("os._exit(0)", "exit code 0$"),
]  # fmt: skip


@pytest.mark.parametrize(("end", "said"), DEATHS)
def test_one_that_dies_while_it_compiles_says_how(worker, job, end, said):
    with pytest.raises(TrialFailedError, match=rf"its process died \(open\): {said}") as caught:
        worker(end).open(job)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("end", "said"), DEATHS)
def test_one_that_dies_while_it_measures_says_how(worker, job, end, said):
    session = worker(f"answer(opened); sys.stdin.readline()\n{end}").open(job)
    with (
        contextlib.closing(session),
        pytest.raises(TrialFailedError, match=rf"its process died \(measure\): {said}"),
    ):
        session.measure(0.1)


@pytest.mark.parametrize(
    ("field", "value"), [("steady", None), ("layers", 3), ("compile_ms", "soon"), ("threads", [])]
)
def test_an_answer_of_another_form_is_nonsense(worker, job, field, value):
    told = OPENED | {field: value}
    if value is None:
        del told["first_inference_ms"]
    with pytest.raises(TrialFailedError, match=r"answered garbage \(open\)"):
        worker(f"answer({{'ok': {told!r}}}); time.sleep(600)").open(job)


@pytest.mark.parametrize(
    "change", [{"windows": [{}]}, {"stretches": [[1]]}, {"latencies_ms": 3}, {"peak_rss_mib": 0}]
)
def test_a_round_of_another_form_is_nonsense(worker, job, change):
    told = {k: v for k, v in (ROUND | change).items() if v != 0}
    session = worker(f"answer(opened); answer({{'ok': {told!r}}}); time.sleep(600)").open(job)
    with (
        contextlib.closing(session),
        pytest.raises(TrialFailedError, match=r"answered garbage \(measure\)"),
    ):
        session.measure(0.1)


@posix
@pytest.mark.parametrize(
    ("kills", "said"),
    [
        ((3, 4), r"SIGKILL \(the kernel ended it: out of memory\)$"),
        ((3, 3), "SIGKILL$"),
        ((Unknown("no"), 3), r"SIGKILL \(out of memory\?\)$"),
    ],
)
def test_one_that_the_kernel_ended_for_memory_is_told_from_another(
    worker, job, monkeypatch, kills, said
):
    counted = iter(kills)
    monkeypatch.setattr(process.Host, "oom_kills", lambda _: next(counted))
    with pytest.raises(TrialFailedError, match=said):
        worker("os.kill(os.getpid(), signal.SIGKILL)").open(job)


def test_processes_are_prepared_side_by_side_and_those_not_used_are_ended(worker, job):
    runner = worker("answer(opened); answer(measured); answer(None)")
    runner.prepare(3)
    started = children()
    assert len(started) == 3
    session = runner.open(job)
    with contextlib.closing(session):
        assert session.measure(0.1).windows[0].inferences == 10
        assert children() <= started, "one of them was taken"
    runner.prepare(2)
    runner.close()
    assert not children() & started


def test_one_that_cannot_even_start_says_why(monkeypatch, job):
    monkeypatch.setattr(process, "_COMMAND", (sys.executable, "-c", "import nothing_like_it"))
    runner = ProcessRunner(timeout_s=20)
    runner.prepare(1)
    with pytest.raises(TrialFailedError, match=r"died \(start\).*No module named"):
        runner.open(job)


@pytest.mark.parametrize(("end", "said"), DEATHS)
def test_one_that_dies_while_it_profiles_says_how(worker, job, end, said):
    session = worker(f"answer(opened); sys.stdin.readline()\n{end}").open(job)
    with (
        contextlib.closing(session),
        pytest.raises(TrialFailedError, match=rf"its process died \(profile\): {said}"),
    ):
        session.profile(0.1)


def test_one_that_hangs_is_ended_after_its_time(worker, job):
    with pytest.raises(TrialFailedError, match=r"no answer within 0.5 s \(open\)"):
        worker("time.sleep(600)", timeout_s=0.5).open(job)


@pytest.mark.slow
def test_one_that_hangs_while_it_measures_is_ended_after_its_time(worker, job):
    session = worker("answer(opened); time.sleep(600)", timeout_s=5).open(job)
    with (
        contextlib.closing(session),
        pytest.raises(TrialFailedError, match=r"no answer within 5 s \(measure\)"),
    ):
        session.measure(0.1)


def test_one_that_closes_its_output_and_hangs_is_ended(worker, job):
    with pytest.raises(TrialFailedError, match=r"closed its output and hung \(open\)"):
        worker("os.close(1); time.sleep(600)").open(job)


@pytest.mark.parametrize("text", ["nonsense", "[1]", "null", '{"ok": 3}', "{}", '"error"', ""])
def test_one_that_talks_nonsense_is_ended(worker, job, text):
    with pytest.raises(TrialFailedError, match=r"answered garbage \(open\)"):
        worker(f"print({text!r}, flush=True); time.sleep(600)").open(job)


def test_what_a_plugin_raises_is_told_without_the_places_in_its_source(worker, job):
    said = (
        "RuntimeError: Exception from src/inference/src/core.cpp:1:\n"
        "Exception from src/plugins/gpu.cpp:2:\nCheck 'x' failed at gpu.cpp:3:\nno memory left\n\n"
    )
    with pytest.raises(TrialFailedError, match=r"no memory left$") as caught:
        worker(f"answer({{'error': {said!r}}}); answer(None)").open(job)
    assert "src/plugins" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_that_will_not_end_is_ended(worker, job):
    session = worker("answer(opened); time.sleep(600)").open(job)
    session.close()
    session.close()


def test_an_interrupt_while_it_compiles_leaves_no_process(worker, job, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    runner = worker("answer(None)")
    monkeypatch.setattr(process._Process, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        runner.open(job)


def test_the_others_of_a_group_go_on_when_one_dies(worker, tmp_path):
    runner = worker(
        """
        xml = answer(opened)["xml"]
        for _ in range(3 if "bad" in xml else 99):
            answer(measured)
        """
    )
    group = jobs(tmp_path, "good", "bad", "fine")
    good, bad, fine = measure_group(group, runner, MeasurementSettings(min_rounds=5), "env")
    assert (good.status, bad.status, fine.status) == ("ok", "failed", "ok")
    assert bad.reason.startswith("its process died (measure): exit code 0")
    assert len(good.rounds) == len(fine.rounds) == 5


@posix
def test_a_real_one_that_is_killed_while_it_measures(opened, dense):
    session = opened(dense)
    threading.Timer(0.3, os.kill, (session._process.pid, signal.SIGKILL)).start()
    with pytest.raises(TrialFailedError, match=r"its process died \(measure\): SIGKILL"):
        session.measure(60)
    session.close()


@posix
def test_a_real_one_ends_when_its_parent_is_killed(dense):
    """SIGKILL leaves no time to tidy up: the worker sees that its input closed."""
    program = f"""
        from ovtool.benchmark.jobs import build_job
        from ovtool.benchmark.process import ProcessRunner
        from ovtool.core.trial import Trial
        from ovtool.core.variant import Variant

        variant = Variant.load({str(dense.folder)!r})
        trial = Trial(variant.id, variant.name, "CPU", 1)
        session = ProcessRunner().open(build_job(trial, variant, {{}}))
        print(session._process.pid, flush=True)
        session.measure(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    worker = psutil.Process(int(parent.stdout.readline()))
    assert "ovtool.benchmark.worker" in worker.cmdline()
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until = time.monotonic() + 20
    while alive(worker) and time.monotonic() < until:
        time.sleep(0.05)
    assert not alive(worker)


def alive(found):
    """Whether a process runs; one that ended and that nobody waited for does not."""
    try:
        return found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@posix
def test_the_terminals_interrupt_does_not_reach_it(worker, job):
    """Ctrl-C goes to the whole foreground group; what it means is the sweep's to say."""
    session = worker("answer(opened); answer(measured); answer(None)").open(job)
    with contextlib.closing(session):
        assert os.getpgid(session._process.pid) != os.getpgid(0)
        assert session.measure(0.1).windows[0].inferences == 10


@pytest.mark.parametrize(
    ("hint", "shares", "named"),
    [
        ("bf16", {"bf16": 1.0}, "bf16"),
        ("f32", {"f32": 0.99, "i8": 0.01}, "i8+f32"),
        ("f16", {"i8": 1.0}, "i8+f16"),
        ("f16", {}, "f16"),
        ("f16", None, "f16"),
        (None, {"i8": 1.0}, None),
        (None, None, None),
    ],
)
def test_executed_precision_names_int8_and_what_the_rest_runs_in(hint, shares, named):
    assert executed_precision(hint, shares) == named


def test_a_device_that_keeps_things_to_itself_is_noted(worker, job):
    told = OPENED | {"threads": None, "flops": None, "precision": None}
    session = worker(f"answer({{'ok': {told!r}}}); answer(None)").open(job)
    with contextlib.closing(session):
        notes = {note.id: note.message for note in session.opened.notes}
        assert "threads" not in session.opened.figures
        assert not [n for n in session.opened.figures if "flops" in n]
        assert session.opened.ran_on == "CPU"
    assert set(notes) == {"no-runtime-graph", "no-flops"}


@pytest.mark.parametrize(
    ("changes", "precision", "said"),
    [
        ({"execution_devices": ["GPU.0"]}, "default", "it ran on GPU.0: that is no figure of CPU"),
        ({"precision": "f32"}, "bf16", "asked for bf16, but the device would run in f32"),
    ],
)
@pytest.mark.usefixtures("no_process_left")
def test_what_took_the_place_of_what_was_asked_is_a_failure(worker, job, changes, precision, said):
    asked = replace(job, trial=replace(job.trial, precision=precision))
    with pytest.raises(TrialFailedError, match=said):
        worker(f"answer({{'ok': {OPENED | changes!r}}}); answer(None)").open(asked)


def test_a_known_error_of_a_plugin_is_what_it_means_and_what_to_do(worker, job):
    error = "RuntimeError: Exception from src/x.cpp:1:\nMissing upper bound for one or more nodes."
    with pytest.raises(TrialFailedError, match=r"takes no open dimension .*; fix every dimension"):
        worker(f"answer({{'error': {error!r}}})").open(job)


LAYERS = {
    "flops_share": {"i8": 0.75, "bf16": 0.25},
    "layer_share": {"i8": 0.5, "bf16": 0.5},
    "compute_layers": 10,
    "fallbacks": ["a", "b", "c", "d", "e"],
    "fallback_share": 0.25,
    "attributed": 1.0,
}


def opened_with(worker, job, layers, flops=8_000_000_000):
    told = OPENED | {"precision": "bf16", "layers": LAYERS | layers, "flops": flops}
    with contextlib.closing(worker(f"answer({{'ok': {told!r}}}); answer(None)").open(job)) as one:
        return one.opened, {note.id: note.evidence for note in one.opened.notes}


def test_the_arithmetic_is_of_a_sample_and_shared_out_by_precision(worker, job):
    opened, notes = opened_with(worker, job, {})
    assert job.trial.batch == 2
    assert opened.executed_precision == "i8+bf16"
    found = {name: value for name, value in opened.figures.items() if "flops" in name}
    assert found == {
        "gflops": 4.0,
        "flops_i8_pct": 75.0,
        "flops_bf16_pct": 25.0,
        "flops_f16_pct": 0.0,
        "flops_f32_pct": 0.0,
    }
    assert notes["executed-layers"] == "i8 75.0 %, bf16 25.0 % of FLOPs"
    assert notes["int8-fallback"] == "5 of 10 layers, 25.0 % of FLOPs: a, b, c, ..."
    assert "flops-unattributed" not in notes


def test_layers_without_known_flops_are_counted_and_no_share_is_zero(worker, job):
    nothing = {"flops_share": {}, "fallback_share": None, "attributed": 0.0}
    opened, notes = opened_with(worker, job, nothing)
    assert opened.executed_precision == "i8+bf16"
    assert [name for name in opened.figures if "flops" in name] == ["gflops"]
    assert notes["executed-layers"] == "i8 50.0 %, bf16 50.0 % of layers"
    assert notes["int8-fallback"] == "5 of 10 layers: a, b, c, ..."
    assert notes["flops-unattributed"] == "0 % of FLOPs mapped"
