"""Lines of text, rendered: as many as are wanted, with labels that are right by construction.

They are drawn with the font that Pillow carries, in sizes, colours, slants, blur and noise that
differ, and prepared as PP-OCR's recognisers take them: BGR, 48 pixels high, ``(x / 255 - 0.5) /
0.5``, zeros behind the end of the line.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.datasets.request import Readable, Request
from ovtool.datasets.samples import Sample, numpy_type, sample_shape

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from PIL import Image, ImageFont

    from ovtool.core.variant import Port

HEIGHT, WIDTH = 48, 320
"""In pixels; a line of less than the width is padded, a longer one squeezed."""
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
""".split()  # noqa: SIM905 - as a list it is three pages long


def load(request: Request) -> Readable[int]:
    """Return the lines of ``sample:text-lines-PART`` with their texts as labels.

    Raises:
        InputError: The model takes no single image of 48 pixels' height.
        MissingDependencyError: Pillow was built without FreeType, which draws its font.
    """
    port = _port(request)
    width = sample_shape(port)[2]
    seed, count = PARTS[request.reference.rpartition("-")[2]]
    _font(12)

    def one(index: int) -> Sample:
        rng = np.random.default_rng([seed, index])
        text = compose(rng)
        array = prepared(drawn(text, rng), WIDTH if width < 0 else width)
        return Sample({port.name: array.astype(numpy_type(port))}, text, f"line {index}: {text!r}")

    return Readable(request.reference, request.chosen(range(count)), one, labelled=True)


def compose(rng: np.random.Generator) -> str:
    """Return words, numbers, dates and prices of at most :data:`MAX_CHARACTERS` together."""
    parts: list[str] = []
    for _ in range(int(rng.integers(1, 5))):
        kind = rng.random()
        part = str(rng.choice(WORDS)) if kind < 0.65 else _figures(rng)
        part = part.upper() if kind < 0.1 else part.capitalize() if kind < 0.25 else part
        if len(" ".join([*parts, part])) <= MAX_CHARACTERS:
            parts.append(part)
    return " ".join(parts)


def _figures(rng: np.random.Generator) -> str:
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


def drawn(text: str, rng: np.random.Generator) -> Image.Image:
    """Return a picture of a line: RGB, of the size that the font gives it."""
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


def prepared(image: Image.Image, width: int) -> NDArray[np.float32]:
    """Return a line as the recogniser takes it: [3, 48, width], -1 to 1."""
    from PIL import Image

    own = min(width, math.ceil(HEIGHT * image.width / image.height))
    resized = image.resize((own, HEIGHT), Image.Resampling.BILINEAR)
    pixels = np.asarray(resized, np.float32)[..., ::-1].transpose(2, 0, 1)
    padded = np.zeros((3, HEIGHT, width), np.float32)
    padded[:, :, :own] = (pixels / 255 - 0.5) / 0.5
    return padded


def _font(size: float) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    found = ImageFont.load_default(size)
    if not isinstance(found, ImageFont.FreeTypeFont):
        raise MissingDependencyError(
            "text lines need a Pillow with FreeType, and this one has none",
            "pip install --force-reinstall pillow",
        )
    return found


def _port(request: Request) -> Port:
    if len(request.inputs) == 1:
        port = request.inputs[0]
        shape = sample_shape(port)
        fits = len(shape) == 3 and shape[0] in (-1, 3) and shape[1] in (-1, HEIGHT)
        if fits and numpy_type(port).kind == "f":
            return port
    listed = ", ".join(f"{p.name} {p.dtype} {list(p.shape)}" for p in request.inputs)
    raise InputError(
        f"{request.reference} fills one input of [batch, 3, {HEIGHT}, width] floats, and the model "
        f"takes {listed}"
    )
