"""From a sweep with estimates to a choice; a script replaces the compiler."""

import pytest

from ovtool.compile_check import compile_check
from ovtool.compile_check.npu import offline
from ovtool.core.notes import NOTES
from tests.compile_check.test_compile_check import Scripted, good

pytestmark = pytest.mark.usefixtures("local_workers")

ESTIMATES = ("--device", "NPU.3720,NPU.4000", "--batch", "1,2", "--hint", "latency")


@pytest.fixture
def estimated(ovtool, small, tmp_path, monkeypatch):
    """A sweep of two platforms, and its output."""
    monkeypatch.setattr(compile_check, "select_compiler", lambda *_: Scripted(good))
    out = tmp_path / "s"
    return out, ovtool("sweep", small.folder, *ESTIMATES, "--with-estimates", "--out", out)


@pytest.mark.slow
def test_a_sweep_marks_its_estimates(estimated):
    _, ran = estimated
    assert ran.status == 0, ran.err
    assert "1/4 small NPU.3720 batch 1 latency (estimate): 0.322 ms" in ran.err
    assert "estimate 0.322" in ran.out
    assert "NPU.4000" in ran.out
    assert "0 measured, 4 estimated" in ran.out


@pytest.mark.slow
def test_choose_leaves_estimates_out_unless_allowed(ovtool, estimated):
    out, _ = estimated
    refused = ovtool("choose", out, "--objective", "latency")
    assert refused.status == 4
    error, hint = refused.errors
    assert all(part in error for part in ("4", "NPU.3720", "NPU.4000"))
    assert "--allow-estimates" in hint
    ran = ovtool("choose", out, "--objective", "latency", "--allow-estimates")
    assert ran.status == 0
    assert "small on NPU.3720 (estimate) in default, batch 1" in ran.out
    assert "ESTIMATE" in ran.out
    explained = ovtool("choose", out, "--objective", "latency", "--allow-estimates", "--explain")
    assert f"warning: {NOTES['winner-estimated'][0]}" in explained.err


@pytest.mark.slow
def test_a_report_with_estimates(ovtool, estimated, tmp_path):
    out, _ = estimated
    written = ovtool("report", out, "--out", tmp_path / "r", "--json").document
    assert [path.rpartition("/")[2] for path in written["charts"]] == [
        "latency-estimates.svg",
        "latency-estimates.png",
    ]
    drawn = (tmp_path / "r" / "charts" / "latency-estimates.svg").read_text()
    assert "estimate 0.322, batch 1" in drawn


def test_a_platform_without_compiler_is_refused_with_the_install_command(
    refused, small, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(offline, "find_native_library", lambda: None)
    arguments = ("--with-estimates", "--device", "NPU.4000", "--out", tmp_path / "s")
    refusal = refused("sweep", small.folder, *arguments, status=3)
    assert "NPU.4000" in refusal.error
    assert "ovtool devices --install-npu-compiler" in refusal.text


def test_an_unknown_platform_is_named(refused, small, tmp_path):
    arguments = ("--with-estimates", "--device", "CPU,NPU.1234", "--out", tmp_path / "s")
    assert "'1234'" in refused("sweep", small.folder, *arguments).error


@pytest.mark.slow
def test_a_recipe_with_estimates(ovtool, small, tmp_path, monkeypatch):
    monkeypatch.setattr(compile_check, "select_compiler", lambda *_: Scripted(good))
    (tmp_path / "r.yaml").write_text(
        f"recipe: 1\nname: x\nmodel: {{source: {small.xml}}}\nvariants: {{a: {{}}}}\n"
        "sweep: {devices: [NPU.4000], with_estimates: true, hints: [latency]}\n"
        "choose: {objective: latency, allow_estimates: true}\n"
    )
    ran = ovtool("run", tmp_path / "r.yaml", "--out", tmp_path / "out")
    assert ran.status == 0, ran.err
    assert "a on NPU.4000 (estimate)" in ran.out
