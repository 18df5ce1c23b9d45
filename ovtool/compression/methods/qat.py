"""Quantization-aware training: ``nncf.quantize`` on the PyTorch network, then training.

Training rounds weights and activations to 8 bits as the result does; gradients pass the rounding
unchanged (Jacob et al. 2018). The ranges are trained too.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ovtool.compression.distillation import DistillationSettings, retrain, training_needs
from ovtool.compression.layer_selection import torch_ignored_scope
from ovtool.compression.method import Method, MethodContext, MethodResult
from ovtool.compression.networks import (
    compare_flops,
    convert_network,
    count_parameters,
    training_details,
)
from ovtool.compression.nncf_adapter import CalibrationFeed, make_hookable, quiet_nncf
from ovtool.compression.ptq import PresetSettings
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.graph.reference_run import ReferenceModel
from ovtool.graph.weights import count_weight_types
from ovtool.models.network import flatten_outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import openvino as ov
    import torch

    from ovtool.models.network import Network

_COMPARED = 8
"""Number of calibration samples to compare the saved graph with the network on."""
_TOLERANCE = 0.1
"""Maximum mean difference, as a share of the output's largest absolute value.

A value between two levels may round to either one in the two engines, and later layers propagate
the difference. A wrong graph differs by much more.
"""

_WITH_WEIGHTS = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
"""Layer types of the CPU plugin with weights."""


class QatSettings(PresetSettings, DistillationSettings):
    """Settings of ``nncf.quantize`` on a PyTorch network and of the training."""

    model_type: Literal["none", "transformer"] = Field(
        "none",
        description="transformer: keeps parts of attention in float, and applies SmoothQuant",
    )

    target_device: Literal["any", "cpu", "gpu", "npu"] = Field(
        "any", description="device with the quantization rules to apply"
    )
    learning_rate: float = Field(1e-4, gt=0, description="initial rate; the schedule lowers it")


def _apply(context: MethodContext[QatSettings]) -> MethodResult:
    from openvino._offline_transformations import compress_quantize_weights_transformation

    network = context.create_network("qat")
    network = replace(network, module=make_hookable(network.module).eval())
    ports, samples = context.parent.record.inputs, context.samples("calibration", "qat")
    feed = CalibrationFeed(samples, ports, context.settings.subset_size, context.progress)
    quantized = replace(network, module=_quantize(network, feed, context.settings))
    details: dict[str, Any] = {
        "calibration_samples": feed.count,
        "parameters": count_parameters(network.module),
    }
    details |= training_details(retrain(quantized, context))
    result = convert_network(context, quantized, details)
    compress_quantize_weights_transformation(result.model)  # to 8-bit integers
    details |= compare_flops(context.model, result.model)
    compared = list(CalibrationFeed(samples, ports, _COMPARED, SILENT))
    # A graph in 8 bits has no PyTorch network that later steps could train.
    return replace(result, network=None, verify=_verify(quantized, compared))


def _quantize(network: Network, feed: CalibrationFeed, settings: QatSettings) -> torch.nn.Module:
    """Return a copy of the module with NNCF's quantizers, set from the calibration samples."""
    with quiet_nncf("int8 quantization"):
        import nncf

        _disable_native_extension()
        example = _arguments(network, dict(enumerate(network.example.values())))
        preset = settings.preset
        module: torch.nn.Module = nncf.quantize(
            network.module,
            nncf.Dataset(feed, lambda batch: _arguments(network, batch)),
            preset=None if preset == "auto" else nncf.QuantizationPreset(preset),
            target_device=nncf.TargetDevice(settings.target_device.upper()),
            subset_size=len(feed),
            model_type=None if settings.model_type == "none" else nncf.ModelType.TRANSFORMER,
            ignored_scope=torch_ignored_scope(network.module, example, settings),
        )
    return module


def _disable_native_extension() -> None:
    """Make NNCF round with PyTorch operations.

    By default NNCF compiles a C++ extension on first use, or falls back to torch.compile: minutes
    on a small machine, and a failure without a compiler.
    """
    from nncf.torch.quantization.extensions import QuantizedFunctionsCPU
    from nncf.torch.quantization.reference import torch_executor

    if QuantizedFunctionsCPU._loaded_namespace is None:  # noqa: SLF001 - NNCF has no setting for it
        QuantizedFunctionsCPU._loaded_namespace = SimpleNamespace(  # noqa: SLF001
            Quantize_forward=torch_executor.forward, Quantize_backward=torch_executor.backward
        )


def _arguments(network: Network, batch: Mapping[int, Any]) -> Any:
    """Return the inputs of a batch in the form that the module takes."""
    import torch

    tensors = [torch.as_tensor(batch[i]) for i in range(len(network.example))]
    if network.by_name:
        return dict(zip(network.example, tensors, strict=True))
    return tuple(tensors)


def _verify(
    network: Network, batches: Sequence[Mapping[int, Any]]
) -> Callable[[ov.Model], dict[str, Any]]:
    """Return a function that compares the saved graph with the trained network."""

    def verify(saved: ov.Model) -> dict[str, Any]:
        counted = count_weight_types(saved)
        if not counted.quantized_activations or all(s.bits > 8 for s in counted.shares):
            raise InputError("qat quantizes no layer", "ignore fewer layers")
        reference = ReferenceModel(saved)
        difference = _mean_difference(network, reference, batches)
        if not difference <= _TOLERANCE:
            raise InputError(
                f"the saved graph differs from the trained network by {difference:.3g}"
                f" (limit {_TOLERANCE:g})",
                "ignore more layers; the difference is the mean, as a share of the largest output",
            )
        return {
            "mean_difference": round(difference, 6),
            "run_in_8_bits": _count_8_bit_layers(reference.compiled),
        }

    return verify


def _mean_difference(
    network: Network, graph: ReferenceModel, batches: Sequence[Mapping[int, Any]]
) -> float:
    """Return the mean absolute difference over the largest absolute value, for the worst output."""
    import torch

    network.module.eval()
    pairs: list[list[tuple[Any, Any]]] = []
    for batch in batches:
        with torch.no_grad():
            inputs = {name: torch.as_tensor(batch[i]) for i, name in enumerate(network.example)}
            expected = flatten_outputs(network(inputs), network.reference)
        results = graph.run(batch)
        pairs.append([(e.numpy(), r) for e, r in zip(expected, results, strict=True)])
    worst = 0.0
    for output in zip(*pairs, strict=True):
        reference, actual = (
            np.concatenate([np.ravel(pair[i]) for pair in output]) for i in range(2)
        )
        scale = float(np.abs(reference).max()) or 1.0
        worst = max(worst, float(np.abs(reference - actual).mean()) / scale)
    return worst


def _count_8_bit_layers(compiled: Any) -> dict[str, int]:
    """Return the number of layers with weights, and how many this CPU runs in 8 bits."""
    infos = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    precisions = [
        i["runtimePrecision"].astype(str)
        for i in infos
        if i["layerType"].astype(str) in _WITH_WEIGHTS
    ]
    return {"layers": len(precisions), "in_8_bits": sum(p in ("i8", "u8") for p in precisions)}


QAT = Method(
    QatSettings,
    frozenset({"network", "calibration"}),
    _apply,
    "size; speed on CPU, GPU and NPU, with higher accuracy than int8",
    conditional_needs=training_needs,
)
