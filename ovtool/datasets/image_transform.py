"""Preprocessing of an image file into a model input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.notes import Note, make_note
from ovtool.core.ports import Port, Preprocessing
from ovtool.core.shapes import port_name
from ovtool.core.system_errors import reading
from ovtool.core.units import text
from ovtool.datasets.samples import numpy_type, sample_shape

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import openvino as ov
    from numpy.typing import NDArray
    from PIL import Image


class Box(NamedTuple):
    """A region of an image in pixels, or as fractions of width and height (Pillow's order)."""

    left: float
    top: float
    right: float
    bottom: float


WHOLE_IMAGE = Box(0.0, 0.0, 1.0, 1.0)
_ORIENTATION = 0x0112  # tag of Exif; values above 4 swap width and height


@dataclass(frozen=True, slots=True)
class _Dimensions:
    """Image dimensions of an input; -1 is dynamic."""

    channels: int
    height: int
    width: int
    channels_first: bool


@dataclass(frozen=True, slots=True)
class ImageTransform:
    """Preprocessing of an image for an input."""

    port: Port
    steps: Preprocessing
    """Channel order, resizing and crop."""
    size: tuple[int, int]
    """[height, width]."""
    mean: NDArray[np.float32]
    """[channels], in units of 0..255 pixels, as ``scale``."""
    scale: NDArray[np.float32]
    channels_first: bool
    """Whether the input is [channels, height, width], not [height, width, channels]."""
    keeps_ready: bool
    """Whether images of the input's size are used as they are, since no resizing is recorded."""


def make_transform(
    inputs: tuple[Port, ...], steps: Preprocessing | None, *, located: bool = False
) -> ImageTransform:
    """Return the preprocessing of images for a model.

    Where no resizing is recorded, images of the input's size stay as they are, and a crop leaves
    out the borders of others, unless labels are ``located``: boxes or masks, parts of which it
    would cut off.

    Raises:
        InputError: The model does not have a single image input, or the preprocessing does not
            fit it.
    """
    if len(inputs) != 1:
        raise InputError(
            f"images require a model with one input; the model has {len(inputs)}",
            f"give an .npz with the arrays {', '.join(port.name for port in inputs)}",
        )
    port = inputs[0]
    dtype = numpy_type(port)
    if dtype.kind != "f" and dtype != np.uint8:
        raise InputError(f"input {port.name} has type {port.dtype}: images are not supported")
    expected = _dimensions(port)
    unrecorded: Literal["crop", "stretch"] = "stretch" if located else "crop"
    steps = steps or Preprocessing(channels="L" if expected.channels == 1 else "RGB")
    keeps_ready = steps.resize is None
    if keeps_ready:
        steps = steps.model_copy(update={"resize": unrecorded})
    size = steps.size or (expected.height, expected.width)
    if min(size) < 1:
        raise InputError(
            f"unknown image size for input {port.name} {list(port.shape)}",
            "give the size of images, such as --size 224x224",
        )
    count = len(steps.channels)
    produced = (count, *size)
    required = (expected.channels, expected.height, expected.width)
    if any(want not in (-1, have) for want, have in zip(required, produced, strict=True)):
        raise InputError(
            f"preprocessing gives {count} channels of {size[0]}x{size[1]}, "
            f"input {port.name} is {list(port.shape)}"
        )
    mean, scale = _per_channel(steps.mean, count, "mean"), _per_channel(steps.scale, count, "scale")
    if not scale.all():
        raise InputError("preprocessing: scale must not be 0")
    return ImageTransform(port, steps, size, mean, scale, expected.channels_first, keeps_ready)


def pixel_notes(
    transform: ImageTransform,
    steps: Preprocessing | None,
    graph: Callable[[], ov.Model] | None,
) -> tuple[Note, ...]:
    """Return a warning if a float input gets pixels 0..255 that the graph does not scale.

    ``steps`` is the recorded preprocessing; None without a record.
    """
    raw = not transform.mean.any() and (transform.scale == 1).all()
    if not raw or numpy_type(transform.port).kind != "f":
        return ()
    if graph is not None and scales_pixels(graph(), transform.port.name):
        return ()
    height, width = transform.size
    recorded = "no record" if steps is None else "a record without mean and scale"
    evidence = (
        f"input {transform.port.name}, {height}x{width} {transform.steps.channels}; {recorded}"
    )
    return (make_note("no-preprocessing", evidence),)


_MOVES = frozenset({"Convert", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Gather"})
"""Operations before the scaling of pixels, which keep their values."""


def scales_pixels(model: ov.Model, name: str) -> bool:
    """Whether the first arithmetic on an input brings pixels 0..255 to another range.

    It subtracts at least 10, or divides by at least 10.
    """
    port = next(p for i, p in enumerate(model.inputs) if port_name(p.names, "input", i) == name)
    while True:
        targets = list(port.get_target_inputs())
        if len(targets) != 1:
            return False
        node = targets[0].get_node()
        if node.get_type_name() not in _MOVES:
            break
        port = node.output(0)
    constants = [v.get_node() for v in node.input_values()]
    values = [np.abs(c.data) for c in constants if c.get_type_name() == "Constant"]
    if not values:
        return False
    kind = node.get_type_name()
    return bool(
        (kind in ("Subtract", "Add", "Divide") and values[0].max(initial=0) >= 10)
        or (kind == "Multiply" and values[0].max(initial=0) <= 0.1)
    )


def load_image(
    path: Path, transform: ImageTransform, crop: Box = WHOLE_IMAGE
) -> NDArray[np.generic]:
    """Return a preprocessed image, without the batch dimension.

    ``u8`` inputs receive raw pixels: such models normalize their input themselves.

    Raises:
        InputError: The file is damaged, too large or not an image; the message names it.
    """
    from PIL import Image

    image = _open(path, transform.steps.channels)
    box = resized_region(image.size, transform, crop)
    height, width = transform.size
    resized = image.resize((width, height), Image.Resampling.BICUBIC, box)
    return normalize_pixels(np.asarray(resized).reshape(height, width, -1), transform)


def normalize_pixels(pixels: NDArray[np.uint8], transform: ImageTransform) -> NDArray[np.generic]:
    """Return pixels [..., height, width, channels] of an RGB or gray image as a model input."""
    array: NDArray[np.generic] = pixels
    if transform.steps.channels == "BGR":
        array = array[..., ::-1]
    dtype = numpy_type(transform.port)
    if dtype.kind == "f":
        array = ((array.astype(np.float32) - transform.mean) / transform.scale).astype(dtype)
    if transform.channels_first:
        array = np.moveaxis(array, -1, -3)
    return np.ascontiguousarray(array)


def _dimensions(port: Port) -> _Dimensions:
    shape = sample_shape(port)
    letters = "".join(c for c in port.layout or "" if c not in "N?.")
    if len(shape) != 3 or (letters and sorted(letters) != ["C", "H", "W"]):
        raise InputError(
            f"input {port.name} {list(port.shape)} with layout {port.layout} is not an image",
            "images require an input of [batch, channels, height, width]",
        )
    if not letters:
        letters = "CHW" if shape[0] in (1, 3) or shape[2] not in (1, 3) else "HWC"
    sizes = dict(zip(letters, shape, strict=True))
    if letters not in ("CHW", "HWC"):
        raise InputError(f"input {port.name}: layout {port.layout} is not supported")
    return _Dimensions(sizes["C"], sizes["H"], sizes["W"], letters == "CHW")


def _per_channel(values: tuple[float, ...], channels: int, what: str) -> NDArray[np.float32]:
    if len(values) not in (1, channels):
        raise InputError(f"preprocessing: {len(values)} values of {what} for {channels} channels")
    return np.resize(np.asarray(values, np.float32), channels)


def _open(path: Path, channels: str) -> Image.Image:
    """Return the upright image with 8 bits per channel, as RGB or L, without transparency."""
    import warnings

    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Pillow only warns up to twice MAX_IMAGE_PIXELS, the size of a camera's picture.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # Damaged metadata; the pixels are read or fail below.
            warnings.simplefilter("ignore", UserWarning)
            with reading(path), Image.open(path) as opened:
                upright = ImageOps.exif_transpose(_eight_bits(opened, path))
                return upright.convert("L" if channels == "L" else "RGB")
    except Image.DecompressionBombError as error:
        limit = text((Image.MAX_IMAGE_PIXELS or 0) * 2 / 1e6)
        raise InputError(f"image has more than {limit} million pixels: {path}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"not an image: {path}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # from fuzzing
        raise InputError(f"image is damaged: {path} ({error})") from error


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    from PIL import Image

    # Pillow reads a 16-bit PGM as mode I in 0..65535; other I and F have no known range.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        wide = np.asarray(image, np.float32)
        narrow = Image.fromarray(np.rint(wide / 257).astype(np.uint8))
        narrow.info = image.info
        narrow.getexif().update(image.getexif())
        return narrow
    if image.mode in ("I", "F"):
        raise InputError(f"32-bit pixels have no known range: {path}", "save with 8 or 16 bits")
    return image.convert("RGBA") if image.mode in ("P", "PA") else image


def read_size(path: Path) -> tuple[int, int]:
    """Return [width, height] of an upright image.

    Raises:
        InputError: The file is not an image.
    """
    from PIL import Image

    try:
        with reading(path), Image.open(path) as image:
            sideways = image.getexif().get(_ORIENTATION, 1) > 4
            return image.size[::-1] if sideways else image.size
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"not an image: {path}") from error


def resized_region(
    size: tuple[int, int], transform: ImageTransform, crop: Box = WHOLE_IMAGE
) -> Box:
    """Return the region of a [width, height] image that is resized to the model's input.

    Resizing this region is equivalent to resizing the shorter side to ``size / crop_fraction``
    followed by a center crop, and cheaper.
    """
    width, height = size
    part = Box(crop.left * width, crop.top * height, crop.right * width, crop.bottom * height)
    out_height, out_width = transform.size
    ready = transform.keeps_ready and size == (out_width, out_height)
    if ready or transform.steps.resize == "stretch":
        return part
    shrink = min((part.right - part.left) / out_width, (part.bottom - part.top) / out_height)
    half_width = shrink * out_width * transform.steps.crop_fraction / 2
    half_height = shrink * out_height * transform.steps.crop_fraction / 2
    middle_x, middle_y = (part.left + part.right) / 2, (part.top + part.bottom) / 2
    return Box(
        max(0.0, middle_x - half_width),
        max(0.0, middle_y - half_height),
        min(float(width), middle_x + half_width),
        min(float(height), middle_y + half_height),
    )
