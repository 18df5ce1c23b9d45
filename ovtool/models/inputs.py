"""Names, shapes and layouts of a model's inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError
from ovtool.core.ports import ports
from ovtool.core.registry import suggestion
from ovtool.core.shapes import OPEN, open_size, port_name, shape_text
from ovtool.core.third_party import reason

if TYPE_CHECKING:
    import openvino as ov

    from ovtool.models.options import SourceOptions
    from ovtool.models.source import Inputs

_TEXT = {
    "input": "export the model without its tokenizer, with the token ids and the mask as inputs",
    "output": "export the model with scores in place of labels (skl2onnx: zipmap off, no labels)",
}
IMAGE_CHANNELS = frozenset({1, 3, 4})
Symbols = Mapping[str, Sequence[str | None]]
"""Names of the dimensions of inputs, as the source has them; None for a dimension without one."""
NO_SYMBOLS: Symbols = {}


def reject_text(model: ov.Model) -> None:
    """Reject a model with text (strings) as input or output.

    Raises:
        InputError: A port has the type string.
    """
    for kind, ports_ in (("input", model.inputs), ("output", model.outputs)):
        for index, port in enumerate(ports_):
            if port.get_element_type().get_type_name() == "string":
                name = port_name(port.get_names(), kind, index)
                raise InputError(
                    f"{kind} {name!r} is text, and ovtool converts numeric models only", _TEXT[kind]
                )


def name_ports(model: ov.Model) -> None:
    """Name every unnamed input and output as in its record."""
    records = [record for side in ports(model).values() for record in side]
    for port, record in zip((*model.inputs, *model.outputs), records, strict=True):
        if not port.get_names():
            port.get_tensor().set_names({record.name})


def apply_options(model: ov.Model, options: SourceOptions, layouts: Mapping[str, str]) -> None:
    """Set the requested shapes and layouts in place, and infer the layout of images.

    Requested layouts take precedence over ``layouts``, those of the source.

    Raises:
        InputError: An input does not exist, or a shape or layout does not fit.
    """
    import openvino as ov

    by_name = {port.name: model.inputs[i] for i, port in enumerate(ports(model)["inputs"])}
    for option, names in (("--shape", options.input_shapes), ("--layout", options.layouts)):
        for name in names:
            if name not in by_name:
                hint = suggestion(name, list(by_name))
                raise InputError(f"{option}: the model has no input {name!r}", hint)
    if options.input_shapes:
        shapes = {by_name[n]: ov.PartialShape(list(s)) for n, s in options.input_shapes.items()}
        try:
            model.reshape(shapes)
        except RuntimeError as error:
            raise InputError(f"--shape does not fit the model: {reason(error)}") from error
    requested = {**layouts, **options.layouts}
    for name, port in by_name.items():
        letters = requested.get(name) or _image_layout(port)
        if letters:
            _set_layout(port, name, letters)


def _set_layout(port: Any, name: str, letters: str) -> None:
    import openvino as ov

    rank = port.get_partial_shape().rank
    try:
        layout = ov.Layout(letters)
    except RuntimeError as error:
        raise InputError(f"--layout {name}={letters}: {reason(error)}", "e.g. NCHW") from error
    if "..." not in letters and rank.is_static and rank.get_length() != len(letters):
        raise InputError(
            f"--layout {name}={letters}: the input has {rank.get_length()} dimensions",
            "one letter each, e.g. NCHW",
        )
    port.get_node().set_layout(layout)


def _image_layout(port: Any) -> str | None:
    """Infer an image layout from the shape; None when ambiguous."""
    shape = port.get_partial_shape()
    node = port.get_node()
    if not node.layout.empty or shape.rank.is_dynamic or shape.rank.get_length() != 4:
        return None
    if not port.get_element_type().is_real() and port.get_element_type().get_type_name() != "u8":
        return None
    first, last = (
        shape[axis].is_static and shape[axis].get_length() in IMAGE_CHANNELS for axis in (1, 3)
    )
    if first == last:
        return None
    return "NCHW" if first else "NHWC"


def check_shapes(model: ov.Model, symbols: Symbols = NO_SYMBOLS) -> dict[str, tuple[int, ...]]:
    """Return a static shape for each input, with batch 1 where the batch is dynamic.

    Open dimensions of the same name in ``symbols`` get the same size, and a sum of names, such as
    ``past + length``, the sum of the sizes.  Other open dimensions have one size.

    Raises:
        InputError: An input has a dynamic rank.
    """
    partials = {}
    for port, name in zip(model.inputs, (p.name for p in ports(model)["inputs"]), strict=True):
        partials[name] = port.get_partial_shape()
        if partials[name].rank.is_dynamic:
            raise InputError(
                f"input {name!r} has a dynamic rank",
                f"set its shape, with ? for a dynamic dimension: --shape {name}=1x3x?x?",
            )
    other = open_size(len(partial) for partial in partials.values() if partial.is_dynamic)
    batch = {
        (name, axis)
        for port, name in zip(model.inputs, partials, strict=True)
        if (axis := batch_axis(port)) is not None
    }
    sizes = {n: 1 for n in {_symbol(symbols, *place) for place in batch} if n is not None}
    shapes = {}
    for name, partial in partials.items():
        shape = []
        for axis, dimension in enumerate(partial):
            symbol = _symbol(symbols, name, axis)
            size = (
                1
                if (name, axis) in batch
                else other
                if symbol is None
                else (_symbol_size(symbol, sizes, other))
            )
            shape.append(_clip_to_dimension(dimension, size))
        shapes[name] = tuple(shape)
    return shapes


def _symbol(symbols: Symbols, name: str, axis: int) -> str | None:
    dimensions = symbols.get(name, ())
    return dimensions[axis] if axis < len(dimensions) else None


def _symbol_size(symbol: str, sizes: Mapping[str, int], other: int) -> int:
    """Return the size of a symbolic dimension, which may be a sum of names and numbers."""
    parts = [part.strip() for part in symbol.split("+")]
    return sum(int(part) if part.isdecimal() else sizes.get(part, other) for part in parts)


def _clip_to_dimension(dimension: ov.Dimension, size: int) -> int:
    """Return the size clipped to a dimension's limits."""
    maximum = dimension.get_max_length()
    clipped: int = max(dimension.get_min_length(), size if maximum == OPEN else min(size, maximum))
    return clipped


