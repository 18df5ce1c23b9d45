"""The diagnosis of fake machines, whose files are those of Linux."""

import sys
from pathlib import Path

import pytest

from ovtool.devices import plugin_errors
from ovtool.devices.diagnosis import diagnose, find_cause
from ovtool.devices.hardware import NPUS, HardwareInventory

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="creates symbolic links and groups")

ABSENT = "libx.so: cannot open shared object file: No such file or directory"
PCI = "sys/bus/pci/devices"
INTEL_GPU = {"vendor": "0x8086\n", "device": "0x7d55\n", "class": "0x030000\n"}
INTEL_NPU = {"vendor": "0x8086\n", "device": "0x7d1d\n", "class": "0x120000\n"}
OTHER_GPU = {"vendor": "0x10de\n", "device": "0x2684\n", "class": "0x030000\n"}
BRIDGE = {"vendor": "0x8086\n", "device": "0x0d57\n", "class": "0x060000\n"}
NODES = {"GPU": "dev/dri/renderD128", "NPU": "dev/accel/accel0"}
MODULES = {"GPU": "i915", "NPU": "intel_vpu"}


def pci(address, ids):
    return {f"{PCI}/{address}/{name}": value for name, value in ids.items()}


@pytest.fixture
def inventory(tree):
    """The hardware of a machine with a GPU and an NPU, from which a test removes components."""

    def make(pci_devices=(INTEL_GPU, INTEL_NPU), modules=("i915", "intel_vpu"), **changes):
        files = {}
        for index, ids in enumerate(pci_devices):
            files |= pci(f"0000:00:{index:02x}.0", ids)
        for name in modules:
            files[f"sys/module/{name}/refcnt"] = "1\n"
        for path in changes.pop("nodes", NODES.values()):
            files[path] = ""
        files |= changes.pop("files", {})
        files |= {"etc/OpenCL/vendors/intel.icd": "/usr/lib/intel-opencl/libigdrcl.so\n"}
        for path in changes.pop("without", ()):
            files.pop(path)
        missing = changes.pop("missing_libraries", ())
        root = tree(files)
        (root / "sys/module").mkdir(parents=True, exist_ok=True)
        defaults = {
            "root": root,
            "system": "linux",
            "load": lambda name: ABSENT if name in missing else None,
            "may_open": lambda _: True,
            "user": "ann",
        }
        return HardwareInventory(**defaults | changes)

    return make


def by_step(diagnosis):
    return {step.step: step for step in diagnosis}


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_plugin_is_the_cause_where_everything_else_is_present(inventory, kind):
    diagnosis = diagnose(kind, "", inventory())
    assert [step.status for step in diagnosis] == ["ok"] * (len(diagnosis) - 1) + ["missing"]
    assert find_cause(diagnosis).step == "plugin"
    assert kind in find_cause(diagnosis).evidence


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_missing_hardware_is_the_first_cause(inventory, kind):
    diagnosis = diagnose(kind, "", inventory([BRIDGE], modules=(), nodes=()))
    cause = find_cause(diagnosis)
    assert (cause, cause.step) == (diagnosis[0], "hardware")
    for value in (f"Intel {kind}", "1 devices"):
        assert value in cause.evidence
    assert "firmware" in cause.remedy
    assert "host" in cause.container_remedy


def test_display_controller_of_another_vendor_is_evidence(inventory):
    cause = find_cause(diagnose("GPU", "", inventory([OTHER_GPU])))
    assert (cause.step, cause.status) == ("hardware", "missing")
    assert "10de:2684 at 0000:00:00.0" in cause.evidence


def test_hardware_has_its_driver(inventory):
    hardware = inventory()
    driver = hardware.root / "sys/bus/pci/drivers/vfio-pci"
    driver.mkdir(parents=True)
    (hardware.root / PCI / "0000:00:00.0/driver").symlink_to(driver)
    step = by_step(diagnose("GPU", "", hardware))["hardware"]
    assert step.evidence == "8086:7d55 at 0000:00:00.0, driver vfio-pci"


@pytest.mark.parametrize("device", [*NPUS, "0xffff"])
def test_npu_is_recognized_by_id_or_class(inventory, device):
    code = "0x120000\n" if device == "0xffff" else "0x048000\n"
    hardware = inventory([{"vendor": "0x8086\n", "device": f"{device}\n", "class": code}])
    step = by_step(diagnose("NPU", "", hardware))["hardware"]
    assert step.status == "ok"
    assert NPUS.get(device, "8086:ffff") in step.evidence


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_kernel_module_that_is_not_loaded(inventory, kind):
    cause = find_cause(diagnose(kind, "", inventory(modules=())))
    assert cause.step == "kernel module"
    assert MODULES[kind] in cause.evidence
    assert f"sudo modprobe {MODULES[kind]}" in cause.remedy
    assert "host" in cause.container_remedy


def test_modules_are_read_from_proc_without_sys(inventory):
    hardware = inventory(modules=(), files={"proc/modules": "xe 2000 0 - Live 0x0\n"})
    (hardware.root / "sys/module").rmdir()
    step = by_step(diagnose("GPU", "", hardware))["kernel module"]
    assert step.status == "ok"
    assert step.evidence.startswith("xe ")


