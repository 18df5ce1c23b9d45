"""Fake trees: what they hold is written as Linux writes it."""

import os
import sys
from pathlib import Path

import pytest

from ovtool.devices.diagnosis import diagnose, reason
from ovtool.devices.hardware import NPUS, HardwareInventory

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="makes symbolic links and groups as Linux has them"
)

ABSENT = "libx.so: cannot open shared object file: No such file or directory"
PCI = "sys/bus/pci/devices"
INTEL_GPU = {"vendor": "0x8086\n", "device": "0x7d55\n", "class": "0x030000\n"}
INTEL_NPU = {"vendor": "0x8086\n", "device": "0x7d1d\n", "class": "0x120000\n"}
OTHER_GPU = {"vendor": "0x10de\n", "device": "0x2684\n", "class": "0x030000\n"}
BRIDGE = {"vendor": "0x8086\n", "device": "0x0d57\n", "class": "0x060000\n"}
NODES = {"GPU": "dev/dri/renderD128", "NPU": "dev/accel/accel0"}
MODULES = {"GPU": "i915", "NPU": "intel_vpu"}


def pci(address, told):
    return {f"{PCI}/{address}/{name}": value for name, value in told.items()}


@pytest.fixture
def machine(tree):
    """A machine with a GPU and an NPU where all is well; a test takes things away."""

    def make(pci_devices=(INTEL_GPU, INTEL_NPU), modules=("i915", "intel_vpu"), **changes):
        files = {}
        for index, told in enumerate(pci_devices):
            files |= pci(f"0000:00:{index:02x}.0", told)
        for name in modules:
            files[f"sys/module/{name}/refcnt"] = "1\n"
        for path in changes.pop("nodes", NODES.values()):
            files[path] = ""
        files |= changes.pop("files", {})
        files |= {"etc/OpenCL/vendors/intel.icd": "/usr/lib/intel-opencl/libigdrcl.so\n"}
        for path in changes.pop("without", ()):
            files.pop(path)
        lacks = changes.pop("lacks", ())
        root = tree(files)
        (root / "sys/module").mkdir(parents=True, exist_ok=True)
        told = {
            "root": root,
            "system": "linux",
            "load": lambda name: ABSENT if name in lacks else None,
            "may_open": lambda _: True,
            "user": "ann",
        }
        return HardwareInventory(**told | changes)

    return make


def steps(findings):
    return {f.step: f for f in findings}


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_where_all_is_there_only_the_plugin_is_left_to_blame(machine, kind):
    found = diagnose(kind, "", machine())
    assert [f.status for f in found] == ["ok"] * (len(found) - 1) + ["missing"]
    assert reason(found) == f"OpenVINO's {kind} plugin loads and finds none"


@pytest.mark.parametrize(
    ("kind", "said"), [("GPU", "no Intel GPU on the PCI bus"), ("NPU", "no Intel NPU on the PCI")]
)
def test_no_hardware_is_the_first_reason(machine, kind, said):
    found = diagnose(kind, "", machine([BRIDGE], modules=(), nodes=()))
    assert reason(found).startswith(said)
    assert "(devices looked at: 1)" in reason(found)
    first = found[0]
    assert first.step == "hardware"
    assert "firmware's settings" in first.remedy
    assert first.in_container.startswith("the same on the host")


def test_another_makers_display_is_named(machine):
    found = diagnose("GPU", "", machine([OTHER_GPU]))
    assert "another maker's display: 10de:2684 at 0000:00:00.0" in reason(found)


def test_hardware_names_its_driver(machine):
    here = machine()
    driver = here.root / "sys/bus/pci/drivers/vfio-pci"
    driver.mkdir(parents=True)
    (here.root / PCI / "0000:00:00.0/driver").symlink_to(driver)
    found = steps(diagnose("GPU", "", here))
    assert found["hardware"].evidence == "8086:7d55 at 0000:00:00.0, driver vfio-pci"


