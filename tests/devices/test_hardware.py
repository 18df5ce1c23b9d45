"""The hardware and drivers of a Linux machine, as its files describe them."""

import os
import sys

import pytest

from ovtool.devices.hardware import HardwareInventory
from ovtool.system.host import Unknown

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="creates symbolic links and groups")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may open every file")
def test_permission_is_that_of_the_system(tmp_path):
    node = tmp_path / "dev/dri/renderD128"
    node.parent.mkdir(parents=True)
    node.touch(0o000)
    nodes = HardwareInventory(root=tmp_path).nodes("dri/renderD*")
    assert [node.may_open for node in nodes] == [False]


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
def test_container_is_recognized_by_its_files(tree, tmp_path, files, inside):
    tree(files)
    assert HardwareInventory(root=tmp_path).in_container() is inside


def test_pci_devices_are_in_order_with_their_names(tree):
    ids = {"0000:00:02.0": ("0x7d55", "0x030000"), "0000:00:01.0": ("0x643e", "0x120000")}
    for address, (device, code) in ids.items():
        folder = f"sys/bus/pci/devices/{address}"
        root = tree(
            {
                f"{folder}/vendor": "0x8086\n",
                f"{folder}/device": f"{device}\n",
                f"{folder}/class": f"{code}\n",
            }
        )
    npu, gpu = HardwareInventory(root=root, system="linux").pci()
    assert (npu.address, npu.code, npu.driver) == ("0000:00:01.0", "0x120000", None)
    assert "8086:643e (Lunar Lake)" in npu.text
    assert (gpu.vendor, gpu.device) == ("0x8086", "0x7d55")


def test_unreadable_facts_are_unknown(tmp_path):
    hardware = HardwareInventory(root=tmp_path, system="win32")
    assert isinstance(hardware.pci(), Unknown)
    assert isinstance(hardware.modules(), Unknown)
    assert "win32" in hardware.not_linux.because
    assert HardwareInventory(root=tmp_path, system="linux").not_linux is None
    assert hardware.opencl_drivers() == {}
