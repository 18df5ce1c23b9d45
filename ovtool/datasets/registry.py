"""Registry of dataset kinds: one row a kind, each with its loader."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.registry import Entry, Registry
from ovtool.datasets.samples import LoadRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import openvino as ov

    from ovtool.core.ports import Port, Preprocessing
    from ovtool.datasets.samples import Samples

DATASETS = Registry(
    "data",
    {
        "images": Entry("ovtool.datasets.images:load", "a folder of images"),
        "arrays": Entry("ovtool.datasets.arrays:load", "an .npz or .npy file"),
        "text": Entry("ovtool.datasets.text:load", "a text file (.txt), for language models"),
        "sample": Entry(
            "ovtool.datasets.bundled.images:load", "sample:NAME, a dataset of a package", "demo"
        ),
        "noise": Entry("ovtool.datasets.noise:load", "noise or noise:N, random values"),
    },
)
WITHOUT_FILES = frozenset({"sample", "noise"})
"""Kinds that need no file of the user."""
TEXT_SUFFIXES = frozenset({".txt", ".text", ".md", ".rst", ".cor"})
"""Of files that are read as text."""


def load_samples(
    reference: str,
    inputs: Sequence[Port],
    preprocessing: Preprocessing | None,
    *,
    labels: Path | None = None,
    limit: int | None = None,
    part: str | None = None,
    seed: int = 0,
    progress: Progress = SILENT,
    graph: Callable[[], ov.Model] | None = None,
    folder: Path | None = None,
) -> Samples:
    """Return the samples of a dataset, preprocessed for a model.

    Args:
        reference: Folder of images with a class per subfolder, a CSV of labels or no labels;
            ``.npz`` or ``.npy`` file in the model's input format; a text file for a model with a
            tokenizer; ``sample:NAME``; ``noise[:N]``.
        inputs: The model's inputs.
        preprocessing: Preprocessing of images; arrays are used unchanged.
        labels: For a folder of images: a CSV of ``file,label``, COCO JSON, or a folder of masks.
        limit: Maximum number of samples; a random subset given by ``seed``.
        part: Random part of the samples, such as ``1/2``, of which ``limit`` takes a subset.
        seed: Seed of the subset and of noise.
        progress: Receives notes about the dataset.
        graph: Reads the graph of the model, to check indices and the range of pixels.
        folder: Folder of the variant, with its tokenizer.

    Raises:
        InputError: The dataset does not exist or does not fit the model.  Iteration raises it too,
            for a damaged image or a NaN, and names the file.
        MissingDependencyError: The package of a sample is not installed.
    """
    kind = check_reference(reference, labels)
    if limit is not None and limit < 1:
        raise InputError(f"the number of samples must be at least 1, got {limit}")
    request = LoadRequest(
        reference, tuple(inputs), preprocessing, labels, limit, seed, progress, graph, part, folder
    )
    samples: Samples = DATASETS.load(kind)(request)
    return samples


def check_reference(reference: str, labels: str | Path | None = None) -> str:
    """Return the kind of a dataset, without reading it.

    Raises:
        InputError: The dataset or the labels do not exist, or the kind is not supported.
    """
    kind = _kind(reference)
    if labels is not None:
        if kind != "images":
            raise InputError(f"labels require a folder of images; {reference} is not one")
        if not Path(labels).exists():
            raise InputError(f"labels not found: {labels}")
    return kind


def check_data(reference: str, labels: str | Path | None = None) -> None:
    """Check a dataset as far as no model is necessary: its files, and those of its labels.

    Raises:
        InputError: As :func:`check_reference`; a folder has no images, the labels do not fit the
            images, or a file is damaged.
    """
    from ovtool.datasets import arrays, images, text

    kind = check_reference(reference, labels)
    if kind == "images":
        images.find_items(Path(reference), None if labels is None else Path(labels))
    elif kind == "arrays":
        arrays.check_file(Path(reference))
    elif kind == "text":
        text.read_text(Path(reference))


def _kind(reference: str) -> str:
    name, colon, _ = reference.partition(":")
    if name in WITHOUT_FILES and (colon or name == "noise"):
        return name
    path = Path(reference)
    if not reference or not path.exists():
        raise InputError(
            f"data not found: {reference!r}",
            "give a folder of images, an .npz or .txt file, or sample:NAME",
        )
    if path.is_dir():
        return "images"
    if path.suffix.lower() in {".npz", ".npy"}:
        return "arrays"
    if path.suffix.lower() in TEXT_SUFFIXES:
        return "text"
    raise InputError(
        f"dataset format not supported: {reference}",
        "give a folder of images, an .npz or .npy file, or a text as .txt",
    )
