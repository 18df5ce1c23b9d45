"""``verify_bundle`` on whole bundles: what runs, and what is refused after the files fit."""

import json
from dataclasses import replace

import numpy as np
import pytest

from ovtool import api
from ovtool.core.errors import InputError, LimitNotMetError, MissingDeviceError, OvtoolError
from ovtool.deploy import verification
from ovtool.deploy.manifest import read_manifest
from ovtool.deploy.python_program import ProgramRun
from ovtool.deploy.stored_samples import read_arrays, write_arrays
from ovtool.deploy.targets import TARGETS
from ovtool.deploy.verification import VERIFICATION, verify_bundle
from tests.helpers.bundles import QUICK, read_document, seal

pytestmark = pytest.mark.usefixtures("local_workers")


def other_packages(copy, name, version):
    packages = read_document(copy)["packages"]
    return [p | ({"version": version} if p["name"] == name else {}) for p in packages]


@pytest.fixture
def described(copy, monkeypatch):
    """What the bundle's program would say: the tests of versions and devices run none."""
    manifest, arrays = read_manifest(copy), read_arrays(copy / "samples/outputs.npz")

    def run(folder, manifest, device, scratch):
        write_arrays(scratch / "outputs.npz", arrays)
        return ProgramRun(scratch / "outputs.npz", {"properties": dict(manifest.properties)})

    monkeypatch.setattr(TARGETS["python"], "run", run)
    return manifest


@pytest.mark.slow
def test_a_bundle_is_verified_again(copy):
    settings = api.MeasurementSettings(**QUICK)
    verified = verify_bundle(copy, settings=settings)
    assert [r.name for r in verified.rungs][-2:] == ["outputs", "latency"]
    assert all(rung.reached for rung in verified.rungs[:-1])
    assert verified.difference <= verified.tolerance
    stored = json.loads((copy / VERIFICATION).read_text())
    assert stored["finished"] == verified.finished
    assert [r["name"] for r in stored["rungs"]] == [r.name for r in verified.rungs]


@pytest.mark.parametrize("name", ["openvino", "numpy"])
def test_another_version_is_refused_unless_allowed(copy, described, name):
    seal(copy, packages=other_packages(copy, name, "1.2.3"))
    with pytest.raises(InputError, match=r"1\.2\.3"):
        verify_bundle(copy, latency=False)
    verified = verify_bundle(copy, latency=False, allow_other_version=True)
    rungs = {rung.name: rung.reached for rung in verified.rungs}
    assert not rungs.pop("versions")
    assert all(rungs.values())


def test_another_device_is_refused_unless_allowed(copy, described):
    requires = read_document(copy)["requires"] | {"full_name": "Another CPU"}
    seal(copy, requires=requires)
    with pytest.raises(InputError, match="Another CPU"):
        verify_bundle(copy, latency=False)
    verified = verify_bundle(copy, latency=False, allow_other_device=True)
    assert [rung.name for rung in verified.rungs if not rung.reached] == ["device"]


def test_a_device_by_another_name(copy, described):
    with pytest.raises(InputError, match="AUTO:CPU"):
        verify_bundle(copy, device="AUTO:CPU", latency=False)
    with pytest.raises(MissingDeviceError):
        verify_bundle(copy, device="NPU", latency=False)


def test_a_virtual_device_has_the_names_of_its_members():
    cpu = verification.device_full_name("CPU")
    assert verification.device_full_name("AUTO:CPU") == f"CPU {cpu}"
    assert cpu in verification.device_full_name("AUTO")


def test_other_outputs_are_a_limit_that_is_not_met(copy, described):
    path = copy / "samples/outputs.npz"
    arrays = read_arrays(path)
    change = np.float32(0.02 * np.abs(arrays["scores"]).max())
    write_arrays(path, {"scores": arrays["scores"] + change})
    seal(copy)
    with pytest.raises(LimitNotMetError):
        verify_bundle(copy, latency=False)


@pytest.mark.parametrize(
    "arrays",
    [{}, {"scores": np.zeros((3, 10))}, {"scores": np.zeros((4, 9))}, {"x": np.zeros((4, 10))},
     {"scores": np.full((4, 10), np.nan)}],
)  # fmt: skip
def test_stored_outputs_of_another_form(copy, described, arrays):
    write_arrays(copy / "samples/outputs.npz", arrays)
    seal(copy)
    with pytest.raises(OvtoolError) as caught:
        verify_bundle(copy, latency=False)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"no archive"])
