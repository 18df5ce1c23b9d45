"""Which outputs of a model are classes, how they are read, and what in the graph says so."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.third_party import read_graph
from ovtool.datasets.samples import sample_shape
from ovtool.evaluation.scores import has_classes
from ovtool.graph.operations import VIEWS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import openvino as ov

    from ovtool.core.ports import Port
    from ovtool.core.variant import Variant

SOFTMAX = frozenset({"LogSoftmax", "Softmax"})
INDICES = frozenset({"i32", "i64", "boolean"})
"""Types of an output with the class itself, as ArgMax has."""
SHOWN = 1
"""Highest rank of an output that the graph shows to be classes: a softmax 0, an ArgMax 1."""
_SAME_VALUES = frozenset({
    *VIEWS, "Convert", "FakeQuantize", "Gather", "Slice", "Split", "StridedSlice", "Transpose",
    "VariadicSplit",
})  # fmt: skip
"""Operations that reshape, select or round the values of their first input."""


@dataclass(frozen=True, slots=True)
class ClassOutput:
    """How classes are read from an output.

    Args:
        description: What the output is, for a sentence.
        rank: Lower for an output that labels are rather compared with; see :data:`SHOWN`.
        threshold: Of one value a sample: class 1 lies above. None: the highest of several scores,
            or the class itself.
    """

    description: str
    rank: int
    threshold: float | None = None

    @property
    def shown(self) -> bool:
        """Whether the graph shows that the output is classes, without labels."""
        return self.rank <= SHOWN


_SIGMOID = ClassOutput("a sigmoid, class 1 above 0.5", 2, threshold=0.5)
_LINEAR = ClassOutput("a linear layer, class 1 above 0", 5, threshold=0.0)
_ONE_VALUE = {
    **dict.fromkeys(("HardSigmoid", "Sigmoid"), _SIGMOID),
    **dict.fromkeys(("Add", "Convolution", "FullyConnected", "MatMul", "Subtract"), _LINEAR),
}


def find_class_outputs(variant: Variant, ports: Sequence[Port]) -> dict[str, ClassOutput]:
    """Return the outputs that classes can be read from, by name.

    Classes are the highest of [samples, classes] scores; the index that a TopK (ArgMax) or
    another operation returns as one integer a sample; or the side of the threshold of one value a
    sample: 0.5 after a sigmoid, 0 after a linear layer.  Only a softmax and a TopK show without
    labels that an output is classes: a linear layer may as well be an embedding, landmarks or a
    rating, and several sigmoids several answers.
    """
    shapes = {port.name: rows_shape(port) for port in ports}
    if not any(has_classes(shape) or _has_one_value(shape) for shape in shapes.values()):
        return {}
    model = read_graph(variant.xml)
    positions = {port.name: index for index, port in enumerate(variant.record.outputs)}
    outputs = {}
    for port in ports:
        operation, is_index = _find_operation(model, positions[port.name])
        output = _read_output(shapes[port.name], port.dtype, operation, is_index)
        if output is not None:
            outputs[port.name] = output
    return outputs


def _read_output(
    shape: Sequence[int], dtype: str, operation: str, is_index: bool
) -> ClassOutput | None:
    if has_classes(shape):
        if is_index:
            return None  # the indices of the highest classes, not their scores
        if operation in SOFTMAX:
            return ClassOutput("a softmax", 0)
        return ClassOutput(f"{shape[1]} values of {operation}", 3)
    if _has_one_value(shape) and dtype in INDICES:
        return ClassOutput("the index of a class", SHOWN if is_index else 4)
    return _ONE_VALUE.get(operation) if _has_one_value(shape) else None


def rows_shape(port: Port) -> tuple[int, ...]:
    """Return the shape of the samples of an output, [samples, ...]; -1 is open."""
    return (-1, *sample_shape(port))


def _has_one_value(shape: Sequence[int]) -> bool:
    return math.prod(shape[1:]) == 1


def _find_operation(model: ov.Model, index: int) -> tuple[str, bool]:
    """Return the type of the operation that computes the values of an output.

    The flag says whether the values are the indices of a TopK.
    """
    source = model.outputs[index].get_node().input_value(0)
    while (node := source.get_node()).get_type_name() in _SAME_VALUES:
        source = node.input_value(0)
    kind = str(node.get_type_name())
    return kind, kind == "TopK" and source.get_index() == 1
