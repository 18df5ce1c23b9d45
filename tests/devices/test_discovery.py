import openvino as ov
import pytest

from ovtool.core.errors import InputError
from ovtool.devices import discovery
from ovtool.devices.discovery import Device, discover, resolve, virtual
from ovtool.devices.hardware import HardwareInventory

CPU = Device("CPU", available=True)
NO_GPU = Device("GPU", available=False, why_not="no OpenCL loader")
NO_NPU = Device("NPU", available=False, why_not="no driver")
GPUS = [Device("GPU.0", available=True), Device("GPU.1", available=True)]
ALONE = [CPU, NO_GPU, NO_NPU]
FULL = [CPU, *GPUS, Device("NPU", available=True)]


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
    assert cpu.properties["memory_bytes"] > 2**20
    assert cpu.kind == "CPU"
    assert cpu.findings == ()
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
        (["AUTO", "MULTI:CPU"], ALONE, ["AUTO", "MULTI:CPU"], {}),
        (["AUTO:NPU,CPU"], ALONE, ["AUTO:NPU,CPU"], {}),
        (["AUTO:NPU"], ALONE, [], {"AUTO:NPU": "NPU: no driver"}),
        (["MULTI:CPU,GPU"], ALONE, [], {"MULTI:CPU,GPU": "GPU: no OpenCL loader"}),
        (["HETERO:GPU.1,CPU", "BATCH:NPU(4)"], FULL, ["HETERO:GPU.1,CPU", "BATCH:NPU(4)"], {}),
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


@pytest.mark.parametrize("name", ["AUTO", "MULTI", "HETERO", "BATCH"])
def test_virtual_devices_are_there_where_their_plugins_load(name):
    device = next(d for d in virtual() if d.name == name)
    assert device.available
    assert device.kind == name
    assert device.to_json()["virtual"]
    assert device.full_name
    assert device.plugin.startswith(ov.get_version().split("-")[0])


def test_a_device_that_is_missing_says_what_was_looked_at(found):
    for kind in ("GPU", "NPU"):
        for device in (d for d in found.values() if d.kind == kind and not d.available):
            assert device.findings[-1].step == "plugin"
            assert device.why_not in {f.evidence for f in device.findings if f.status != "ok"}


def test_the_reason_is_looked_for_on_the_machine_that_was_given(tree):
    nothing = HardwareInventory(
        root=tree({"sys/bus/pci/devices/x/class": "0x060000"}), system="linux"
    )
    for device in discover(nothing):
        if device.kind == "GPU" and not device.available:
            assert device.why_not == "no Intel GPU on the PCI bus (devices looked at: 1)"


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
    told = PLAYED.to_json()
    assert (told["kind"], told["virtual"], told["emulated"]) == ("GPU", False, True)
    assert not any(device.to_json()["emulated"] for device in FULL)
    assert not any(discovery.emulated(name, FULL) for name in ("AUTO", "GPU", "AUTO:-CPU", "CPU"))