def test_stored_outputs_that_are_no_archive(copy, described, content):
    (copy / "samples/outputs.npz").write_bytes(content)
    seal(copy)
    with pytest.raises(InputError):
        verify_bundle(copy, latency=False)


def test_the_compiled_model_must_report_the_properties(copy, described, monkeypatch):
    check = verification._check_properties
    assert check(described, {"properties": {"PERFORMANCE_HINT": "latency"}}).reached
    assert check(described, {"properties": {"PERFORMANCE_HINT": None}}).reached
    with pytest.raises(InputError, match="PERFORMANCE_HINT"):
        check(described, {"properties": {"PERFORMANCE_HINT": "THROUGHPUT"}})


@pytest.mark.parametrize(
    "changes",
    [
        {"properties": {"PERFORMANCE_HNT": "LATENCY"}},
        {"properties": {"PERFORMANCE_HINT": "LATENZ"}},
        {"properties": {"NUM_STREAMS": "many"}},
    ],
    ids=str,
)
@pytest.mark.slow
def test_a_property_that_the_device_does_not_know(copy, changes):
    """The texts and hashes fit: only compiling shows it."""
    seal(copy, **changes)
    with pytest.raises(InputError) as caught:
        verify_bundle(copy, latency=False)
    assert len(str(caught.value).splitlines()) == 1
    assert "Traceback" not in str(caught.value)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_a_graph_that_is_none(copy, name):
    (copy / "tiny_net" / name).write_bytes(b"<net>")
    seal(copy)
    with pytest.raises(InputError) as caught:
        verify_bundle(copy, latency=False)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.slow
def test_a_graph_with_other_weights(copy):
    weights = copy / "tiny_net/model.bin"
    values = np.frombuffer(weights.read_bytes(), np.float32)
    kernels = (np.abs(values) > 1e-4) & (np.abs(values) < 2)  # others are shapes, mean and scale
    weights.write_bytes(np.where(kernels, values * np.float32(1.5), values).tobytes())
    seal(copy)
    with pytest.raises(LimitNotMetError):
        verify_bundle(copy, latency=False)


def test_a_folder_that_is_read_only_is_verified(copy, described, monkeypatch):
    monkeypatch.setattr(
        verification.files, "claim_files", lambda *_: (_ for _ in ()).throw(InputError("read-only"))
    )
    assert verify_bundle(copy, latency=False).rungs[-1].name == "outputs"


def test_the_latency_says_how_far_it_is(deployed):
    from ovtool.deploy.latency import compare_latency

    manifest = read_manifest(deployed.bundle)
    figures = manifest.row.figures | {
        "latency_p50_ms": 10.0, "latency_p50_ms_ci_low": 9.0, "latency_p50_ms_ci_high": 11.0,
    }  # fmt: skip
    row = manifest.row.model_copy(update={"figures": figures, "machine": "here"})
    manifest = manifest.model_copy(update={"row": row})

    def measured(value, low, high):
        from ovtool.core.measurement import Measurement

        named = {"latency_p50_ms": value, "latency_p50_ms_ci_low": low,
                 "latency_p50_ms_ci_high": high, "others_cpu_pct": 40.0}  # fmt: skip
        return Measurement(manifest.trial, "e", "ok", verdict="contended", figures=named)

    inside = compare_latency(manifest, measured(10.5, 10.0, 12.5), "here")
    assert inside.inside
    assert compare_latency(manifest, measured(5.0, 4.0, 6.0), "here").inside
    slower = compare_latency(manifest, measured(15.0, 14.0, 16.0), "here")
    assert not slower.inside
    assert "+50.0%" in slower.text
    assert "contended" in slower.text
    assert "40" in slower.text
    elsewhere = compare_latency(manifest, measured(10.5, 10.0, 12.5), "there")
    assert not elsewhere.inside
    nothing = replace(measured(1.0, 1.0, 1.0), figures={})
    assert not compare_latency(manifest, nothing, "here").inside
