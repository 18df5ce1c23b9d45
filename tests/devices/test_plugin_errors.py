"""Texts as openvino 2026.4.1 prints them."""

import openvino as ov
import pytest

from ovtool.devices import plugin_errors
from ovtool.devices.plugin_errors import KNOWN, explain
from tests.helpers.graphs import fully_connected

NO_LOADER = """Exception from src/inference/src/cpp/core.cpp:268:
Exception from src/inference/src/dev/core_impl.cpp:566:
Cannot load library "/x/openvino/libs/libopenvino_intel_gpu_plugin.so": libOpenCL.so.1: cannot open\
 shared object file: No such file or directory
"""
NO_DEVICE = """Exception from src/inference/src/dev/plugin.cpp:112:
Check '!m_device_map.empty()' failed at src/plugins/intel_gpu/src/plugin/plugin.cpp:559:
[GPU] Can't get FULL_DEVICE_NAME property as no supported devices found or an error happened during\
 devices query.
[GPU] Please check OpenVINO documentation for GPU drivers setup guide.
"""
NO_COMPILER = """Exception from src/plugins/intel_npu/src/compiler_adapter/src/x.cpp:54:
VCL compiler loading failed, aborting. Error: Exception from src/utils/src/vcl/vcl_api.cpp:22:
Cannot load library "/x/openvino/libs/libopenvino_intel_npu_compiler_loader.so": /x/openvino/libs/\
libopenvino_intel_npu_compiler_loader.so: cannot open shared object file: No such file or directory
"""
NO_NPU = """Exception from src/plugins/intel_npu/src/compiler_adapter/src/x.cpp:64:
Could not find an NPU device. The driver compiler requires a valid device to be present in the\
 system.
"""
PRECISION = """Wrong value f32 for property key INFERENCE_PRECISION_HINT. Supported values: f16, i8
"""
LIBRARY = """Cannot load library "/x/libopenvino_intel_npu_plugin.so": libfoo.so.2: cannot open\
 shared object file: No such file or directory
"""
OPERATION = (
    "the compiler does not take an operation of the model, one with the attribute fill_mode, and"
    " does not say which"
)
SAID = {
    "no OpenCL loader": (
        NO_LOADER,
        "no OpenCL loader: libOpenCL.so.1 is not installed",
        "ocl-icd-libopencl1",
    ),
    "a loader and no device": (
        NO_DEVICE,
        "the OpenCL loader finds no Intel GPU",
        "intel-opencl-icd",
    ),
    "open dimension": (
        "Missing upper bound for one or more nodes.",
        "the NPU's compiler takes no open dimension without an upper bound",
        "--shape NAME=SHAPE",
    ),
    "f32": (PRECISION, "the device does not run in f32, only in f16, i8", "--precision"),
    "an operation": (
        "String attribute fill_mode is not supported",
        OPERATION,
        "another device",
    ),
    "no compiler": (
        NO_COMPILER,
        "the NPU's compiler is not installed: this OpenVINO package brings none",
        "intel-driver-compiler-npu",
    ),
    "driver's compiler": (NO_NPU, "the NPU plugin finds no NPU", "ovtool devices --why"),
    "no such plugin": (
        'Device with "XPU" name is not registered in the OpenVINO Runtime',
        "OpenVINO has no such plugin here",
        "pip install",
    ),
    "another library": (
        LIBRARY,
        "its plugin does not load: libfoo.so.2 is not installed",
        "libfoo.so.2",
    ),
}


@pytest.mark.parametrize("text", SAID)
def test_what_a_plugin_says_becomes_one_line_with_a_remedy(text):
    said, meaning, remedy = SAID[text]
    found = explain(said)
    assert found.meaning == meaning
    assert remedy in found.remedy
    assert "\n" not in found.line
    assert "{" not in found.line


def test_each_known_text_is_tried_here():
    first = [next(k for k in KNOWN if explain(said).meaning.startswith(k.meaning.split("{")[0]))
             for said, _, _ in SAID.values()]  # fmt: skip
    assert set(first) == set(KNOWN)


def test_an_unknown_text_stays_as_it_is_in_one_line():
    said = "Exception from src/a.cpp:1:\nCheck 'x' failed at src/b.cpp:2:\nodd\nthing\n"
    assert explain(said) is None
    assert plugin_errors.readable(said) == "odd thing"


def provoked(device, properties=None, prop=None):
    core, model = ov.Core(), fully_connected()
    model.reshape([1, 64])

    def ask():
        if prop is not None:
            return core.get_property(device, prop)
        return core.compile_model(model, device, properties or {})

    with pytest.raises(RuntimeError) as caught:
        ask()
    return str(caught.value)


def here(device):
    try:
        return ov.Core().get_property(device, "AVAILABLE_DEVICES")
    except RuntimeError:
        return None


@pytest.mark.skipif(here("GPU") is not None, reason="an OpenCL loader is installed")
def test_the_gpu_plugin_without_a_loader():
    assert explain(provoked("GPU", prop="AVAILABLE_DEVICES")).meaning.startswith("no OpenCL loader")


@pytest.mark.skipif(here("GPU") != [], reason="no OpenCL loader, or a GPU is there")
def test_the_gpu_plugin_without_a_device():
    said = provoked("GPU", prop="FULL_DEVICE_NAME")
    assert explain(said).meaning == "the OpenCL loader finds no Intel GPU"


@pytest.mark.skipif(here("NPU") != [], reason="an NPU is there, or its plugin is not")
@pytest.mark.parametrize(
    ("properties", "meaning"),
    [
        ({"NPU_PLATFORM": "4000"}, "the NPU's compiler is not installed"),
        ({"NPU_COMPILER_TYPE": "DRIVER"}, "the NPU plugin finds no NPU"),
    ],
)
def test_the_npu_plugin_without_compiler_and_device(properties, meaning):
    assert explain(provoked("NPU", properties)).meaning.startswith(meaning)


def test_a_device_that_openvino_does_not_know():
    assert explain(provoked("XPU")).meaning == "OpenVINO has no such plugin here"
