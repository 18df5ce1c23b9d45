"""Registry of bundled datasets, and those of images.

The packages are located, not imported: only their files are needed, and imports are slow.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ovtool.core.errors import MissingDependencyError
from ovtool.core.registry import Entry, Registry, package_folder
from ovtool.datasets.image_transform import WHOLE_IMAGE, Box
from ovtool.datasets.images import ImageItem, image_samples

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.datasets.samples import LazySamples, LoadRequest, Samples

EXTRA = "demo"
_DIGITS = "ovtool.datasets.bundled.digits:load"
_SENTENCES = "ovtool.datasets.bundled.sentences:load"
_TEXT_LINES = "ovtool.datasets.bundled.text_lines:load"
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
        "digits-train": Entry(_DIGITS, "8,000 digits of MNIST, labelled 0..9"),
        "digits-calibration": Entry(_DIGITS, "500 of digits-train"),
        "digits-validation": Entry(_DIGITS, "1,000 other digits"),
        "digits-test": Entry(_DIGITS, "1,000 other digits"),
        "sentences-train": Entry(_SENTENCES, "7,568 sentences, labelled 0 or 1", "sentences"),
        "sentences-calibration": Entry(_SENTENCES, "300 of sentences-train", "sentences"),
        "sentences-validation": Entry(_SENTENCES, "1,000 other sentences", "sentences"),
        "sentences-test": Entry(_SENTENCES, "2,000 other sentences", "sentences"),
        "lee": Entry("ovtool.datasets.text:lee", "50 news articles, a text of 24 KB"),
        "lee-background": Entry(
            "ovtool.datasets.text:lee", "300 other news articles, a text of 360 KB"
        ),
        "text-lines-calibration": Entry(
            _TEXT_LINES, "200 rendered lines, labelled with their texts"
        ),
        "text-lines-validation": Entry(_TEXT_LINES, "200 other lines"),
        "text-lines-test": Entry(_TEXT_LINES, "300 other lines"),
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
    WHOLE_IMAGE,
    Box(0.0, 0.0, 0.6, 0.6),
    Box(0.4, 0.0, 1.0, 0.6),
    Box(0.0, 0.4, 0.6, 1.0),
    Box(0.4, 0.4, 1.0, 1.0),
    Box(0.2, 0.2, 0.8, 0.8),
)


def load(request: LoadRequest) -> Samples:
    """Return the samples of ``sample:NAME``.

    Raises:
        InputError: Unknown sample.
        MissingDependencyError: The package is not installed, or lacks the data.
    """
    samples: Samples = SAMPLES.load(request.reference.partition(":")[2])(request)
    return samples


def imagenet20(request: LoadRequest) -> LazySamples[ImageItem]:
    """Return the 20 ImageNet images of foolbox, labelled 0..999 (Rauber et al. 2017).

    Suitable for agreement and for examples; accuracy requires thousands of images.
    """
    pattern = re.compile(r"imagenet_\d+_(\d+)")
    paths = sorted(_folder(request, "foolbox").glob("imagenet_*_*.jpg"))
    matches = ((path, pattern.fullmatch(path.stem)) for path in paths)
    items = [ImageItem(path, int(match[1])) for path, match in matches if match]
    return _samples(request, items)


def photographs(request: LoadRequest) -> LazySamples[ImageItem]:
    """Return 72 unlabelled views of 12 photographs of scikit-image.

    The views are the whole image, its four corners and its center.  Views of one photograph
    overlap: suitable for calibration, not for evaluation.
    """
    folder = _folder(request, "skimage")
    paths = [folder / name for name in _PHOTOGRAPHS if (folder / name).is_file()]
    return _samples(request, [ImageItem(path, None, crop) for path in paths for crop in _CROPS])


def _samples(request: LoadRequest, items: list[ImageItem]) -> LazySamples[ImageItem]:
    if not items:
        raise MissingDependencyError(
            f"the installed package lacks the images of {request.reference}",
            f"pip install 'ovtool[{EXTRA}]'",
        )
    return image_samples(request, items)


def _folder(request: LoadRequest, package: str) -> Path:
    return package_folder(request.reference, package, EXTRA) / "data"
