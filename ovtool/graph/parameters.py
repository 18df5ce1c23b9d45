"""Parameters of a model: the values that training sets, however they are stored.

These are the weights, biases, scales and tables that an operation reads from constants. A weight
counts once, whether it is stored as a float, as an integer with a scale, or as an index into a
table; scales, zero points and tables of compressed weights do not count. Not counted either:
scalars of a formula, ranges of quantizers, initial states, shapes and axes. This is the number of
elements of the parameters of a PyTorch module, except where the conversion removes some: it folds
batch normalization into the layer before it, adds up the two biases of a recurrent cell, and drops
scales of 1 and biases of 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovtool.graph import flops
from ovtool.graph.operations import (
    FLOATS,
    VARYING_TYPES,
    count_elements,
    find_bodies,
    find_constants,
)
from ovtool.graph.weights import (
    WEIGHT_INPUTS,
    count_weights,
    identify_constant,
    is_embedding,
    trace_constant,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import openvino as ov

_NO_PARAMETERS = {"FakeConvert", "FakeQuantize", "Interpolate", "ReadValue"}
"""Types with floating-point constants that are ranges, scales or initial states."""
_RECURRENT = {
    name: (*inputs, inputs[-1] + 1)  # the biases come after the weights
    for name, inputs in WEIGHT_INPUTS.items()
    if name.endswith(("Cell", "Sequence"))
}


def _scales_integers(operation: Any) -> bool:
    """Return whether a product scales the result of integer arithmetic, or computes that scale."""
    if operation.get_type_name() != "Multiply":
        return False
    readers = [target.get_node() for target in operation.output(0).get_target_inputs()]
    return any(
        value.get_node().get_type_name() == "Convert"
        and value.get_node().input_value(0).get_element_type().is_integral()
        for node in (operation, *readers)
        if node.get_type_name() == "Multiply"
        for value in node.input_values()
    )


@dataclass(slots=True)
class ParameterCount:
    """Number of parameters, and the bytes that store them, tables and scales included."""

    values: int = 0
    stored_bytes: int = 0


def count_parameters(model: ov.Model) -> dict[str, ParameterCount]:
    """Return the parameters of each operation, by its unique name.

    Parameters of a body belong to the operation that contains the body. Parameters that operations
    share belong to the first of them. The counts do not depend on the shapes of the inputs.
    """
    counter = _Counter()
    return {
        operation.get_name(): count
        for operation in model.get_ordered_ops()
        if (count := counter.count(operation, {})).stored_bytes or count.values
    }


@dataclass(slots=True)
class _Counter:
    stored: set[str] = field(default_factory=set)
    """Names of the nodes that depend on constants and shapes only."""
    shaped: set[str] = field(default_factory=set)
    """Names of those that depend on shapes."""
    counted: set[object] = field(default_factory=set)
    addresses: set[object] = field(default_factory=set)

    def count(self, operation: Any, bound: Mapping[str, Any]) -> ParameterCount:
        """Count the parameters that an operation reads first; its sources were counted before."""
        total = ParameterCount()
        if self._is_stored(operation, bound):
            self.stored.add(operation.get_name())
            return total
        bodies = find_bodies(operation)
        for body in bodies:
            inner = {**bound, **body.bound}
            for node in body.model.get_ordered_ops():
                count = self.count(node, inner)
                total.values += count.values
                total.stored_bytes += count.stored_bytes
        kind = operation.get_type_name()
        if not (bodies or kind in _NO_PARAMETERS or _scales_integers(operation)):
            for index in _RECURRENT.get(kind, range(operation.get_input_size())):
                self._add(operation, index, bound, total)
        return total

    def _is_stored(self, operation: Any, bound: Mapping[str, Any]) -> bool:
        kind = operation.get_type_name()
        if kind == "ShapeOf":
            self.shaped.add(operation.get_name())
        if kind in {"Constant", "ShapeOf"}:
            return True
        if kind in VARYING_TYPES:
            return False
        sources = [value.get_node().get_name() for value in operation.input_values()]
        if kind == "Parameter" and operation.get_name() in bound:
            sources = [bound[operation.get_name()].get_node().get_name()]
        if not self.shaped.isdisjoint(sources):
            self.shaped.add(operation.get_name())
        return bool(sources) and self.stored.issuperset(sources)

    def _add(
        self, operation: Any, index: int, bound: Mapping[str, Any], total: ParameterCount
    ) -> None:
        """Add the parameters at an input to the total."""
        kind, value = operation.get_type_name(), operation.input_value(index)
        name = value.get_node().get_name()
        if name not in self.stored:
            return
        constant, _ = trace_constant(value, bound)
        if value.get_element_type().get_type_name() not in FLOATS and not (
            constant is not None
            and index in WEIGHT_INPUTS.get(kind, ())
            and (kind != "Gather" or is_embedding(operation, constant))
        ):
            return  # shapes, axes and positions
        constants = list(find_constants(value, bound))
        elements = sum(map(count_weights, constants))
        if constant is not None:
            constants, elements = [*constants, constant], count_weights(constant)
        elif name not in self.shaped and value.get_partial_shape().is_static:
            elements = min(elements, count_elements(value.get_shape()))
        if kind not in flops.RULES and elements == 1:
            return  # a scalar of a formula
        new = {identify_constant(c) for c in ([constant] if constant is not None else constants)}
        if not new <= self.counted:
            total.values += elements
        self.counted |= new
        for c in constants:
            address = c.data.ctypes.data, c.get_byte_size()
            if address not in self.addresses:
                self.addresses.add(address)
                total.stored_bytes += c.get_byte_size()
