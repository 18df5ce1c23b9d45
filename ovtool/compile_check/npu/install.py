"""Installs the offline NPU compiler from packages that pip downloads.

ovtool ships no part of the compiler: the libraries come from OpenVINO's Windows package of the
installed version, and the program that calls them, ``ovnpu.c``, is compiled on this machine.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
import urllib.request
import zipfile
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.compile_check.npu import offline
from ovtool.core import files, temporary, units
from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.terminal import shows_progress
from ovtool.system.child_process import run_program

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

DLLS = (
    "openvino.dll", "openvino_c.dll", "openvino_ir_frontend.dll", "openvino_intel_npu_plugin.dll",
    "openvino_intel_npu_compiler.dll", "openvino_intel_npu_compiler_loader.dll", "tbb12.dll",
)  # fmt: skip
ZIG = "ziglang"
MINGW = "x86_64-w64-mingw32-gcc"
PIP_S, BUILD_S, FIRST_S = 1800.0, 600.0, 300.0
"""Time limits of a download, of the build, and of the first run."""
_LOOK_UP_S = 20.0
_LICENSES = {ZIG: "MIT"}
_NO_C_LIBRARY = (
    "-O0", "-fno-stack-protector", "-fno-sanitize=undefined", "-nostdlib", "-Wl,-e,start",
)  # fmt: skip
"""Compiler options for a program without a C library, which takes minutes to build."""


@dataclass(frozen=True, slots=True)
class Download:
    """A package to download; the size is None where the server does not report it."""

    name: str
    url: str
    size_mib: float | None
    license: str
    purpose: str


@dataclass(frozen=True, slots=True)
class Offer:
    """The installation steps, for the user's consent.

    ``compiler`` is the installed C compiler for the program; empty for a downloaded one.
    """

    target: Path
    downloads: tuple[Download, ...]
    compiler: str


def npu_compiler_offer() -> Offer:
    """Look up the packages of :func:`install_npu_compiler`, their sources and sizes.

    Raises:
        MissingDependencyError: Wine or pip is missing, or this is not x86-64 Linux.
        InputError: Nothing needs to be installed, or pip does not find the packages.
    """
    library = offline.find_native_library()
    if library is not None:
        raise InputError(
            f"nothing to install: this OpenVINO package includes the NPU compiler ({library.name})",
            "ovtool check VARIANT --device NPU.4000",
        )
    offline.Wine.locate(Path())
    try:
        metadata.version("pip")
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            "pip is not installed in this environment", "python -m ensurepip"
        ) from error
    target = offline.install_folder()
    version = target.name
    mingw = shutil.which(MINGW) or ""
    purpose = "the NPU compiler for Windows"
    downloads = [_look_up(f"openvino=={version}", _windows_options(), purpose)]
    if not mingw:
        downloads.append(_look_up(ZIG, [], "a C compiler for one small program; not kept"))
    return Offer(target, tuple(downloads), mingw)


@shows_progress()
def install_npu_compiler(offer: Offer, *, progress: Progress = SILENT, force: bool = False) -> Path:
    """Download, build and test the compiler; a failure leaves no folder.

    Raises:
        InputError: The compiler is already installed, a download fails, or the result does not run.
    """
    if offer.target.exists() and not force:
        raise InputError(f"already installed: {offer.target}", "--force replaces it")
    with (
        files.new_folder(offer.target, force, exclusive=True) as folder,
        temporary.scratch_folder("npu-compiler") as work,
    ):
        libraries = folder / offline.LIBRARIES
        libraries.mkdir()
        package, *rest = offer.downloads
        progress.start(f"downloading {package.name}")
        _pip(["download", "--no-deps", *_windows_options(), "-d", str(work), package.name], work)
        _unpack(next(work.glob("*.whl")), libraries)
        progress.start("building the program that calls the compiler")
        _build(libraries / offline.PROGRAM, offer.compiler, [d.name for d in rest], work)
        progress.start("testing the compiler in Wine")
        _test(folder, work)
        progress.close()
    return offer.target


def _windows_options() -> list[str]:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return ["--platform", "win_amd64", "--python-version", python, "--only-binary=:all:"]


def _look_up(requirement: str, options: Sequence[str], purpose: str) -> Download:
    with temporary.scratch_folder("npu-compiler") as scratch:
        report = scratch / "report.json"
        command = ["install", "--dry-run", "--ignore-installed", "--no-deps"]
        command += ["--target", str(scratch), "--report", str(report)]
        _pip([*command, *options, requirement], scratch)
        package = json.loads(report.read_text("utf-8"))["install"][0]
    metadata_fields, url = package["metadata"], package["download_info"]["url"]
    name = f"{metadata_fields['name']}=={metadata_fields['version']}"
    return Download(name, url, _size_mib(url), _license(metadata_fields), purpose)


def _license(fields: Mapping[str, Any]) -> str:
    """Return a license as pip reports it; older versions of pip do not."""
    reported = fields.get("license_expression") or fields.get("license")
    if not reported and fields["name"] not in _LICENSES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            local = metadata.metadata(fields["name"])  # this system's build of the same version
            keys = (key for key in ("License-Expression", "License") if key in local)
            reported = next((local[key] for key in keys), None)
    name = str(reported or _LICENSES.get(fields["name"], "unknown"))
    return name.partition("\n")[0][:80]


def _size_mib(url: str) -> float | None:
    if not url.startswith(("http://", "https://")):
        path = Path(url.removeprefix("file://"))
        return units.mib(path.stat().st_size) if path.is_file() else None
    try:
        request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - http, checked above
        with urllib.request.urlopen(request, timeout=_LOOK_UP_S) as response:  # noqa: S310
            length = response.headers.get("Content-Length")
    except OSError:
        return None
    return units.mib(int(length)) if length else None


def _pip(arguments: Sequence[str], scratch: Path) -> None:
    log = scratch / "pip.log"
    quiet = ["--disable-pip-version-check", "--no-input", "--quiet"]
    command = [sys.executable, "-m", "pip", arguments[0], *quiet, *arguments[1:]]
    _run_checked(command, log, PIP_S, "pip fails", {})


def _run_checked(
    command: Sequence[str], log: Path, timeout_s: float, problem: str, environment: dict[str, str]
) -> None:
    code = run_program(command, log, timeout_s=timeout_s, environment=environment)
    if code != 0:
        reason = "time limit exceeded" if code is None else _last_line(log) or f"exit code {code}"
        raise InputError(f"{problem}: {reason}", f"the command was: {' '.join(command)}")


def _last_line(log: Path) -> str:
    return log.read_text("utf-8", "replace").strip().rpartition("\n")[2][:300]


def _unpack(wheel: Path, libraries: Path) -> None:
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
    command, environment = [compiler], {}
    if not compiler:
        tools = work / "tools"
        _pip(["install", "--no-deps", "--target", str(tools), *packages], work)
        command = [sys.executable, "-m", ZIG, "cc", "-target", "x86_64-windows-gnu"]
        environment = {
            "PYTHONPATH": str(tools),
            "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"),
            "ZIG_LOCAL_CACHE_DIR": str(work / "zig"),
        }
    with resources.as_file(resources.files("ovtool.compile_check.npu") / "ovnpu.c") as source:
        command += [*_NO_C_LIBRARY, "-o", str(program), str(source), "-lkernel32"]
        _run_checked(command, work / "build.log", BUILD_S, "the C compiler fails", environment)
    for leftover in program.parent.glob("*.pdb"):
        leftover.unlink()


def _test(folder: Path, work: Path) -> None:
    """Run the program once, which also creates Wine's prefix."""
    wine = offline.Wine.locate(folder / offline.PREFIX)
    log = work / "test.log"
    program = str(folder / offline.LIBRARIES / offline.PROGRAM)
    try:
        wine.run([program, "version"], log, FIRST_S, work)
    finally:
        wine.end()
    if "@version " not in log.read_text("utf-8", "replace"):
        raise InputError(f"the compiler does not run in Wine: {_last_line(log) or 'no output'}")
