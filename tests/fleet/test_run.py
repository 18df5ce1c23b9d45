"""Sweeps of fleets in one process: rows of each host, losses, resuming, and refusals."""

import threading
import time
from types import SimpleNamespace

import pytest

from ovtool.core.errors import InputError, MissingDeviceError, MissingError, NothingMeasuredError
from ovtool.core.sweep_folder import ANCHORS, SweepFolder
from ovtool.fleet import host
from ovtool.fleet.cache import Cache
from ovtool.fleet.certificates import create_certificates
from ovtool.fleet.run import sweep_fleet
from tests.fleet.conftest import needs_dask

pytestmark = [needs_dask, pytest.mark.usefixtures("local_workers")]
QUICK = {"rounds": 3, "target_pct": 50, "starts": False, "hints": ["latency"]}


def sweep(net, fleet, out, **options):
    return sweep_fleet([net], out=out, fleet=fleet.address, **QUICK, **options)


def batches(folder):
    return sorted(m.trial.batch for m in SweepFolder(folder).measurements())


@pytest.mark.slow
def test_every_host_measures_the_plan_into_its_own_folder(start_fleet, net, tmp_path):
    fleet = start_fleet()
    fleet.join("a", npu="4000", site="lab")
    fleet.join("b", site="home")
    result = sweep(net, fleet, tmp_path / "s", batches=[1, 2, 3])
    assert [h.host for h in result.hosts] == ["a", "b"]
    for outcome in result.hosts:
        assert outcome.counts.measured == 3
        assert batches(outcome.folder) == [1, 2, 3]
        assert len((outcome.folder / ANCHORS).read_text().splitlines()) == 2
        assert outcome.drift_pct == pytest.approx(0, abs=5)
        assert SweepFolder(outcome.folder).environment.facts["host"] == outcome.host
    assert len(result.frame) == 6
    again = sweep(net, fleet, tmp_path / "s", batches=[1, 2, 3])
    assert [h.counts.reused for h in again.hosts] == [3, 3]
    assert [h.sent_mib for h in again.hosts] == [0, 0]


@pytest.mark.slow
def test_labels_select_hosts(start_fleet, net, tmp_path):
    fleet = start_fleet()
    fleet.join("a", npu="4000", site="lab")
    fleet.join("b", site="lab")
    result = sweep(net, fleet, tmp_path / "s", hosts="site=lab,npu=4000")
    assert [h.host for h in result.hosts] == ["a"]
    with pytest.raises(MissingError, match="npu=5010"):
        sweep(net, fleet, tmp_path / "t", hosts={"npu": "5010"})
    assert not (tmp_path / "t").exists()


@pytest.mark.slow
def test_a_lost_host_gets_its_group_again_when_it_is_back(start_fleet, net, tmp_path, measuring):
    measuring.delay_s = 0.3
    fleet = start_fleet()
    fleet.join("a")
    fleet.join("b")
    lines = []

    def note(text):
        lines.append(text)
        if text.startswith("b 2/5"):
            threading.Thread(target=lambda: (fleet.vanish("b"), fleet.join("b"))).start()

    progress = SimpleNamespace(note=note, start=lambda *_: None, close=lambda: None)
    result = sweep(net, fleet, tmp_path / "s", batches=[1, 2, 3, 4, 5], progress=progress)
    assert any("lost" in line for line in lines)
    for outcome in result.hosts:
        assert batches(outcome.folder) == [1, 2, 3, 4, 5]
        assert outcome.counts.measured == 5


@pytest.mark.slow
def test_a_host_that_stays_away_is_named_and_resumed_later(start_fleet, net, tmp_path, measuring):
    measuring.delay_s = 0.2
    fleet = start_fleet()
    fleet.join("a")
    fleet.join("b")

    def note(text):
        if text.startswith("b 1/3"):
            threading.Thread(target=lambda: fleet.vanish("b")).start()

    progress = SimpleNamespace(note=note, start=lambda *_: None, close=lambda: None)
    axes = {"batches": [1, 2, 3]}
    first = sweep(net, fleet, tmp_path / "s", wait_s=0.5, progress=progress, **axes)
    a, b = first.hosts
    assert a.counts.measured == 3
    assert b.counts is None
    assert "b" in b.reason
    before = batches(b.folder)
    fleet.join("b")
    second = sweep(net, fleet, tmp_path / "s", **axes)
    assert [h.counts.reused for h in second.hosts] == [3, len(before)]
    assert batches(b.folder) == [1, 2, 3]


@pytest.mark.slow
def test_trials_of_a_process_that_dies_have_failed(start_fleet, net, tmp_path, measuring):
    measuring.failure = "died"
    fleet = start_fleet()
    fleet.join("a")
    with pytest.raises(NothingMeasuredError):
        sweep(net, fleet, tmp_path / "s")
    (row,) = SweepFolder(tmp_path / "s" / "a").measurements()
    assert row.status == "failed"


