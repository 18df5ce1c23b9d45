"""Trial compiles of saved models by a scripted compiler."""

import json

import openvino as ov
import pytest

from ovtool.benchmark.session import Job
from ovtool.compile_check import compile_check
from ovtool.compile_check.compile_check import check_compiles, select_compiler
from ovtool.compile_check.compiling import INSTALL, LocalCompiler, Outcome
from ovtool.compile_check.npu import offline
from ovtool.core.errors import InputError, MissingDependencyError, MissingDeviceError
from ovtool.core.trial import Trial
from ovtool.devices import plugin_errors
from ovtool.devices.discovery import Device
from tests.compile_check.graphs import with_segments

CPU = Device("CPU", available=True)
NO_NPU = Device("NPU", available=False, unavailable_reason="no driver")
LUNAR = Device("NPU", available=True, properties={"architecture": "4000"})
UNSUPPORTED = "String attribute fill_mode is not supported"


class Scripted:
    """A compiler with an outcome as a function of the model."""

    by = "a script"

    def __init__(self, outcome):
        self.outcome, self.models, self.properties, self.open = outcome, [], [], 0

    def compile(self, xml, properties):
        assert self.open == 1
        self.properties.append(properties)
        self.models.append(ov.Core().read_model(xml))
        return self.outcome(self.models[-1])

    def __enter__(self):
        self.open += 1
        return self

    def __exit__(self, *_):
        self.open -= 1


def good(_):
    return Outcome(None, "", 3 * 2**20, 1.5, 0.322, "NPU", "2026.4.1")


def no_segments(model):
    bad = any(op.get_type_name() == "SegmentMax" for op in model.get_ordered_ops())
    return Outcome("rejected", UNSUPPORTED) if bad else good(model)


@pytest.fixture
def job_of(tmp_path):
    def make(model=None, shape=(8, 16)):
        ov.save_model(model or with_segments(static=False), tmp_path / "m.xml")
        properties = {"PERFORMANCE_HINT": "LATENCY"}
        trial = Trial("id", "m", "NPU.4000", shape[0])
        return Job(trial, tmp_path / "m.xml", ("x",), (shape,), (shape,), (0,), properties)

    return make


def test_success_has_the_compilers_estimate(job_of):
    compiler = Scripted(good)
    result = check_compiles(job_of(), "NPU.4000", compiler)
    assert result.compiles
    assert (result.blob_mib, result.compile_s) == (3.0, 1.5)
    assert result.compiler_estimate_ms == 0.322
    assert (result.error, result.search) == ("", None)
    assert compiler.properties == [{"PERFORMANCE_HINT": "LATENCY"}]
    assert compiler.open == 0
    assert json.loads(json.dumps(result.to_json()))["shapes"] == {"x": [8, 16]}


def test_compiler_that_crashed_once_is_started_again(job_of):
    outcomes = [Outcome("died", "the compiler died (exit code 1)")]
    compiler = Scripted(lambda model: outcomes.pop() if outcomes else good(model))
    assert check_compiles(job_of(), "NPU.4000", compiler).compiles
    assert len(compiler.models) == 2


def test_compiled_model_has_fixed_shapes(job_of):
    compiler = Scripted(good)
    check_compiles(job_of(), "NPU.4000", compiler)
    (model,) = compiler.models
    assert list(model.inputs[0].get_partial_shape().to_shape()) == [8, 16]


def test_failure_has_a_suspect_and_a_remedy(job_of):
    result = check_compiles(job_of(), "NPU.4000", Scripted(no_segments))
    assert not result.compiles
    explanation = plugin_errors.explain(UNSUPPORTED)
    assert (result.error, result.remedy) == (explanation.meaning, explanation.remedy)
    assert result.compiler_error == UNSUPPORTED
    assert [s.name for s in result.search.suspects] == ["largest.0"]
    assert result.search.rest_compiles
    assert (result.blob_mib, result.compile_s, result.compiler_estimate_ms) == (None, None, None)


def test_no_search_for_an_error_that_concerns_no_operation(job_of):
    error = "Wrong value f32 for property key INFERENCE_PRECISION_HINT. Supported values: f16, i8"
    compiler = Scripted(lambda _: Outcome("rejected", error))
    result = check_compiles(job_of(), "NPU.4000", compiler)
    assert result.search is None
    assert len(compiler.models) == 1
    assert result.error == plugin_errors.explain(error).meaning


def test_compiler_context_is_left_after_an_exception(job_of):
    def broken(_):
        raise KeyboardInterrupt

    compiler = Scripted(broken)
    with pytest.raises(KeyboardInterrupt):
        check_compiles(job_of(), "NPU.4000", compiler)
    assert compiler.open == 0


def test_shapes_that_do_not_fit_are_rejected(job_of):
    with pytest.raises(InputError, match="x=8x17"):
        check_compiles(job_of(shape=(8, 17)), "CPU", Scripted(good))


@pytest.mark.parametrize(
    ("device", "devices", "local"),
    [("CPU", [CPU, NO_NPU], "CPU"), ("NPU", [CPU, LUNAR], "NPU"), ("NPU.4000", [LUNAR], "NPU")],
)
def test_available_device_compiles_itself(device, devices, local):
    result = select_compiler(device, devices)
    assert isinstance(result, LocalCompiler)
    assert (result.device, dict(result.always)) == (local, {})


def test_other_platform_is_compiled_for_offline(monkeypatch):
    monkeypatch.setattr(offline, "compiler", lambda platform, _: platform)
    assert select_compiler("NPU.3720", [CPU, NO_NPU]) == "3720"
    assert select_compiler("NPU.5010", [LUNAR]) == "5010"


def test_missing_npu_suggests_a_platform():
    with pytest.raises(MissingDeviceError, match="no driver") as caught:
        select_compiler("NPU", [CPU, NO_NPU])
    assert "NPU.4000 (Lunar Lake)" in caught.value.hint


@pytest.mark.parametrize("device", ["AUTO:NPU,CPU", "HETERO:NPU,CPU", "BATCH:NPU", "AUTO"])
def test_virtual_device_is_rejected(device):
    with pytest.raises(InputError, match=device):
        select_compiler(device, [CPU, LUNAR])


@pytest.mark.parametrize("device", ["NPU.9999", "XPU", "NPU.40000"])
def test_unknown_device_is_rejected(device):
    with pytest.raises(InputError, match=device.removeprefix("NPU.")):
        select_compiler(device, [CPU, NO_NPU])


def test_missing_offline_compiler_suggests_the_installation(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(offline, "find_native_library", lambda: None)
    with pytest.raises(MissingDependencyError, match=r"NPU\.4000") as caught:
        select_compiler("NPU.4000", [CPU, NO_NPU])
    assert caught.value.hint == INSTALL


def test_package_with_the_compiler_needs_no_wine(monkeypatch, tmp_path):
    monkeypatch.setattr(offline, "find_native_library", lambda: tmp_path / "compiler.dll")
    result = select_compiler("NPU.4000", [CPU, NO_NPU])
    assert isinstance(result, LocalCompiler)
    assert result.always == {"NPU_PLATFORM": "4000", "NPU_COMPILER_TYPE": "PLUGIN"}


def test_estimates_have_other_names_than_measured_figures():
    from ovtool.core.columns import FIGURES

    names = [n for n in compile_check.CompileCheck.__slots__ if "latency" in n or n in FIGURES]
    assert names == ["blob_mib"]
