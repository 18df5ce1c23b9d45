"""Texts as openvino 2026.4.1 prints them."""

import openvino as ov
import pytest

from ovtool.devices.plugin_errors import KNOWN_ERRORS, explain
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
ERRORS = {
    "no-opencl-loader": (NO_LOADER, "libOpenCL.so.1", "ocl-icd-libopencl1"),
    "no-gpu": (NO_DEVICE, "GPU", "intel-opencl-icd"),
    "open-dimension": ("Missing upper bound for one or more nodes.", "NPU", "--shape NAME=SHAPE"),
    "precision": (PRECISION, "f32, only f16, i8", "--precision"),
    "attribute": ("String attribute fill_mode is not supported", "fill_mode", "ovtool check"),
    "no-npu-compiler": (NO_COMPILER, "NPU", "intel-driver-compiler-npu"),
    "no-npu": (NO_NPU, "NPU", "ovtool devices --why"),
    "no-plugin": (
        'Device with "XPU" name is not registered in the OpenVINO Runtime',
        "OpenVINO",
        "pip install",
    ),
    "library": (LIBRARY, "libfoo.so.2", "libfoo.so.2"),
}


@pytest.mark.parametrize("error_id", ERRORS)
def test_known_error_is_explained_on_one_line_with_a_remedy(error_id):
    text, value, remedy = ERRORS[error_id]
    explanation = explain(text)
    assert explanation.id == error_id
    assert value in explanation.meaning
    assert remedy in explanation.remedy
    assert "\n" not in explanation.line
    assert "{" not in explanation.line


def test_each_known_error_has_a_test():
    assert [known.id for known in KNOWN_ERRORS] == sorted(
        ERRORS, key=[known.id for known in KNOWN_ERRORS].index
    )


def test_unknown_error_is_not_explained():
    assert explain("Exception from src/a.cpp:1:\nCheck 'x' failed at src/b.cpp:2:\nodd\n") is None


def provoke(device, properties=None, prop=None):
    core, model = ov.Core(), fully_connected()
    model.reshape([1, 64])

    def call():
        if prop is not None:
            return core.get_property(device, prop)
        return core.compile_model(model, device, properties or {})

    with pytest.raises(RuntimeError) as caught:
        call()
    return str(caught.value)


def list_devices(device):
    try:
        return ov.Core().get_property(device, "AVAILABLE_DEVICES")
    except RuntimeError:
        return None


@pytest.mark.skipif(list_devices("GPU") is not None, reason="an OpenCL loader is installed")
def test_gpu_plugin_without_a_loader():
    assert explain(provoke("GPU", prop="AVAILABLE_DEVICES")).id == "no-opencl-loader"


@pytest.mark.skipif(list_devices("GPU") != [], reason="no OpenCL loader, or a GPU is available")
def test_gpu_plugin_without_a_device():
    assert explain(provoke("GPU", prop="FULL_DEVICE_NAME")).id == "no-gpu"


@pytest.mark.skipif(list_devices("NPU") != [], reason="an NPU, or no NPU plugin")
@pytest.mark.parametrize(
    ("properties", "error_id"),
    [
        ({"NPU_PLATFORM": "4000"}, "no-npu-compiler"),
        ({"NPU_COMPILER_TYPE": "DRIVER"}, "no-npu"),
    ],
)
def test_npu_plugin_without_compiler_and_device(properties, error_id):
    assert explain(provoke("NPU", properties)).id == error_id


def test_unknown_device():
    assert explain(provoke("XPU")).id == "no-plugin"
