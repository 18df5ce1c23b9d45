"""Trial compiles in child processes: their outcomes, and what compiler errors mean."""

import os
import sys

import openvino as ov
import pytest

from ovtool.compile_check import compiling
from ovtool.compile_check.compiling import LocalCompiler, Outcome, explain, read_outcome
from tests.compile_check.graphs import with_segments
from tests.helpers.graphs import convolutional

COMPILED = """\
[INFO] 10:00 [vpux] Estimated inference latency: 322 us
@version 2026.4.1
@compile_s 1.25
@execution_devices NPU
"""


@pytest.fixture
def outcome(tmp_path):
    """The outcome of a program by its output."""

    def read(output, exit_code=0, timeout_s=20.0, blob_bytes=None):
        log, blob = tmp_path / "log", tmp_path / "blob"
        log.write_text(output)
        if blob_bytes is not None:
            blob.write_bytes(b"x" * blob_bytes)
        result = read_outcome(log, blob, exit_code, timeout_s)
        assert not blob.exists()
        return result

    return read


def test_result_lines_are_read(outcome):
    result = outcome(COMPILED, blob_bytes=100)
    assert result == Outcome(None, "", 100, 1.25, pytest.approx(0.322), "NPU", "2026.4.1")
    assert result.compiled


def test_batch_that_the_plugin_splits_is_recorded(outcome):
    split = "[NPUPlugin] The model was reshaped to batch size 1 on the plugin side.\n"
    assert outcome(split + COMPILED).of_one_sample
    assert not outcome(COMPILED).of_one_sample


def test_missing_estimate_is_none(outcome):
    assert outcome(COMPILED.replace("Estimated", "Some")).estimate_ms is None


def test_errors_in_the_log_of_a_success_are_ignored(outcome):
    assert outcome("[ERROR] something odd\n" + COMPILED).compiled


def test_rejection_has_the_error_line_and_not_the_log(outcome):
    result = outcome("[ERROR] log\n@error a | b\n", exit_code=5)
    assert (result.failure, result.error) == ("rejected", "a | b")


def test_blob_without_success_is_a_failure(outcome):
    assert outcome(COMPILED, exit_code=6, blob_bytes=3).failure == "died"


def test_death_has_the_exit_code_and_the_last_line(outcome):
    result = outcome("one\nabout to die\n", exit_code=-6)
    assert result.failure == "died"
    for value in ("-6", "about to die"):
        assert value in result.error


def test_timeout_has_the_limit(outcome):
    result = outcome(COMPILED, exit_code=None, timeout_s=3.0)
    assert result.failure == "timeout"
    assert "3 s" in result.error


@pytest.fixture
def xml(tmp_path):
    ov.save_model(convolutional(batch=1), tmp_path / "model.xml")
    return tmp_path / "model.xml"


@pytest.mark.slow
def test_cpu_compiles_for_real(xml):
    with LocalCompiler("CPU") as compiler:
        result = compiler.compile(xml, {})
    assert result.compiled, result.error
    assert result.execution_devices == "CPU"
    assert result.blob_bytes > 1000
    assert result.compile_s > 0
    assert result.estimate_ms is None
    assert result.version == ov.get_version()


@pytest.mark.slow
def test_cpu_rejects_for_real(xml):
    result = LocalCompiler("CPU").compile(xml, {"NUM_STREAMS": "many"})
    assert result.failure == "rejected"
    assert "many" in result.error
    assert "\n" not in result.error


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "failure"),
    [("import sys; sys.exit('broken')", "died"), ("import time; time.sleep(600)", "timeout")],
)
def test_worker_that_fails_is_an_outcome(xml, monkeypatch, program, failure):
    monkeypatch.setattr(compiling, "_COMMAND", (sys.executable, "-c", program))
    result = LocalCompiler("CPU", timeout_s=2.0).compile(xml, {})
    assert result.failure == failure
    assert failure == "timeout" or "broken" in result.error


def test_estimate_and_split_batch_come_from_the_log(xml, monkeypatch):
    """The plugin prints them to stdout, from C++."""
    program = (
        "from ovtool.system import child_process\n"
        "class Worker:\n"
        "    def compile(self, request):\n"
        "        import ctypes\n"
        "        printf = ctypes.CDLL(None).printf\n"
        "        printf(b'Estimated inference latency: 2 ms, reshaped\\n')\n"
        "        printf(b'The model was reshaped to batch size 1 on the plugin side\\n')\n"
        "        return {'compile_s': 1.0, 'execution_devices': 'NPU'}\n"
        "child_process.serve(Worker)\n"
    )
    if sys.platform == "win32":
        pytest.skip("the C library has another name on Windows")
    monkeypatch.setattr(compiling, "_COMMAND", (sys.executable, "-c", program))
    result = LocalCompiler("NPU", timeout_s=20.0).compile(xml, {})
    assert (result.estimate_ms, result.of_one_sample) == (2.0, True)


@pytest.mark.parametrize(
    ("error", "explanation", "value", "operations"),
    [
        (
            "Exception from src/core.cpp:1: | Missing upper bound for one or more nodes.",
            "open-dimension",
            "--shape",
            True,
        ),
        (
            "Wrong value f32 for property key INFERENCE_PRECISION_HINT. Supported values: f16, i8",
            "precision",
            "--precision",
            False,
        ),
        (
            "VCL compiler loading failed, libopenvino_intel_npu_compiler_loader.so",
            "no-npu-compiler",
            compiling.INSTALL,
            False,
        ),
        ("Could not find an NPU device.", "no-npu", "driver", False),
        ("String attribute fill_mode is not supported", "attribute", "ovtool check", True),
        ("it is not supported", "unsupported", "HETERO:NPU,CPU", True),
        ("unheard of", "compiler-rejects", "HETERO:NPU,CPU", True),
    ],
)
def test_rejection_is_explained_with_a_remedy(error, explanation, value, operations):
    result = explain(Outcome("rejected", error))
    assert result.id == explanation
    assert value in result.remedy
    assert result.operations is operations


@pytest.mark.parametrize(
    ("failure", "explanation", "operations"),
    [("timeout", "compile-timeout", False), ("died", "compiler-died", True)],
)
def test_failure_of_the_compiler_itself_is_explained(failure, explanation, operations):
    result = explain(Outcome(failure, "it is not supported"))
    assert (result.id, result.operations) == (explanation, operations)


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux packages lack the compiler")
@pytest.mark.parametrize(
    ("compiler", "explanation"), [("PLUGIN", "no-npu-compiler"), ("DRIVER", "no-npu")]
)
def test_npu_plugin_without_compiler_or_driver_is_explained(tmp_path, compiler, explanation):
    if "NPU" in ov.Core().available_devices:
        pytest.skip("this machine has an NPU")
    xml = tmp_path / "model.xml"
    ov.save_model(with_segments(), xml)
    properties = {"NPU_PLATFORM": "4000", "NPU_COMPILER_TYPE": compiler}
    result = LocalCompiler("NPU").compile(xml, properties)
    assert explain(result).id == explanation, result.error
    assert os.environ.get("OV_NPU_LOG_LEVEL") is None
