"""``ovtool deploy``."""

import shutil

import pytest


@pytest.mark.slow
def test_deploy_and_verify(ovtool, deployed, tmp_path):
    words = [deployed.sweep, "--batch", "2", "--data", deployed.images, "--no-latency"]
    ran = ovtool("deploy", *words, "--out", tmp_path / "b")
    assert ran.status == 0, ran.err
    assert f"python -m {deployed.result.package}" in ran.out
    verified = ovtool("deploy", "--verify", tmp_path / "b", "--no-latency", "--json")
    rungs = verified.document["rungs"]
    assert [rung["name"] for rung in rungs if rung["reached"]] == [
        "files", "code", "versions", "device", "properties", "program", "outputs",
    ]  # fmt: skip


@pytest.mark.slow
def test_wrong_use(ovtool, refused, deployed, tmp_path):
    refused("deploy", "--out", tmp_path / "b")
    refused("deploy", deployed.sweep)
    refused("deploy", deployed.sweep, "--verify", deployed.bundle)
    refused("deploy", "--verify", tmp_path / "gone")
    refused("deploy", "--verify", deployed.sweep)
    refused("deploy", deployed.sweep, "--out", deployed.images)
    refused("deploy", deployed.sweep, "--out", tmp_path / "b", "--target", "pyhton")
    refused("deploy", deployed.sweep, "--out", tmp_path / "b", "--max-latency-ms", "1e-6", status=1)


@pytest.mark.slow
def test_a_changed_bundle_is_refused(refused, deployed, tmp_path):
    copy = shutil.copytree(deployed.bundle, tmp_path / "copy")
    (copy / "README.md").write_text("other")
    assert "README.md" in refused("deploy", "--verify", copy).error
