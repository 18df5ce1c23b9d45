"""A Python program that compiles a model with the settings of a row."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ovtool.core.device_names import unmark_device
from ovtool.core.errors import InputError
from ovtool.core.shapes import OPEN
from ovtool.core.variant import Variant

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ovtool.results.rows import Row
    from ovtool.results.table import RowDetails

NO_PREPROCESSING = "no mean and scale are recorded: give the model what it was trained on"
REPLACE_PATH = "the measured model is not at this path: replace it"


def build_snippet(row: Row, details: RowDetails) -> str:
    """Return a program that reads, reshapes and compiles the model, and creates a request queue.

    If the variant's folder exists and is unchanged, the snippet reshapes to explicit shapes;
    otherwise it sets the requested shapes, and the batch by layout.
    """
    variant = _load_variant(row, details)
    path = str(variant.xml.resolve()) if variant else str(Path(details.folder or ".") / "model.xml")
    lines = ["import openvino as ov", "", "core = ov.Core()"]
    lines.append(f"model = core.read_model({path!r})" + ("" if variant else f"  # {REPLACE_PATH}"))
    lines += _reshape_lines(row, details, variant)
    lines += _pixel_lines(variant, details)
    properties = "".join(f"    {k!r}: {v!r},\n" for k, v in details.properties.items())
    lines.append(f"properties = {{\n{properties}}}" if properties else "properties = {}")
    device = unmark_device(row["device"])
    lines.append(f"compiled = core.compile_model(model, {device!r}, properties)")
    requests = "" if row["requests"] is None else f", {row['requests']:.0f}"
    lines.append(f"queue = ov.AsyncInferQueue(compiled{requests})")
    return "\n".join(lines) + "\n"


def _load_variant(row: Row, details: RowDetails) -> Variant | None:
    """Return the variant of a row if its folder exists on this machine and is unchanged."""
    if details.folder is None:
        return None
    try:
        variant = Variant.load(details.folder)
    except (InputError, OSError):
        return None
    return variant if variant.id == row["variant_id"] else None


def _pixel_lines(variant: Variant | None, details: RowDetails) -> Iterator[str]:
    """Yield comments on how images become inputs."""
    if any(note.id == "no-preprocessing" for note in details.notes):
        yield f"# {NO_PREPROCESSING}"
    if variant is None:
        return
    record = variant.record
    if record.preprocessing is not None and len(record.inputs) == 1:
        steps = record.preprocessing
        stretched = any(note.id == "images-stretched" for note in details.notes)
        resize = steps.resize or ("stretch" if stretched else "crop")
        yield f"# input {record.inputs[0].name}: {steps.channels} images, resized by {resize}"
        if record.inputs[0].dtype != "u8":  # raw pixels
            yield f"# (pixel 0..255 - {list(steps.mean)}) / {list(steps.scale)}"


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
        shape = [own if size == OPEN else size for own, size in sizes]
        if port.batch_axis is not None and not details.open_shapes:
            shape[port.batch_axis] = row["batch"]
        shapes[port.name] = shape
    if shapes != {port.name: list(port.shape) for port in variant.record.inputs}:
        yield f"model.reshape({shapes!r})"
