"""Floating point operations of a model, operation by operation.  1 MAC = 2 FLOPs.

Counted are the operations that do the arithmetic; ``|x|`` is the product of a shape:

- Convolution, weights [C_out, C_in, K...]: ``2 |output| C_in |K|``.  Strides, dilation and padding
  show in the output's shape; what is multiplied with padding counts too.
- GroupConvolution, weights [G, C_out/G, C_in/G, K...]: ``2 |output| (C_in/G) |K|``.
- ConvolutionBackpropData, weights [C_in, C_out, K...]: ``2 |input| C_out |K|``, since each input
  value is spread over a kernel; what padding cuts off counts too.
- GroupConvolutionBackpropData, weights [G, C_in/G, C_out/G, K...]: ``2 |input| (C_out/G) |K|``.
- DeformableConvolution, weights [C_out, C_in/G, K...]: ``2 |output| (C_in/G) |K|``.
- MatMul of [..., M, K] and [..., K, N], after transposing: ``2 |output| K``.
- GroupedMatMul of [T, K] or [G, M, K], and [G, N, K]: ``2 |output| K``, each row by the weights of
  one group.
- Einsum of two operands: 2 x the product of the extents of all labels, as if each product were
  formed.  One operand multiplies nothing; of more the order is not told, so these are unknown.
- ScaledDotProductAttention, query [..., L, E], key [..., S, E], value [..., S, V]:
  ``2 |... L| S (E + V)``, the two products, without what a causal mask may save.
- LSTM, GRU and RNN, weights W of the inputs and R of the state: ``2 batch (|W| + |R|)`` for a cell,
  times the time steps for a sequence; both directions are in W and R.

Activations, biases, pooling and normalization are not counted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from ovtool.graph.geometry import Geometry, extents, geometries

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import openvino as ov

BODIES = ("TensorIterator", "Loop", "If")
"""Operations that hold models of their own, run as often as the data says."""
_REACH = 12
"""Followers that are kept: nothing is fused farther off, and a residual path goes on for ever."""


@dataclass(frozen=True, slots=True)
class Work:
    """The arithmetic of a model.

    Args:
        flops: FLOPs by the friendly name of an operation.
        followers: By the same names, what follows an operation up to the next that is counted,
            nearest first: a plugin may name a fused layer after these alone.
        uncounted: Operations whose FLOPs cannot be told from the model.
        geometries: By the same names, the sizes of what is multiplied.
    """

    flops: Mapping[str, int]
    followers: Mapping[str, tuple[str, ...]]
    uncounted: tuple[str, ...] = ()
    geometries: Mapping[str, Geometry] = field(default_factory=dict)

    @property
    def total(self) -> int | None:
        """FLOPs of one inference; None where some cannot be told."""
        return None if self.uncounted else sum(self.flops.values())


def layer_flops(model: ov.Model) -> dict[str, int]:
    """Return the FLOPs of one inference by the friendly name of the operation.

    Args:
        model: With static shapes; an operation whose shapes stay open, or whose FLOPs cannot be
            told, is left out, and named by :func:`work`.
    """
    found: dict[str, int] = {}
    for operation in model.get_ordered_ops():
        rule = RULES.get(operation.get_type_name())
        if rule is not None and _static(operation):
            name, flops = operation.get_friendly_name(), rule(operation)
            if flops:  # an Einsum of one operand multiplies nothing
                found[name] = found.get(name, 0) + flops
    return found


def sized(model: ov.Model) -> ov.Model:
    """Return a model, or where shapes stay open a copy in which more of them are known.

    OpenVINO computes no shape through an Identity, so the copy is without these.
    """
    if all(map(_static, model.get_ordered_ops())):
        return model
    copied = model.clone()
    for operation in copied.get_ordered_ops():
        if operation.get_type_name() == "Identity":
            operation.output(0).replace(operation.input_value(0))
    copied.validate_nodes_and_infer_types()
    return copied


def work(model: ov.Model) -> Work:
    """Return the arithmetic of a model with static shapes."""
    model = sized(model)
    counted = layer_flops(model)
    operations = model.get_ordered_ops()
    return Work(
        counted,
        {
            operation.get_friendly_name(): tuple(islice(_followers(operation), _REACH))
            for operation in operations
            if operation.get_friendly_name() in counted
        },
        tuple(o.get_friendly_name() for o in operations if _cannot_be_told(o)),
        geometries(model),
    )


def _followers(operation: Any) -> Iterator[str]:
    """Yield the names of what follows an operation, breadth first, up to the next counted ones."""
    seen: set[str] = set()
    front = [operation]
    while front:
        targets = [
            i.get_node() for one in front for o in one.outputs() for i in o.get_target_inputs()
        ]
        front = []
        for one in targets:
            name = one.get_friendly_name()
            if name not in seen and one.get_type_name() not in RULES:
                seen.add(name)
                front.append(one)
                yield name


def _cannot_be_told(operation: Any) -> bool:
    kind = operation.get_type_name()
    if kind in RULES:
        return not _static(operation) or RULES[kind](operation) is None
    return kind in BODIES and any(
        one.get_type_name() in RULES or _cannot_be_told(one)
        for body in _bodies(operation)
        for one in body.get_ops()
    )


def _bodies(operation: Any) -> list[Any]:
    if operation.get_type_name() == "If":
        return [operation.get_function(index) for index in range(2)]
    return [operation.get_function()]


def _static(operation: Any) -> bool:
    values = [*(i.get_source_output() for i in operation.inputs()), *operation.outputs()]
    return all(value.get_partial_shape().is_static for value in values)


def _size(shape: Any) -> int:
    return math.prod(int(d) for d in shape)


def _convolution(skipped: int, weights: int = 1) -> Callable[[Any], int]:
    """Return the rule for weights whose first dimensions are in the output's shape already."""
    return lambda o: 2 * _size(o.get_output_shape(0)) * _size(o.get_input_shape(weights)[skipped:])