def test_a_host_with_another_version_runs_nothing(start_fleet, net, tmp_path, measuring):
    measuring.versions = {"ovtool": "0.0.1", "openvino": "2024.1", "nncf": "3.4.0"}
    fleet = start_fleet()
    fleet.join("old")
    with pytest.raises(MissingError) as caught:
        sweep(net, fleet, tmp_path / "s")
    assert "old" in str(caught.value)
    assert "pip install ovtool==" in caught.value.hint
    assert measuring.groups == ()


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["disk", "clock", "health"])
def test_a_host_that_cannot_be_used_is_one_line_and_runs_nothing(
    start_fleet, net, tmp_path, measuring, monkeypatch, fault
):
    fleet = start_fleet()
    fleet.join("bad")
    if fault == "disk":
        monkeypatch.setattr(Cache, "free_mib", 100.0)
    elif fault == "clock":
        monkeypatch.setattr(host, "time", SimpleNamespace(time=lambda: 0.0, sleep=time.sleep))
    else:
        measuring.health_error = "no kernel for MatMul"
    with pytest.raises(MissingError) as caught:
        sweep(net, fleet, tmp_path / "s")
    assert "bad" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.hint
    assert measuring.groups == ()


@pytest.mark.slow
def test_a_plan_has_the_devices_of_each_host(start_fleet, net, tmp_path, measuring):
    measuring.devices = {"a": ("CPU",), "b": ("CPU", "NPU"), "c": ("NPU",)}
    fleet = start_fleet()
    for name in "abc":
        fleet.join(name)
    result = sweep(net, fleet, tmp_path / "s", devices=["CPU", "NPU"])
    rows = result.frame
    assert sorted(zip(rows["environment"].map(str), rows["device"], strict=True)) == sorted(
        (SweepFolder(h.folder).environment.id, device)
        for h in result.hosts
        for device in measuring.devices[h.host]
    )
    only = sweep(net, fleet, tmp_path / "t", devices=["NPU"])
    assert [h.host for h in only.hosts] == ["b", "c"]
    for options in ({"devices": ["NPU"], "strict": True}, {"devices": ["GPU"]}):
        with pytest.raises(MissingDeviceError):
            sweep(net, fleet, tmp_path / "u", **options)


@pytest.mark.slow
def test_a_host_leaves_out_the_precision_that_it_has_by_default(
    start_fleet, net, tmp_path, measuring
):
    measuring.default_precisions = {"a": "f32", "b": "bf16"}
    fleet = start_fleet()
    for name in "abc":
        fleet.join(name)
    notes = []
    result = sweep(
        net, fleet, tmp_path / "s", precisions=["f32", "default"],
        progress=SimpleNamespace(note=notes.append),
    )  # fmt: skip
    precisions = {
        h.host: sorted(t.precision for t in SweepFolder(h.folder).plan.trials) for h in result.hosts
    }
    assert precisions == {"a": ["default"], "b": ["default", "f32"], "c": ["default", "f32"]}
    (note,) = (each for each in notes if "f32 on CPU" in each)
    assert "host a" in note


@pytest.mark.slow
@pytest.mark.usefixtures("local_renderer")
def test_a_recipe_measures_on_a_fleet(start_fleet, net, tmp_path):
    from ovtool import api

    fleet = start_fleet()
    fleet.join("a", site="lab")
    fleet.join("b", site="lab")
    fleet.join("c", site="edge")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"recipe: 1\nname: small\nmodel: {{source: {net.xml}}}\nvariants: {{fp32: {{}}}}\n"
        "sweep: {devices: [CPU], batches: [1], hints: [latency], rounds: 3}\n"
        f"fleet: {{address: '{fleet.address}', hosts: {{site: lab}}}}\n"
    )
    with pytest.raises(InputError, match="fleet"):  # a stranger's recipe opens no connection
        api.run(recipe, out=tmp_path / "refused")
    done = api.run(recipe, out=tmp_path / "out", trust=True)
    assert done.sweep.folders == [tmp_path / "out" / "sweep" / name for name in "ab"]
    assert {host.host for host in done.choice.hosts} == {"a", "b"}
    assert "several-environments" in {note.id for note in done.choice.warnings}
    page = done.report.page.read_text(encoding="utf-8")
    assert all(f'<th scope="row">{name}</th>' in page for name in "ab")
    other = api.run(recipe, out=tmp_path / "out", fleet=fleet.address, hosts="site=edge")
    assert [h.host for h in other.sweep.hosts] == ["c"]


@pytest.mark.slow
def test_certificates_of_both_sides_are_required(start_fleet, net, tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    create_certificates(own)
    create_certificates(other)
    fleet = start_fleet(own)
    fleet.join("a")
    result = sweep(net, fleet, tmp_path / "s", certificates=own)
    assert result.hosts[0].counts.measured == 1
    for wrong in (other, None):
        with pytest.raises((MissingError, InputError)):
            sweep(net, fleet, tmp_path / "t", certificates=wrong)
    assert not (tmp_path / "t").exists()
