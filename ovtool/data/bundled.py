"""Images that optional packages carry, so that a first try needs no data set and no network.

The packages are found, not imported: they are slow to import and only their files are wanted.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.data.images import ImageItem, readable
from ovtool.data.pixels import WHOLE, Box
from ovtool.errors import InputError, MissingDependencyError
from ovtool.registry import suggestion

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovtool.data.request import Readable, Request

_INSTALL = "pip install 'ovtool[demo]'"
# Real photographs of everyday things; the package also has drawings, masks, text and micrographs.
_PHOTOGRAPHS = (
    "astronaut.png", "brick.png", "camera.png", "chelsea.png", "clock_motion.png", "coffee.png",
    "coins.png", "grass.png", "gravel.png", "motorcycle_left.png", "motorcycle_right.png",
    "rocket.jpg",
)  # fmt: skip
# The whole, the corners and the centre.
_CROPS = (
    WHOLE,
    Box(0.0, 0.0, 0.6, 0.6),
    Box(0.4, 0.0, 1.0, 0.6),
    Box(0.0, 0.4, 0.6, 1.0),
    Box(0.4, 0.4, 1.0, 1.0),
    Box(0.2, 0.2, 0.8, 0.8),
)


def imagenet20() -> Iterator[ImageItem]:
    """Yield the 20 ImageNet images of foolbox, labelled 0..999 (Rauber et al. 2017).

    Too few for accuracy, which takes thousands: good for agreement and for trying things out.
    """
    folder = _folder("foolbox")
    for path in sorted(folder.glob("imagenet_*_*.jpg")):
        if found := re.fullmatch(r"imagenet_\d+_(\d+)", path.stem):
            yield ImageItem(path, int(found[1]))


def photographs() -> Iterator[ImageItem]:
    """Yield 72 unlabelled views of the 12 photographs of scikit-image.

    Each is taken whole, by its four corners and by its centre, always the same, so the views of
    one photograph overlap: good for calibration, not for a figure of quality.
    """
    folder = _folder("skimage")
    for name in _PHOTOGRAPHS:
        if (folder / name).is_file():
            for crop in _CROPS:
                yield ImageItem(folder / name, None, crop)


SAMPLES = {"imagenet20": imagenet20, "photographs": photographs}


def load(request: Request) -> Readable[ImageItem]:
    """Return the images of ``sample:NAME``.

    Raises:
        InputError: There is no sample of that name.
        MissingDependencyError: Its package is not installed, or does not carry the images.
    """
    name = request.reference.partition(":")[2]
    if name not in SAMPLES:
        raise InputError(f"unknown sample {name!r}", suggestion(name, dict(SAMPLES)))
    items = list(SAMPLES[name]())
    if not items:
        raise MissingDependencyError(
            f"the images of sample:{name} are not in the installed package", _INSTALL
        )
    return readable(request, items)


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError(
            f"this sample needs the package {package}, which is not installed", _INSTALL
        )
    return Path(next(iter(spec.submodule_search_locations))) / "data"
