"""TensorFlow SavedModel, frozen graph and Lite, checked with tensorflow if installed."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.third_party import LOG, captured, reason
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
    from collections.abc import Iterator

    import openvino as ov

    from ovtool.models.options import SourceOptions

_NOT_INSTALLED = ("tensorflow is not installed", "pip install 'ovtool[tensorflow]'")
_TFLITE_MAGIC = b"TFL3"  # file identifier of the schema, bytes 4 to 8


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read a SavedModel folder (or the ``saved_model.pb`` in it) or a frozen graph ``x.pb``.

    Raises:
        InputError: The folder has no model, or the file is truncated or not a graph.
    """
    path = Path(reference)
    if path.name == "saved_model.pb" and path.is_file():
        path = path.parent
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            models = [p for p in sorted(path.iterdir()) if p.suffix in (".onnx", ".xml", ".tflite")]
            hint = "a SavedModel folder contains saved_model.pb"
            raise InputError(
                f"no SavedModel in the folder {path}",
                f"convert the file {models[0]}" if models else hint,
            )
        parts = sorted(part for part in path.rglob("*") if part.is_file())
    else:
        parts = [files.existing_file(path, "model")]
    with _native_messages_in_log():
        model = read_with("tf", path, "TensorFlow", shapes=options.input_shapes)
    return from_files("tensorflow", reference, parts, model, _runtime(path, model, options.trust))


def read_tflite(reference: str, options: SourceOptions) -> SourceModel:
    """Read a TensorFlow Lite file.

    Raises:
        InputError: The file is missing, truncated or not TensorFlow Lite.
    """
    path = files.existing_file(reference, "model")
    with path.open("rb") as stream:
        if stream.read(8)[4:] != _TFLITE_MAGIC:
            raise InputError(f"not a TensorFlow Lite model: {path}")
    model = read_with("tflite", path, "TensorFlow Lite", shapes=options.input_shapes)
    return from_files("tflite", reference, [path], model, _lite_runtime(path, model))


@contextlib.contextmanager
def _native_messages_in_log() -> Iterator[None]:
    """Redirect what the C++ parser writes to the terminal into the log."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as captured_stderr:
        os.dup2(captured_stderr.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            captured_stderr.seek(0)
            for line in captured_stderr.read().decode(errors="replace").splitlines():
                LOG.debug("tensorflow frontend: %s", line)


def _runtime(path: Path, model: ov.Model, trust: bool) -> Runtime:
    if not path.is_dir():
        return no_runtime("a frozen graph does not declare its outputs")
    if not trust:  # operations such as WriteFile and PyFunc
        return no_runtime("tensorflow runs the graph, which can write files", "pass --trust")
    try:
        with _native_messages_in_log(), captured("tensorflow"):
            import tensorflow as tf
    except ModuleNotFoundError:
        return no_runtime(*_NOT_INSTALLED)
    failures = (OSError, ValueError, TypeError, tf.errors.OpError)
    try:
        with _native_messages_in_log(), captured("tensorflow"):
            signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    except (*failures, KeyError) as error:
        return no_runtime(f"tensorflow cannot load the signature serving_default, {reason(error)}")
    try:
        inputs_of = _match_names(model.inputs, list(signature.structured_input_signature[1]))
        outputs_of = _match_names(model.outputs, list(signature.structured_outputs))
    except InputError as error:
        return no_runtime(str(error))

    def run(inputs: Inputs) -> list[Array]:
        tensors = {key: tf.constant(inputs[name]) for key, name in inputs_of.items()}
        try:
            outputs = signature(**tensors)
        except failures as error:
            raise InputError(f"tensorflow cannot run {path}: {reason(error)}") from error
        return [np.asarray(outputs[key]) for key in outputs_of]

    return run, f"tensorflow {tf.__version__}"


def _open_interpreter(path: Path) -> tuple[Any, str]:
    """Return a TensorFlow Lite interpreter and its name, of LiteRT or of tensorflow.

    Raises:
        ImportError: Neither is installed; releases of tensorflow after 2.20 may have none.
        ValueError: The interpreter cannot load the file.
        RuntimeError: As ValueError.
    """
    from importlib.metadata import version

    with _native_messages_in_log(), captured("tensorflow"):
        try:
            from ai_edge_litert.interpreter import Interpreter

            package = "ai-edge-litert"
        except ModuleNotFoundError:
            from tensorflow.lite import Interpreter

            package = "tensorflow"
        return Interpreter(str(path)), f"{package} {version(package)}"


def _lite_runtime(path: Path, model: ov.Model) -> Runtime:
    try:
        interpreter, name = _open_interpreter(path)
    except ImportError:
        return no_runtime("ai-edge-litert is not installed", "pip install 'ovtool[tflite]'")
    except (ValueError, RuntimeError) as error:
        return no_runtime(f"the interpreter cannot load the model, {reason(error)}")
    input_index = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    output_index = {detail["name"]: detail["index"] for detail in interpreter.get_output_details()}
    try:
        inputs_of = _match_names(model.inputs, list(input_index))
        outputs_of = _match_names(model.outputs, list(output_index))
    except InputError as error:
        return no_runtime(str(error))

    def run(inputs: Inputs) -> list[Array]:
        try:
            with _native_messages_in_log():
                for key, variant_name in inputs_of.items():
                    interpreter.resize_tensor_input(input_index[key], inputs[variant_name].shape)
                interpreter.allocate_tensors()
                interpreter.reset_all_variables()  # each run starts from the initial state
                for key, variant_name in inputs_of.items():
                    interpreter.set_tensor(input_index[key], inputs[variant_name])
                interpreter.invoke()
        except (ValueError, RuntimeError) as error:
            raise InputError(f"{name} cannot run {path}: {reason(error)}") from error
        return [interpreter.get_tensor(output_index[key]).copy() for key in outputs_of]

    return run, name


def _match_names(model_ports: list[Any], keys: list[str]) -> dict[str, str]:
    """Return source name -> variant name, in the order of the model's ports."""
    matched = {}
    for index, port in enumerate(model_ports):
        names = sorted(port.get_names())
        key = next((key for key in keys if key in names), None)
        if key is None:
            raise InputError(f"OpenVINO's port {index} {names} does not match the source's {keys}")
        matched[key] = names[0]
    return matched