def test_unreadable_files_are_unknown(tmp_path):
    hardware = HardwareInventory(root=tmp_path, system="linux", load=lambda _: ABSENT)
    diagnosis = diagnose("NPU", "", hardware)
    for name in ("hardware", "kernel module"):
        step = by_step(diagnosis)[name]
        assert step.status == "unknown"
        assert "/sys/" in step.evidence
    assert find_cause(diagnosis).step == "device node"
    assert "/dev/accel/accel*" in find_cause(diagnosis).evidence


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_device_node_that_is_missing(inventory, kind):
    cause = find_cause(diagnose(kind, "", inventory(nodes=())))
    folder = Path("/", NODES[kind]).parent
    assert cause.step == "device node"
    assert f"{folder}/" in cause.evidence
    assert "dmesg" in cause.remedy
    assert f"--device {folder}" in cause.container_remedy
    assert "--group-add $(stat -c %g /" in cause.container_remedy


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_device_node_without_permission(inventory, kind):
    hardware = inventory(may_open=lambda _: False)
    cause = find_cause(diagnose(kind, "", hardware))
    group = (hardware.root / NODES[kind]).group()
    assert (cause.step, cause.status) == ("device node", "missing")
    for value in ("ann", f"/{NODES[kind]} (group {group})"):
        assert value in cause.evidence
    assert f"sudo usermod -aG {group} ann" in cause.remedy


@pytest.mark.parametrize(
    ("kind", "names", "step", "remedy", "image"),
    [
        ("GPU", ["libOpenCL.so.1"], "OpenCL loader",
         "sudo apt-get install ocl-icd-libopencl1", "RUN apt-get"),
        ("NPU", ["libze_loader.so.1"], "Level Zero loader",
         "sudo apt-get install libze1", "RUN apt-get"),
        ("NPU", ["libze_intel_npu.so.1", "libze_intel_vpu.so.1"], "NPU driver in user space",
         "snap install intel-npu-driver", "libnpu_driver_compiler.so"),
    ],
)  # fmt: skip
def test_library_that_is_not_installed(inventory, kind, names, step, remedy, image):
    cause = find_cause(diagnose(kind, "", inventory(missing_libraries=names)))
    assert cause.step == step
    assert all(name in cause.evidence for name in names)
    assert remedy in cause.remedy
    assert image in cause.container_remedy


def test_older_name_of_the_npu_driver_is_accepted(inventory):
    diagnosis = diagnose("NPU", "", inventory(missing_libraries=["libze_intel_npu.so.1"]))
    step = by_step(diagnosis)["NPU driver in user space"]
    assert step.status == "ok"
    assert "libze_intel_vpu.so.1" in step.evidence


def test_broken_library_has_the_loaders_error(inventory):
    hardware = inventory(load=lambda _: "libOpenCL.so.1: invalid\nELF header")
    cause = find_cause(diagnose("GPU", "", hardware))
    assert cause.step == "OpenCL loader"
    assert cause.evidence.endswith("libOpenCL.so.1: invalid ELF header")


def test_opencl_driver_of_another_device_is_not_accepted(inventory):
    hardware = inventory()
    icd = hardware.root / "etc/OpenCL/vendors/intel.icd"
    icd.write_text("libintelocl.so\n")
    cause = find_cause(diagnose("GPU", "", hardware))
    assert cause.step == "OpenCL driver"
    assert "intel.icd (libintelocl.so)" in cause.evidence
    icd.unlink()
    cause = find_cause(diagnose("GPU", "", hardware))
    assert cause.step == "OpenCL driver"
    assert cause.remedy == "sudo apt-get install intel-opencl-icd"


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_other_systems_than_linux_are_unknown(inventory, kind, system):
    diagnosis = diagnose(kind, "", inventory([], modules=(), nodes=(), system=system))
    assert {step.status for step in diagnosis[:-1]} == {"unknown"}
    assert all(system in step.evidence for step in diagnosis[:-1])
    assert find_cause(diagnosis).step == "plugin"


def test_known_plugin_error_is_the_last_step(inventory):
    error = "[GPU] Can't get FULL_DEVICE_NAME property as no supported devices found"
    step, explanation = diagnose("GPU", error, inventory())[-1], plugin_errors.explain(error)
    assert (step.step, step.status) == ("plugin", "missing")
    assert (step.evidence, step.remedy) == (explanation.meaning, explanation.remedy)


def test_unknown_plugin_error_is_quoted(inventory):
    error = "Exception from src/a.cpp:3:\nan error\nof today\n"
    step = diagnose("GPU", error, inventory())[-1]
    assert (step.step, step.status) == ("plugin", "missing")
    assert step.evidence.endswith("an error of today")


def test_missing_cpu_has_the_plugin_step_only():
    (step,) = diagnose("CPU", "no such instruction")
    assert step.step == "plugin"
    assert "no such instruction" in step.evidence


def test_each_missing_step_has_both_remedies(inventory):
    hardware = inventory(
        [BRIDGE],
        modules=(),
        nodes=(),
        load=lambda _: ABSENT,
        without=["etc/OpenCL/vendors/intel.icd"],
    )
    for kind in ("GPU", "NPU"):
        for step in diagnose(kind, "", hardware):
            assert step.status == "missing"
            assert step.remedy, step.step
            assert step.container_remedy, step.step
            assert "\n" not in step.evidence + step.remedy + step.container_remedy


def test_diagnosis_of_this_machine():
    for kind in ("GPU", "NPU"):
        for step in diagnose(kind, ""):
            assert step.evidence
            assert step.status in {"ok", "missing", "unknown"}
