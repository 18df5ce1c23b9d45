"""A folder of images, labelled by subfolder, CSV, COCO JSON or masks, or unlabelled."""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.system_errors import reading
from ovtool.datasets.annotations import ImageBoxes, MaskFile, find_masks, read_coco
from ovtool.datasets.class_names import is_index, number_classes
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


SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """Path, label and crop of an image; boxes and a mask are read with the image.

    A label that is text is the name of a class.
    """

    path: Path
    label: int | str | ImageBoxes | MaskFile | None
    crop: Box = WHOLE_IMAGE


def load(request: LoadRequest) -> LazySamples[ImageItem]:
    """Return the images of a folder, in the order of their paths.

    Raises:
        InputError: The folder has no images, or the labels are ambiguous.
    """
    folder = Path(request.reference)
    items = _numbered(find_items(folder, request.labels), request)
    skipped = 0 if request.labels is None else len(_images(folder)) - len(items)
    if skipped > 0:
        request.progress.note(f"skipped {skipped} images without a label in {request.labels}")
    return image_samples(request, items)


def find_items(folder: Path, labels: Path | None) -> list[ImageItem]:
    """Return the images of a folder with their labels.

    Raises:
        InputError: The folder cannot be read or has no images, or the labels are ambiguous.
    """
    with reading(folder):
        return _labelled_by_folder(folder) if labels is None else _labelled(folder, labels)


def _numbered(items: list[ImageItem], request: LoadRequest) -> list[ImageItem]:
    """Return images with class indices in place of class names."""
    names = [item.label for item in items if isinstance(item.label, str)]
    if not names or request.labels is None:
        return items
    numbers = number_classes(names, Path(request.reference), request.labels, request.graph)
    return [
        replace(item, label=numbers[item.label]) if isinstance(item.label, str) else item
        for item in items
    ]


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
        label: Any = item.label
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
    numeric = [name for name in names if is_index(name)]
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
    numbered = [isinstance(item.label, int) for item in items]
    if any(numbered) and not all(numbered):
        first, other = items[numbered.index(True)].label, items[numbered.index(False)].label
        raise InputError(
            f"{table} mixes class indices and class names ({first}, {other!r})",
            "write all labels as indices, which count from 0, or all as names",
        )
    return items


def _csv_item(folder: Path, where: str, row: dict[str, str | None]) -> ImageItem:
    name, label = (row["file"] or "").strip(), (row["label"] or "").strip()
    path = folder / name
    if not name or not files.is_file(path):
        raise InputError(f"{where}: file not found: {path}")
    if not is_index(label) and re.fullmatch(r"[-+.\d]*", label):
        raise InputError(f"{where}: label {label!r} is not a class index", "classes count from 0")
    return ImageItem(path, int(label) if is_index(label) else label)