def _transposed_convolution(skipped: int) -> Callable[[Any], int]:
    """Return the rule for weights whose first dimensions are in the input's shape already."""
    return lambda o: 2 * _size(o.get_input_shape(0)) * _size(o.get_input_shape(1)[skipped:])


def _matmul(operation: Any) -> int:
    left = operation.get_input_shape(0)
    transposed = operation.get_attributes()["transpose_a"] and len(left) > 1
    return 2 * _size(operation.get_output_shape(0)) * int(left[-2 if transposed else -1])


def _einsum(operation: Any) -> int | None:
    shapes = [operation.get_input_shape(i) for i in range(operation.get_input_size())]
    operands, _ = extents(operation.get_attributes()["equation"], shapes)
    if len(operands) != 2:
        return 0 if len(operands) == 1 else None
    left, right = operands
    return 2 * math.prod(max(left.get(x, 1), right.get(x, 1)) for x in left.keys() | right.keys())


def _attention(operation: Any) -> int:
    query, key, value = (operation.get_input_shape(i) for i in range(3))
    rows = _size(operation.get_output_shape(0)[:-1])
    return 2 * rows * int(key[-2]) * int(query[-1] + value[-1])


def _recurrent(weights: int, *, steps: bool) -> Callable[[Any], int]:
    """Return the rule for W and R at inputs ``weights`` and the next; X is [batch, (steps,) n]."""

    def rule(operation: Any) -> int:
        each = sum(_size(operation.get_input_shape(weights + i)) for i in range(2))
        return 2 * _size(operation.get_input_shape(0)[: 2 if steps else 1]) * each

    return rule


# From the type of an operation with static shapes to its FLOPs; None where they cannot be told.
RULES: Mapping[str, Callable[[Any], int | None]] = {
    "Convolution": _convolution(1),
    "GroupConvolution": _convolution(2),
    "ConvolutionBackpropData": _transposed_convolution(1),
    "GroupConvolutionBackpropData": _transposed_convolution(2),
    "DeformableConvolution": _convolution(1, weights=2),
    "MatMul": _matmul,
    "GroupedMatMul": lambda o: 2 * _size(o.get_output_shape(0)) * int(o.get_input_shape(0)[-1]),
    "Einsum": _einsum,
    "ScaledDotProductAttention": _attention,
    "LSTMCell": _recurrent(3, steps=False),
    "GRUCell": _recurrent(2, steps=False),
    "RNNCell": _recurrent(2, steps=False),
    "LSTMSequence": _recurrent(4, steps=True),
    "GRUSequence": _recurrent(3, steps=True),
    "RNNSequence": _recurrent(3, steps=True),
}
