"""AUTO, MULTI, HETERO and BATCH for real, over the CPU."""

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


def swept(dense, out, devices, **axes):
    return api.sweep([dense], out=out, spec=SweepSpec(**QUICK, devices=devices, **axes))


@pytest.mark.slow
def test_each_says_what_it_ran_on(dense, tmp_path):
    done = swept(dense, tmp_path / "s", DEVICES, batches=(1, 2))
    table = pd.read_parquet(done.folder / RESULTS)
    assert done.failed == 0, table["reason"].tolist()
    assert set(table["device"]) == set(DEVICES)
    assert set(table["ran_on"]) == {"CPU"}
    notes = {m.trial.device: m.notes for m in SweepFolder(done.folder).measurements()}
    assert not [n for found in notes.values() for n in found if n.id == "device-fallback"]
    (placement,) = (n for n in notes["HETERO:CPU"] if n.id == "placement")
    assert placement.evidence.startswith("CPU ")
    choice = api.choose([done.folder])
    device = choice.winner["device"]
    assert device == "CPU" or f"{device} (ran on CPU)" in choice.headline


@pytest.mark.slow
@pytest.mark.parametrize("device", ["AUTO:CPU", "MULTI:CPU", "HETERO:CPU"])
@pytest.mark.parametrize("axes", [{"streams": (1,)}, {"threads": (1,)}, {"precisions": ("f32",)}])
def test_what_is_set_by_hand_arrives_or_is_refused(dense, tmp_path, device, axes):
    """Never in silence: the row has the setting, or its reason."""
    try:
        done = swept(dense, tmp_path / "s", [device], hints=("latency",), **axes)
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
def test_an_auto_that_went_to_the_cpu_is_no_figure_of_the_npu(dense, tmp_path, monkeypatch):
    """The NPU is believed to be there, as on a machine where it stops working after the check."""
    real = discovery.discover()
    if any(d.kind == "NPU" and d.available for d in real):
        pytest.skip("an NPU is there: AUTO would take it")
    there = [Device(n, available=True, full_name=n) for n in ("CPU", "NPU")]
    monkeypatch.setattr(discovery, "discover", lambda: there)
    done = swept(dense, tmp_path / "s", ["AUTO:NPU,CPU"], hints=("latency",))
    (row,) = SweepFolder(done.folder).measurements()
    assert row.ran_on == "CPU"
    assert "cpu_s_per_sample" in row.figures
    (note,) = (n for n in row.notes if n.id == "device-fallback")
    assert note.evidence == "AUTO:NPU,CPU ran on CPU, not on NPU"
    choice = api.choose([done.folder])
    assert "AUTO:NPU,CPU (ran on CPU)" in choice.headline
    assert "device-fallback" in {w.id for w in choice.explanations}
    assert "AUTO:NPU,CPU (ran on CPU)" in api.summarize([done.folder]).rows[0].name


def test_a_named_device_that_is_not_there_is_left_out_with_the_reason(dense, tmp_path):
    absent = [d for d in discovery.discover() if d.kind == "NPU" and not d.available]
    if not absent:
        pytest.skip("an NPU is there")
    there, missing = discovery.resolve(["HETERO:NPU,CPU"], discovery.discover())
    assert there == []
    assert missing == {"HETERO:NPU,CPU": f"NPU: {absent[0].unavailable_reason}"}
