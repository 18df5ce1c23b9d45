"""The offline compiler with a script in place of Wine, and its installation without a network."""

import sys

import pytest

from ovtool.compile_check.npu import offline
from ovtool.compile_check.npu.offline import Wine, WineCompiler
from ovtool.core.errors import InputError, MissingDependencyError
from tests.compile_check.npu.fake_installation import LINUX


@pytest.fixture
def installed(wine, tmp_path):
    """An installed compiler, and a model for it."""
    folder = offline.install_folder()
    (folder / "libs").mkdir(parents=True)
    (folder / "libs" / "ovnpu.exe").touch()
    xml = tmp_path / "work" / "model.xml"
    xml.parent.mkdir()
    xml.touch()
    return folder, xml


@LINUX
def test_compiler_runs_in_the_models_folder_and_its_services_are_stopped(wine, installed):
    calls = wine()
    folder, xml = installed
    with offline.compiler("4000") as compiler:
        assert isinstance(compiler, WineCompiler)
        result = compiler.compile(xml, {"PERFORMANCE_HINT": "LATENCY"})
    assert result.compiled
    assert result.estimate_ms == pytest.approx(0.198)
    assert result.blob_bytes == 5
    ran, *ends = calls()
    program = folder / "libs" / "ovnpu.exe"
    properties = "PERFORMANCE_HINT LATENCY NPU_PLATFORM 4000 NPU_COMPILER_TYPE PLUGIN"
    assert ran == (
        f"{folder / 'wine'}|-all|LOG_INFO|{xml.parent}|"
        f"{program} compile model.xml compiled.blob NPU {properties}"
    )
    assert ends == [f"server {folder / 'wine'} -k", f"server {folder / 'wine'} -w"]


@pytest.mark.slow
@LINUX
def test_hang_is_killed_and_services_are_stopped(wine, installed):
    calls = wine("sleep 600")
    with offline.compiler("4000", timeout_s=1.0) as compiler:
        result = compiler.compile(installed[1], {})
    assert result.failure == "timeout"
    assert calls()[-2].endswith("-k")


@LINUX
def test_two_processes_never_share_a_folder(wine, installed, monkeypatch):
    wine()
    monkeypatch.setattr(offline, "_WAIT_S", 0.1)
    with offline.compiler("4000"), pytest.raises(InputError, match="npu-compiler"):
        offline.compiler("3720").__enter__()
    with offline.compiler("3720"):
        pass


@LINUX
def test_missing_wine_suggests_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "_WINE_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="wine64") as caught:
        Wine.locate(tmp_path)
    assert caught.value.hint == "apt-get install --no-install-recommends wine64"


def test_other_system_is_not_supported(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(MissingDependencyError, match="x86-64 Linux"):
        Wine.locate(tmp_path)
