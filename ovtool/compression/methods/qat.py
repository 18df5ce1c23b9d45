"""Quantization-aware training: ``nncf.quantize`` on the torch network, then training.

The network is trained with its weights and activations rounded to 8 bits as they will be, gradients
passing the rounding unchanged (Jacob et al. 2018); the ranges are trained with it.
"""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from ovtool.compression import cost
from ovtool.compression.calibration_feed import Feed
from ovtool.compression.method import Compressed, Method, Work, missing
from ovtool.compression.methods.distillation import Distilling, finish, retrain, trained_with
from ovtool.compression.nncf_session import hookable, ignored_in_torch, quiet_nncf
from ovtool.compression.ptq import WithPreset
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from ovtool.graph import census
from ovtool.models.network import tensors_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import openvino as ov
    import torch

    from ovtool.models.network import Network

_COMPARED = 8
"""Calibration samples that the saved graph is compared with the network on."""
_TOLERANCE = 0.1
"""Largest mean difference, as a share of the output's largest absolute value.

A value that lies between two levels may round to either in the two engines, and layers after it
carry that on; a graph that is wrong differs by much more.
"""

_HEAVY = {"Convolution", "Deconvolution", "FullyConnected", "MatMul"}
"""Layers of the CPU plugin that have weights."""


class QatSettings(WithPreset, Distilling):
    """Settings of ``nncf.quantize`` of a torch network, and of the training after it."""

    target_device: Literal["any", "cpu", "gpu", "npu"] = Field(
        "any", description="device whose quantization rules apply"
    )
    learning_rate: float = Field(1e-4, gt=0, description="the first one; the schedule lowers it")


def _apply(work: Work[QatSettings]) -> Compressed:
    if work.material.network is None:
        raise missing("qat", ["network"])
    if work.material.calibration is None:
        raise missing("qat", ["calibration"])
    network = work.material.network()
    network = replace(network, module=hookable(network.module).eval())
    ports, samples = work.parent.record.inputs, work.material.calibration
    feed = Feed(samples, ports, work.settings.subset_size, work.progress)
    quantized = replace(network, module=_quantized(network, feed, work.settings))
    details: dict[str, Any] = {
        "calibration_samples": min(work.settings.subset_size, len(samples)),
        "parameters": cost.parameters(network.module),
    }
    trained = retrain(quantized, work)
    if trained is not None:
        details["training"] = trained.to_json()
    done = finish(work, quantized, details)
    _store_in_8_bits(done.model)
    details |= cost.compared(work.model, done.model)
    few = list(Feed(samples, ports, _COMPARED, SILENT))
    # A graph in 8 bits has no torch counterpart that later steps could train.
    return replace(done, network=None, check=_check(quantized, few))


def _quantized(network: Network, feed: Feed, settings: QatSettings) -> torch.nn.Module:
    """Return a copy of the module with NNCF's quantizers, set from the calibration samples."""
    with quiet_nncf("int8 quantization"):
        import nncf

        _without_compiling()
        example = _arguments(network, dict(enumerate(network.example.values())))
        preset = settings.preset
        module: torch.nn.Module = nncf.quantize(
            network.module,
            nncf.Dataset(feed, lambda batch: _arguments(network, batch)),
            preset=None if preset == "auto" else nncf.QuantizationPreset(preset),
            target_device=nncf.TargetDevice(settings.target_device.upper()),
            subset_size=len(feed),
            model_type=None if settings.model_type == "none" else nncf.ModelType.TRANSFORMER,
            ignored_scope=ignored_in_torch(network.module, example, settings),
        )
    return module


def _without_compiling() -> None:
    """Let NNCF round in torch's own operations.

    It would compile C++ for that when first used, and torch.compile in its place: minutes on a
    small machine (it gives up after one), and not at all on one without a compiler.
    """
    from nncf.torch.quantization.extensions import QuantizedFunctionsCPU
    from nncf.torch.quantization.reference import torch_executor

    if QuantizedFunctionsCPU._loaded_namespace is None:  # noqa: SLF001 - it has no setting for it
        QuantizedFunctionsCPU._loaded_namespace = SimpleNamespace(  # noqa: SLF001
            Quantize_forward=torch_executor.forward, Quantize_backward=torch_executor.backward
        )


def _arguments(network: Network, batch: Mapping[int, Any]) -> Any:
    """Return inputs by place as the module takes them."""
    import torch

    tensors = [torch.as_tensor(batch[place]) for place in range(len(network.example))]
    if network.by_name:
        return dict(zip(network.example, tensors, strict=True))
    return tuple(tensors)


def _store_in_8_bits(model: ov.Model) -> None:
    """Store weights that a FakeQuantize rounds as the integers that it rounds them to."""
    from openvino._offline_transformations import compress_quantize_weights_transformation

    compress_quantize_weights_transformation(model)


def _check(
    network: Network, batches: Sequence[Mapping[int, Any]]
) -> Callable[[ov.Model], dict[str, Any]]:
    """Return what holds the saved graph against the trained network."""

    def check(saved: ov.Model) -> dict[str, Any]:
        import openvino as ov

        counted = census.count(saved)
        if not counted.quantized_activations or all(s.bits > 8 for s in counted.shares):
            raise InputError("qat leaves no layer in 8 bits", "ignore fewer layers")
        compiled = ov.Core().compile_model(saved, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found = _difference(network, compiled, batches)
        if not found <= _TOLERANCE:
            raise InputError(
                f"the saved graph differs from the trained network by {found:.3g} of its largest "
                f"output on average, more than {_TOLERANCE:g}",
                "leave more layers as they are",
            )
        return {"mean_difference": round(found, 6), "run_in_8_bits": _run_in_8_bits(compiled)}

    return check


def _difference(network: Network, compiled: Any, batches: Sequence[Mapping[int, Any]]) -> float:
    """Return the mean absolute difference over the largest absolute value, of the worst output."""
    import torch

    network.module.eval()
    pairs: list[list[tuple[Any, Any]]] = []
    for batch in batches:
        with torch.no_grad():
            inputs = {name: torch.as_tensor(batch[i]) for i, name in enumerate(network.example)}
            expected = tensors_of(network(inputs), network.reference)
        results = compiled(dict(batch)).to_tuple()
        pairs.append([(e.numpy(), r) for e, r in zip(expected, results, strict=True)])
    worst = 0.0
    for output in zip(*pairs, strict=True):
        wanted, got = (np.concatenate([np.ravel(pair[i]) for pair in output]) for i in range(2))
        scale = float(np.abs(wanted).max()) or 1.0
        worst = max(worst, float(np.abs(wanted - got).mean()) / scale)
    return worst


def _run_in_8_bits(compiled: Any) -> dict[str, int]:
    """Return how many of the layers with weights this machine's CPU runs in 8 bits."""
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    heavy = [
        i["runtimePrecision"].astype(str) for i in told if i["layerType"].astype(str) in _HEAVY
    ]
    return {"layers": len(heavy), "in_8_bits": sum(p in ("i8", "u8") for p in heavy)}


QAT = Method(
    QatSettings,
    frozenset({"network", "calibration"}),
    _apply,
    "size; speed on CPU, GPU and NPU, at more of the accuracy than int8",
    also=trained_with,
)
