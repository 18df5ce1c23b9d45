"""``ovtool devices``: the devices, diagnoses, a calibration, and the NPU compiler."""

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ovtool import api
from ovtool.cli.commands.devices import print_calibration, print_devices
from ovtool.compile_check.npu.install import Download, Offer
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
    unavailable_reason="no node",
    diagnosis=(
        DiagnosisStep("hardware", "ok", "8086:1"),
        DiagnosisStep("device node", "missing", "no node", "load the module", "pass it in"),
        DiagnosisStep("library", "unknown", "cannot be read"),
        DiagnosisStep("plugin", "missing", "plugin error", "do this", "do this"),
    ),
)


@pytest.fixture
def print_for(monkeypatch, capsys):
    def show(*devices, why=False, every=False, in_container=False):
        monkeypatch.setattr(hardware.HardwareInventory, "in_container", lambda _: in_container)
        print_devices(list(devices), why=why, every=every)
        return capsys.readouterr()

    return show


def test_the_table_has_capabilities_and_versions(print_for):
    out = print_for(CPU, NPU).out
    for text in ("Example CPU", "FP32 INT8", "1 to 8", "8.0 GiB", "plugin", "2026.4.1", "1.35"):
        assert text in out


def test_a_missing_device_points_to_why(print_for):
    ran = print_for(CPU, GPU)
    assert GPU.unavailable_reason in ran.out
    assert "--why" in ran.err
    assert print_for(CPU).err == ""


@pytest.mark.parametrize("in_container", [False, True])
def test_each_step_lists_the_likelier_remedy_first(print_for, in_container):
    ran = print_for(CPU, GPU, why=True, every=True, in_container=in_container)
    remedies = ["load the module", "pass it in"]
    expected = [
        "Example CPU",
        "no node",
        "ok       hardware: 8086:1",
        "MISSING  device node: no node",
        *(reversed(remedies) if in_container else remedies),
        "unknown  library: cannot be read",
        "MISSING  plugin: plugin error",
        "do this",
    ]
    *lines, isolation = ran.out.splitlines()
    assert all(name in isolation for name in ("supervisor", "memory limit", "sandbox"))
    assert len(lines) == len(expected)
    assert all(line.endswith(end) for line, end in zip(lines, expected, strict=True))
    assert len(ran.err.splitlines()) == in_container


@pytest.mark.parametrize(("in_container", "remedy"), [(False, "load the"), (True, "pass it")])
def test_why_stops_at_the_first_cause(print_for, in_container, remedy):
    ran = print_for(CPU, GPU, why=True, in_container=in_container)
    _, reason, cause, isolation = ran.out.splitlines()
    assert reason.endswith("no node")
    assert remedy in cause
    assert "sandbox" in isolation
    assert "3 more" in ran.err.splitlines()[0]


def test_steps_that_are_only_unknown_are_all_shown(print_for):
    unknown = replace(GPU, diagnosis=(GPU.diagnosis[0], GPU.diagnosis[2]))
    out = print_for(unknown, why=True).out
    assert all(step.evidence in out for step in unknown.diagnosis)


def test_all_requires_why(refused):
    assert "--all" in refused("devices", "--all").error


def test_devices_of_this_machine_are_listed(ovtool):
    listed = ovtool("devices", "--json").document["devices"]
    by_name = {d["name"]: d for d in listed}
    assert by_name["CPU"]["kind"] == "CPU"
    assert by_name["AUTO"]["virtual"]
    absent = [d for d in listed if not d["available"]]
    assert all(d["diagnosis"] and d["unavailable_reason"] for d in absent)
    out = ovtool("devices", "--why").out
    for device in absent:
        lines = [line for line in out.splitlines() if line.startswith(f"{device['name']}: ")]
        assert [line.endswith(device["unavailable_reason"]) for line in lines] == [True]


def test_a_diagnosis_is_in_the_json_document(ovtool, monkeypatch):
    monkeypatch.setattr(discovery, "discover", lambda: [GPU])
    device = ovtool("devices", "--why", "--json").document["devices"][0]
    assert device["diagnosis"][1]["remedy"] == "load the module"
    assert device["diagnosis"][1]["container_remedy"] == "pass it in"


def test_a_calibration_is_printed_with_the_left_out_probes(capsys):
    calibration = Calibration(
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
        left_out=("stem-1 bf16: too short",),
    )
    print_calibration(calibration, json=False)
    ran = capsys.readouterr()
    for text in ("200 GFLOP/s", "1 stream", "1.00 MiB", "40.0 GB/s", "stem", "1.00 [0.50, 1.50] us",
                 "abc", "1 stable, 1 contended"):  # fmt: skip
        assert text in ran.out
    left_out, warning = ran.err.splitlines()
    assert calibration.left_out[0] in left_out
    assert "1 of 2" in warning
    print_calibration(calibration, json=True)
    document = json.loads(capsys.readouterr().out)
    assert Calibration.model_validate(document["calibration"]) == calibration


def test_a_virtual_device_cannot_be_calibrated(refused):
    assert "AUTO:CPU" in refused("devices", "--calibrate", "--device", "AUTO:CPU").error


OFFER = Offer(
    Path("/cache/npu-compiler/1"),
    (
        Download("openvino==1", "https://index/o.whl", 60.25, "Apache-2.0", "the compiler"),
        Download("ziglang==2", "https://index/z.whl", None, "MIT", "a C compiler"),
    ),
    "",
)


@pytest.fixture
def offered(monkeypatch):
    """Record what would be installed; no compiler is installed."""
    calls = []
    monkeypatch.setattr(api, "npu_compiler_folder", lambda: None)
    monkeypatch.setattr(api, "npu_compiler_offer", lambda: OFFER)
    monkeypatch.setattr(
        api,
        "install_npu_compiler",
        lambda offer, **kw: calls.append((offer, kw["force"])) or offer.target,
    )
    return calls


@pytest.mark.parametrize(("answer", "installs"), [("y\n", True), ("\n", False), ("n\n", False)])
def test_installing_lists_the_downloads_and_asks(ovtool, offered, monkeypatch, answer, installs):
    monkeypatch.setattr(sys, "stdin", io.StringIO(answer))
    ran = ovtool("devices", "--install-npu-compiler")
    assert ran.status == 0
    for download in OFFER.downloads:
        facts = (download.name, download.url, download.license, download.purpose)
        assert all(fact in ran.err for fact in facts)
    assert "60.2 MiB" in ran.err
    assert str(OFFER.target) in ran.err
    assert bool(offered) is installs
    assert (str(OFFER.target) in ran.out) is installs


def test_installing_with_yes_does_not_ask(ovtool, offered):
    assert ovtool("devices", "--install-npu-compiler", "--yes").status == 0
    assert offered == [(OFFER, False)]


def test_an_installed_compiler_is_kept(ovtool, offered, monkeypatch):
    monkeypatch.setattr(api, "npu_compiler_folder", lambda: Path("/cache/present"))
    assert "/cache/present" in ovtool("devices", "--install-npu-compiler").out
    assert offered == []
    ovtool("devices", "--install-npu-compiler", "--yes", "--force")
    assert offered == [(OFFER, True)]
