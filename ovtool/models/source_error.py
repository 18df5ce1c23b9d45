"""The source's own error: steps of quantizers, narrow floats, rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.models.output_difference import TEXT, as_real, compare_output

if TYPE_CHECKING:
    from ovtool.models.source import Array

OUTPUT_STEPS = {"bf16": 2**-7, "f8e4m3": 2**-3, "f8e5m2": 2**-2, "f4e2m1": 2**-1}
"""Largest step between two values of a narrow output type, relative to the value: two correct
computations may round to the two sides of a value."""
_MANTISSA_BITS = {"f16": 11, "bf16": 8}
_INTEGER_LEVELS = {"i8": 256, "u8": 256, "i4": 16, "u4": 16}
_NARROW_FLOAT_STEPS = 8
"""Rounding steps that the source may be off, if its precise outputs are unknown."""
_MAX_ERROR = 0.1
"""Largest part of an output that counts as the source's own error."""
_MAX_RMS = 0.02
"""Largest relative root mean square difference of two right runs of narrow arithmetic.  A single
value may differ by more, where a sum lies between two steps of a quantizer."""
RANDOM = frozenset({"RandomUniform", "Multinomial"})


def ancestors(node: Any) -> list[Any]:
    """Return the operations whose values an operation depends on, itself first.

    ``ShapeOf`` depends on no values.  Bodies of loops and branches count, without their inputs.
    """
    nodes: list[Any] = []
    pending, seen = [node], {node.get_name()}
    while pending:
        current = pending.pop()
        nodes.append(current)
        kind = current.get_type_name()
        if kind == "ShapeOf":
            continue
        for body in _bodies(current, kind):
            nodes += [op for op in body.get_ops() if op.get_type_name() != "Parameter"]
        for value in current.input_values():
            source = value.get_node()
            if source.get_name() not in seen:
                seen.add(source.get_name())
                pending.append(source)
    return nodes


def _bodies(node: Any, kind: str) -> list[Any]:
    if kind in {"Loop", "TensorIterator"}:
        return [node.get_function()]
    return [node.get_function(index) for index in (0, 1)] if kind == "If" else []


def resolution(nodes: list[Any]) -> float:
    """Return the resolution of the arithmetic of operations, relative to their largest value.

    The step of the coarsest quantizer, or some rounding steps of the narrowest float; 0 for f32.
    Constants and their conversion to f32 are exact.
    """
    steps = [0.0]
    for node in nodes:
        kind = node.get_type_name()
        if kind in {"Constant", "Parameter", "Result", "FakeConvert"} or not node.get_output_size():
            continue
        values = node.input_values()
        if all(value.get_node().get_type_name() == "Constant" for value in values):
            continue
        if kind == "FakeQuantize":
            steps.append(2 / (node.get_levels() - 1))
        produced = node.get_output_element_type(0).get_type_name()
        if produced in _MANTISSA_BITS:
            steps.append(_NARROW_FLOAT_STEPS * 2.0 ** -_MANTISSA_BITS[produced])
        quantizes = kind == "Convert" and values[0].get_element_type().is_real()
        if quantizes and produced in _INTEGER_LEVELS:
            steps.append(2 / (_INTEGER_LEVELS[produced] - 1))
    return max(steps)


def own_error(
    relative: float, expected: Array, precise: Array | None, actual: Array, tolerance: float
) -> float:
    """Return the absolute error of a source's output that a conversion may have too.

    Args:
        relative: Resolution of its arithmetic, see :func:`resolution`.
        expected: The output.
        precise: The same output with other rounding, if known: twice the distance is allowed,
            since the conversion may be off to the other side.
        actual: The output of the conversion.  If it agrees with ``precise``, the whole distance is
            an error of the source, such as sums that overflow in a kernel for 8 bits.
        tolerance: Relative tolerance of that agreement.
    """
    if expected.dtype.kind in TEXT:
        return 0.0
    theirs = as_real(expected).astype(np.float64)
    finite = np.isfinite(theirs)
    largest = float(np.abs(theirs[finite]).max(initial=0.0))
    spread = 0.0
    if precise is not None and as_real(precise).shape == theirs.shape == actual.shape:
        closest = compare_output("", actual, precise)
        flips = relative > 0 and _rms_ratio(actual, precise) <= _MAX_RMS
        if closest.agrees(tolerance, relative * largest) or flips:
            return compare_output("", actual, expected).max_abs_difference
        other = as_real(precise).astype(np.float64)
        both = finite & np.isfinite(other)
        spread = float(np.abs(other[both] - theirs[both]).max(initial=0.0))
    return min(relative * largest + 2 * spread, _MAX_ERROR * largest)


def _rms_ratio(actual: Array, expected: Array) -> float:
    """Return the root mean square of a difference, relative to that of the expected values."""
    ours, theirs = actual.astype(np.float64), as_real(expected).astype(np.float64)
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all()):
        return np.inf
    scale = float(np.sqrt(np.mean(theirs**2))) if theirs.size else 0.0
    return float(np.sqrt(np.mean((ours - theirs) ** 2))) / scale if scale else np.inf
