"""A folder of images, labelled by subfolder, CSV, COCO JSON or masks, or unlabelled."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.input_limits import MAX_DIGITS
from ovtool.core.notes import make_note
from ovtool.datasets.annotations import ImageBoxes, MaskFile, find_masks, read_coco
from ovtool.datasets.image_transform import (
    WHOLE_IMAGE,
    Box,
    load_image,
    make_transform,
    pixel_notes,
)
from ovtool.datasets.samples import LazySamples, LoadRequest, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.datasets.samples import Label

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """Path, label and crop of an image; boxes and a mask are read with the image."""

    path: Path
    label: int | ImageBoxes | MaskFile | None
    crop: Box = WHOLE_IMAGE


def load(request: LoadRequest) -> LazySamples[ImageItem]:
    """Return the images of a folder, in the order of their paths.

    Raises:
        InputError: The folder has no images, or the labels are ambiguous.
    """
    folder = Path(request.reference)
    if request.labels is not None:
        items = _labelled(folder, request.labels)
        skipped = len(_images(folder)) - len(items)
        if skipped > 0:
            request.progress.note(f"skipped {skipped} images without a label in {request.labels}")
    else:
        items = _labelled_by_folder(folder)
    return image_samples(request, items)


def image_samples(request: LoadRequest, items: Sequence[ImageItem]) -> LazySamples[ImageItem]:
    """Return images as samples of the requested model.

    Raises:
        InputError: The model does not have a single image input.
    """
    located = any(isinstance(item.label, ImageBoxes | MaskFile) for item in items)
    steps = request.preprocessing
    transform = make_transform(request.inputs, steps, located=located)

    def read(item: ImageItem) -> Sample:
        array = load_image(item.path, transform, item.crop)
        label: Label | ImageBoxes | MaskFile = item.label
        if isinstance(label, ImageBoxes | MaskFile):
            label = label.read(item.path, transform)
        return Sample({transform.port.name: array}, label, str(item.path))

    labelled = all(item.label is not None for item in items)
    notes = pixel_notes(transform, steps, request.graph)
    if located and (steps is None or steps.resize is None):
        height, width = transform.size
        notes += (make_note("images-stretched", f"input {transform.port.name}: {height}x{width}"),)
    for note in notes:
        request.progress.note(f"warning: {note.message}; {note.evidence}; {note.remedy}")
    return LazySamples(request.reference, request.subset(items), read, labelled, notes)


def _labelled(folder: Path, labels: Path) -> list[ImageItem]:
    """Return the images that a CSV, a COCO JSON file or a folder of masks labels."""
    if labels.is_dir():
        masks = find_masks(folder, _images(folder), labels)
        return [ImageItem(path, mask) for path, mask in masks.items()]
    if labels.suffix.lower() == ".json":
        return [ImageItem(path, boxes) for path, boxes in read_coco(folder, labels).items()]
    return _labelled_by_csv(folder, labels)


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _images(folder: Path) -> list[Path]:
    """Return all images below a folder except hidden files, sorted by path."""
    images = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(_hidden(part) for part in (path, *path.relative_to(folder).parents))
    ]
    return sorted(images, key=lambda path: path.relative_to(folder).parts)


def _labelled_by_folder(folder: Path) -> list[ImageItem]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path))
    by_class = {path: _images(path) for path in classes}
    flat = [p for p in _images(folder) if p.parent == folder]
    if not flat and not any(by_class.values()):
        raise InputError(
            f"no images in {folder}", f"supported: {' '.join(sorted(SUFFIXES))}, also in subfolders"
        )
    if not any(by_class.values()):
        return [ImageItem(path, None) for path in flat]
    if flat:
        raise InputError(
            f"{folder} contains images outside its class folders, such as {flat[0].name}",
            "move them into class folders, or give a CSV of labels",
        )
    numbers = _class_numbers(folder, [path.name for path in classes])
    items = []
    for path, images in by_class.items():
        if not images:
            raise InputError(
                f"no images in class folder {path}", "remove the folder, or add images"
            )
        items += [ImageItem(image, numbers[path.name]) for image in images]
    return items


def _class_numbers(folder: Path, names: list[str]) -> dict[str, int]:
    """Number the classes: numeric names are class indices, other names count in sorted order."""
    numeric = [n for n in names if n.isascii() and n.isdecimal() and len(n) <= MAX_DIGITS]
    if not numeric:
        return {name: index for index, name in enumerate(names)}
    if len(numeric) != len(names):
        other = next(name for name in names if name not in numeric)
        raise InputError(
            f"class folders of {folder} mix numbers and names ({numeric[0]}, {other})",
            "name all class folders by class index, or none",
        )
    return {name: int(name) for name in names}


def _labelled_by_csv(folder: Path, table: Path) -> list[ImageItem]:
    files.existing_file(table, "labels")
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, skipinitialspace=True)
            missing = {"file", "label"} - set(reader.fieldnames or ())
            if missing:
                raise InputError(
                    f"{table} line 1: missing column {' and '.join(sorted(missing))}",
                    "the first line must be: file,label",
                )
            items = [_csv_item(folder, f"{table} line {reader.line_num}", row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{table} is not a CSV file in UTF-8: {error}") from error
    if not items:
        raise InputError(f"{table} lists no images")
    return items


def _csv_item(folder: Path, where: str, row: dict[str, str | None]) -> ImageItem:
    name, label = (row["file"] or "").strip(), (row["label"] or "").strip()
    path = folder / name
    if not name or not files.is_file(path):
        raise InputError(f"{where}: file not found: {path}")
    if not (label.isascii() and label.isdecimal() and len(label) <= MAX_DIGITS):
        raise InputError(f"{where}: label {label!r} is not a class index", "classes count from 0")
    return ImageItem(path, int(label))
