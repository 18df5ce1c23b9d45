"""The NPU compiler without an NPU: OpenVINO's Windows libraries in Wine.

OpenVINO's Linux package includes the NPU plugin but not its compiler; the Windows package includes
both.  The compiler compiles for any NPU platform and logs a latency estimate.
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

from ovtool.compile_check import compiling
from ovtool.compile_check.compiling import BLOB, COMPILE_S, LocalCompiler
from ovtool.core import places
from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.system.child_process import run_program

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.compile_check.compiling import Compiler, Outcome

PLATFORMS = {"3720": "Meteor Lake", "4000": "Lunar Lake", "5010": "Panther Lake"}
"""NPU platform -> processor family."""
PROGRAM, LOCK, PREFIX = "ovnpu.exe", "in-use.lock", "wine"
LIBRARIES = "libs"
WINE_REMEDY = "apt-get install --no-install-recommends wine64"
END_S = 20.0
"""Time limit for Wine's services to end."""
_WAIT_S = 600.0
_WINE_FOLDERS = ("/usr/lib/wine", "/opt/wine-stable/bin", "/usr/lib/x86_64-linux-gnu/wine")
_LIBRARY_NAMES = ("openvino_intel_npu_compiler.dll", "libopenvino_intel_npu_compiler.so")


def platform_names() -> str:
    """Return the platforms as device names, with their processors."""
    return ", ".join(f"NPU.{platform} ({name})" for platform, name in PLATFORMS.items())


def install_folder() -> Path:
    """Return the folder for the compiler of the installed OpenVINO version."""
    from importlib.metadata import version

    return places.user_folder() / "npu-compiler" / version("openvino")


def npu_compiler_folder() -> Path | None:
    """Return the folder of the compiler for Wine; None where it is not installed."""
    folder = install_folder()
    return folder if (folder / LIBRARIES / PROGRAM).is_file() else None


def find_native_library() -> Path | None:
    """Return the NPU compiler library of this OpenVINO package; None where it is not included."""
    from importlib.util import find_spec

    spec = find_spec("openvino")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "libs"
    return next((folder / n for n in _LIBRARY_NAMES if (folder / n).is_file()), None)


def compiler(platform: str, timeout_s: float = COMPILE_S) -> Compiler:
    """Return the offline compiler for one of the :data:`PLATFORMS`.

    Raises:
        MissingDependencyError: The compiler is not installed.
    """
    if find_native_library() is not None:
        by = "the NPU compiler of this OpenVINO package, without an NPU"
        return LocalCompiler("NPU", by, platform_properties(platform), timeout_s)
    folder = npu_compiler_folder()
    if folder is None:
        raise MissingDependencyError(
            f"no NPU.{platform} on this machine, and the offline compiler is not installed",
            compiling.INSTALL,
        )
    return WineCompiler(folder, platform, Wine.locate(folder / PREFIX), timeout_s)


def platform_properties(platform: str) -> dict[str, str]:
    """Return the properties that select a platform and the compiler that needs no driver."""
    return {"NPU_PLATFORM": platform, "NPU_COMPILER_TYPE": "PLUGIN"}


@dataclass(frozen=True, slots=True)
class Wine:
    """Wine's programs and its prefix, the folder that holds the Windows disk."""

    loader: str
    server: str
    prefix: Path

    @classmethod
    def locate(cls, prefix: Path) -> Wine:
        """Locate the 64-bit Wine.

        Raises:
            MissingDependencyError: Wine is not installed, or this is not x86-64 Linux.
        """
        if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
            raise MissingDependencyError(
                "the NPU compiler requires x86-64 Windows, or x86-64 Linux with Wine"
            )
        path = os.pathsep.join((os.environ.get("PATH", ""), *_WINE_FOLDERS))
        loader = shutil.which("wine64", path=path) or shutil.which("wine", path=path)
        server = next(
            (s for n in ("wineserver", "wineserver64") if (s := shutil.which(n, path=path))), None
        )
        if loader is None or server is None:
            raise MissingDependencyError(
                "the NPU compiler is a Windows library and requires wine64, which is not installed",
                WINE_REMEDY,
            )
        return cls(loader, server, prefix)

    @property
    def environment(self) -> dict[str, str]:
        """Environment of the programs: no Wine log, no .NET, no browser."""
        return {
            "WINEPREFIX": str(self.prefix),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
        }

    def run(self, command: list[str], log: Path, timeout_s: float, folder: Path) -> int | None:
        """Run a Windows program; see :func:`ovtool.system.child_process.run_program`."""
        command, variables = [self.loader, *command], compiling.LOG_ENVIRONMENT | self.environment
        return run_program(command, log, timeout_s=timeout_s, environment=variables, folder=folder)

    def end(self) -> None:
        """Stop Wine's services, which would stay for some time."""
        log = self.prefix / "end.log"
        if self.prefix.is_dir():
            for option in ("-k", "-w"):
                run_program(
                    [self.server, option], log, timeout_s=END_S, environment=self.environment
                )


@dataclass(frozen=True, slots=True)
class WineCompiler:
    """The Windows compiler in Wine; a lock admits one process per folder."""

    folder: Path
    platform: str
    wine: Wine
    timeout_s: float = COMPILE_S
    _lock: list[FileLock] = field(default_factory=list)

    @property
    def by(self) -> str:
        """Description of the compiler."""
        return "the offline NPU compiler (Windows libraries in Wine)"

    def compile(self, xml: Path, properties: Mapping[str, str]) -> Outcome:
        """Compile a saved model; the program runs in its folder, so file names need no path."""
        settings = {**properties, **platform_properties(self.platform)}
        program = str(self.folder / LIBRARIES / PROGRAM)
        command = [program, "compile", xml.name, BLOB, "NPU", *itertools.chain(*settings.items())]
        log = xml.with_name(compiling.LOG)
        code = self.wine.run(command, log, self.timeout_s, xml.parent)
        return compiling.read_outcome(log, xml.with_name(BLOB), code, self.timeout_s)

    def __enter__(self) -> Self:
        """Wait for other ovtool processes: stopping Wine's services stops its programs.

        Raises:
            InputError: Another ovtool process holds the compiler for 10 minutes.
        """
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=_WAIT_S)
        except Timeout as error:
            raise InputError(
                f"another ovtool process uses the NPU compiler in {self.folder}", "try again later"
            ) from error
        self._lock.append(lock)
        return self

    def __exit__(self, *_: object) -> None:
        """Stop Wine's services."""
        try:
            self.wine.end()
        finally:
            self._lock.pop().release()
