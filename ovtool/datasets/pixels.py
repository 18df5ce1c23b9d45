"""From an image file to the array that a network takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ovtool.core.errors import InputError
from ovtool.core.units import text
from ovtool.core.variant import Port, Preprocessing
from ovtool.datasets.samples import numpy_type, sample_shape

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import Image

    from ovtool.core.progress import Progress


class Box(NamedTuple):
    """A part of an image, as Pillow takes it: in pixels, or as shares of width and height."""

    left: float
    top: float
    right: float
    bottom: float


WHOLE = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class _Dimensions:
    """What a port tells of its images; -1 for what is open."""

    channels: int
    height: int
    width: int
    channels_first: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """How an image becomes the input ``port``; ``size`` is [height, width].

    ``mean`` and ``scale`` are [channels], in units of 0..255 pixels; ``channels_first`` tells
    [channels, height, width] from [height, width, channels].
    """

    port: Port
    steps: Preprocessing
    size: tuple[int, int]
    mean: NDArray[np.float32]
    scale: NDArray[np.float32]
    channels_first: bool


def plan(inputs: tuple[Port, ...], steps: Preprocessing | None, progress: Progress) -> Plan:
    """Work out what is done to every image, and check that the model can take it.

    Raises:
        InputError: The model has not one image input, or the preprocessing does not fit it.
    """
    if len(inputs) != 1:
        raise InputError(
            f"images fill one input, and the model has {len(inputs)}",
            f"give an .npz with the arrays {', '.join(port.name for port in inputs)}",
        )
    port = inputs[0]
    dtype = numpy_type(port)
    if dtype.kind != "f" and dtype != np.uint8:
        raise InputError(f"images cannot fill input {port.name}: it takes {port.dtype}")
    there = _dimensions(port)
    recorded = steps is not None
    steps = steps or Preprocessing(channels="L" if there.channels == 1 else "RGB")
    size = steps.size or (there.height, there.width)
    if min(size) < 1:
        raise InputError(
            f"the size of images for input {port.name} {list(port.shape)} is not known",
            "record a preprocessing with a size when converting",
        )
    count = len(steps.channels)
    made = (count, *size)
    taken = (there.channels, there.height, there.width)
    if any(wanted not in (-1, given) for wanted, given in zip(taken, made, strict=True)):
        raise InputError(
            f"the preprocessing makes {count} channels of {size[0]}x{size[1]}, "
            f"but input {port.name} is {list(port.shape)}"
        )
    if not recorded:
        progress.note(
            f"no preprocessing is recorded for this model: images are cropped to "
            f"{size[0]}x{size[1]} {steps.channels} and enter as pixels 0..255"
        )
    mean, scale = _per_channel(steps.mean, count, "mean"), _per_channel(steps.scale, count, "scale")
    if not scale.all():
        raise InputError("preprocessing: scale must not be 0")
    return Plan(port, steps, size, mean, scale, there.channels_first)


def read(path: Path, plan: Plan, crop: Box = WHOLE) -> NDArray[np.generic]:
    """Return an image as the network takes it, without the batch dimension.

    ``u8`` inputs get raw pixels: their model does the arithmetic itself.

    Args:
        path: The file.
        plan: What is done to it.
        crop: The part of it that is used, as shares.

    Raises:
        InputError: It is damaged, too large or no image; the message names it.
    """
    from PIL import Image

    image = _open(path, plan.steps.channels)
    box = _box(image.size, plan, crop)
    height, width = plan.size
    resized = image.resize((width, height), Image.Resampling.BICUBIC, box)
    array = np.asarray(resized).reshape(height, width, -1)
    if plan.steps.channels == "BGR":
        array = array[..., ::-1]
    dtype = numpy_type(plan.port)
    if dtype.kind == "f":
        array = ((array.astype(np.float32) - plan.mean) / plan.scale).astype(dtype)
    if plan.channels_first:
        array = array.transpose(2, 0, 1)
    return np.ascontiguousarray(array)


def _dimensions(port: Port) -> _Dimensions:
    shape = sample_shape(port)
    letters = "".join(c for c in port.layout or "" if c != "N")
    if len(shape) != 3 or (port.layout and sorted(letters) != ["C", "H", "W"]):
        raise InputError(
            f"images cannot fill input {port.name} {list(port.shape)} {port.layout or ''}".rstrip(),
            "it takes an input of [batch, channels, height, width]",
        )
    if not letters:
        letters = "CHW" if shape[0] in (1, 3) or shape[2] not in (1, 3) else "HWC"
    sizes = dict(zip(letters, shape, strict=True))
    if letters not in ("CHW", "HWC"):
        raise InputError(f"images cannot fill input {port.name}: layout {port.layout} is not known")
    return _Dimensions(sizes["C"], sizes["H"], sizes["W"], letters == "CHW")


def _per_channel(values: tuple[float, ...], channels: int, what: str) -> NDArray[np.float32]:
    if len(values) not in (1, channels):
        raise InputError(f"preprocessing: {len(values)} figures of {what} for {channels} channels")
    return np.resize(np.asarray(values, np.float32), channels)


def _open(path: Path, channels: str) -> Image.Image:
    """Return the upright image with 8 bits a channel, as RGB or L; transparency is dropped."""
    import warnings

    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # Up to twice MAX_IMAGE_PIXELS Pillow only warns: that is a camera's picture.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            # Damaged metadata: what matters, the pixels, is read or fails below.
            warnings.simplefilter("ignore", UserWarning)
            with Image.open(path) as opened:
                upright = ImageOps.exif_transpose(_eight_bits(opened, path))
                return upright.convert("L" if channels == "L" else "RGB")
    except Image.DecompressionBombError as error:
        limit = text((Image.MAX_IMAGE_PIXELS or 0) * 2 / 1e6)
        raise InputError(f"image has more than {limit} million pixels: {path}") from error
    except UnidentifiedImageError as error:
        raise InputError(f"not an image: {path}") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # found by damaging some
        raise InputError(f"image is damaged: {path} ({error})") from error


def _eight_bits(image: Image.Image, path: Path) -> Image.Image:
    from PIL import Image

    # A PGM of 16 bits comes as mode I, scaled to 0..65535; other I and F have no known range.
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        wide = np.asarray(image, np.float32)
        narrow = Image.fromarray(np.rint(wide / 257).astype(np.uint8))
        narrow.info = image.info
        narrow.getexif().update(image.getexif())
        return narrow
    if image.mode in ("I", "F"):
        raise InputError(f"pixels of 32 bits have no known range: {path}", "save it with 8 or 16")
    return image.convert("RGBA") if image.mode in ("P", "PA") else image


def _box(size: tuple[int, int], plan: Plan, crop: Box) -> Box:
    """Return the part of an image of [width, height] that is scaled to the network's size.

    Scaling the shorter side to ``size / crop_fraction`` and then cutting the centre out is the
    same as scaling this part alone, and cheaper.
    """
    width, height = size
    part = Box(crop.left * width, crop.top * height, crop.right * width, crop.bottom * height)
    if plan.steps.resize == "stretch":
        return part
    out_height, out_width = plan.size
    shrink = min((part.right - part.left) / out_width, (part.bottom - part.top) / out_height)
    half_width = shrink * out_width * plan.steps.crop_fraction / 2
    half_height = shrink * out_height * plan.steps.crop_fraction / 2
    middle_x, middle_y = (part.left + part.right) / 2, (part.top + part.bottom) / 2
    return Box(
        max(0.0, middle_x - half_width),
        max(0.0, middle_y - half_height),
        min(float(width), middle_x + half_width),
        min(float(height), middle_y + half_height),
    )
