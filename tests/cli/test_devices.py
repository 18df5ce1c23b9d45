"""``ovtool devices``: what is there, and step by step why the rest is not."""

import pytest

from ovtool.cli import show_devices
from ovtool.devices import discovery, hardware
from ovtool.devices.diagnosis import Finding
from ovtool.devices.discovery import Device

CPU = Device(
    "CPU",
    available=True,
    full_name="Example CPU",
    plugin="2026.4.1",
    capabilities=("FP32", "INT8"),
    properties={"streams": [1, 8], "requests": [1, 1, 1], "memory_bytes": 8 * 2**30},
)
NPU = Device("NPU", available=True, full_name="Example NPU", properties={"driver": "1.35"})
GPU = Device(
    "GPU",
    available=False,
    why_not="no node",
    findings=(
        Finding("hardware", "ok", "8086:1"),
        Finding("device node", "missing", "no node", "load the module", "pass it in"),
        Finding("library", "unknown", "not known here"),
        Finding("plugin", "missing", "it says no", "do this", "do this"),
    ),
)


@pytest.fixture
def shown(monkeypatch, capsys):
    def show(*devices, why=False, inside=False):
        monkeypatch.setattr(hardware.Machine, "in_container", lambda _: inside)
        show_devices.devices(list(devices), why=why, json=False)
        return capsys.readouterr()

    return show


def test_the_table_says_what_each_can_do(shown):
    out = shown(CPU, NPU).out
    for text in ("Example CPU", "FP32 INT8", "1 to 8", "8.0 GiB", "plugin", "2026.4.1", "1.35"):
        assert text in out


def test_what_is_missing_is_said_with_the_way_to_more(shown):
    ran = shown(CPU, GPU)
    assert "not available:" in ran.out
    assert ran.err == "what is missing, and how to get it: --why\n"
    assert shown(CPU).err == ""


@pytest.mark.parametrize("inside", [False, True])
def test_each_step_has_its_remedies_the_likelier_first(shown, inside):
    ran = shown(CPU, GPU, why=True, inside=inside)
    remedies = [
        "           on this machine: load the module",
        "           in a container: pass it in",
    ]
    assert ran.out.splitlines() == [
        "CPU: there: Example CPU",
        "GPU: not available: no node",
        "  ok       hardware: 8086:1",
        "  MISSING  device node: no node",
        *(reversed(remedies) if inside else remedies),
        "  unknown  library: not known here",
        "  MISSING  plugin: it says no",
        "           do: do this",
    ]
    assert ran.err == ("this looks like a container\n" if inside else "")


def test_the_real_ones(ovtool):
    listed = ovtool("devices", "--json").document
    by_name = {d["name"]: d for d in listed}
    assert by_name["CPU"]["kind"] == "CPU"
    assert by_name["AUTO"]["virtual"]
    absent = [d for d in listed if not d["available"]]
    assert all(d["findings"] and d["why_not"] for d in absent)
    out = ovtool("devices", "--why").out
    for device in absent:
        assert f"{device['name']}: not available: {device['why_not']}" in out


def test_a_diagnosis_is_json_too(ovtool, monkeypatch):
    monkeypatch.setattr(discovery, "discover", lambda: [GPU])
    found = ovtool("devices", "--why", "--json").document[0]
    assert found["findings"][1]["remedy"] == "load the module"
    assert found["findings"][1]["in_container"] == "pass it in"
