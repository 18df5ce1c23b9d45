"""Floating point operations (FLOPs) of a model, operation by operation. 1 MAC = 2 FLOPs.

These are the operations that are counted; ``|x|`` is the product of a shape:

- Convolution, weights [C_out, C_in, K...]: ``2 |output| C_in |K|``.  The shape of the
  output reflects strides, dilation and padding; products with padding count too.
- GroupConvolution, weights [G, C_out/G, C_in/G, K...]: ``2 |output| (C_in/G) |K|``.
- ConvolutionBackpropData, weights [C_in, C_out, K...]: ``2 |input| C_out |K|``, since a
  kernel multiplies each input value; products that padding cuts off count too.
- GroupConvolutionBackpropData, weights [G, C_in/G, C_out/G, K...]: ``2 |input| (C_out/G) |K|``.
- DeformableConvolution, weights [C_out, C_in/G, K...]: ``2 |output| (C_in/G) |K|``.
- MatMul of [..., M, K] and [..., K, N], after transposing: ``2 |output| K``.
- GroupedMatMul of [T, K] or [G, M, K], and [G, N, K]: ``2 |output| K``, each row by the weights of
  one group.
- Einsum of two operands: 2 x the product of the extents of all labels, as if each product were
  formed. One operand multiplies nothing. With more operands, the order of the products is unknown,
  and so are the FLOPs.
- ScaledDotProductAttention, query [..., L, E], key [..., S, E], value [..., S, V]:
  ``2 |... L| S (E + V)``, both products; savings by a causal mask are ignored.
- LSTM, GRU and RNN, weights W of the inputs and R of the state: ``2 batch (|W| + |R|)`` for a cell,
  times the time steps for a sequence; W and R hold both directions.

- TensorIterator and Loop: the FLOPs of the body times the iterations, if these are known.

Activations, biases, pooling and normalization are not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from ovtool.graph.geometry import Geometry, compute_geometries, parse_einsum
from ovtool.graph.operations import LOOP_TYPES, count_elements, find_bodies, is_static
from ovtool.graph.quantization import detect_compression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import openvino as ov

_MAX_FOLLOWERS = 12
"""Nothing is fused over a longer distance, and a residual path has no end."""


@dataclass(frozen=True, slots=True)
class OperationCost:
    """The arithmetic of the operations of a graph, by friendly name.

    ``followers`` are the operations up to the next counted one, the nearest first. A plugin may
    name a fused layer after these alone. ``uncounted`` operations have unknown FLOPs. ``quantized``
    operations have data and weights in INT8, see :mod:`ovtool.graph.quantization`.
    """

    flops: Mapping[str, int]
    followers: Mapping[str, tuple[str, ...]]
    uncounted: tuple[str, ...] = ()
    geometries: Mapping[str, Geometry] = field(default_factory=dict)
    quantized: frozenset[str] = frozenset()

    @property
    def total(self) -> int | None:
        """FLOPs of one inference; None if those of an operation are unknown."""
        return None if self.uncounted else sum(self.flops.values())


def count_flops(model: ov.Model) -> dict[str, int]:
    """Return the FLOPs of one inference by the friendly name of the operation.

    Operations with dynamic shapes or unknown FLOPs are omitted; :func:`compute_cost` lists them.
    """
    counts: dict[str, int] = {}
    for operation in model.get_ordered_ops():
        if flops := count_operation(operation):
            name = operation.get_friendly_name()
            counts[name] = counts.get(name, 0) + flops
    return counts


def count_operation(operation: Any) -> int | None:
    """Return the FLOPs of an operation; None if they are unknown."""
    rule = RULES.get(operation.get_type_name())
    if rule is not None:
        return rule(operation) if is_static(operation) else None
    counts = [count_operation(node) for b in find_bodies(operation) for node in b.model.get_ops()]
    if not any(count is None or count > 0 for count in counts):
        return 0  # not a product, and no product inside
    iterations = count_iterations(operation)
    known = [count for count in counts if count is not None]
    return None if iterations is None or len(known) < len(counts) else iterations * sum(known)


def count_iterations(operation: Any) -> int | None:
    """Return how often the body of a loop runs; None for a branch, or if the data determine it."""
    if operation.get_type_name() not in LOOP_TYPES:
        return None
    iterations = int(operation.get_num_iterations())
    return iterations if iterations >= 0 else None


def infer_shapes(model: ov.Model) -> ov.Model:
    """Return a graph with static shapes as it is, any other as a copy with more known shapes.

    OpenVINO infers no shape through an Identity, so the copy has none.
    """
    if all(map(is_static, model.get_ordered_ops())):
        return model
    copied = model.clone()
    for operation in copied.get_ordered_ops():
        if operation.get_type_name() == "Identity":
            operation.output(0).replace(operation.input_value(0))
    copied.validate_nodes_and_infer_types()
    return copied


def compute_cost(model: ov.Model) -> OperationCost:
    """Return the arithmetic of the operations of a graph with static shapes."""
    model = infer_shapes(model)
    counts, compression = count_flops(model), detect_compression(model)
    operations = model.get_ordered_ops()
    return OperationCost(
        counts,
        {
            operation.get_friendly_name(): tuple(islice(_followers(operation), _MAX_FOLLOWERS))
            for operation in operations
            if operation.get_friendly_name() in counts
        },
        tuple(o.get_friendly_name() for o in operations if count_operation(o) is None),
        compute_geometries(model),
        compression.quantized if compression.activations == "int8" else frozenset(),
    )


def _followers(operation: Any) -> Iterator[str]:
    """Yield the names of the operations up to the next counted ones, breadth first."""
    seen: set[str] = set()
    front = [operation]
    while front:
        readers = [
            i.get_node() for node in front for o in node.outputs() for i in o.get_target_inputs()
        ]
        front = []
        for node in readers:
            name = node.get_friendly_name()
            if name not in seen and node.get_type_name() not in RULES:
                seen.add(name)
                front.append(node)
                yield name


def _convolution(
    skipped: int, *, weights: int = 1, transposed: bool = False
) -> Callable[[Any], int]:
    """Return the rule for weights at an input.

    ``skipped`` counts their leading dimensions that the output, if transposed the data, has too.
    """

    def rule(operation: Any) -> int:
        shape = operation.get_input_shape(0) if transposed else operation.get_output_shape(0)
        return 2 * count_elements([*shape, *operation.get_input_shape(weights)[skipped:]])

    return rule


def _matmul(operation: Any) -> int:
    left = operation.get_input_shape(0)
    transposed = operation.get_attributes().get("transpose_a") and len(left) > 1
    return 2 * count_elements(operation.get_output_shape(0)) * int(left[-2 if transposed else -1])


def _einsum(operation: Any) -> int | None:
    shapes = [operation.get_input_shape(i) for i in range(operation.get_input_size())]
    operands, _ = parse_einsum(operation.get_attributes()["equation"], shapes)
    if len(operands) != 2:
        return 0 if len(operands) == 1 else None
    left, right = operands
    return 2 * math.prod(max(left.get(x, 1), right.get(x, 1)) for x in left.keys() | right.keys())


def _attention(operation: Any) -> int:
    query, key, value = (operation.get_input_shape(i) for i in range(3))
    rows = count_elements(operation.get_output_shape(0)[:-1])
    return 2 * rows * int(key[-2]) * int(query[-1] + value[-1])


def _recurrent(weights: int, *, steps: bool) -> Callable[[Any], int]:
    """Return the rule for W and R at input ``weights`` and the next; X is [batch, (steps,) n]."""

    def rule(operation: Any) -> int:
        per_step = sum(count_elements(operation.get_input_shape(weights + i)) for i in range(2))
        return 2 * count_elements(operation.get_input_shape(0)[: 2 if steps else 1]) * per_step

    return rule


# FLOPs by type, for operations with static shapes; a rule returns None for unknown FLOPs.
RULES: Mapping[str, Callable[[Any], int | None]] = {
    "Convolution": _convolution(1),
    "GroupConvolution": _convolution(2),
    "ConvolutionBackpropData": _convolution(1, transposed=True),
    "GroupConvolutionBackpropData": _convolution(2, transposed=True),
    "DeformableConvolution": _convolution(1, weights=2),
    "MatMul": _matmul,
    "GroupedMatMul": _matmul,
    "Einsum": _einsum,
    "ScaledDotProductAttention": _attention,
    "LSTMCell": _recurrent(3, steps=False),
    "GRUCell": _recurrent(2, steps=False),
    "RNNCell": _recurrent(2, steps=False),
    "LSTMSequence": _recurrent(4, steps=True),
    "GRUSequence": _recurrent(3, steps=True),
    "RNNSequence": _recurrent(3, steps=True),
}
