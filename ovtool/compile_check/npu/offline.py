"""The NPU's compiler without an NPU: OpenVINO's Windows libraries, run by Wine.

The Linux package of OpenVINO has the NPU's plugin and not its compiler; the Windows package has it.
It really compiles for a platform that is not here, and says what latency it expects.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from filelock import FileLock, Timeout

from ovtool.compile_check.compiling import (
    BLOB,
    COMPILE_S,
    INSTALL,
    LOG,
    TOLD,
    LocalCompiler,
    flat,
    read_outcome,
    run_program,
)
from ovtool.core import files
from ovtool.core.errors import InputError, MissingDependencyError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.compile_check.compiling import Compiler, Outcome

PLATFORMS = {"3720": "Meteor Lake", "4000": "Lunar Lake", "5010": "Panther Lake"}
"""NPU platforms and the processors that have them."""
PROGRAM, LOCK, PREFIX = "ovnpu.exe", "in-use.lock", "wine"
LIBRARIES = "libs"
WINE_REMEDY = "apt-get install --no-install-recommends wine64"
END_S = 20.0
"""Longest time that Wine's services may take to end."""
_WAIT_S = 600.0
_WINE_FOLDERS = ("/usr/lib/wine", "/opt/wine-stable/bin", "/usr/lib/x86_64-linux-gnu/wine")
_LIBRARY_NAMES = ("openvino_intel_npu_compiler.dll", "libopenvino_intel_npu_compiler.so")


def named() -> str:
    """Return the platforms as devices are named, with the processors that have them."""
    return ", ".join(f"NPU.{platform} ({name})" for platform, name in PLATFORMS.items())


def home() -> Path:
    """Return the folder for the compiler of the OpenVINO version that is installed."""
    from importlib.metadata import version

    return files.user_folder() / "npu-compiler" / version("openvino")


def installed() -> Path | None:
    """Return the folder of the compiler for Wine; None where it is not installed."""
    folder = home()
    return folder if (folder / LIBRARIES / PROGRAM).is_file() else None


def native() -> Path | None:
    """Return the NPU's compiler library in this OpenVINO package; None where it has none."""
    from importlib.util import find_spec

    spec = find_spec("openvino")
    if spec is None or spec.origin is None:
        return None
    folder = Path(spec.origin).parent / "libs"
    return next((folder / n for n in _LIBRARY_NAMES if (folder / n).is_file()), None)


def compiler(platform: str, timeout_s: float = COMPILE_S) -> Compiler:
    """Return what compiles for an NPU platform that is not here.

    Args:
        platform: One of :data:`PLATFORMS`.
        timeout_s: Longest time of one compile.

    Raises:
        MissingDependencyError: It is not installed.
    """
    if native() is not None:
        by = "the NPU's compiler of this OpenVINO package, without an NPU"
        return LocalCompiler("NPU", by, chosen(platform), timeout_s)
    folder = installed()
    if folder is None:
        raise MissingDependencyError(
            f"NPU.{platform} is not here, and its compiler is not installed", INSTALL
        )
    return WineCompiler(folder, platform, Wine.found(folder / PREFIX), timeout_s)


def chosen(platform: str) -> dict[str, str]:
    """Return the properties that choose a platform and the compiler that needs no driver."""
    return {"NPU_PLATFORM": platform, "NPU_COMPILER_TYPE": "PLUGIN"}


@dataclass(frozen=True, slots=True)
class Wine:
    """Wine's programs, and the folder that stands for a Windows disk."""

    loader: str
    server: str
    prefix: Path

    @classmethod
    def found(cls, prefix: Path) -> Wine:
        """Look for the 64-bit Wine.

        Raises:
            MissingDependencyError: It is not there, or this is no x86-64 Linux.
        """
        if not sys.platform.startswith("linux") or os.uname().machine != "x86_64":
            raise MissingDependencyError(
                "the NPU's compiler runs on x86-64 Windows, or on x86-64 Linux through Wine"
            )
        path = os.pathsep.join((os.environ.get("PATH", ""), *_WINE_FOLDERS))
        loader = shutil.which("wine64", path=path) or shutil.which("wine", path=path)
        server = next(
            (s for n in ("wineserver", "wineserver64") if (s := shutil.which(n, path=path))), None
        )
        if loader is None or server is None:
            raise MissingDependencyError(
                "the NPU's compiler is a Windows library, and wine64, which runs it, is not"
                " installed",
                WINE_REMEDY,
            )
        return cls(loader, server, prefix)

    @property
    def environment(self) -> dict[str, str]:
        """What its programs are told: no log of its own, no search for .NET and a browser."""
        return {
            "WINEPREFIX": str(self.prefix),
            "WINEDEBUG": "-all",
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
        }

    def run(self, words: list[str], log: Path, timeout_s: float, folder: Path) -> int | None:
        """Run a Windows program; see :func:`ovtool.compile_check.compiling.run_program`."""
        told = TOLD | self.environment
        return run_program(
            [self.loader, *words], log, timeout_s=timeout_s, environment=told, folder=folder
        )

    def end(self) -> None:
        """End its services, which would stay for some time."""
        log = self.prefix / "end.log"
        if self.prefix.is_dir():
            for how in ("-k", "-w"):
                run_program([self.server, how], log, timeout_s=END_S, environment=self.environment)


@dataclass(frozen=True, slots=True)
class WineCompiler:
    """The Windows compiler in Wine; one at a time in one folder.

    Args:
        folder: Where it is installed.
        platform: What it compiles for.
        wine: Wine's programs.
        timeout_s: Longest time of one compile.
    """

    folder: Path
    platform: str
    wine: Wine
    timeout_s: float = COMPILE_S
    _lock: list[FileLock] = field(default_factory=list)

    @property
    def by(self) -> str:
        """What compiles, in words."""
        return "the NPU's offline compiler (Windows libraries in Wine), without an NPU"

    def compile(self, xml: Path, properties: Mapping[str, str]) -> Outcome:
        """Compile a saved model; its folder is where the program runs, so paths are plain."""
        told = {**properties, **chosen(self.platform)}
        program = str(self.folder / LIBRARIES / PROGRAM)
        words = [program, "compile", xml.name, BLOB, "NPU", *flat(told)]
        log = xml.with_name(LOG)
        code = self.wine.run(words, log, self.timeout_s, xml.parent)
        return read_outcome(log, xml.with_name(BLOB), code, self.timeout_s)

    def __enter__(self) -> Self:
        """Wait until no other ovtool uses it: ending Wine's services ends its programs.

        Raises:
            InputError: Another one uses it for very long.
        """
        lock = FileLock(self.folder / LOCK)
        try:
            lock.acquire(timeout=_WAIT_S)
        except Timeout as error:
            raise InputError(
                f"another ovtool uses the NPU's compiler in {self.folder}", "try again later"
            ) from error
        self._lock.append(lock)
        return self

    def __exit__(self, *_: object) -> None:
        """End Wine's services."""
        try:
            self.wine.end()
        finally:
            self._lock.pop().release()
