"""A folder of images: labelled by subfolder or by a CSV, or not at all."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.datasets import pixels
from ovtool.datasets.request import Readable, Request
from ovtool.datasets.samples import Sample

if TYPE_CHECKING:
    from collections.abc import Sequence

SUFFIXES = frozenset(
    (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
)


@dataclass(frozen=True, slots=True)
class ImageItem:
    """An image that was not read yet, and the part of it that is used."""

    path: Path
    label: int | None
    crop: pixels.Box = pixels.WHOLE


def load(request: Request) -> Readable[ImageItem]:
    """Return the images of a folder, in the order of their paths.

    Raises:
        InputError: There are none, or the labels cannot be told.
    """
    folder = Path(request.reference)
    if request.labels is not None:
        items = _labelled_by_csv(folder, request.labels)
        left_out = len(_images(folder)) - len(items)
        if left_out > 0:
            request.progress.note(f"{left_out} images have no label in {request.labels}: left out")
    else:
        items = _labelled_by_folder(folder)
    return readable(request, items)


def readable(request: Request, items: Sequence[ImageItem]) -> Readable[ImageItem]:
    """Return images as samples for the model of a request.

    Raises:
        InputError: The model does not take one image.
    """
    plan = pixels.plan(request.inputs, request.preprocessing, request.progress)

    def read(item: ImageItem) -> Sample:
        array = pixels.read(item.path, plan, item.crop)
        return Sample({plan.port.name: array}, item.label, str(item.path))

    labelled = all(item.label is not None for item in items)
    return Readable(request.reference, request.chosen(items), read, labelled)


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "__MACOSX"


def _images(folder: Path) -> list[Path]:
    """Return every image below a folder, sorted by its path; hidden files are no images."""
    found = [
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and path.is_file()
        and not any(_hidden(part) for part in (path, *path.relative_to(folder).parents))
    ]
    return sorted(found, key=lambda path: path.relative_to(folder).parts)


def _labelled_by_folder(folder: Path) -> list[ImageItem]:
    classes = sorted(path for path in folder.iterdir() if path.is_dir() and not _hidden(path))
    by_class = {path: _images(path) for path in classes}
    flat = [p for p in _images(folder) if p.parent == folder]
    if not flat and not any(by_class.values()):
        raise InputError(
            f"no images in {folder}", f"known are {' '.join(sorted(SUFFIXES))}, in subfolders too"
        )
    if not any(by_class.values()):
        return [ImageItem(path, None) for path in flat]
    if flat:
        raise InputError(
            f"{folder} has images beside its class folders, such as {flat[0].name}",
            "move them into class folders, or give a CSV of labels",
        )
    numbers = _class_numbers(folder, [path.name for path in classes])
    items = []
    for path, images in by_class.items():
        if not images:
            raise InputError(f"no images in class folder {path}", "remove it, or fill it")
        items += [ImageItem(image, numbers[path.name]) for image in images]
    return items


def _class_numbers(folder: Path, names: list[str]) -> dict[str, int]:
    """Number the classes: names that are numbers are the class, others count in sorted order."""
    numeric = [name for name in names if name.isascii() and name.isdecimal()]
    if not numeric:
        return {name: index for index, name in enumerate(names)}
    if len(numeric) != len(names):
        other = next(name for name in names if name not in numeric)
        raise InputError(
            f"class folders of {folder} mix numbers and names ({numeric[0]}, {other})",
            "name all of them by class number, or none",
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
                    f"{table} line 1: no column {' and no column '.join(sorted(missing))}",
                    "the first line must be: file,label",
                )
            items = [_csv_item(folder, f"{table} line {reader.line_num}", row) for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{table} cannot be read as CSV in UTF-8: {error}") from error
    if not items:
        raise InputError(f"{table} names no images")
    return items


def _csv_item(folder: Path, where: str, row: dict[str, str | None]) -> ImageItem:
    name, label = (row["file"] or "").strip(), (row["label"] or "").strip()
    path = folder / name
    if not name or "\0" in name or not path.is_file():
        raise InputError(f"{where}: no such file: {path}")
    if not (label.isascii() and label.isdecimal()):
        raise InputError(f"{where}: label {label!r} is not a class number", "classes count from 0")
    return ImageItem(path, int(label))
