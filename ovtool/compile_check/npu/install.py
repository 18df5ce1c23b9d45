"""Installing the NPU's offline compiler, from packages that pip downloads.

Nothing of it is shipped with ovtool: the libraries are taken out of OpenVINO's own Windows package,
of the version that is installed, and the small program that calls them is built here.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.compile_check.compiling import run_program
from ovtool.compile_check.npu import offline
from ovtool.core import files, units
from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.progress import SILENT, Progress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DLLS = (
    "openvino.dll",
    "openvino_c.dll",
    "openvino_ir_frontend.dll",
    "openvino_intel_npu_plugin.dll",
    "openvino_intel_npu_compiler.dll",
    "openvino_intel_npu_compiler_loader.dll",
    "tbb12.dll",
)
ZIG = "ziglang"
MINGW = "x86_64-w64-mingw32-gcc"
PIP_S, BUILD_S, FIRST_S = 1800.0, 600.0, 300.0
"""Longest times of a download, of building the program, and of its first run."""
_LOOK_UP_S = 20.0
_LICENCES = {ZIG: "MIT"}
_ALONE = ("-O0", "-fno-stack-protector", "-fno-sanitize=undefined", "-nostdlib", "-Wl,-e,start")
"""Without a C library, which would have to be compiled first."""


@dataclass(frozen=True, slots=True)
class Download:
    """A package that will be downloaded.

    Args:
        name: With its version.
        url: Where pip finds it.
        size_mib: None where the server does not tell.
        licence: As the package says.
        purpose: What it is for.
    """

    name: str
    url: str
    size_mib: float | None
    licence: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Offer:
    """What installing would do.

    Args:
        target: The folder that it makes.
        downloads: What it downloads.
        compiler: The C compiler that builds the program; empty for the one that is downloaded.
    """

    target: Path
    downloads: tuple[Download, ...]
    compiler: str


def offer() -> Offer:
    """Look up what installing would download.

    Raises:
        MissingDependencyError: Wine or pip is not there, or this is no x86-64 Linux.
        InputError: It needs no installing, or pip does not find the packages.
    """
    there = offline.native()
    if there is not None:
        raise InputError(
            f"nothing to install: this OpenVINO package has the NPU's compiler ({there.name})",
            "ovtool check VARIANT --device NPU.4000",
        )
    offline.Wine.found(Path())
    try:
        metadata.version("pip")
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            "pip, which downloads it, is not in this environment", "python -m ensurepip"
        ) from error
    target = offline.home()
    version = target.name
    mingw = shutil.which(MINGW) or ""
    found = [_looked_up(f"openvino=={version}", _windows(), "the NPU's compiler, for Windows")]
    if not mingw:
        found.append(_looked_up(ZIG, [], "a C compiler, to build a program of 100 lines; not kept"))
    return Offer(target, tuple(found), mingw)


def install(offered: Offer, *, progress: Progress = SILENT, replace: bool = False) -> Path:
    """Download, build and try the compiler; the folder appears whole or not at all.

    Args:
        offered: What :func:`offer` found.
        progress: Told of the stages.
        replace: Whether what is installed is replaced.

    Raises:
        InputError: It is there already, a download fails, or the result does not run.
    """
    if offered.target.exists() and not replace:
        raise InputError(f"already installed: {offered.target}", "--force installs it again")
    with (
        files.new_folder(offered.target, replace) as folder,
        tempfile.TemporaryDirectory(prefix="ovtool-npu-compiler-") as scratch,
    ):
        libraries = folder / offline.LIBRARIES
        libraries.mkdir()
        work = Path(scratch)
        package, *rest = offered.downloads
        progress.start(f"downloading {package.name}")
        _pip(["download", "--no-deps", *_windows(), "-d", str(work), package.name], work)
        _unpack(next(work.glob("*.whl")), libraries)
        progress.start("building the program that calls it")
        _build(libraries / offline.PROGRAM, offered.compiler, [d.name for d in rest], work)
        progress.start("trying it in Wine")
        _try(folder, work)
        progress.close()
    return offered.target


def _windows() -> list[str]:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return ["--platform", "win_amd64", "--python-version", python, "--only-binary=:all:"]


def _looked_up(requirement: str, options: Sequence[str], purpose: str) -> Download:
    """Ask pip where a package is, and the server how large."""
    with tempfile.TemporaryDirectory(prefix="ovtool-npu-compiler-") as scratch:
        report = Path(scratch) / "report.json"
        words = ["install", "--dry-run", "--ignore-installed", "--no-deps", "--target", scratch]
        _pip([*words, "--report", str(report), *options, requirement], Path(scratch))
        found = json.loads(report.read_text("utf-8"))["install"][0]
    told = found["metadata"]
    url = found["download_info"]["url"]
    name = f"{told['name']}=={told['version']}"
    return Download(name, url, _size_mib(url), _licence(told), purpose)


def _licence(told: Mapping[str, Any]) -> str:
    """Return a package's licence: as pip reports it, which older ones do not, or as we know it."""
    reported = told.get("license_expression") or told.get("license")
    if not reported and told["name"] not in _LICENCES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            here = metadata.metadata(told["name"])  # another system's build of the same version
            keys = (key for key in ("License-Expression", "License") if key in here)
            reported = next((here[key] for key in keys), None)
    licence = str(reported or _LICENCES.get(told["name"], "not told"))
    return licence.partition("\n")[0][:80]


