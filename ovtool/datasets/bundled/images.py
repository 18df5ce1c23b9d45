"""Data that packages carry, so that a first try needs no data set and no network.

The packages are found, not imported: they are slow to import and only their files are wanted.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ovtool.core.errors import MissingDependencyError
from ovtool.core.registry import Entry, Registry, package_folder
from ovtool.datasets.images import ImageItem, readable
from ovtool.datasets.pixels import WHOLE, Box

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.datasets.request import Readable, Request
    from ovtool.datasets.samples import Samples

EXTRA = "demo"
SAMPLES = Registry(
    "sample",
    {
        "imagenet20": Entry(
            "ovtool.datasets.bundled.images:imagenet20",
            "20 ImageNet images, labelled 0..999",
            EXTRA,
        ),
        "photographs": Entry(
            "ovtool.datasets.bundled.images:photographs",
            "72 views of 12 photographs, unlabelled",
            EXTRA,
        ),
        "digits-train": Entry(
            "ovtool.datasets.bundled.digits:load", "8,000 digits of MNIST, labelled 0..9"
        ),
        "digits-calibration": Entry("ovtool.datasets.bundled.digits:load", "500 of digits-train"),
        "digits-validation": Entry("ovtool.datasets.bundled.digits:load", "1,000 other digits"),
        "digits-test": Entry("ovtool.datasets.bundled.digits:load", "1,000 other digits"),
        "sentences-train": Entry(
            "ovtool.datasets.bundled.sentences:load",
            "7,568 sentences, labelled 0 or 1",
            "sentences",
        ),
        "sentences-calibration": Entry(
            "ovtool.datasets.bundled.sentences:load", "300 of sentences-train", "sentences"
        ),
        "sentences-validation": Entry(
            "ovtool.datasets.bundled.sentences:load", "1,000 other sentences", "sentences"
        ),
        "sentences-test": Entry(
            "ovtool.datasets.bundled.sentences:load", "2,000 other sentences", "sentences"
        ),
        "text-lines-calibration": Entry(
            "ovtool.datasets.bundled.text_lines:load",
            "200 rendered lines, labelled with their texts",
        ),
        "text-lines-validation": Entry(
            "ovtool.datasets.bundled.text_lines:load", "200 other lines"
        ),
        "text-lines-test": Entry("ovtool.datasets.bundled.text_lines:load", "300 other lines"),
    },
)
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


def load(request: Request) -> Samples:
    """Return the samples of ``sample:NAME``.

    Raises:
        InputError: There is no sample of that name.
        MissingDependencyError: Its package is not installed, or does not carry the data.
    """
    samples: Samples = SAMPLES.load(request.reference.partition(":")[2])(request)
    return samples


def imagenet20(request: Request) -> Readable[ImageItem]:
    """Return the 20 ImageNet images of foolbox, labelled 0..999 (Rauber et al. 2017).

    Too few for accuracy, which takes thousands: good for agreement and for trying things out.
    """
    named = re.compile(r"imagenet_\d+_(\d+)")
    paths = sorted(_folder(request, "foolbox").glob("imagenet_*_*.jpg"))
    found = ((path, named.fullmatch(path.stem)) for path in paths)
    items = [ImageItem(path, int(match[1])) for path, match in found if match]
    return _readable(request, items)


def photographs(request: Request) -> Readable[ImageItem]:
    """Return 72 unlabelled views of the 12 photographs of scikit-image.

    Each is taken whole, by its four corners and by its centre, always the same, so the views of
    one photograph overlap: good for calibration, not for a figure of quality.
    """
    folder = _folder(request, "skimage")
    there = [folder / name for name in _PHOTOGRAPHS if (folder / name).is_file()]
    return _readable(request, [ImageItem(path, None, crop) for path in there for crop in _CROPS])


def _readable(request: Request, items: list[ImageItem]) -> Readable[ImageItem]:
    if not items:
        raise MissingDependencyError(
            f"the images of {request.reference} are not in the installed package",
            f"pip install 'ovtool[{EXTRA}]'",
        )
    return readable(request, items)


def _folder(request: Request, package: str) -> Path:
    return package_folder(request.reference, package, EXTRA) / "data"
