"""Why outputs differ: integers that leave the range of their type, seen in a run of the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.source_error import ancestors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import openvino as ov

    from ovtool.models.source import Array, Inputs

_LIMITS = {
    **{f"i{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (4, 8, 16, 32, 64)},
    **{f"u{bits}": (0, 2**bits - 1) for bits in (4, 8, 16, 32, 64)},
}
"""Smallest and largest value of the integer types."""
_COMPUTED_BITS = 32
"""OpenVINO's CPU plugin computes integers of 64 bits in 32 bits."""
CLIP = "clip the values before the cast, or give inputs that stay in its range: --data, --value"
"""What to do about a cast without a defined result."""
_CASTS = frozenset({"Convert", "ConvertLike"})


def _sum(array: Array, axes: Array, keep: bool = False) -> Array:
    return np.asarray(array.sum(axis=tuple(axes.astype(int).ravel()), keepdims=keep))


_EXACT: Mapping[str, Callable[..., Array]] = {
    "Add": np.add,
    "Subtract": np.subtract,
    "Multiply": np.multiply,
    "Power": np.power,
    "MatMul": np.matmul,
    "Negative": np.negative,
    "Abs": np.abs,
    "ReduceSum": _sum,
    "CumSum": lambda array, axis: array.cumsum(axis=int(axis.ravel()[0])),
    "BitwiseLeftShift": lambda array, shift: array * 2.0**shift,
    "Convert": np.trunc,
    "ConvertLike": lambda array, _: np.trunc(array),
}
"""Integer arithmetic in f64, which is exact enough to see that a range is left."""


def undefined_casts(model: ov.Model, inputs: Inputs) -> dict[str, str]:
    """Return the casts to an integer type that get values beyond its range, each as a text.

    Such a cast has no defined result in ONNX, PyTorch and C, and every processor gives another.
    """
    nodes = [n for n in _nodes(model, _CASTS) if n.input_value(0).get_element_type().is_real()]
    casts = {}
    for node, (values,) in _observe(model, nodes, inputs, 1):
        low, high = _LIMITS[_type(node)]
        whole = np.trunc(values.astype(np.float64))
        if not ((whole >= low) & (whole <= high)).all():
            ends = (np.nanmin(whole), np.nanmax(whole)) if not np.isnan(whole).all() else ()
            span = "..".join(units.text(float(end)) for end in ends) or "NaN"
            name = node.get_friendly_name()
            casts[name] = f"{name} to {_type(node)}: {span}"
    return casts


def depending_outputs(model: ov.Model, casts: Iterable[str]) -> frozenset[int]:
    """Return the positions of the outputs whose values depend on operations, by their names."""
    names = frozenset(casts)
    return frozenset(
        index
        for index, result in enumerate(model.get_results())
        if names and any(node.get_friendly_name() in names for node in ancestors(result))
    )


def explain_overflow(error: InputError, model: ov.Model, inputs: Inputs) -> InputError:
    """Return an error that names the first integer operation whose result leaves its range."""
    operations = _nodes(model, frozenset(_EXACT))
    for node, values in _observe(model, operations, inputs, None):
        kind, dtype = node.get_type_name(), _type(node)
        wide = dtype in ("i64", "u64")
        low, high = _LIMITS[f"i{_COMPUTED_BITS}" if wide else dtype]
        try:
            with np.errstate(all="ignore"):
                exact = _EXACT[kind](*(v.astype(np.float64) for v in values))
        except (ValueError, TypeError, np.exceptions.AxisError):  # attributes such as transpose_a
            continue
        exact = exact[np.isfinite(exact)]
        if exact.size and not low <= exact.min() <= exact.max() <= high:
            worst = max(exact.min(), exact.max(), key=abs)
            name = f"{kind} {node.get_friendly_name()!r}"
            text = str(error).partition(";")[0]
            reaches = f"{text}; {name} reaches {units.text(float(worst))}"
            if wide:
                return InputError(
                    f"{reaches}, and OpenVINO computes 64-bit integers in {_COMPUTED_BITS} bits",
                    f"keep them below 2^{_COMPUTED_BITS - 1}, or compute them outside the model",
                )
            return InputError(
                f"{reaches}, beyond {dtype}: runtimes overflow differently",
                "cast to a wider type before this operation, or keep its inputs small",
            )
    return error


def _nodes(model: ov.Model, kinds: frozenset[str]) -> list[Any]:
    """Return the operations of some kinds that give integers and read more than constants."""
    return [
        node
        for node in model.get_ordered_ops()
        if node.get_type_name() in kinds
        and _type(node) in _LIMITS
        and any(v.get_node().get_type_name() != "Constant" for v in node.input_values())
    ]


def _type(node: Any) -> str:
    return str(node.get_output_element_type(0).get_type_name())


def _observe(
    model: ov.Model, nodes: list[Any], inputs: Inputs, count: int | None
) -> list[tuple[Any, list[Array]]]:
    """Return operations with the values that they read in a run; nothing if the run fails."""
    import openvino as ov

    if not nodes:
        return []
    copy = model.clone()
    by_name = {node.get_friendly_name(): node for node in copy.get_ops()}
    values = [
        value
        for node in nodes
        for value in by_name[node.get_friendly_name()].input_values()[:count]
    ]
    results = [ov.opset16.result(value) for value in values]
    observed = ov.Model(results, copy.get_sinks(), copy.get_parameters(), "observed")
    try:
        arrays = iter(ReferenceModel(observed).run(inputs))
    except (InputError, RuntimeError):
        return []
    return [(node, [next(arrays) for _ in node.input_values()[:count]]) for node in nodes]
