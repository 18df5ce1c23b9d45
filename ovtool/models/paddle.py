"""Paddle models (``x.pdmodel`` with ``x.pdiparams``), checked with paddle if installed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.ports import ports
from ovtool.core.third_party import captured, reason
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

    import openvino as ov

    from ovtool.models.options import SourceOptions


def read(reference: str, options: SourceOptions) -> SourceModel:
    """Read a Paddle inference model.

    Raises:
        InputError: The file is missing, truncated, not Paddle, or a newer ``.json`` program.
    """
    path = files.existing_file(reference, "model")
    if path.suffix.lower() == ".json":
        raise InputError(
            f"OpenVINO does not read Paddle's .json programs: {path}",
            "save it as .pdmodel (FLAGS_enable_pir_api=0), or convert it to ONNX with paddle2onnx",
        )
    model = read_with("paddle", path, "Paddle", shapes=options.input_shapes)
    weights = path.with_suffix(".pdiparams")
    parts = [path, weights] if weights.is_file() else [path]
    return from_files("paddle", reference, parts, model, _runtime(path, weights, model))


def _runtime(path: Path, weights: Path, model: ov.Model) -> Runtime:
    try:
        with captured("paddle"):
            import paddle
            from paddle import inference
    except ModuleNotFoundError:
        return no_runtime("paddle is not installed", "pip install 'ovtool[paddle]'")
    settings = inference.Config(str(path), str(weights) if weights.is_file() else "")
    settings.disable_glog_info()
    try:
        predictor = inference.create_predictor(settings)
    except (RuntimeError, ValueError, NotImplementedError, OSError) as error:
        return no_runtime(f"paddle cannot load the file, {reason(error)}")
    names = {key: _variant_name(key, model) for key in predictor.get_input_names()}

    def run(inputs: Inputs) -> list[Array]:
        try:
            for key, name in names.items():
                predictor.get_input_handle(key).copy_from_cpu(inputs[name])
            predictor.run()
        except (RuntimeError, ValueError, NotImplementedError, OSError) as error:
            raise InputError(f"paddle cannot run {path}: {reason(error)}") from error
        outputs = predictor.get_output_names()
        return [predictor.get_output_handle(key).copy_to_cpu() for key in outputs]

    return run, f"paddle {paddle.__version__}"


def _variant_name(key: str, model: ov.Model) -> str:
    for port, record in zip(model.inputs, ports(model)["inputs"], strict=True):
        if key in port.get_names():
            return record.name
    raise InputError(f"OpenVINO lacks the source's input {key!r}")
