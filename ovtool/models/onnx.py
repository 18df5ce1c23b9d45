"""ONNX models, compared with onnxruntime or the reference evaluator of the onnx package."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.shapes import OPEN
from ovtool.models import onnx_file
from ovtool.models.onnx_runtime import open_runtime, unoptimized_run
from ovtool.models.source import DeclaredOutput, SourceModel, from_files, no_runtime, read_with

if TYPE_CHECKING:
    from ovtool.models.onnx_file import DeclaredValue
    from ovtool.models.options import SourceOptions

DROPOUT = "the file has dropout in training mode; export it in eval mode: module.eval()"


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read an ONNX file; external data must be in the same folder.

    The inputs and outputs have the names of the file.

    Raises:
        InputError: The file is missing, truncated, not ONNX, refers to files outside its folder, or
            has inputs or outputs that are not tensors.
        MissingDependencyError: The file cannot be read correctly without the onnx package.
    """
    path = files.existing_file(reference, "model")
    parts = [path, *onnx_file.external_files(path)]
    proto = onnx_file.load(path)
    if proto is None:
        model = read_with("onnx", path, "ONNX", shapes=options.input_shapes)
        # The inputs of the model cannot be matched with those of the file.
        missing = no_runtime("onnx is not installed, or cannot parse the file", onnx_file.INSTALL)
        return from_files("onnx", reference, parts, model, missing)
    inputs = onnx_file.declared_inputs(proto, path)
    outputs = onnx_file.declared_outputs(proto, path)
    rewritten = onnx_file.with_time_major_recurrence(proto, path)
    try:
        model = read_with("onnx", path, "ONNX", rewritten, options.input_shapes)
    except InputError as error:
        if not onnx_file.trains_with_dropout(proto):
            raise
        raise InputError(str(error), DROPOUT) from error
    dropped = onnx_file.name_like_file(
        model,
        [value.name for value in inputs],
        [value.name for value in outputs],
        onnx_file.value_origins(proto),
    )
    source = from_files(
        "onnx",
        reference,
        parts,
        model,
        open_runtime(path, proto, inputs),
        second=unoptimized_run(path, inputs),
        declared={value.name: _declared_output(value) for value in outputs},
    )
    names = {
        value.name: [size if isinstance(size, str) and size else None for size in value.shape or ()]
        for value in inputs
    }
    source = replace(source, symbols=names)
    if not dropped:
        return source
    return replace(source, notes=(make_note("inputs-dropped", ", ".join(dropped)),))


def _declared_output(value: DeclaredValue) -> DeclaredOutput:
    shape = None
    if value.shape is not None:
        shape = tuple(size if isinstance(size, int) else OPEN for size in value.shape)
    return DeclaredOutput(shape, value.dtype)
