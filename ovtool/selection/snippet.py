"""A Python program that compiles a model as a row of the table was measured."""

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

ELSEWHERE = "the model is not here as it was measured: put in its path"


def snippet(row: Row, behind: RowDetails) -> str:
    """Return the program: read, set the shapes, compile, queue of as many requests.

    The shapes are written out where the variant's folder is here and still holds what was
    measured; elsewhere the ones that were asked for are set, and the batch by the layouts.
    """
    variant = _here(row, behind)
    path = str(variant.xml.resolve()) if variant else str(Path(behind.folder or ".") / "model.xml")
    lines = ["import openvino as ov", "", "core = ov.Core()"]
    lines.append(f"model = core.read_model({path!r})" + ("" if variant else f"  # {ELSEWHERE}"))
    lines += _shapes(row, behind, variant)
    properties = "".join(f"    {k!r}: {v!r},\n" for k, v in behind.properties.items())
    lines.append(f"properties = {{\n{properties}}}" if properties else "properties = {}")
    device = unmark_device(row["device"])
    lines.append(f"compiled = core.compile_model(model, {device!r}, properties)")
    if row["requests"] is not None:
        lines.append(f"queue = ov.AsyncInferQueue(compiled, {row['requests']:.0f})")
    else:
        lines.append("queue = ov.AsyncInferQueue(compiled)")
    return "\n".join(lines) + "\n"


def _here(row: Row, behind: RowDetails) -> Variant | None:
    """Return the variant of a row if its folder is on this machine and unchanged."""
    if behind.folder is None:
        return None
    try:
        found = Variant.load(behind.folder)
    except (InputError, OSError):
        return None
    return found if found.id == row["variant_id"] else None


def _shapes(row: Row, behind: RowDetails, variant: Variant | None) -> Iterator[str]:
    given = dict(behind.shapes)
    if variant is None:
        if given:
            yield f"model.reshape({ {name: list(shape) for name, shape in given.items()}!r})"
        if not behind.open_shapes:
            yield f"ov.set_batch(model, {row['batch']})"
        return
    wanted = {}
    for port in variant.record.inputs:
        own = zip(port.shape, given.get(port.name, port.shape), strict=True)
        shape = [size if asked == OPEN else asked for size, asked in own]
        if port.layout is not None and port.batch_axis is not None and not behind.open_shapes:
            shape[port.batch_axis] = row["batch"]
        wanted[port.name] = shape
    if wanted != {port.name: list(port.shape) for port in variant.record.inputs}:
        yield f"model.reshape({wanted!r})"