def batch_axis(port: Any) -> int | None:
    """Return the batch dimension in an input's layout; None without a layout."""
    layout = port.get_node().layout
    if layout.empty:
        return None
    import openvino as ov

    if not ov.layout_helpers.has_batch(layout):
        return None
    index = int(ov.layout_helpers.batch_idx(layout))
    return index if index >= 0 else index + int(port.get_partial_shape().rank.get_length())


def with_batch(
    model: ov.Model, shapes: Mapping[str, tuple[int, ...]], batch: int
) -> dict[str, tuple[int, ...]]:
    """Return the shapes with another batch for inputs with a dynamic batch."""
    changed = dict(shapes)
    for port, (name, shape) in zip(model.inputs, shapes.items(), strict=True):
        axis = batch_axis(port)
        if axis is not None and port.get_partial_shape()[axis].is_dynamic:
            changed[name] = (*shape[:axis], batch, *shape[axis + 1 :])
    return changed


def inputs_text(inputs: Inputs) -> str:
    """Return the shapes of inputs as they are written for people."""
    return ", ".join(f"{name} {shape_text(array.shape)}" for name, array in inputs.items())


def with_shape_hint(error: InputError, shapes: Mapping[str, tuple[int, ...]]) -> InputError:
    """Return an error with the shapes that were tried."""
    tried = " ".join(f"--shape {name}={shape_text(shape)}" for name, shape in shapes.items())
    return InputError(f"{error} (tried {tried})", f"set the input shapes: {tried}")
