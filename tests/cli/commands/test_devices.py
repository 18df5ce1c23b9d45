"""``ovtool devices``: what is there, and step by step why the rest is not."""

import pytest

from ovtool.cli.commands.devices import print_calibration, print_devices
from ovtool.devices import discovery, hardware
from ovtool.devices.diagnosis import DiagnosisStep
from ovtool.devices.discovery import Device
from ovtool.roofline.calibration import Calibration, Overhead, Peak, Rate

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
        DiagnosisStep("hardware", "ok", "8086:1"),
        DiagnosisStep("device node", "missing", "no node", "load the module", "pass it in"),
        DiagnosisStep("library", "unknown", "not known here"),
        DiagnosisStep("plugin", "missing", "it says no", "do this", "do this"),
    ),
)


@pytest.fixture
def shown(monkeypatch, capsys):
    def show(*devices, why=False, inside=False):
        monkeypatch.setattr(hardware.HardwareInventory, "in_container", lambda _: inside)
        print_devices(list(devices), why=why, json=False)
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


def test_a_calibration_is_printed_with_what_was_left_out(capsys):
    made = Calibration(
        environment="abc",
        machine="a machine",
        device="CPU",
        full_name="Example CPU",
        created="2026-01-01T00:00:00+00:00",
        layer=Overhead(value_s=1e-6, ci_low_s=0.5e-6, ci_high_s=1.5e-6),
        inference=Overhead(value_s=1e-5),
        peaks=(
            Peak(hint="latency", precision="f32", flops_per_s=2e11, streams=1, verdict="stable"),
        ),
        rates=(
            Rate(kind="elementwise", precision="any", sizes=(2**20,), value=4e10, verdict="stable"),
            Rate(kind="stem", precision="f32", sizes=(9, 3, 8, 9), value=1e10, verdict="contended"),
        ),
        left_out=("stem-1 bf16: too little of its time is that of its own layers",),
    )
    print_calibration(made, json=False)
    ran = capsys.readouterr()
    for text in ("200 GFLOP/s (1 stream)", "1.00 MiB of activations", "40.0 GB/s", "stem",
                 "1.00 [0.50, 1.50] us", "environment abc", "1 stable, 1 contended"):  # fmt: skip
        assert text in ran.out
    assert "left out: stem-1 bf16" in ran.err
    assert "1 of 2 measurements are not stable" in ran.err
    print_calibration(made, json=True)
    assert Calibration.model_validate_json(capsys.readouterr().out) == made


def test_a_device_that_cannot_be_calibrated_is_one_line(ovtool):
    ran = ovtool("devices", "--calibrate", "--device", "AUTO:CPU")
    assert ran.status == 2
    assert "AUTO:CPU" in ran.err
