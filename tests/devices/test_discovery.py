import re

import openvino as ov
import pytest

from ovtool.core.errors import InputError
from ovtool.devices import discovery
from ovtool.devices.diagnosis import find_cause
from ovtool.devices.discovery import Device, discover, discover_virtual, resolve
from ovtool.devices.hardware import HardwareInventory

CPU = Device("CPU", available=True)
NO_GPU = Device("GPU", available=False, unavailable_reason="no OpenCL loader")
NO_NPU = Device("NPU", available=False, unavailable_reason="no driver")
GPUS = [Device("GPU.0", available=True), Device("GPU.1", available=True)]
ALONE = [CPU, NO_GPU, NO_NPU]
FULL = [CPU, *GPUS, Device("NPU", available=True)]


@pytest.fixture(scope="module")
def discovered():
    return {device.name: device for device in discover()}


def test_cpu_of_this_machine_is_available(discovered):
    cpu = discovered["CPU"]
    assert cpu.available
    assert cpu.full_name == ov.Core().get_property("CPU", "FULL_DEVICE_NAME")
    assert "FP32" in cpu.capabilities
    assert cpu.plugin.startswith(ov.get_version().split("-")[0])
    assert cpu.properties["default_precision"] in {"f32", "bf16", "f16"}
    assert isinstance(cpu.properties["streams"], list)
    assert cpu.properties["memory_bytes"] > 2**20
    assert cpu.kind == "CPU"
    assert cpu.diagnosis == ()
    assert cpu.unavailable_reason == ""


@pytest.mark.parametrize("kind", ["CPU", "GPU", "NPU"])
def test_every_kind_is_available_or_has_a_one_line_reason(discovered, kind):
    devices = [device for name, device in discovered.items() if name.partition(".")[0] == kind]
    assert devices
    for device in devices:
        assert device.available != bool(device.unavailable_reason)
        assert "\n" not in device.unavailable_reason
        assert not device.available or device.full_name
        assert set(device.to_json()) >= {"name", "available", "unavailable_reason"}


def test_available_devices_agree_with_openvino(discovered):
    available = {name.partition(".")[0] for name, device in discovered.items() if device.available}
    assert available == {d.partition(".")[0] for d in ov.Core().available_devices}


@pytest.mark.parametrize(
    ("requested", "devices", "available", "missing"),
    [
        (["CPU"], ALONE, ["CPU"], {}),
        (["CPU", "CPU"], ALONE, ["CPU"], {}),
        (["GPU", "CPU"], ALONE, ["CPU"], {"GPU": "no OpenCL loader"}),
        (["GPU.0"], ALONE, [], {"GPU.0": "no OpenCL loader"}),
        (["NPU"], ALONE, [], {"NPU": "no driver"}),
        (["GPU"], FULL, ["GPU.0"], {}),
        (["GPU", "GPU.0"], FULL, ["GPU.0"], {}),
        (["GPU.1", "NPU"], FULL, ["GPU.1", "NPU"], {}),
        (["GPU.2"], FULL[:2], [], {"GPU.2": "this machine has no GPU.2; available: CPU, GPU.0"}),
        (["AUTO", "MULTI:CPU"], ALONE, ["AUTO", "MULTI:CPU"], {}),
        (["AUTO:NPU,CPU"], ALONE, ["AUTO:NPU,CPU"], {}),
        (["AUTO:NPU"], ALONE, [], {"AUTO:NPU": "NPU: no driver"}),
        (["MULTI:CPU,GPU"], ALONE, [], {"MULTI:CPU,GPU": "GPU: no OpenCL loader"}),
        (["HETERO:GPU.1,CPU", "BATCH:NPU(4)"], FULL, ["HETERO:GPU.1,CPU", "BATCH:NPU(4)"], {}),
        ([], ALONE, [], {}),
    ],
)  # fmt: skip
def test_requested_devices_are_available_or_missing_with_a_reason(
    requested, devices, available, missing
):
    assert resolve(requested, devices) == (available, missing)


@pytest.mark.parametrize("name", ["cpu", " Cpu "])
def test_a_device_may_be_written_in_any_case(name):
    assert resolve([name, "CPU"], discover()) == (["CPU"], {})


@pytest.mark.parametrize("name", ["XPU", "", "CPUS", "GPU0", ".", ":CPU"])
def test_unknown_device_is_rejected_with_a_suggestion(name):
    with pytest.raises(InputError, match=re.escape(repr(name))) as caught:
        resolve([name], FULL)
    assert any(kind in caught.value.hint for kind in ("CPU", "GPU", "NPU"))


def test_suggestion_for_xpu_is_a_device():
    with pytest.raises(InputError) as caught:
        resolve(["XPU"], FULL)
    assert any(kind in caught.value.hint for kind in ("CPU", "GPU", "NPU"))


@pytest.mark.parametrize("name", ["AUTO", "MULTI", "HETERO", "BATCH"])
def test_virtual_devices_are_available(name):
    device = next(d for d in discover_virtual() if d.name == name)
    assert device.available
    assert device.kind == name
    assert device.to_json()["virtual"]
    assert device.full_name
    assert device.plugin.startswith(ov.get_version().split("-")[0])


def test_missing_device_has_a_diagnosis(discovered):
    for kind in ("GPU", "NPU"):
        for device in (d for d in discovered.values() if d.kind == kind and not d.available):
            assert device.diagnosis[-1].step == "plugin"
            assert device.unavailable_reason in {
                f.evidence for f in device.diagnosis if f.status != "ok"
            }


def test_diagnosis_uses_the_given_hardware(tree):
    nothing = HardwareInventory(
        root=tree({"sys/bus/pci/devices/x/class": "0x060000"}), system="linux"
    )
    for device in discover(nothing):
        if device.kind == "GPU" and not device.available:
            assert find_cause(device.diagnosis).step == "hardware"
            assert device.unavailable_reason == find_cause(device.diagnosis).evidence


EMULATED = Device("GPU.0", available=True, full_name="Emulated Intel Xe-LP (OpenCL on CPU)")


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
def test_virtual_device_may_be_emulated_by_its_members(name, expected, monkeypatch):
    devices = [CPU, EMULATED, Device("GPU.1", available=True, full_name="Intel Arc")]
    monkeypatch.setattr(discovery, "discover", lambda: devices)
    assert set(discovery.find_caveats([name])) == ({name} if expected else set())


def test_emulated_is_read_from_the_full_name(monkeypatch):
    json = EMULATED.to_json()
    assert (json["kind"], json["virtual"], json["emulated"]) == ("GPU", False, True)
    assert not any(device.to_json()["emulated"] for device in FULL)
    monkeypatch.setattr(discovery, "discover", lambda: FULL)
    assert not discovery.find_caveats(["AUTO", "GPU", "AUTO:-CPU", "CPU"])