@pytest.mark.parametrize("device", [*NPUS, "0xffff"])
def test_an_npu_is_known_by_its_id_or_class(machine, device):
    code = "0x120000\n" if device == "0xffff" else "0x048000\n"
    here = machine([{"vendor": "0x8086\n", "device": f"{device}\n", "class": code}])
    hardware = steps(diagnose("NPU", "", here))["hardware"]
    assert hardware.status == "ok"
    assert NPUS.get(device, "8086:ffff") in hardware.evidence


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_a_module_that_is_not_loaded(machine, kind):
    found = diagnose(kind, "", machine(modules=()))
    assert MODULES[kind] in reason(found)
    module = steps(found)["kernel module"]
    assert module.remedy.startswith(f"sudo modprobe {MODULES[kind]}")
    assert module.in_container.startswith("the same on the host")


def test_modules_may_be_listed_in_proc_alone(machine):
    here = machine(modules=(), files={"proc/modules": "xe 2000 0 - Live 0x0\n"})
    (here.root / "sys/module").rmdir()
    assert steps(diagnose("GPU", "", here))["kernel module"].evidence == "xe loaded"


def test_what_cannot_be_read_is_unknown_with_the_reason(tmp_path):
    here = HardwareInventory(root=tmp_path, system="linux", load=lambda _: ABSENT)
    found = steps(diagnose("NPU", "", here))
    for step in ("hardware", "kernel module"):
        assert found[step].status == "unknown"
        assert "not known here, because" in found[step].evidence
    assert found["device node"].status == "missing"
    assert reason(tuple(found.values())).startswith("no /dev/accel/accel*")


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_a_node_that_was_not_passed_in(machine, kind):
    found = diagnose(kind, "", machine(nodes=()))
    folder = Path("/", NODES[kind]).parent
    assert reason(found).startswith(f"no {folder}/")
    node = steps(found)["device node"]
    assert "dmesg" in node.remedy
    assert f"--device {folder}" in node.in_container
    assert "--group-add $(stat -c %g /" in node.in_container


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
def test_a_node_that_this_user_may_not_open(machine, kind):
    here = machine(may_open=lambda _: False)
    found = diagnose(kind, "", here)
    path = here.root / NODES[kind]
    group = path.group()
    assert reason(found) == f"ann may not open /{NODES[kind]} (group {group})"
    assert steps(found)["device node"].remedy == f"sudo usermod -aG {group} ann, then log in again"


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may open every file")
def test_whether_a_file_may_be_opened_is_asked_of_the_system(tmp_path):
    node = tmp_path / NODES["GPU"]
    node.parent.mkdir(parents=True)
    node.touch(0o000)
    assert [n.may_open for n in HardwareInventory(root=tmp_path).nodes("dri/renderD*")] == [False]


@pytest.mark.parametrize(
    ("kind", "lacks", "step", "said", "remedy", "image"),
    [
        ("GPU", ["libOpenCL.so.1"], "OpenCL loader", "libOpenCL.so.1 is not installed",
         "sudo apt-get install ocl-icd-libopencl1", "in the image: RUN apt-get"),
        ("NPU", ["libze_loader.so.1"], "Level Zero loader", "libze_loader.so.1 is not installed",
         "sudo apt-get install libze1", "in the image: RUN apt-get"),
        ("NPU", ["libze_intel_npu.so.1", "libze_intel_vpu.so.1"], "NPU driver in user space",
         "neither libze_intel_npu.so.1 nor libze_intel_vpu.so.1 is installed",
         "snap install intel-npu-driver", "mount the host's"),
    ],
)  # fmt: skip
def test_a_library_that_is_not_installed(machine, kind, lacks, step, said, remedy, image):
    found = diagnose(kind, "", machine(lacks=lacks))
    assert reason(found) == said
    assert remedy in steps(found)[step].remedy
    assert image in steps(found)[step].in_container


