"""Rendered lines of text, labelled with their texts.

The lines use Pillow's font with random size, color, rotation, blur and noise, and the
preprocessing of PP-OCR recognizers: BGR, 48 pixels high, ``(x / 255 - 0.5) / 0.5``, zero padding
after the end of the line.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.datasets.samples import LazySamples, LoadRequest, Sample, numpy_type, sample_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image, ImageFont

    from ovtool.core.ports import Port

HEIGHT, WIDTH = 48, 320
"""In pixels; shorter lines are padded, longer lines are squeezed to the width."""
MAX_CHARACTERS = 20

PARTS = {"calibration": (1, 200), "validation": (2, 200), "test": (3, 300)}
"""Seed and number of lines."""

WORDS = """
    account address after agreement amount annual apple April August balance bank before Berlin
    between black bottle bread bridge building café camera chapter chocolate city coffee colour
    company contract copy cotton country credit customer date December delivery department
    deposit discount Dublin east edition electric energy engine evening exit factory family
    February Friday garden glass gold green grand harbour heavy history hotel hour house ice
    index insurance invoice island January July June Jupiter kilogram kitchen Köln lamp large
    letter library light London machine March market material maximum May meeting message minute
    Monday money morning museum naïve north November number October office oil opening orange
    order paper Paris parking passenger payment pepper phone picture platform police pocket post
    price product quality quarter quick railway receipt record red reference report river room
    Saturday school section September service shipping silver size small south square station
    steel street subtotal summer Sunday sugar surname system table tax temperature Thursday
    ticket total tower traffic travel Tuesday unit valid value vegetable village volume water
    Wednesday weight west white window winter wood year yellow zero zone Zürich
""".split()  # noqa: SIM905 - a list would be three pages long


def load(request: LoadRequest) -> LazySamples[int]:
    """Return the lines of ``sample:text-lines-PART``, labelled with their texts.

    Raises:
        InputError: The model does not have a single image input 48 pixels high.
        MissingDependencyError: Pillow was built without FreeType.
    """
    port = _port(request)
    width = sample_shape(port)[2]
    seed, count = PARTS[request.reference.rpartition("-")[2]]
    _font(12)  # raises without FreeType

    def render(index: int) -> Sample:
        rng = np.random.default_rng([seed, index])
        text = compose(rng)
        array = preprocess(draw(text, rng), WIDTH if width < 0 else width)
        return Sample({port.name: array.astype(numpy_type(port))}, text, f"line {index}: {text!r}")

    return LazySamples(request.reference, request.subset(range(count)), render, labelled=True)


def compose(rng: np.random.Generator) -> str:
    """Return words, numbers, dates and prices with at most :data:`MAX_CHARACTERS` in total."""
    parts: list[str] = []
    for _ in range(int(rng.integers(1, 5))):
        kind = rng.random()
        part = str(rng.choice(WORDS)) if kind < 0.65 else _number(rng)
        part = part.upper() if kind < 0.1 else part.capitalize() if kind < 0.25 else part
        if len(" ".join([*parts, part])) <= MAX_CHARACTERS:
            parts.append(part)
    return " ".join(parts)


def _number(rng: np.random.Generator) -> str:
    day, month, year = rng.integers(1, 29), rng.integers(1, 13), rng.integers(1990, 2030)
    kinds = (
        f"{rng.integers(0, 100_000)}",
        f"{rng.integers(1, 1000)}.{rng.integers(0, 100):02}",
        f"{year}-{month:02}-{day:02}",
        f"{rng.integers(0, 24):02}:{rng.integers(0, 60):02}",
        f"{rng.integers(1, 100)}%",
        f"#{rng.integers(1000, 10_000)}",
        f"({rng.integers(10, 100)})",
    )
    return str(rng.choice(kinds))


def draw(text: str, rng: np.random.Generator) -> Image.Image:
    """Return an RGB image of a line, in the size of its font."""
    from PIL import Image, ImageDraw, ImageFilter

    size = float(rng.uniform(13, 40))
    font = _font(size)
    left, top, right, bottom = font.getbbox(text)
    margin = size * rng.uniform(0.1, 0.3)
    light, dark = rng.integers(150, 256, 3), rng.integers(0, 110, 3)
    ground, ink = (light, dark) if rng.random() < 0.8 else (dark, light)
    extent = (math.ceil(right - left + 2 * margin), math.ceil(bottom - top + 2 * margin))
    image = Image.new("RGB", extent, tuple(map(int, ground)))
    place = (margin - left, margin - top)
    ImageDraw.Draw(image).text(place, text, fill=tuple(map(int, ink)), font=font)
    image = image.rotate(
        float(rng.uniform(-1.5, 1.5)), Image.Resampling.BICUBIC, fillcolor=tuple(map(int, ground))
    )
    image = image.filter(ImageFilter.GaussianBlur(float(rng.uniform(0, size / 30))))
    pixels = np.asarray(image, np.float64)
    noisy = pixels + rng.normal(0, rng.uniform(0, 14), pixels.shape)
    return Image.fromarray(np.clip(np.rint(noisy), 0, 255).astype(np.uint8))


def preprocess(image: Image.Image, width: int) -> NDArray[np.float32]:
    """Return the recognizer's input, [3, 48, width], from -1 to 1."""
    from PIL import Image

    line_width = min(width, math.ceil(HEIGHT * image.width / image.height))
    resized = image.resize((line_width, HEIGHT), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.float32)[..., ::-1].transpose(2, 0, 1)
    padded = np.zeros((3, HEIGHT, width), np.float32)
    padded[:, :, :line_width] = (pixels / 255 - 0.5) / 0.5
    return padded


def _font(size: float) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise MissingDependencyError(
            "text lines require Pillow with FreeType", "pip install --force-reinstall pillow"
        )
    return font


def _port(request: LoadRequest) -> Port:
    if len(request.inputs) == 1:
        port = request.inputs[0]
        shape = sample_shape(port)
        fits = len(shape) == 3 and shape[0] in (-1, 3) and shape[1] in (-1, HEIGHT)
        if fits and numpy_type(port).kind == "f":
            return port
    listed = ", ".join(f"{p.name} {p.dtype} {list(p.shape)}" for p in request.inputs)
    raise InputError(
        f"{request.reference} requires one float input, [batch, 3, {HEIGHT}, width]; the model has "
        f"{listed}"
    )