def _size_mib(url: str) -> float | None:
    if not url.startswith(("http://", "https://")):
        path = Path(url.removeprefix("file://"))
        return units.mib(path.stat().st_size) if path.is_file() else None
    try:
        asked = urllib.request.Request(url, method="HEAD")  # noqa: S310 - http, as seen above
        with urllib.request.urlopen(asked, timeout=_LOOK_UP_S) as answer:  # noqa: S310
            length = answer.headers.get("Content-Length")
    except OSError:
        return None
    return units.mib(int(length)) if length else None


def _pip(words: Sequence[str], scratch: Path) -> None:
    """Run pip.

    Raises:
        InputError: It fails; the message has its last line.
    """
    log = scratch / "pip.log"
    quiet = ["--disable-pip-version-check", "--no-input", "--quiet"]
    command = [sys.executable, "-m", "pip", words[0], *quiet, *words[1:]]
    _checked(command, log, PIP_S, "pip fails", {})


def _checked(
    words: Sequence[str], log: Path, timeout_s: float, what: str, environment: dict[str, str]
) -> None:
    code = run_program(words, log, timeout_s=timeout_s, environment=environment)
    if code != 0:
        lines = [line for line in log.read_text("utf-8", "replace").splitlines() if line.strip()]
        why = "it took too long" if code is None else (lines[-1].strip()[:300] if lines else code)
        raise InputError(f"{what}: {why}", f"the command was: {' '.join(words)}")


def _unpack(wheel: Path, libraries: Path) -> None:
    """Take the libraries and the licences out of OpenVINO's package.

    Raises:
        InputError: A library is not in it.
    """
    with zipfile.ZipFile(wheel) as package:
        by_name = {name.rpartition("/")[2]: name for name in package.namelist()}
        for name in DLLS:
            if name not in by_name:
                raise InputError(f"{wheel.name} has no {name}", "try another OpenVINO version")
            _extract(package, by_name[name], libraries / name)
        for path in package.namelist():
            _, inside, rest = path.partition(".dist-info/licenses/")
            if inside and rest and not rest.endswith("/"):
                _extract(package, path, libraries / "licenses" / Path(rest).name)


def _extract(package: zipfile.ZipFile, name: str, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    with package.open(name) as source, target.open("wb") as stream:
        shutil.copyfileobj(source, stream)


def _build(program: Path, compiler: str, packages: Sequence[str], work: Path) -> None:
    """Build the program that calls the libraries, for Windows."""
    words, environment = [compiler], {}
    if not compiler:
        tools = work / "tools"
        _pip(["install", "--no-deps", "--target", str(tools), *packages], work)
        words = [sys.executable, "-m", ZIG, "cc", "-target", "x86_64-windows-gnu"]
        environment = {
            "PYTHONPATH": str(tools),
            "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(work / "zig"),
        }
    with resources.as_file(resources.files("ovtool.compile_check.npu") / "ovnpu.c") as source:
        words += [*_ALONE, "-o", str(program), str(source), "-lkernel32"]
        _checked(words, work / "build.log", BUILD_S, "the C compiler fails", environment)
    for leftover in program.parent.glob("*.pdb"):
        leftover.unlink()


def _try(folder: Path, work: Path) -> None:
    """Run the program once, which also makes Wine's folder.

    Raises:
        InputError: It does not answer with OpenVINO's version.
    """
    wine = offline.Wine.found(folder / offline.PREFIX)
    log = work / "try.log"
    program = str(folder / offline.LIBRARIES / offline.PROGRAM)
    try:
        wine.run([program, "version"], log, FIRST_S, work)
    finally:
        wine.end()
    said = log.read_text("utf-8", "replace")
    if "@version " not in said:
        last = said.strip().rpartition("\n")[2][:300]
        raise InputError(f"the compiler does not run in Wine: {last or 'it says nothing'}")
