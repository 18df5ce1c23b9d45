import sys

import openvino as ov
import pytest

from ovtool.devices import discovery
from ovtool.devices.discovery import Device, discover, resolve
from ovtool.errors import InputError

CPU = Device("CPU", available=True)
NO_GPU = Device("GPU", available=False, why_not="no OpenCL loader")
NO_NPU = Device("NPU", available=False, why_not="no driver")
GPUS = [Device("GPU.0", available=True), Device("GPU.1", available=True)]
ALONE = [CPU, NO_GPU, NO_NPU]
FULL = [CPU, *GPUS, Device("NPU", available=True)]

LOAD = (
    "Exception from src/inference/src/cpp/core.cpp:268:\n"
    'Cannot load library "/somewhere/libopenvino_intel_{}_plugin.so": '
    "{}: cannot open shared object file: No such file or directory\n"
)


@pytest.fixture(scope="module")
def found():
    return {device.name: device for device in discover()}


def test_this_machines_processor_is_there(found):
    cpu = found["CPU"]
    assert cpu.available
    assert cpu.full_name == ov.Core().get_property("CPU", "FULL_DEVICE_NAME")
    assert "FP32" in cpu.capabilities
    assert cpu.plugin.startswith(ov.get_version().split("-")[0])
    assert cpu.properties["default_precision"] in {"f32", "bf16", "f16"}
    assert isinstance(cpu.properties["streams"], list)
    assert cpu.why_not == ""


@pytest.mark.parametrize("kind", ["CPU", "GPU", "NPU"])
def test_every_kind_is_there_or_says_why_not_in_one_line(found, kind):
    devices = [device for name, device in found.items() if name.partition(".")[0] == kind]
    assert devices
    for device in devices:
        assert device.available != bool(device.why_not)
        assert "\n" not in device.why_not
        assert not device.available or device.full_name
        assert set(device.to_json()) >= {"name", "available", "why_not"}


def test_what_is_available_is_what_openvino_says(found):
    available = {name.partition(".")[0] for name, device in found.items() if device.available}
    assert available == {d.partition(".")[0] for d in ov.Core().available_devices}


@pytest.mark.parametrize(
    ("asked", "devices", "there", "missing"),
    [
        (["CPU"], ALONE, ["CPU"], {}),
        (["CPU", "CPU"], ALONE, ["CPU"], {}),
        (["GPU", "CPU"], ALONE, ["CPU"], {"GPU": "no OpenCL loader"}),
        (["GPU.0"], ALONE, [], {"GPU.0": "no OpenCL loader"}),
        (["NPU"], ALONE, [], {"NPU": "no driver"}),
        (["GPU"], FULL, ["GPU.0"], {}),
        (["GPU", "GPU.0"], FULL, ["GPU.0"], {}),
        (["GPU.1", "NPU"], FULL, ["GPU.1", "NPU"], {}),
        (["GPU.2"], FULL[:2], [], {"GPU.2": "there is no GPU.2 here (there is CPU, GPU.0)"}),
        (["AUTO", "MULTI:CPU,GPU"], ALONE, ["AUTO", "MULTI:CPU,GPU"], {}),
        ([], ALONE, [], {}),
    ],
)  # fmt: skip
def test_devices_asked_for_are_there_or_missing_with_the_reason(asked, devices, there, missing):
    assert resolve(asked, devices) == (there, missing)


@pytest.mark.parametrize("name", ["XPU", "cpu", "", "CPUs", "GPU0", ".", ":CPU"])
def test_a_misspelt_device_is_wrong_use_with_a_suggestion(name):
    with pytest.raises(InputError, match=f"unknown device {name!r}") as caught:
        resolve([name], FULL)
    assert "CPU" in caught.value.hint or "did you mean" in caught.value.hint


def test_xpu_suggests_a_device_that_exists():
    with pytest.raises(InputError) as caught:
        resolve(["XPU"], FULL)
    assert caught.value.hint in {f"did you mean {kind}?" for kind in ("CPU", "GPU", "NPU")}


@pytest.mark.parametrize(
    ("kind", "said", "why"),
    [
        (
            "GPU",
            LOAD.format("gpu", "libOpenCL.so.1"),
            "no OpenCL loader (libOpenCL.so.1 is not installed)",
        ),
        (
            "GPU",
            LOAD.format("gpu", "libfoo.so.2"),
            "its plugin does not load: libfoo.so.2: cannot open shared object file:",
        ),
        ("GPU", "", "the OpenCL loader finds no Intel GPU"),
        (
            "GPU",
            "[GPU] Can't get FULL_DEVICE_NAME property as no supported devices found",
            "its plugin says: [GPU] Can't get FULL_DEVICE_NAME property as no supported devices",
        ),
        ("NPU", "", "the plugin finds no NPU"),
        (
            "NPU",
            "Exception from src/core.cpp:1:\nCould not find an NPU device.\n\n",
            "its plugin says: Could not find an NPU device.",
        ),
        (
            "NPU",
            LOAD.format("npu", "libze_loader.so.1"),
            "its plugin does not load: libze_loader.so.1: cannot open shared object file:",
        ),
        ("CPU", "", "the plugin finds none"),
        ("CPU", "no such instruction", "its plugin says: no such instruction"),
    ],
)
def test_what_a_plugin_says_becomes_a_reason(tmp_path, kind, said, why):
    reason = discovery._reason(kind, said, tmp_path)
    assert reason.startswith(why)
    assert "\n" not in reason


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has device nodes")
@pytest.mark.parametrize(
    ("kind", "node"), [("GPU", "dev/dri/renderD128"), ("NPU", "dev/accel/accel0")]
)
def test_a_missing_device_says_whether_the_kernel_has_it(tmp_path, kind, node):
    assert "no hardware, no kernel driver" in discovery._reason(kind, "", tmp_path)
    (tmp_path / node).parent.mkdir(parents=True)
    assert "no hardware, no kernel driver" in discovery._reason(kind, "", tmp_path)
    (tmp_path / node).touch()
    assert f"/{node} is there: the user-space driver" in discovery._reason(kind, "", tmp_path)


PLAYED = Device("GPU.0", available=True, full_name="Emulated Intel Xe-LP (OpenCL on CPU)")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("CPU", False),
        ("GPU", True),
        ("GPU.0", True),
        ("GPU.1", False),
        ("NPU", False),
        ("AUTO", True),
        ("MULTI", True),
        ("AUTO:GPU,CPU", True),
        ("MULTI:GPU.0", True),
        ("HETERO:GPU,CPU", True),
        ("BATCH:GPU(4)", True),
        ("AUTO:CPU", False),
        ("BATCH:CPU(4)", False),
        ("AUTO:GPU.1,CPU", False),
        ("AUTO:-CPU", True),
        ("AUTO:-GPU.0", False),
        ("AUTO:-GPU", False),
    ],
)
def test_an_emulated_device_marks_what_may_run_on_it(name, expected):
    there = [CPU, PLAYED, Device("GPU.1", available=True, full_name="Intel Arc")]
    assert discovery.emulated(name, there) is expected


def test_nothing_is_emulated_where_no_name_says_so():
    assert PLAYED.to_json()["emulated"]
    assert not any(device.to_json()["emulated"] for device in FULL)
    assert not any(discovery.emulated(name, FULL) for name in ("AUTO", "GPU", "AUTO:-CPU", "CPU"))
