"""A Python program that compiles a model with the settings of a row, and runs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.device_names import unmark_device
from ovtool.core.errors import InputError
from ovtool.core.shapes import OPEN, parse_named_shapes
from ovtool.core.variant import Variant
from ovtool.datasets.image_transform import make_transform
from ovtool.datasets.samples import numpy_type

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ovtool.datasets.image_transform import ImageTransform
    from ovtool.results.rows import Row
    from ovtool.results.table import ResultsTable, RowDetails

NO_PREPROCESSING = "no mean and scale are recorded: give the model what it was trained on"
REPLACE_PATH = "the measured model is not at this path: replace it"


def build_snippet(row: Row, details: RowDetails) -> str:
    """Return a program that reads, reshapes and compiles the model, and runs inferences.

    If the variant's folder exists and is unchanged, the program reshapes to explicit shapes, and
    reads the images of its arguments as the sweep did; otherwise it sets the requested shapes, and
    the batch by layout.  ``results`` has the outputs of each request.
    """
    return _format(row, details, _load_variant(row, details))


def build_snippets(rows: Iterable[Row], table: ResultsTable) -> Iterator[str]:
    """Yield the program of each row; each variant is loaded once."""
    variants: dict[tuple[str | None, str], Variant | None] = {}
    for row in rows:
        details = table.details_of(row)
        key = details.folder, row["variant_id"]
        if key not in variants:
            variants[key] = _load_variant(row, details)
        yield _format(row, details, variants[key])


def _format_text(row: Row, details: RowDetails, variant: Variant | None) -> str:
    """Return a program that generates text with the settings of a row."""
    folder = variant.folder.resolve() if variant else Path(details.folder or ".")
    properties = "".join(f"    {k!r}: {v!r},\n" for k, v in details.properties.items())
    return _TEXT.format(
        folder=str(folder),
        missing="" if variant else f"  # {REPLACE_PATH}",
        properties=f"{{\n{properties}}}" if properties else "{}",
        device=unmark_device(row["device"]),
        output=int(row["output_length"]),
        concurrency=int(row["concurrency"] or 1),
    )


_TEXT = """import openvino_genai

folder = {folder!r}{missing}
properties = {properties}
scheduler = openvino_genai.SchedulerConfig()
scheduler.enable_prefix_caching = False  # as measured; True saves time for equal beginnings
pipeline = openvino_genai.ContinuousBatchingPipeline(folder, scheduler, {device!r}, properties)
settings = openvino_genai.GenerationConfig()
settings.max_new_tokens = {output}
prompts = ["The capital of France is"] * {concurrency}  # requests in flight together
for result in pipeline.generate(prompts, [settings] * len(prompts)):
    print(result.m_generation_ids[0])
"""


def _format(row: Row, details: RowDetails, variant: Variant | None) -> str:
    if row["prompt_length"] is not None:
        return _format_text(row, details, variant)
    path = str(variant.xml.resolve()) if variant else str(Path(details.folder or ".") / "model.xml")
    transform = image_transform(variant, details)
    lines = [*_IMPORTS[transform is not None], "", "core = ov.Core()"]
    lines.append(f"model = core.read_model({path!r})" + ("" if variant else f"  # {REPLACE_PATH}"))
    lines += _reshape_lines(row, details, variant)
    properties = "".join(f"    {k!r}: {v!r},\n" for k, v in details.properties.items())
    lines.append(f"properties = {{\n{properties}}}" if properties else "properties = {}")
    device = unmark_device(row["device"])
    lines += [f"compiled = core.compile_model(model, {device!r}, properties)", ""]
    lines += _input_lines(row, details, variant)
    if transform is not None:
        lines += _image_lines(transform, details)
    requests = "" if row["requests"] is None else f"{row['requests']:.0f}"
    program = _SYNC if requests == "1" else _ASYNC.replace("REQUESTS", requests and f", {requests}")
    return "\n".join(lines) + "\n" + program


_IMPORTS = {
    False: ["import numpy as np", "import openvino as ov"],
    True: [
        "import sys",
        "",
        "import numpy as np",
        "import openvino as ov",
        "from PIL import Image, ImageOps",
    ],
}
"""Imports of a program, without and with images."""
_SYNC = """
request = compiled.create_infer_request()
request.infer(inputs)
results = {0: [tensor.data.copy() for tensor in request.output_tensors]}
for index, outputs in results.items():
    print(f"request {index}: outputs {[output.shape for output in outputs]}")
"""
_ASYNC = """
queue = ov.AsyncInferQueue(compiledREQUESTS)
results = {}


def keep(request, index):
    results[index] = [tensor.data.copy() for tensor in request.output_tensors]


queue.set_callback(keep)
for index in range(len(queue)):  # as many as run at a time; give each its own inputs
    queue.start_async(inputs, index)
queue.wait_all()
for index, outputs in sorted(results.items()):
    print(f"request {index}: outputs {[output.shape for output in outputs]}")
