"""The offline compiler with a script in the place of Wine, and its installing without a network."""

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
    """Puts a loader and a server that write down their calls where Wine is looked for."""
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
    monkeypatch.setattr(offline, "native", lambda: None)
    return put


@pytest.fixture
def installed(wine, tmp_path):
    """An installed compiler, and a model for it."""
    folder = offline.home()
    (folder / "libs").mkdir(parents=True)
    (folder / "libs" / "ovnpu.exe").touch()
    xml = tmp_path / "work" / "model.xml"
    xml.parent.mkdir()
    xml.touch()
    return folder, xml


@LINUX
def test_it_runs_in_the_models_folder_and_its_services_are_ended(wine, installed):
    calls = wine()
    folder, xml = installed
    with offline.compiler("4000") as compiler:
        assert isinstance(compiler, WineCompiler)
        found = compiler.compile(xml, {"PERFORMANCE_HINT": "LATENCY"})
    assert found.compiled
    assert found.estimate_ms == pytest.approx(0.198)
    assert found.blob_bytes == 5
    ran, *ends = calls()
    program = folder / "libs" / "ovnpu.exe"
    told = "PERFORMANCE_HINT LATENCY NPU_PLATFORM 4000 NPU_COMPILER_TYPE PLUGIN"
    assert ran == (
        f"{folder / 'wine'}|-all|LOG_INFO|{xml.parent}|"
        f"{program} compile model.xml compiled.blob NPU {told}"
    )
    assert ends == [f"server {folder / 'wine'} -k", f"server {folder / 'wine'} -w"]


@LINUX
def test_a_hang_is_ended_and_so_are_its_services(wine, installed):
    calls = wine("sleep 600")
    with offline.compiler("4000", timeout_s=1.0) as compiler:
        found = compiler.compile(installed[1], {})
    assert found.timed_out
    assert calls()[-2].endswith("-k")


@LINUX
def test_two_never_use_one_folder_at_once(wine, installed, monkeypatch):
    wine()
    monkeypatch.setattr(offline, "_WAIT_S", 0.1)
    with offline.compiler("4000"), pytest.raises(InputError, match="another ovtool uses"):
        offline.compiler("3720").__enter__()
    with offline.compiler("3720"):
        pass


@LINUX
def test_no_wine_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "_WINE_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="wine64") as caught:
        Wine.found(tmp_path)
    assert caught.value.hint == "apt-get install --no-install-recommends wine64"


def test_another_system_has_no_compiler(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(MissingDependencyError, match="x86-64 Linux through Wine"):
        Wine.found(tmp_path)


class Index:
    """In pip's place: it looks up and downloads a made-up package."""

    def __init__(self, wheel):
        self.wheel, self.calls = wheel, []

    def __call__(self, words, scratch):
        self.calls.append(words)
        if "--report" in words:
            name, _, version = words[-1].partition("==")
            found = {
                "metadata": {
                    "name": name,
                    "version": version or "0.17.0",
                    "license_expression": "Apache-2.0",
                },
                "download_info": {"url": f"file://{self.wheel}"},
            }
            report = scratch / "report.json"
            report.write_text(json.dumps({"install": [found]}))
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
        made = Index(wheel)
        monkeypatch.setattr(install, "_pip", made)
        monkeypatch.setattr(install, "_build", lambda program, *_: program.touch())
        return made

    return make


@LINUX
def test_the_offer_says_what_from_where_how_large_and_under_which_licence(wine, index):
    wine()
    made = index()
    found = install.offer()
    openvino, zig = found.downloads
    version = offline.home().name
    assert openvino.name == f"openvino=={version}"
    assert zig.name == "ziglang==0.17.0"
    assert openvino.licence == "Apache-2.0"
    assert openvino.url == f"file://{made.wheel}"
    assert openvino.size_mib == pytest.approx(made.wheel.stat().st_size / 2**20)
    assert found.target == offline.home()
    assert not found.target.exists()
    assert "win_amd64" in made.calls[0]


@LINUX
def test_a_c_compiler_for_windows_that_is_there_is_used(wine, index, tmp_path):
    wine()
    index()
    mingw = script(tmp_path / "wine" / install.MINGW, "#!/bin/sh\n")
    found = install.offer()
    assert found.compiler == str(mingw)
    assert len(found.downloads) == 1


@LINUX
def test_it_is_installed_whole_and_tried(wine, index):
    calls = wine()
    index()
    folder = install.install(install.offer())
    assert folder == offline.installed() == offline.home()
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
def test_what_does_not_run_leaves_nothing(wine, index):
    wine("echo no such instruction")
    index()
    with pytest.raises(InputError, match="does not run in Wine: no such instruction"):
        install.install(install.offer())
    assert offline.installed() is None
    assert list(offline.home().parent.iterdir()) == []


@LINUX
def test_a_package_without_the_compiler_leaves_nothing(wine, index):
    wine()
    index(names=install.DLLS[:3])
    with pytest.raises(InputError, match=f"has no {install.DLLS[3]}"):
        install.install(install.offer())
    assert offline.installed() is None


@LINUX
def test_it_is_not_installed_over_itself_unless_asked(wine, index):
    wine()
    index()
    offered = install.offer()
    folder = install.install(offered)
    mark = files.write_text(folder / "mark", "old")
    with pytest.raises(InputError, match="already installed"):
        install.install(offered)
    assert mark.exists()
    install.install(offered, replace=True)
    assert not mark.exists()


def test_a_package_that_has_the_compiler_needs_no_installing(monkeypatch, tmp_path):
    monkeypatch.setattr(offline, "native", lambda: tmp_path / "compiler.dll")
    with pytest.raises(InputError, match="nothing to install"):
        install.offer()


def test_a_download_that_fails_says_why(tmp_path):
    with pytest.raises(InputError, match="pip fails: ERROR") as caught:
        install._pip(["download", "--no-index", "-d", str(tmp_path), "no-such-package"], tmp_path)
    assert "pip download" in caught.value.hint
