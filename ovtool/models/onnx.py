"""ONNX models, checked with onnxruntime if installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import reason
from ovtool.models.source import (
    Array,
    Inputs,
    Runtime,
    SourceModel,
    from_files,
    no_runtime,
    read_with,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.models.options import SourceOptions


def read(reference: str, _options: SourceOptions) -> SourceModel:
    """Read an ONNX file; external data must be in the same folder.

    Raises:
        InputError: The file is missing, truncated, not ONNX, or refers to files outside its folder.
    """
    path = files.existing_file(reference, "model")
    model = read_with("onnx", path, "ONNX")
    return from_files("onnx", reference, [path], model, _runtime(path))


def _runtime(path: Path) -> Runtime:
    try:
        import onnxruntime
        from onnxruntime.capi import onnxruntime_pybind11_state as state
    except ModuleNotFoundError:
        return no_runtime("onnxruntime is not installed", "pip install 'ovtool[onnx]'")
    named = (error for error in vars(state).values() if isinstance(error, type))
    failures: tuple[type[Exception], ...] = (
        ValueError,
        *(error for error in named if issubclass(error, Exception)),
    )
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # errors are raised; nothing is written to the terminal
    try:
        session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    except failures as error:
        return no_runtime(f"onnxruntime cannot load the file, {reason(error)}")
    names = [value.name for value in session.get_inputs()]

    def run(inputs: Inputs) -> list[Array]:
        try:
            outputs = session.run(None, {name: inputs[name] for name in names})
        except failures as error:
            raise InputError(f"onnxruntime cannot run {path}: {reason(error)}") from error
        return [np.asarray(output) for output in outputs]

    return run, f"onnxruntime {onnxruntime.__version__}"
