"""Hash of what a graph computes, the same for graphs that differ in names only."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    import openvino as ov


def graph_sha256(model: ov.Model) -> str:
    """Return the SHA-256 of the operations, constants and input names of a graph.

    Names of operations and of outputs have no effect: they follow the names in the source.
    """
    digest = hashlib.sha256()
    for part in _parts(model):
        digest.update(part)
    return digest.hexdigest()


def _parts(model: ov.Model) -> Iterator[bytes]:
    places: dict[str, int] = {}
    for place, operation in enumerate(model.get_ordered_ops()):
        places[operation.get_name()] = place
        sources = [
            (places.get(value.get_node().get_name()), value.get_index())
            for value in operation.input_values()
        ]
        outputs = [
            (port.get_element_type().get_type_name(), str(port.get_partial_shape()))
            for port in operation.outputs()
        ]
        attributes = sorted(_attributes(operation).items())
        yield repr((operation.get_type_name(), attributes, sources, outputs)).encode()
        if operation.get_type_name() == "Constant":
            yield np.ascontiguousarray(operation.data).tobytes()
        for body in _bodies(operation):
            yield from _parts(body)
    for ports, names in ((model.inputs, True), (model.outputs, False)):
        for port in ports:
            yield repr((places[port.get_node().get_name()], names and sorted(port.names))).encode()


def _attributes(operation: Any) -> dict[str, Any]:
    attributes: dict[str, Any] = operation.get_attributes()
    return {name: value for name, value in attributes.items() if "name" not in name}


def _bodies(operation: Any) -> Iterator[ov.Model]:
    """Yield the graphs inside If, Loop and TensorIterator."""
    kind = operation.get_type_name()
    if kind == "If":
        yield operation.get_then_body()
        yield operation.get_else_body()
    elif kind in ("Loop", "TensorIterator"):
        yield operation.get_function()
