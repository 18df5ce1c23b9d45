"""Trial compiles of saved models; the compiler is scripted where it is not the processor's."""

import json

import openvino as ov
import pytest

from ovtool.compile_check import compile_check
from ovtool.compile_check.compile_check import CompileRequest, check_compiles, select_compiler
from ovtool.compile_check.compiling import LocalCompiler, Outcome
from ovtool.compile_check.npu import offline
from ovtool.core.errors import InputError, MissingDependencyError, MissingDeviceError
from ovtool.devices.discovery import Device
from tests.compile_check.graphs import with_segments

CPU = Device("CPU", available=True)
NO_NPU = Device("NPU", available=False, why_not="no driver")
LUNAR = Device("NPU", available=True, properties={"architecture": "4000"})


class Scripted:
    """A compiler of which each answer is a function of the model."""

    by = "a script"

    def __init__(self, answer):
        self.answer, self.models, self.told, self.open = answer, [], [], 0

    def compile(self, xml, properties):
        assert self.open == 1
        self.told.append(properties)
        self.models.append(ov.Core().read_model(xml))
        return self.answer(self.models[-1])

    def __enter__(self):
        self.open += 1
        return self

    def __exit__(self, *_):
        self.open -= 1


def good(_):
    return Outcome(True, "", 3 * 2**20, 1.5, 0.322, "NPU", "2026.4.1")


def no_segments(model):
    bad = any(op.get_type_name() == "SegmentMax" for op in model.get_ordered_ops())
    return Outcome(False, "String attribute fill_mode is not supported") if bad else good(model)


@pytest.fixture
def asked(tmp_path):
    def make(model=None, shape=(8, 16)):
        ov.save_model(model or with_segments(static=False), tmp_path / "m.xml")
        told = {"PERFORMANCE_HINT": "LATENCY"}
        return CompileRequest("m", tmp_path / "m.xml", (("x", shape),), "default", told)

    return make


def test_what_compiles_is_told_with_the_compilers_own_estimate(asked):
    compiler = Scripted(good)
    found = check_compiles(asked(), "NPU.4000", compiler)
    assert found.compiles
    assert (found.blob_mib, found.compile_s) == (3.0, 1.5)
    assert found.compiler_estimate_ms == 0.322
    assert (found.error, found.search) == ("", None)
    assert compiler.told == [{"PERFORMANCE_HINT": "LATENCY"}]
    assert compiler.open == 0
    assert json.loads(json.dumps(found.to_json()))["shapes"] == {"x": [8, 16]}


def test_the_model_that_is_compiled_is_static(asked):
    compiler = Scripted(good)
    check_compiles(asked(), "NPU.4000", compiler)
    (model,) = compiler.models
    assert list(model.inputs[0].get_partial_shape().to_shape()) == [8, 16]


def test_a_failure_names_the_operation_and_a_remedy(asked):
    found = check_compiles(asked(), "NPU.4000", Scripted(no_segments))
    assert not found.compiles
    assert "does not take an operation of the model" in found.error
    assert found.remedy
    assert found.said == "String attribute fill_mode is not supported"
    assert [s.name for s in found.search.suspects] == ["largest.0"]
    assert found.search.rest_compiles
    assert (found.blob_mib, found.compile_s, found.compiler_estimate_ms) == (None, None, None)


def test_no_operation_is_looked_for_where_the_error_is_not_about_one(asked):
    said = "Wrong value f32 for property key INFERENCE_PRECISION_HINT. Supported values: f16, i8"
    compiler = Scripted(lambda _: Outcome(False, said))
    found = check_compiles(asked(), "NPU.4000", compiler)
    assert found.search is None
    assert len(compiler.models) == 1
    assert "does not run in f32" in found.error


def test_a_compiler_is_left_whatever_happens(asked):
    def broken(_):
        raise KeyboardInterrupt

    compiler = Scripted(broken)
    with pytest.raises(KeyboardInterrupt):
        check_compiles(asked(), "NPU.4000", compiler)
    assert compiler.open == 0


def test_shapes_that_do_not_fit_are_wrong_input(asked):
    with pytest.raises(InputError, match="m does not take x=8x17"):
        check_compiles(asked(shape=(8, 17)), "CPU", Scripted(good))


@pytest.mark.parametrize(
    ("device", "devices", "local"),
    [("CPU", [CPU, NO_NPU], "CPU"), ("NPU", [CPU, LUNAR], "NPU"), ("NPU.4000", [LUNAR], "NPU")],
)
def test_a_device_that_is_here_compiles_itself(device, devices, local):
    found = select_compiler(device, devices)
    assert isinstance(found, LocalCompiler)
    assert (found.device, dict(found.always)) == (local, {})


def test_a_platform_that_is_not_here_is_compiled_for_offline(monkeypatch):
    monkeypatch.setattr(offline, "compiler", lambda platform, _: platform)
    assert select_compiler("NPU.3720", [CPU, NO_NPU]) == "3720"
    assert select_compiler("NPU.5010", [LUNAR]) == "5010"


def test_an_npu_that_is_not_here_says_that_a_platform_may_be_named():
    with pytest.raises(MissingDeviceError, match="no driver") as caught:
        select_compiler("NPU", [CPU, NO_NPU])
    assert "NPU.4000 (Lunar Lake)" in caught.value.hint


@pytest.mark.parametrize("device", ["AUTO:NPU,CPU", "HETERO:NPU,CPU", "BATCH:NPU", "AUTO"])
def test_a_virtual_device_is_no_evidence(device):
    with pytest.raises(InputError, match="may compile on another device"):
        select_compiler(device, [CPU, LUNAR])


@pytest.mark.parametrize("device", ["NPU.9999", "XPU", "NPU.40000"])
def test_a_name_of_nothing_is_wrong_input(device):
    with pytest.raises(InputError, match="unknown"):
        select_compiler(device, [CPU, NO_NPU])


def test_a_compiler_that_is_not_installed_says_how(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(offline, "native", lambda: None)
    with pytest.raises(MissingDependencyError, match="not installed") as caught:
        select_compiler("NPU.4000", [CPU, NO_NPU])
    assert caught.value.hint == "ovtool devices --install-npu-compiler"


def test_a_package_with_the_compiler_needs_no_wine(monkeypatch, tmp_path):
    monkeypatch.setattr(offline, "native", lambda: tmp_path / "compiler.dll")
    found = select_compiler("NPU.4000", [CPU, NO_NPU])
    assert isinstance(found, LocalCompiler)
    assert found.always == {"NPU_PLATFORM": "4000", "NPU_COMPILER_TYPE": "PLUGIN"}


def test_a_figure_that_was_not_measured_is_not_called_as_those_that_were():
    from ovtool.core.columns import FIGURES

    named = [n for n in compile_check.CompileCheck.__slots__ if "latency" in n or n in FIGURES]
    assert named == ["blob_mib"]
