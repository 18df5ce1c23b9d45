"""Discovery of the emulated GPU, and virtual devices with it."""

import pytest

from ovtool import api
from ovtool.core.sweep_folder import SweepFolder
from ovtool.core.sweep_spec import SweepSpec
from ovtool.results.table import load_results
from tests.gpu_emulated.conftest import QUICK

NAMED = ["AUTO:GPU,CPU", "MULTI:GPU,CPU", "HETERO:GPU,CPU", "BATCH:GPU(2)"]


def test_plugin_lists_the_emulated_gpu():
    devices = {device.name: device for device in api.devices()}
    gpu = devices["GPU.0"] if "GPU.0" in devices else devices["GPU"]
    assert gpu.available
    assert gpu.emulated
    assert gpu.full_name.startswith("Emulated Intel Xe-LP")
    assert {"FP32", "INT8"} <= set(gpu.capabilities)
    assert gpu.properties["memory_bytes"] > 0
    assert gpu.plugin.startswith(devices["CPU"].plugin.split("-")[0])
    assert not devices["CPU"].emulated


def test_every_batch_and_hint_runs_with_its_settings(small, tmp_path):
    spec = SweepSpec(devices=["GPU"], batches=(1, 2, 4))
    api.sweep([small], out=tmp_path / "s", spec=spec.model_copy(update=QUICK))
    by = {(m.trial.batch, m.trial.hint): m for m in SweepFolder(tmp_path / "s").measurements()}
    assert {key: m.reason for key, m in by.items() if m.status != "ok"} == {}
    assert set(by) == {(batch, hint) for batch in (1, 2, 4) for hint in ("latency", "throughput")}
    for (batch, hint), row in by.items():
        assert row.emulated
        assert row.properties["ALLOW_AUTO_BATCHING"] == "NO"
        assert row.properties["PERFORMANCE_HINT"] == hint.upper()
        assert row.figures["inferences"] >= 1
        assert row.figures["requests"] == (1 if hint == "latency" else 4), batch


@pytest.fixture(scope="module")
def virtual(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("virtual") / "sweep"
    spec = SweepSpec(devices=["CPU", *NAMED], batches=[2], hints=["throughput"])
    api.sweep([small], out=folder, spec=spec.model_copy(update=QUICK))
    return folder


def test_rows_of_virtual_devices_are_marked(virtual):
    rows = {m.trial.device: m for m in SweepFolder(virtual).measurements()}
    assert {device: row.reason for device, row in rows.items() if row.status != "ok"} == {}
    assert sorted(rows) == sorted(["CPU", *NAMED])
    assert {device for device, row in rows.items() if row.emulated} == set(NAMED)


def test_cpu_is_chosen(virtual):
    choice = api.choose([virtual])
    assert choice.winner["device"] == "CPU"
    assert choice.runners_up == ()
    assert "emulated-left-out" in {note.id for note in choice.warnings}
    table = load_results([virtual]).rows
    assert set(table[table["emulated"] == "yes"]["device"]) == {f"{n} (emulated)" for n in NAMED}
