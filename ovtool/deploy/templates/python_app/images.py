"""Images as the model was evaluated on them: upright, cropped and resized; needs Pillow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps


def read_image(path: str | Path, steps: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return an image file as [height, width, channels], of the size of the model's input.

    Args:
        path: File of any size, in a format of Pillow.
        steps: ``image`` of ``config.json``.
    """
    with Image.open(path) as opened:
        return fit_image(ImageOps.exif_transpose(_eight_bits(opened)), steps)


def fit_image(image: Image.Image, steps: Mapping[str, Any]) -> NDArray[np.uint8]:
    """Return an image as [height, width, channels], of the size of the model's input."""
    height, width = steps["size"]
    image = image.convert(steps["mode"])
    box = _region(image.size, steps)
    resized = image.resize((width, height), Image.Resampling.BICUBIC, box)
    return np.asarray(resized).reshape(height, width, -1)


def _region(size: tuple[int, int], steps: Mapping[str, Any]) -> tuple[float, float, float, float]:
    """Return the region that is resized: all, or the center in the proportions of the input."""
    width, height = size
    out_height, out_width = steps["size"]
    ready = steps["keeps_ready"] and size == (out_width, out_height)
    if ready or steps["resize"] == "stretch":
        return 0.0, 0.0, float(width), float(height)
    shrink = min(width / out_width, height / out_height) * steps["crop_fraction"]
    half_width, half_height = shrink * out_width / 2, shrink * out_height / 2
    return (
        max(0.0, width / 2 - half_width),
        max(0.0, height / 2 - half_height),
        min(float(width), width / 2 + half_width),
        min(float(height), height / 2 + half_height),
    )


def _eight_bits(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        wide = np.asarray(image, np.float32)
        narrow = Image.fromarray(np.rint(wide / 257).astype(np.uint8))
        narrow.info = image.info
        narrow.getexif().update(image.getexif())
        return narrow
    if image.mode in ("I", "F"):
        message = "32-bit pixels have no known range: save the image with 8 or 16 bits"
        raise ValueError(message)
    return image.convert("RGBA") if image.mode in ("P", "PA") else image