"""


def _load_variant(row: Row, details: RowDetails) -> Variant | None:
    """Return the variant of a row if its folder exists on this machine and is unchanged."""
    if details.folder is None:
        return None
    try:
        variant = Variant.load(details.folder)
    except (InputError, OSError):
        return None
    return variant if variant.id == row["variant_id"] else None


def _input_lines(row: Row, details: RowDetails, variant: Variant | None) -> Iterator[str]:
    """Yield the inputs of a request: zeros of its shapes."""
    if not details.open_shapes:
        yield "inputs = [  # replace the zeros by samples"
        yield "    np.zeros(port.shape, port.element_type.to_dtype()) for port in compiled.inputs"
        yield "]"
        return
    given = parse_named_shapes((row["data_shape"] or "").split())
    ports = variant.record.inputs if variant is not None else ()
    named = {port.name: given.get(port.name, port.shape) for port in ports} or given
    yield f"shapes = {[[row['batch'] if n == OPEN else n for n in s] for s in named.values()]}"
    yield "inputs = [  # replace the zeros by samples"
    yield "    np.zeros(shape, port.element_type.to_dtype())"
    yield "    for port, shape in zip(compiled.inputs, shapes)"
    yield "]"


def image_transform(variant: Variant | None, details: RowDetails) -> ImageTransform | None:
    """Return how images become the input; None if it is not known, or not the only input."""
    if variant is None:
        return None
    ids = {note.id for note in details.notes}
    steps, inputs = variant.record.preprocessing, variant.record.inputs
    if steps is None and "no-preprocessing" not in ids:
        return None
    try:
        transform = make_transform(inputs, steps, located="images-stretched" in ids)
    except InputError:
        return None
    return transform if transform.port.batch_axis == 0 else None


def _image_lines(transform: ImageTransform, details: RowDetails) -> Iterator[str]:
    """Yield a function that reads an image as the sweep did, and fills a batch of images."""
    (height, width), steps = transform.size, transform.steps
    floating = numpy_type(transform.port).kind == "f"
    if any(note.id == "no-preprocessing" for note in details.notes):
        yield f"# {NO_PREPROCESSING}"
    yield from ("", "")
    yield "def read_image(path):"
    yield f'    """Resize by {steps.resize} to {width} x {height}, {steps.channels}."""'
    mode = "L" if steps.channels == "L" else "RGB"
    yield f'    image = ImageOps.exif_transpose(Image.open(path)).convert("{mode}")'
    box = ""
    if steps.resize == "crop":
        box = ", box"
        yield f"    part = min(image.width / {width}, image.height / {height})" + (
            "" if steps.crop_fraction == 1 else f" * {steps.crop_fraction:g}"
        )
        yield f"    left = max(0, (image.width - part * {width}) / 2)"
        yield f"    top = max(0, (image.height - part * {height}) / 2)"
        yield "    box = (left, top, image.width - left, image.height - top)"
        if transform.keeps_ready:
            yield f"    if image.size == ({width}, {height}):"
            yield "        box = None"
    yield f"    image = image.resize(({width}, {height}), Image.Resampling.BICUBIC{box})"
    kind = "np.float32" if floating else "np.uint8"
    yield f"    pixels = np.asarray(image, {kind}).reshape({height}, {width}, -1)"
    if steps.channels == "BGR":
        yield "    pixels = pixels[..., ::-1]"
    if floating and (transform.mean.any() or (transform.scale != 1).any()):
        mean, scale = _number(steps.mean), _number(steps.scale)
        yield f"    pixels = (pixels - np.float32({mean})) / np.float32({scale})"
    yield f"    return pixels{'.transpose(2, 0, 1)' if transform.channels_first else ''}"
    yield from ("", "")
    yield "for number, path in enumerate(sys.argv[1 : 1 + len(inputs[0])]):"
    yield "    inputs[0][number] = read_image(path)"


def _number(values: Sequence[float]) -> str:
    """Return a number, or a list of one for each channel."""
    texts = [f"{v:g}" if float(f"{v:g}") == v else repr(v) for v in values]
    return texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"


def _reshape_lines(row: Row, details: RowDetails, variant: Variant | None) -> Iterator[str]:
    requested = dict(details.shapes)
    if variant is None:
        if requested:
            yield f"model.reshape({ {name: list(shape) for name, shape in requested.items()}!r})"
        if not details.open_shapes:
            yield f"ov.set_batch(model, {row['batch']})"
        return
    shapes = {}
    for port in variant.record.inputs:
        sizes = zip(port.shape, requested.get(port.name, port.shape), strict=True)
        shape = [own if size == OPEN and not details.open_shapes else size for own, size in sizes]
        if port.batch_axis is not None and not details.open_shapes:
            shape[port.batch_axis] = row["batch"]
        shapes[port.name] = shape
    if shapes != {port.name: list(port.shape) for port in variant.record.inputs}:
        yield f"model.reshape({shapes!r})"
