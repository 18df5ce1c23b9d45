"""Samples for calibration and labelled sets for quality: one file a kind, one table of all kinds.

What a user may name:

- a folder of images: the class is the subfolder, or a CSV of labels, or there are no labels
- an ``.npz`` or ``.npy`` file of arrays, as the model takes them
- ``sample:NAME``: data that an optional package carries
- ``noise`` or ``noise:N``: random values, for trying things out only
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.registry import Entry, Registry
from ovtool.datasets.request import Request

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.core.variant import Port, Preprocessing
    from ovtool.datasets.samples import Samples

KINDS = Registry(
    "data",
    {
        "images": Entry("ovtool.datasets.images:load", "a folder of images"),
        "arrays": Entry("ovtool.datasets.arrays:load", "an .npz or .npy file"),
        "sample": Entry(
            "ovtool.datasets.bundled.images:load", "sample:NAME, data of a package", "demo"
        ),
        "noise": Entry("ovtool.datasets.noise:load", "noise or noise:N, random values"),
    },
)


def load(
    reference: str,
    inputs: Sequence[Port],
    preprocessing: Preprocessing | None,
    *,
    labels: Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
) -> Samples:
    """Return the samples that a reference names, ready to be read for a model.

    Args:
        reference: What the user wrote.
        inputs: The model's inputs.
        preprocessing: What is done to an image; arrays are taken as they are.
        labels: A CSV of ``file,label`` for a folder of images.
        limit: At most this many samples: a random subset, the same one for the same ``seed``.
        seed: Of the subset, and of noise.
        progress: Told what a user must know of the data.

    Raises:
        InputError: There is no such data, or it does not fit the model; what only reading finds
            (a damaged image, a NaN) is raised by the iteration and names the file.
        MissingDependencyError: The package that carries a sample is not installed.
    """
    kind = _kind(reference)
    if limit is not None and limit < 1:
        raise InputError(f"at least 1 sample is needed, not {limit}")
    if labels is not None and kind != "images":
        raise InputError(f"a CSV of labels goes with a folder of images, not with {reference}")
    request = Request(reference, tuple(inputs), preprocessing, labels, limit, seed, progress)
    samples: Samples = KINDS.load(kind)(request)
    return samples


def _kind(reference: str) -> str:
    name, colon, _ = reference.partition(":")
    if name == "noise" or (name == "sample" and colon):
        return name
    path = Path(reference)
    if not reference or not path.exists():
        raise InputError(
            f"data not found: {reference!r}", "give a folder of images, an .npz file or sample:NAME"
        )
    if path.is_dir():
        return "images"
    if path.suffix.lower() in {".npz", ".npy"}:
        return "arrays"
    raise InputError(
        f"not a kind of data: {reference}", "give a folder of images, an .npz or an .npy file"
    )
