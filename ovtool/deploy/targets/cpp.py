"""Target ``cpp``: a CMake project that builds against the OpenVINO of the wheel or the system."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.shapes import OPEN
from ovtool.deploy.python_program import SAMPLE_INPUTS, ProgramRun, numpy_name, run_checked
from ovtool.deploy.stored_samples import read_arrays, write_arrays
from ovtool.deploy.targets.target import Rung, Target, samples_text
from ovtool.deploy.texts import REQUIREMENTS, python_image, quoted, requirements, template

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ovtool.deploy.manifest import Manifest

CODE = ("CMakeLists.txt", "main.cpp", "model.hpp")
_PROGRAM = "model_program"
_TYPES = {
    "bf16": "bfloat16", "f16": "float16", "f32": "float32", "f64": "float64", "boolean": "bool",
    "i8": "int8", "i16": "int16", "i32": "int32", "i64": "int64",
    "u8": "uint8", "u16": "uint16", "u32": "uint32", "u64": "uint64",
}  # fmt: skip


class CppTarget(Target):
    """A CMake project, whose program infers raw arrays."""

    name: ClassVar[str] = "cpp"

    def model_folder(self, package: str, *, text: bool) -> str:
        """Return the folder of the model."""
        del package, text
        return "model"

    def texts(self, manifest: Manifest) -> dict[str, str]:
        """Return the project and the measured settings."""
        return {
            **{name: template("cpp_app", name) for name in CODE},
            "config.hpp": _config(manifest),
            REQUIREMENTS: requirements(manifest),
        }

    def about(self, manifest: Manifest) -> str:
        """Return how to build and run the program."""
        inputs = " ".join(f"input{i}.bin" for i in range(len(manifest.inputs)))
        return f"""A C++ project that builds against OpenVINO: that of the wheel, or of the system.

```
pip install -r {REQUIREMENTS}
cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DOpenVINO_DIR=$(python -c \\
  "import openvino, pathlib; print(pathlib.Path(openvino.__file__).parent / 'cmake')")
cmake --build build
build/{_PROGRAM} model . {inputs}
```

`model.hpp` has the class for programs of your own. `main.cpp` reads raw arrays, request after \
request, and writes one file for each output.
"""

    def dockerfile(self, manifest: Manifest) -> str:
        """Return an image whose program ends with its answer, so that it has no health check."""
        major, minor = manifest.requires.python.split(".")[:2]
        packages = f"/usr/local/lib/python{major}.{minor}/site-packages/openvino"
        return f"""FROM {python_image(manifest)} AS build
# hadolint ignore=DL3008
RUN apt-get update \\
    && apt-get install -y --no-install-recommends cmake g++ make \\
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY {REQUIREMENTS} ./
RUN pip install --no-cache-dir -r {REQUIREMENTS}
COPY {" ".join(CODE)} config.hpp ./
RUN cmake -S . -B build -DCMAKE_BUILD_TYPE=Release -DOpenVINO_DIR={packages}/cmake \\
    && cmake --build build

FROM {python_image(manifest)}
COPY --from=build {packages}/libs /opt/openvino
COPY --from=build /src/build/{_PROGRAM} /usr/local/bin/{_PROGRAM}
ENV LD_LIBRARY_PATH=/opt/openvino
WORKDIR /app
COPY model model
USER 10001:10001
HEALTHCHECK NONE
ENTRYPOINT ["{_PROGRAM}", "model"]
"""

    def command(self, manifest: Manifest) -> str:
        """Return how to build the program."""
        del manifest
        return "cmake -S . -B build -DOpenVINO_DIR=... && cmake --build build"

    def run(self, folder: Path, manifest: Manifest, device: str, scratch: Path) -> ProgramRun:
        """Build the program and run it on the stored samples; without CMake, run the model alone.

        Raises:
            InputError: The program does not build or fails.
        """
        if not has_tools() or device != manifest.trial.device:
            return super().run(folder, manifest, device, scratch)
        program = _build(folder, scratch)
        arrays = read_arrays(folder / SAMPLE_INPUTS)
        count, batch = manifest.samples.count, manifest.trial.batch
        paths = []
        for index, port in enumerate(manifest.inputs):
            path = scratch / f"input{index}.bin"
            requests = _requests(arrays[port.name], batch, port.batch_axis)
            path.write_bytes(requests.astype(numpy_name(port)).tobytes())
            paths.append(str(path))
        made = scratch / "outputs"
        made.mkdir()
        libraries = {"PATH": os.pathsep.join([*map(str, _libraries()), os.environ.get("PATH", "")])}
        command = [str(program), str((folder / "model").absolute()), str(made), *paths]
        report = _parse(run_checked(command, _PROGRAM, scratch, libraries))
        if len(report["outputs"]) != len(manifest.outputs):
            raise InputError(f"{_PROGRAM} has other outputs than the bundle")
        outputs: dict[str, NDArray[Any]] = {}
        for index, port in enumerate(manifest.outputs):
            dtype, shape = report["outputs"][index]
            values = np.frombuffer((made / f"{index}.bin").read_bytes(), dtype)
            rows = _rows(values.reshape(-1, *shape), batch, port.batch_axis, count)
            outputs[port.name] = rows
        write_arrays(scratch / "outputs.npz", outputs)
        return ProgramRun(scratch / "outputs.npz", report)

    def program_evidence(self, manifest: Manifest) -> str:
        """Return what ran the stored samples."""
        if not has_tools():
            return super().program_evidence(manifest)
        return f"built with CMake, ran on {samples_text(manifest)}"

    def further_rungs(self, folder: Path, manifest: Manifest, run: ProgramRun) -> Iterator[Rung]:
        """Yield the rung of the build, with the latency that the program itself reports."""
        del folder, manifest
        if (measured := run.description.get("latency_ms")) is None:
            yield Rung("build", None, "needs CMake, a C++ compiler, and the device of the bundle")
        else:
            value, runs = measured
            evidence = f"p50 of the program {units.text(value)} ms, {runs} inferences"
            yield Rung("build", True, evidence)


def has_tools() -> bool:
    """Whether CMake and a C++ compiler are installed."""
    compilers = (os.environ.get("CXX") or "c++", "g++", "clang++", "cl")
    return shutil.which("cmake") is not None and any(map(shutil.which, compilers))


def _config(manifest: Manifest) -> str:
    """Return the header with the measured settings.

    Raises:
        InputError: A dimension is open.
    """
    for port in manifest.inputs:
        if OPEN in port.shape:
            raise InputError(
                f"input {port.name} has open dimensions: target cpp does not support them",
                "choose a row with fixed shapes",
            )
    properties = "".join(
        f"        {{{quoted(name)}, std::string({quoted(value)})}},\n"
        for name, value in manifest.properties.items()
    )
    shapes = "".join(
        f"        {{{', '.join(map(str, port.shape))}}},  // {port.dtype} {_comment(port.name)}\n"
        for port in manifest.inputs
    )
    return f"""// Device, properties and shapes as they were measured.
