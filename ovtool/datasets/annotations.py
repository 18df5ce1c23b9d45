"""Labels of images that are boxes (COCO JSON) or masks of classes (a folder of images).

Both are moved into the model's input, as the preprocessing resizes and crops the image.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.input_limits import parse_json
from ovtool.core.system_errors import reading
from ovtool.datasets.image_transform import read_size, resized_region
from ovtool.datasets.samples import Boxes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from ovtool.datasets.image_transform import ImageTransform
    from ovtool.datasets.samples import Label

IGNORED = 255
"""Value of the pixels of a mask that are not counted, as in PASCAL VOC and Cityscapes."""
_MASK_MODES = ("1", "L", "P", "I", "I;16")


@dataclass(frozen=True, slots=True)
class MaskFile:
    """The mask of an image."""

    path: Path

    def read(self, _: Path, transform: ImageTransform) -> Label:
        """Return the class of each pixel of the model's input, [height, width].

        Raises:
            InputError: The file is no image, or its pixels are not class indices.
        """
        from PIL import Image

        try:
            with reading(self.path), Image.open(self.path) as mask:
                if mask.mode not in _MASK_MODES:
                    raise InputError(
                        f"mask has colors ({mask.mode}): {self.path}",
                        "store the class index of each pixel, in one channel",
                    )
                plain = mask.copy()
        except (OSError, SyntaxError, ValueError, EOFError) as error:  # from fuzzing
            raise InputError(f"not an image: {self.path}") from error
        if plain.mode == "P":  # its pixels are indices, which resizing must not mix
            plain = Image.fromarray(np.asarray(plain))
        height, width = transform.size
        region = resized_region(plain.size, transform)
        resized = plain.resize((width, height), Image.Resampling.NEAREST, region)
        return np.asarray(resized).astype(np.int64)


@dataclass(frozen=True, slots=True)
class ImageBoxes:
    """The objects of an image: ``boxes`` are [objects, 4], in pixels of the image."""

    boxes: NDArray[np.float64]
    classes: tuple[int, ...]
    crowd: tuple[bool, ...]

    def read(self, image: Path, transform: ImageTransform) -> Label:
        """Return the objects in pixels of the model's input; those cropped away are left out."""
        region = resized_region(read_size(image), transform)
        height, width = transform.size
        scale = np.array(
            [width / (region.right - region.left), height / (region.bottom - region.top)]
        )
        moved = (self.boxes.reshape(-1, 2, 2) - [region.left, region.top]) * scale
        moved = np.clip(moved, 0, [width, height]).reshape(-1, 4)
        kept = (moved[:, 2] > moved[:, 0]) & (moved[:, 3] > moved[:, 1])
        return Boxes(
            moved[kept].astype(np.float32),
            np.array(self.classes, np.int64)[kept],
            np.array(self.crowd, bool)[kept],
        )


def find_masks(folder: Path, images: Sequence[Path], labels: Path) -> dict[Path, MaskFile]:
    """Return the mask of each image: the file with the same name, of any suffix.

    Raises:
        InputError: No image has a mask.
    """
    by_name = {
        path.relative_to(labels).with_suffix(""): path
        for path in sorted(labels.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }
    named = {image: by_name.get(image.relative_to(folder).with_suffix("")) for image in images}
    masks = {image: MaskFile(path) for image, path in named.items() if path is not None}
    if not masks:
        raise InputError(
            f"no mask in {labels} has the name of an image in {folder}",
            "street/1.jpg needs the mask street/1.png",
        )
    return masks


def read_coco(folder: Path, labels: Path) -> dict[Path, ImageBoxes]:
    """Return the objects of each image that a COCO JSON file lists.

    The class of an object is its ``category_id``. An image without annotations has no objects.

    Raises:
        InputError: The file is not COCO JSON, or an image is missing.
    """
    files.existing_file(labels, "labels")
    try:
        document = parse_json(labels.read_text(encoding="utf-8"))
        names = {entry["id"]: str(entry["file_name"]) for entry in document["images"]}
        objects: dict[Any, list[Mapping[str, Any]]] = {key: [] for key in names}
        for entry in document["annotations"]:
            objects[entry["image_id"]].append(entry)
        listed = {folder / names[key]: _image_boxes(entries) for key, entries in objects.items()}
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise InputError(
            f"{labels} is not COCO JSON: {type(error).__name__} {error}",
            "it needs images (id, file_name) and annotations (image_id, category_id, bbox)",
        ) from error
    missing = next((path for path in listed if not files.is_file(path)), None)
    if missing is not None:
        raise InputError(f"{labels} lists a file that does not exist: {missing}")
    if not listed:
        raise InputError(f"{labels} lists no images")
    return listed


def _image_boxes(entries: Sequence[Mapping[str, Any]]) -> ImageBoxes:
    """Return the objects of COCO entries; ``bbox`` is [left, top, width, height]."""
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    if not np.isfinite(boxes).all():
        raise ValueError("a bbox is not finite")
    classes = tuple(int(entry["category_id"]) for entry in entries)
    if any(abs(index) > np.iinfo(np.int64).max for index in classes):
        raise ValueError("a category_id is out of range")
    return ImageBoxes(boxes, classes, tuple(bool(e.get("iscrowd", 0)) for e in entries))
