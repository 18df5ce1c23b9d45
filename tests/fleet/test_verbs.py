"""The verbs of ``ovtool fleet``."""

import threading
import time

import pytest

from ovtool.core.errors import InputError, MissingError
from ovtool.core.variant import versions
from ovtool.fleet import verbs
from ovtool.fleet.client import certificates_folder, locate, require_same_versions
from ovtool.fleet.host import HOSTS
from tests.fleet.conftest import needs_dask

NAMES = {
    "name", "labels", "address", "busy", "devices", "machine", "versions", "free_mib",
    "clock_offset_s", "health_fps", "problem",
}  # fmt: skip


@needs_dask
def test_status_has_every_host_with_its_labels_and_problems(start_fleet, measuring):
    fleet = start_fleet()
    fleet.join("a", npu="4000")
    fleet.join("b")
    a, b = verbs.status(fleet.address)
    assert (a.name, dict(a.labels), a.devices, a.problem) == ("a", {"npu": "4000"}, ("CPU",), "")
    assert set(a.to_json()) == NAMES
    assert b.free_mib > 0
    measuring.versions = {**versions(), "openvino": "2020.1"}
    (alone,) = verbs.status(fleet.address, hosts="npu=4000")
    assert "2020.1" in alone.problem


@pytest.mark.slow
@needs_dask
@pytest.mark.usefixtures("local_workers")
def test_a_host_that_measures_is_busy_at_once(start_fleet, measuring, net, tmp_path):
    measuring.delay_s = 60
    fleet = start_fleet()
    fleet.join("a")
    swept = threading.Thread(
        target=lambda: verbs.sweep(
            [net], out=tmp_path / "s", fleet=fleet.address, rounds=3, starts=False, wait_s=0.1
        )
    )
    swept.start()
    try:
        while not measuring.requests:
            assert swept.is_alive()
            time.sleep(0.01)
        (row,) = verbs.status(fleet.address)
        assert (row.busy, row.devices) == (True, ())  # not asked, so that it is not disturbed
    finally:
        measuring.delay_s = 0.0
        HOSTS["a"].close()  # ends the measurement
        swept.join(60)


@pytest.mark.slow
@needs_dask
def test_down_ends_workers_and_scheduler(start_fleet, monkeypatch):
    from ovtool.fleet import client

    fleet = start_fleet()
    fleet.join("a")
    assert verbs.down(fleet.address) == 1
    monkeypatch.setattr(client, "CONNECT_S", 0.5)
    with pytest.raises(MissingError):
        verbs.status(fleet.address)


@pytest.mark.parametrize("name", ["../a", "a b", "nul"])
@needs_dask
def test_a_worker_needs_a_name_that_is_a_folder(tmp_path, name):
    with pytest.raises(InputError):
        verbs.worker("127.0.0.1:1", name=name, cache=tmp_path)


@needs_dask
def test_a_name_in_use_is_refused(start_fleet, tmp_path):
    fleet = start_fleet()
    fleet.join("a")
    with pytest.raises(InputError, match="name"):
        verbs.worker(fleet.address, name="a", cache=tmp_path / "other", attempts=1)
    assert [w.name for w in fleet.scheduler.workers.values()] == ["a"]


@needs_dask
def test_a_worker_gives_up_after_its_attempts(tmp_path, monkeypatch):
    from ovtool.fleet import serving

    monkeypatch.setattr(serving, "CONNECT_S", 0.3)
    with pytest.raises(InputError, match=r"127\.0\.0\.1:1"):
        verbs.worker("127.0.0.1:1", name="a", cache=tmp_path, attempts=1)


def test_the_hosts_file_gives_the_address_and_the_certificates(tmp_path):
    path = tmp_path / "hosts.yaml"
    path.write_text("fleet: 1\nlisten: 10.0.0.5:8786\ncertificates: c\nhosts: {a: {}}\n")
    assert locate(str(path)) == ("10.0.0.5:8786", tmp_path / "c")
    assert locate("127.0.0.1:8786") == ("127.0.0.1:8786", None)
    assert certificates_folder(None, "tls://127.0.0.1:8786") is not None
    assert certificates_folder(None, "10.0.0.5:8786") is not None


@pytest.mark.parametrize("package", ["ovtool", "openvino", "nncf"])
def test_another_version_is_refused_with_the_line_to_run(package):
    own = versions()
    require_same_versions("a", own)
    with pytest.raises(InputError) as caught:
        require_same_versions("a", {**own, package: "0.0"})
    assert caught.value.hint.endswith(f"pip install {package}=={own[package]}")
    if package == "nncf":
        require_same_versions("a", {k: v for k, v in own.items() if k != package})