#pragma once

#include <openvino/openvino.hpp>

#include <string>
#include <vector>

namespace config {{

inline const std::string device = {quoted(manifest.trial.device)};
constexpr int batch = {manifest.trial.batch};
constexpr int requests = {manifest.requests};

inline ov::AnyMap properties() {{
    return {{
{properties}    }};
}}

inline std::vector<std::vector<size_t>> shapes() {{
    return {{
{shapes}    }};
}}

}}  // namespace config
"""


def _comment(text: str) -> str:
    """Return a text that cannot continue a comment on the next line."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "._-:/ ") else "?" for c in text)


def _libraries() -> list[Path]:
    """Return the folders of the libraries of the wheel."""
    import openvino

    return [Path(openvino.__file__).parent / "libs"]


def _build(folder: Path, scratch: Path) -> Path:
    """Build the program of a bundle; return its path.

    Raises:
        InputError: It does not build.
    """
    import openvino

    build, found = scratch / "build", Path(openvino.__file__).parent / "cmake"
    configure = [
        *("cmake", "-S", str(folder.absolute()), "-B", str(build), "-DCMAKE_BUILD_TYPE=Release"),
        f"-DOpenVINO_DIR={found}",
    ]
    run_checked(configure, "cmake", scratch)
    run_checked(["cmake", "--build", str(build), "--config", "Release"], "cmake", scratch)
    names = (build / _PROGRAM, build / "Release" / f"{_PROGRAM}.exe", build / f"{_PROGRAM}.exe")
    return next((path for path in names if path.is_file()), names[0])


def _requests(samples: NDArray[Any], batch: int, axis: int | None) -> NDArray[Any]:
    """Return samples as requests [requests, ...], padded by the last sample."""
    if axis is None:
        return samples[::batch]
    padding = np.repeat(samples[-1:], -len(samples) % batch, axis=0)
    padded = np.concatenate([samples, padding])
    grouped = padded.reshape(-1, batch, *samples.shape[1:])
    return np.moveaxis(grouped, 1, axis + 1)


def _rows(values: NDArray[Any], batch: int, axis: int | None, count: int) -> NDArray[Any]:
    """Return the outputs of requests [requests, ...] as those of samples [samples, ...]."""
    if axis is None or values.shape[axis + 1] % batch:  # the same for all samples of a request
        return np.repeat(values, batch, axis=0)[:count]
    several = values.shape[axis + 1] // batch
    shape = list(values.shape)
    shape[axis + 1 : axis + 2] = [batch, several] if several > 1 else [batch]
    rows = np.moveaxis(values.reshape(shape), axis + 1, 1)
    return rows.reshape(-1, *rows.shape[2:])[:count]


def _parse(printed: str) -> dict[str, Any]:
    """Return what the program reports.

    Raises:
        InputError: It is not such a report.
    """
    outputs: list[tuple[str, list[int]]] = []
    report: dict[str, Any] = {"outputs": outputs, "properties": {}}
    try:
        for line in printed.splitlines():
            kind, _, rest = line.partition(" ")
            words = rest.split(" ")
            if kind == "output":
                outputs.append((_TYPES[words[1]], [int(size) for size in words[2:]]))
            elif kind == "property":
                report["properties"][words[0]] = rest.partition(" ")[2]
            elif kind == "latency_ms":
                report["latency_ms"] = float(words[0]), int(words[1])
    except (IndexError, KeyError, ValueError) as error:
        raise InputError(f"{_PROGRAM} wrote no report") from error
    if "latency_ms" not in report or not outputs:
        raise InputError(f"{_PROGRAM} wrote no report")
    return report
