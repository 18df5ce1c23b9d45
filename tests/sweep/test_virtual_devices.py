"""Sweeps with AUTO, MULTI, HETERO and BATCH over the CPU."""

import pandas as pd
import pytest

from ovtool import api
from ovtool.core.errors import NothingMeasuredError
from ovtool.core.sweep_folder import RESULTS, SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.devices import discovery
from ovtool.devices.discovery import Device
from tests.helpers.graphs import fully_connected, save
from tests.helpers.owned import QUICK

DEVICES = ("CPU", "AUTO:CPU", "MULTI:CPU", "HETERO:CPU", "BATCH:CPU(2)")


@pytest.fixture(scope="module")
def dense(tmp_path_factory):
    return save(tmp_path_factory.mktemp("v") / "dense", fully_connected())


def sweep(dense, out, devices, **axes):
    return api.sweep([dense], out=out, spec=SweepSpec(**QUICK, devices=devices, **axes))


@pytest.mark.slow
def test_every_row_has_the_executing_devices(dense, tmp_path):
    done = sweep(dense, tmp_path / "s", DEVICES, batches=(1, 2))
    table = pd.read_parquet(done.folder / RESULTS)
    assert done.failed == 0, table["reason"].tolist()
    assert set(table["device"]) == set(DEVICES)
    assert set(table["ran_on"]) == {"CPU"}
    notes = {m.trial.device: m.notes for m in SweepFolder(done.folder).measurements()}
    assert not [n for row_notes in notes.values() for n in row_notes if n.id == "device-fallback"]
    (placement,) = (n for n in notes["HETERO:CPU"] if n.id == "placement")
    assert placement.evidence.startswith("CPU ")
    choice = api.choose([done.folder])
    device = choice.winner["device"]
    assert device == "CPU" or f"{device} (ran on CPU)" in choice.headline


@pytest.mark.slow
@pytest.mark.parametrize("device", ["AUTO:CPU", "MULTI:CPU", "HETERO:CPU"])
@pytest.mark.parametrize("axes", [{"streams": (1,)}, {"threads": (1,)}, {"precisions": ("f32",)}])
def test_explicit_settings_apply_or_give_a_reason(dense, tmp_path, device, axes):
    try:
        done = sweep(dense, tmp_path / "s", [device], hints=("latency",), **axes)
    except NothingMeasuredError:
        (row,) = SweepFolder(tmp_path / "s").measurements()
        assert row.reason
        return
    (row,) = SweepFolder(done.folder).measurements()
    assert row.ran_on == "CPU"
    if "precisions" in axes:
        assert row.executed_precision == "f32"
    else:
        (name,) = axes
        assert row.figures[name] == 1


@pytest.mark.slow
def test_a_fallback_of_auto_to_the_cpu_is_noted(dense, tmp_path, monkeypatch):
    """Discovery reports an NPU that then does not work."""
    real = discovery.discover()
    if any(d.kind == "NPU" and d.available for d in real):
        pytest.skip("AUTO would select the available NPU")
    devices = [Device(n, available=True, full_name=n) for n in ("CPU", "NPU")]
    monkeypatch.setattr(discovery, "discover", lambda: devices)
    done = sweep(dense, tmp_path / "s", ["AUTO:NPU,CPU"], hints=("latency",))
    (row,) = SweepFolder(done.folder).measurements()
    assert row.ran_on == "CPU"
    assert "cpu_s_per_sample" in row.figures
    (note,) = (n for n in row.notes if n.id == "device-fallback")
    assert note.evidence == "AUTO:NPU,CPU ran on CPU, not on NPU"
    choice = api.choose([done.folder])
    assert "AUTO:NPU,CPU (ran on CPU)" in choice.headline
    assert "device-fallback" in {w.id for w in choice.explanations}
    assert "AUTO:NPU,CPU (ran on CPU)" in api.summarize([done.folder]).rows[0].name


def test_an_unavailable_member_is_reported_with_its_reason(dense, tmp_path):
    absent = [d for d in discovery.discover() if d.kind == "NPU" and not d.available]
    if not absent:
        pytest.skip("the NPU is available")
    available, missing = discovery.resolve(["HETERO:NPU,CPU"], discovery.discover())
    assert available == []
    assert missing == {"HETERO:NPU,CPU": f"NPU: {absent[0].unavailable_reason}"}
