"""Reference runs of ONNX files: onnxruntime, or the reference evaluator of the onnx package."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import steps
from ovtool.core.errors import InputError
from ovtool.core.ports import Port
from ovtool.core.third_party import captured, reason
from ovtool.datasets import synthetic
from ovtool.datasets.samples import numpy_type
from ovtool.models.onnx_file import RECURRENT, TYPES, DeclaredValue, all_nodes
from ovtool.models.source import (
    Array,
    Inputs,
    Reference,
    Runtime,
    RuntimeUnavailableError,
    no_runtime,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import onnx

    Outputs = Callable[[dict[str, Array]], Sequence[Any]]

_NOT_IN_NUMPY = ("bfloat16", "float8", "float4", "int4", "int2")
"""Types that onnxruntime does not exchange with NumPy, as parts of their names."""

NARROW_TYPES = frozenset({
    "bf16", "f8e4m3", "f8e5m2", "f8e8m0", "f4e2m1", "i4", "u4", "i2", "u2",
})  # fmt: skip
"""The same types as OpenVINO calls them."""

_IGNORED = frozenset({"activations", "activation_alpha", "activation_beta", "clip", "input_forget"})
_SEQUENCE_LENS = 4
"""Attributes and the position of an input of recurrent operators that the reference evaluator
accepts and ignores (onnx 1.23, ``onnx/reference/ops/op_lstm.py`` and others)."""


def open_runtime(path: Path, model: onnx.ModelProto, inputs: Sequence[DeclaredValue]) -> Runtime:
    """Return the reference run of a file: onnxruntime, or else the reference evaluator.

    Args:
        path: The original file.
        model: Its content without external data.
        inputs: The inputs that the file declares.
    """
    session, why = _open_session(path, inputs)
    if session is not None:
        return session
    return _open_evaluator(path, model, inputs, why)


def unoptimized_run(path: Path, inputs: Sequence[DeclaredValue]) -> Reference:
    """Return a run by onnxruntime without graph optimizations, opened when it is first called.

    Its distance from the optimized run is the error of the source itself, which is large for
    quantized models: fused kernels round elsewhere.
    """
    opened: list[Reference] = []

    def run(arrays: Inputs) -> list[Array]:
        if not opened:
            runtime, why = _open_session(path, inputs, optimized=False)
            if runtime is None or runtime[0] is None:
                raise InputError(why)
            opened.append(runtime[0])
        return opened[0](arrays)

    return run


def _open_session(
    path: Path, inputs: Sequence[DeclaredValue], *, optimized: bool = True
) -> tuple[Runtime | None, str]:
    """Return the run by onnxruntime; or None, and why onnxruntime cannot run the file."""
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ImportError as error:  # not installed, or its libraries do not load
        missing = isinstance(error, ModuleNotFoundError)
        what = "is not installed" if missing else f"cannot be imported, {reason(error)}"
        return None, f"onnxruntime {what}"
    named = (error for error in vars(state).values() if isinstance(error, type))
    failures: tuple[type[Exception], ...] = (
        ValueError,
        *(error for error in named if issubclass(error, Exception)),
    )
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # errors are raised; nothing is written to the terminal
    # Without VNNI, the default kernels saturate sums of products of 8-bit integers.
    settings.add_session_config_entry("session.x64quantprecision", "1")
    if not optimized:
        settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        with steps.limited(f"loading {path} in onnxruntime", path):
            # Its fallback prints to stdout, and tries the same provider again.
            session = onnxruntime.InferenceSession(
                path, settings, providers=["CPUExecutionProvider"], enable_fallback=0
            )
    except failures as error:
        return None, f"onnxruntime cannot load the file, {reason(error)}"
    for port in (*session.get_inputs(), *session.get_outputs()):
        if any(name in port.type for name in _NOT_IN_NUMPY):
            return None, f"onnxruntime does not return {port.type} to Python"

    def run(arrays: Inputs) -> list[Array]:
        feed = complete_inputs(arrays, inputs)
        try:
            with steps.limited(f"running {path} in onnxruntime", path):
                outputs = session.run(None, feed)
        except state.NotImplemented as error:
            raise RuntimeUnavailableError(f"onnxruntime cannot run it: {reason(error)}") from error
        except failures as error:
            raise InputError(f"onnxruntime cannot run {path}: {reason(error)}") from error
        return [np.asarray(output) for output in outputs]

    return (run, f"onnxruntime {onnxruntime.__version__}"), ""


def _open_evaluator(
    path: Path, model: onnx.ModelProto, inputs: Sequence[DeclaredValue], why: str
) -> Runtime:
    """Return the run by the reference evaluator, after ``why`` onnxruntime cannot run the file."""
    import onnx
    from onnx.reference import ReferenceEvaluator

    ignored = _ignored_by_evaluator(model)
    if ignored:
        return no_runtime(f"{why}; the reference evaluator of onnx ignores {ignored}")
    try:
        with captured("onnx"):
            evaluator = ReferenceEvaluator(str(path))
    except Exception as error:  # noqa: BLE001 - the code of the operators can raise anything
        return _not_evaluated(why, error)

    def run(arrays: Inputs) -> list[Array]:
        feed = complete_inputs(arrays, inputs)
        try:
            with captured("onnx"), np.errstate(all="ignore"):
                outputs = evaluator.run(None, feed)
        except Exception as error:  # as above
            raise RuntimeUnavailableError(_not_evaluated(why, error)[1]) from error
        return [to_plain_type(np.asarray(output)) for output in outputs]

    short = why.partition(",")[0]  # the error of onnxruntime takes several lines
    return run, f"the reference evaluator of onnx {onnx.__version__} ({short})"


def _not_evaluated(why: str, error: Exception) -> Runtime:
    return no_runtime(f"{why}; the reference evaluator of onnx cannot run it, {reason(error)}")


def _ignored_by_evaluator(model: onnx.ModelProto) -> str:
    """Return what of the file the reference evaluator does not compute; empty if nothing."""
    for node in all_nodes(model):
        if node.op_type not in RECURRENT or node.domain not in ("", "ai.onnx"):
            continue
        for attribute in node.attribute:
            # RNN computes its activations.
            if attribute.name in _IGNORED and (node.op_type != "RNN" or attribute.name == "clip"):
                return f"{attribute.name} of {node.op_type}"
        if len(node.input) > _SEQUENCE_LENS and node.input[_SEQUENCE_LENS]:
            return f"sequence_lens of {node.op_type}"
    return ""


def complete_inputs(arrays: Inputs, declared: Sequence[DeclaredValue]) -> dict[str, Array]:
    """Return the arrays with random values for inputs that the converted model does not have.

    Open dimensions of the same name have the same size; the others have size 1.

    Raises:
        InputError: NumPy lacks the type of an input.
    """
    sizes: dict[str, int] = {}
    for value in declared:
        if value.name in arrays and value.shape is not None:
            named = zip(value.shape, arrays[value.name].shape, strict=False)
            sizes.update({name: size for name, size in named if isinstance(name, str)})
    generator = np.random.default_rng(0)
    feed = {}
    for value in declared:
        if value.name in arrays:
            feed[value.name] = arrays[value.name]
            continue
        shape = [
            d if isinstance(d, int) else sizes.get(d, 1) if d else 1 for d in value.shape or ()
        ]
        feed[value.name] = _random_values(value, shape, generator)
    return feed


def _random_values(
    value: DeclaredValue, shape: Sequence[int], generator: np.random.Generator
) -> Array:
    if value.dtype in NARROW_TYPES:
        from onnx import TensorProto, helper  # only its evaluator runs files with these types

        (name,) = (name for name, dtype in TYPES.items() if dtype == value.dtype)
        registered = helper.tensor_dtype_to_np_dtype(TensorProto.DataType.Value(name))
        return generator.random(shape, np.float32).astype(registered)
    dtype = numpy_type(Port(name=value.name, shape=(), dtype=value.dtype or "unknown"))
    values = synthetic.range_by_name(value.name, dtype)
    return synthetic.generate(values, shape, dtype, generator)


def to_plain_type(array: Array) -> Array:
    """Return an array in a type of NumPy itself, with the same values.

    The reference evaluator returns types that another package registers, such as ``bfloat16``.
    """
    if array.dtype.isbuiltin != 2:
        return array
    small = {"int": np.int8, "uint": np.uint8}
    kind = array.dtype.name.rstrip("0123456789")
    return array.astype(small.get(kind, np.float32))