def test_an_older_name_of_the_npu_driver_is_enough(machine):
    found = steps(diagnose("NPU", "", machine(lacks=["libze_intel_npu.so.1"])))
    assert found["NPU driver in user space"].evidence == "libze_intel_vpu.so.1 loads"


def test_a_library_that_is_broken_says_how(machine):
    here = machine(load=lambda _: "libOpenCL.so.1: invalid\nELF header")
    assert reason(diagnose("GPU", "", here)) == (
        "libOpenCL.so.1 does not load: libOpenCL.so.1: invalid ELF header"
    )


def test_an_opencl_driver_of_another_device_is_none_of_the_gpus(machine):
    here = machine()
    icd = here.root / "etc/OpenCL/vendors/intel.icd"
    icd.write_text("libintelocl.so\n")
    assert reason(diagnose("GPU", "", here)) == (
        "no OpenCL driver of Intel's GPUs in /etc/OpenCL/vendors; there is intel.icd"
        " (libintelocl.so)"
    )
    icd.unlink()
    found = steps(diagnose("GPU", "", here))["OpenCL driver"]
    assert found.evidence == "no OpenCL driver of Intel's GPUs in /etc/OpenCL/vendors"
    assert found.remedy == "sudo apt-get install intel-opencl-icd"


@pytest.mark.parametrize("kind", ["GPU", "NPU"])
@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_elsewhere_than_on_linux_nothing_is_claimed(machine, kind, system):
    found = diagnose(kind, "", machine([], modules=(), nodes=(), system=system))
    assert {f.status for f in found[:-1]} == {"unknown"}
    assert all(f"only Linux shows it this way ({system})" in f.evidence for f in found[:-1])
    assert reason(found) == f"OpenVINO's {kind} plugin loads and finds none"


@pytest.mark.parametrize(
    ("said", "evidence", "remedy"),
    [
        ("[GPU] Can't get FULL_DEVICE_NAME property as no supported devices found",
         "the OpenCL loader finds no Intel GPU", "intel-opencl-icd"),
        ("Exception from src/a.cpp:3:\nan error\nof today\n",
         "the GPU plugin says: an error of today", "the first step above"),
    ],
)  # fmt: skip
def test_what_the_plugin_says_is_the_last_step(machine, said, evidence, remedy):
    last = diagnose("GPU", said, machine())[-1]
    assert (last.step, last.status, last.evidence) == ("plugin", "missing", evidence)
    assert remedy in last.remedy


def test_a_cpu_that_is_missing_has_its_plugin_to_blame():
    (only,) = diagnose("CPU", "no such instruction")
    assert only.evidence == "the CPU plugin says: no such instruction"


def test_each_missing_step_has_a_remedy_for_both_places(machine):
    here = machine(
        [BRIDGE],
        modules=(),
        nodes=(),
        load=lambda _: ABSENT,
        without=["etc/OpenCL/vendors/intel.icd"],
    )
    for kind in ("GPU", "NPU"):
        for finding in diagnose(kind, "", here):
            assert finding.status == "missing"
            assert finding.remedy, finding.step
            assert finding.in_container, finding.step
            assert "\n" not in finding.evidence + finding.remedy + finding.in_container


@pytest.mark.parametrize(
    ("files", "inside"),
    [
        ({}, False),
        ({".dockerenv": ""}, True),
        ({"run/.containerenv": ""}, True),
        ({"proc/1/cgroup": "0::/kubepods/burstable/pod1\n"}, True),
        ({"proc/1/cgroup": "0::/init.scope\n"}, False),
    ],
)
def test_a_container_is_known_by_its_marks(tree, tmp_path, files, inside):
    tree(files)
    assert HardwareInventory(root=tmp_path).in_container() is inside


def test_the_real_machine_is_looked_at():
    for kind in ("GPU", "NPU"):
        for finding in diagnose(kind, ""):
            assert finding.evidence
            assert finding.status in {"ok", "missing", "unknown"}
