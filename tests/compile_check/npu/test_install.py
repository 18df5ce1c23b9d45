"""Installation of the compiler from a scripted package index."""

import json
import zipfile

import pytest

from ovtool.compile_check.npu import install, offline
from ovtool.core import files
from ovtool.core.errors import InputError
from tests.compile_check.npu.fake_installation import LINUX, script


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
    install.install_npu_compiler(offer, force=True)
    assert not mark.exists()


def test_package_with_the_compiler_needs_no_installation(monkeypatch, tmp_path):
    monkeypatch.setattr(offline, "find_native_library", lambda: tmp_path / "compiler.dll")
    with pytest.raises(InputError, match=r"compiler\.dll"):
        install.npu_compiler_offer()


@pytest.mark.slow
def test_failed_download_has_pips_error(tmp_path):
    with pytest.raises(InputError, match="ERROR") as caught:
        install._pip(["download", "--no-index", "-d", str(tmp_path), "no-such-package"], tmp_path)
    assert "pip download" in caught.value.hint
