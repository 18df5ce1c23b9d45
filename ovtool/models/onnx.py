"""ONNX, compared with onnxruntime where that is installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.core.variant import Source
from ovtool.models.source import Array, Inputs, Reference, SourceModel, own_reading, read_with

if TYPE_CHECKING:
    from pathlib import Path

    import openvino as ov

    from ovtool.models.options import SourceOptions


def read(reference: str, _options: SourceOptions) -> SourceModel:
    """Read an ONNX file; data that it keeps in other files must lie in its own folder.

    Raises:
        InputError: The file is missing, truncated, no ONNX, or reaches outside its folder.
    """
    path = files.existing_file(reference, "model")
    model = read_with("onnx", path, "ONNX")
    run, against = _reference(path, model)
    return SourceModel(
        source=Source(kind="onnx", reference=reference, sha256=files.sha256(path)),
        model=model,
        reference=run,
        against=against,
    )


def _reference(path: Path, model: ov.Model) -> tuple[Reference, str]:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ModuleNotFoundError:
        return own_reading(model, "onnxruntime is not installed", "pip install 'ovtool[onnx]'")
    named = (error for error in vars(state).values() if isinstance(error, type))
    failures: tuple[type[Exception], ...] = (
        ValueError,
        *(error for error in named if issubclass(error, Exception)),
    )
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # failures are raised; the terminal is not its to write on
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except failures as error:
        return own_reading(model, f"onnxruntime cannot load it, {reason(error)}")
    names = [value.name for value in session.get_inputs()]

    def run(inputs: Inputs) -> list[Array]:
        try:
            outputs = session.run(None, {name: inputs[name] for name in names})
        except failures as error:
            raise InputError(f"onnxruntime cannot run {path}: {reason(error)}") from error
        return [np.asarray(output) for output in outputs]

    return run, f"onnxruntime {onnxruntime.__version__}"
