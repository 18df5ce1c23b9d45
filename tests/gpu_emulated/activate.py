"""Runs a command with an emulated Intel GPU for OpenVINO's real GPU plugin.

    python tests/gpu_emulated/activate.py .venv-gpu python -m pytest -m gpu_emulated

``.venv-gpu`` has the packages of ``constraints.txt`` in this folder.  Environment variables set up
the emulation, so the workers of ovtool have the same device.
"""

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("cpu_as_gpu_layer.c")
LAYER = "libcpu_as_gpu_layer.so"
PRELOADED = "libtbb.so.12"
"""Intel's runtime needs symbols that OpenVINO's TBB lacks; the first library with this name in a
process serves both."""


def variables(runtime: Path) -> dict[str, str]:
    """Return the environment variables; build the layer where it is missing or outdated.

    Raises:
        FileNotFoundError: The runtime or a C compiler is not installed.
        subprocess.CalledProcessError: The layer does not compile.
    """
    lib = runtime.resolve() / "lib"
    for name in (PRELOADED, "libintelocl.so", "libOpenCL.so.1"):
        if not (lib / name).exists():
            raise FileNotFoundError(f"{lib / name} is missing: make test-gpu-emulated installs it")
    layer = lib / LAYER
    if not layer.exists() or layer.stat().st_mtime < SOURCE.stat().st_mtime:
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-O2", "-fPIC", "-shared", SOURCE, "-o", layer], check=True)
    return {
        "OCL_ICD_FILENAMES": str(lib / "libintelocl.so"),
        "OPENCL_LAYERS": str(layer),
        "LD_LIBRARY_PATH": _before(str(lib), "LD_LIBRARY_PATH"),
        "LD_PRELOAD": _before(str(lib / PRELOADED), "LD_PRELOAD"),
    }


def active() -> bool:
    """Whether this process has the variables."""
    return LAYER in os.environ.get("OPENCL_LAYERS", "")


def _before(path: str, variable: str) -> str:
    return ":".join(filter(None, (path, os.environ.get(variable))))


if __name__ == "__main__":
    runtime, *command = sys.argv[1:]
    os.execvpe(command[0], command, os.environ | variables(Path(runtime)))
