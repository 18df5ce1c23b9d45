"""Inputs of the output check for values that random inputs do not contain.

Runtimes disagree on some values: infinity, NaN and values beyond the range of a type in a cast, a
mask that leaves out a whole row, boxes whose overlap equals the threshold.  They are tried where
the graph shows that values of an input reach such an operation unchanged or one by one; after a
convolution or a matrix product they do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ovtool.core.ports import ports
from ovtool.datasets.value_flow import PASS_THROUGH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import openvino as ov

    from ovtool.models.source import Array, Inputs

_ONE_BY_ONE = PASS_THROUGH | {
    "Identity", "Add", "Subtract", "Multiply", "Divide", "Negative", "Abs", "Floor", "Ceiling",
    "Round", "Relu", "PRelu", "Select", "Concat", "FakeConvert",
}  # fmt: skip
"""Operations of which each value of the output depends on one value of an input, unbounded."""
_LARGEST = {"f8e4m3": 448.0, "f8e5m2": 57344.0, "f4e2m1": 6.0, "f16": 65504.0}
"""Largest finite value of narrow types; those of ``bf16``, ``f32`` and ``f64`` are not exceeded."""
_BOX = 4
"""Numbers of a box."""


@dataclass(frozen=True, slots=True)
class SpecialInputs:
    """Inputs with special values of one kind."""

    kind: Literal["values", "rows", "overlap"]
    """The note ``<kind>-limited`` is for outputs that differ from the source's on these inputs."""
    place: str
    """The input or the operation with the values."""
    values: str
    inputs: Inputs


def special_inputs(
    model: ov.Model, ordinary: Inputs, masks: Sequence[str]
) -> Iterator[SpecialInputs]:
    """Yield copies of ordinary inputs with special values, for every operation that they reach.

    Args:
        model: The graph of the conversion.
        ordinary: Random inputs, by name.
        masks: Names of the inputs that are masks.
    """
    described = ports(model)["inputs"]
    for port, output in zip(described, model.inputs, strict=True):
        array = ordinary[port.name]
        if array.dtype.kind == "f" and array.size:
            for value in _cast_values(_casts_to_output(output), array.dtype):
                changed = array.copy()
                changed.flat[0] = value
                text = "NaN" if np.isnan(value) else f"{value:.6g}"
                yield SpecialInputs("values", port.name, text, {**ordinary, port.name: changed})
        samples = array.ndim == 2 and port.batch_axis is not None
        if port.name in masks and array.ndim >= 2 and array.shape[-1] > 1 and not samples:
            for value in (0, -np.inf) if array.dtype.kind == "f" else (0,):
                changed = array.copy()
                changed[..., -1, :] = value
                text = f"a row of {value}"
                yield SpecialInputs("rows", port.name, text, {**ordinary, port.name: changed})
    names = {p.get_node().get_name(): d.name for p, d in zip(model.inputs, described, strict=True)}
    for node in model.get_ops():
        if node.get_type_name() == "NonMaxSuppression":
            yield from _equal_overlap(node, ordinary, names)


def _casts_to_output(port: Any) -> set[tuple[str, str]]:
    """Return (from, to) of the casts between floats on paths of single values to an output."""
    casts = set()
    pending: list[tuple[Any, tuple[str, str] | None]] = [(port, None)]
    seen = set()
    while pending:
        output, cast = pending.pop()
        for target in output.get_target_inputs():
            node = target.get_node()
            kind = node.get_type_name()
            if kind == "Result" and cast is not None:
                casts.add(cast)
            structural = kind in PASS_THROUGH and target.get_index() > 0
            if kind not in _ONE_BY_ONE or structural or (node.get_name(), cast) in seen:
                continue
            seen.add((node.get_name(), cast))
            after = cast
            if kind in {"Convert", "ConvertLike"}:
                types = output.get_element_type(), node.get_output_element_type(0)
                if all(t.is_real() for t in types) and types[0] != types[1]:
                    after = (types[0].get_type_name(), types[1].get_type_name())
            pending += [(each, after) for each in node.outputs()]
    return casts


def _cast_values(casts: set[tuple[str, str]], dtype: np.dtype[Any]) -> list[float]:
    """Return special values for casts of an input: the largest beyond each range, and others."""
    if not casts:
        return []
    largest = float(np.finfo(dtype).max)
    beyond = {min(2 * _LARGEST[to], largest) for _, to in casts if to in _LARGEST}
    finite = [sign * value for value in sorted(beyond) for sign in (1, -1)]
    return [*finite, np.inf, -np.inf, np.nan]


def _equal_overlap(
    node: Any, ordinary: Inputs, names: Mapping[str, str]
) -> Iterator[SpecialInputs]:
    """Yield boxes two of which overlap by the threshold, where the boxes are an input."""
    sources = [_source(value) for value in node.input_values()]
    inputs = {i: names[s.get_name()] for i, s in enumerate(sources) if s.get_name() in names}
    boxes, scores = (ordinary[inputs[i]] if i in inputs else None for i in (0, 1))
    if boxes is None or scores is None or boxes.ndim != 3 or boxes.shape[1:] < (2, _BOX):
        return
    if scores.shape[-1] != boxes.shape[1] or boxes.shape[-1] != _BOX:
        return
    threshold = 0.5
    if 3 not in inputs:
        constant = sources[3] if len(sources) > 3 else None
        if constant is None or constant.get_type_name() != "Constant":
            return
        threshold = float(np.ravel(constant.get_data())[0])
    width = _exact_width(threshold)
    if width is None:
        return
    center = node.get_attributes()["box_encoding"] == "center"
    changed = dict(ordinary)
    changed[inputs[0]] = _boxes(boxes, np.float32(width), np.float32(threshold), center)
    order = np.linspace(2, 1, scores.shape[-1]).astype(scores.dtype)
    changed[inputs[1]] = np.broadcast_to(order, scores.shape).copy()
    for index, value in ((2, boxes.shape[1]), (3, threshold), (4, 0)):
        if index in inputs:
            changed[inputs[index]] = np.full_like(ordinary[inputs[index]], value)
    text = f"an overlap of exactly {threshold:.6g}"
    yield SpecialInputs("overlap", node.get_friendly_name(), text, changed)


def _source(value: Any) -> Any:
    """Return the operation whose values arrive unchanged at an input of another."""
    node = value.get_node()
    while node.get_type_name() in PASS_THROUGH:
        node = node.input_value(0).get_node()
    return node


def _exact_width(threshold: float) -> float | None:
    """Return the width of a box, a part of which has the threshold as overlap also in f32."""
    part = np.float32(threshold)
    if not 0 < part < 1:
        return None
    for width in np.arange(1, 65, dtype=np.float32):
        inner = width * part
        if inner / (width + inner - inner) == part:
            return float(width)
    return None


def _boxes(like: Array, width: np.float32, threshold: np.float32, center: bool) -> Array:
    """Return boxes [batch, boxes, 4]: the second is a part of the first, the others lie apart."""
    corners: Any = np.zeros(like.shape, like.dtype)
    corners[..., 0] = np.arange(like.shape[1]) * 10
    corners[..., 1, 0] = 0
    corners[..., 2] = corners[..., 0] + 1
    corners[..., 3] = width
    corners[..., 1, 3] = width * threshold
    if not center:
        return np.asarray(corners)  # y1, x1, y2, x2
    y1, x1, y2, x2 = np.moveaxis(corners, -1, 0)
    return np.asarray(np.stack([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1], axis=-1))
