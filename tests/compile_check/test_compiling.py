"""Trial compiles in processes: what they answer, and what becomes of those that die or hang."""

import os
import sys
import time

import openvino as ov
import psutil
import pytest

from ovtool.compile_check import compiling
from ovtool.compile_check.compiling import INSTALL, LocalCompiler, condense, explain
from tests.compile_check.graphs import with_segments
from tests.helpers.graphs import convolutional


@pytest.fixture
def ran(tmp_path):
    """What is read of a program, given as Python code."""

    def run(code, timeout_s=20.0):
        log, blob = tmp_path / "log", tmp_path / "blob"
        code = f"import os, sys, time, pathlib\nblob = pathlib.Path({str(blob)!r})\n{code}"
        words = [sys.executable, "-u", "-c", code]
        ended = compiling.run_program(words, log, timeout_s=timeout_s, environment={"TOLD": "yes"})
        return compiling.read_outcome(log, blob, ended, timeout_s)

    return run


COMPILED = """
print("[INFO] 10:00 [vpux] Estimated inference latency: 322 us")
blob.write_bytes(b"x" * 100)
print("@version 2026.4.1")
print("@compile_s 1.25")
print("@execution_devices NPU")
"""


def test_an_answer_is_read(ran, tmp_path):
    found = ran(COMPILED)
    assert found.compiled
    assert found.blob_bytes == 100
    assert found.compile_s == 1.25
    assert found.estimate_ms == pytest.approx(0.322)
    assert (found.version, found.execution_devices) == ("2026.4.1", "NPU")
    assert not (tmp_path / "blob").exists()


def test_a_batch_that_the_plugin_splits_is_told(ran):
    split = 'print("[NPUPlugin] The model was reshaped to batch size 1 on the plugin side.")\n'
    assert ran(split + COMPILED).of_one_sample
    assert not ran(COMPILED).of_one_sample


def test_no_estimate_is_none(ran):
    assert ran(COMPILED.replace("Estimated", "Some")).estimate_ms is None


def test_errors_in_the_log_of_a_success_are_no_failure(ran):
    assert ran('print("[ERROR] something odd")' + COMPILED).compiled


def test_a_failure_is_what_it_says_and_not_what_was_logged(ran):
    found = ran('print("[ERROR] log")\nprint("@error a | b")\nsys.exit(5)')
    assert (found.compiled, found.error) == (False, "a | b")


def test_a_blob_without_success_is_no_success(ran):
    assert not ran(COMPILED + "sys.exit(6)").compiled


def test_a_death_is_told_with_the_last_line(ran):
    found = ran('print("about to die")\nos.abort()')
    assert not found.compiled
    assert found.error.startswith("the compiler died")
    assert "about to die" in found.error


@pytest.mark.slow
def test_what_takes_too_long_is_ended_with_what_it_started(ran):
    code = (
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print('@error', child.pid)\ntime.sleep(600)"
    )
    began = time.monotonic()
    found = ran(code, timeout_s=3.0)
    assert time.monotonic() - began < 60
    assert found.timed_out
    assert "did not end within 3 s" in found.error
    assert not [p for p in psutil.process_iter(["cmdline"]) if "time.sleep(600)" in str(p.info)]


def test_the_environment_is_added_to(ran):
    found = ran("print('@error', os.environ['TOLD'], 'PATH' in os.environ)\nsys.exit(1)")
    assert found.error == "yes True"


def test_the_processor_compiles_for_real(tmp_path):
    xml = tmp_path / "model.xml"
    ov.save_model(convolutional(batch=1), xml)
    with LocalCompiler("CPU") as compiler:
        found = compiler.compile(xml, {})
    assert found.compiled, found.error
    assert found.execution_devices == "CPU"
    assert found.blob_bytes > 1000
    assert found.compile_s > 0
    assert found.estimate_ms is None
    assert found.version == ov.get_version()


def test_the_processor_refuses_for_real(tmp_path):
    xml = tmp_path / "model.xml"
    ov.save_model(convolutional(batch=1), xml)
    found = LocalCompiler("CPU").compile(xml, {"NUM_STREAMS": "many"})
    assert not found.compiled
    assert "many" in found.error


@pytest.mark.parametrize(
    ("said", "meaning", "remedy", "operations"),
    [
        (
            "Exception from src/core.cpp:1: | Missing upper bound for one or more nodes.",
            "the NPU's compiler takes no open dimension without an upper bound",
            "--shape",
            True,
        ),
        (
            "Wrong value f32 for property key INFERENCE_PRECISION_HINT. Supported values: f16, i8",
            "the device does not run in f32, only in f16, i8",
            "--precision",
            False,
        ),
        (
            "VCL compiler loading failed, libopenvino_intel_npu_compiler_loader.so",
            "the NPU's compiler is not installed: this OpenVINO package brings none",
            INSTALL,
            False,
        ),
        (
            "Could not find an NPU device.",
            "the NPU plugin finds no NPU",
            "driver",
            False,
        ),
        (
            "String attribute fill_mode is not supported",
            (
                "the compiler does not take an operation of the model, one with the attribute "
                "fill_mode, and does not say which"
            ),
            "replace the operation",
            True,
        ),
        ("it did not end within 9 s", "the compile took too long and was ended", "batch", False),
        ("the compiler died (exit code -6)", "the compiler itself died", "report it", True),
        ("whatever", "the compiler rejects the model", "replace", True),
    ],
)
def test_what_compilers_say_becomes_one_clear_line_with_a_remedy(said, meaning, remedy, operations):
    found = explain(said)
    assert found.meaning == meaning
    assert remedy in found.remedy
    assert found.operations is operations


def test_what_was_said_is_one_line_without_places_in_the_source():
    said = "Exception from src/a.cpp:1: | Check 'x' failed at src/b.cpp:2: | it is wrong | "
    assert condense(said) == "it is wrong"
    assert condense("no 'A' : Exception from src\\npu\\a.hpp:1: | Wrong") == "no 'A' : Wrong"
    assert len(condense("x" * 1000)) == 300


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux packages lack the compiler")
def test_the_npus_plugin_without_a_compiler_or_a_driver_says_what_the_table_knows(tmp_path):
    """Provoked for real, where there is no NPU."""
    if "NPU" in ov.Core().available_devices:
        pytest.skip("there is an NPU here")
    xml = tmp_path / "model.xml"
    ov.save_model(with_segments(), xml)
    for kind, row in (("PLUGIN", "compiler is not installed"), ("DRIVER", "finds no NPU")):
        told = {"NPU_PLATFORM": "4000", "NPU_COMPILER_TYPE": kind}
        found = LocalCompiler("NPU").compile(xml, told)
        assert not found.compiled
        assert row in explain(found.error).meaning, found.error
        assert explain(found.error) is not compiling._OTHER
    assert os.environ.get("OV_NPU_LOG_LEVEL") is None
