"""Post-training quantization of weights and activations to 8 bits, on data without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.compression import accuracy, ptq
from ovtool.compression.method import Method, MethodContext, MethodResult
from ovtool.compression.nncf_adapter import CalibrationFeed
from ovtool.compression.ptq import Fp8Settings, Int8Settings, QuantizationSettings

if TYPE_CHECKING:
    from ovtool.compression.method import Need


def _apply(context: MethodContext[Any]) -> MethodResult:
    settings: QuantizationSettings = context.settings
    ptq.check_not_quantized(context.model, context.parent.name)
    samples = context.samples("calibration", "quantization")
    if len(samples) < settings.subset_size:
        context.progress.note(f"calibrating on all {len(samples)} samples of {samples.reference}")
    feed = CalibrationFeed(
        samples, context.parent.record.inputs, settings.subset_size, context.progress
    )
    details = {"calibration_samples": feed.count}
    if settings.max_drop is not None:
        result = accuracy.quantize_within_limit(context, samples, feed)
        return MethodResult(result.model, details | result.details)
    context.progress.start("reading the graph")
    return MethodResult(ptq.quantize(context.model, settings, feed), details)


def _conditional_needs(settings: QuantizationSettings) -> frozenset[Need]:
    return frozenset() if settings.max_drop is None else frozenset({"validation"})


INT8: Method[Int8Settings] = Method(
    Int8Settings,
    frozenset({"calibration"}),
    _apply,
    "size; speed on CPU, GPU and NPU",
    conditional_needs=_conditional_needs,
)
FP8: Method[Fp8Settings] = Method(
    Fp8Settings,
    frozenset({"calibration"}),
    _apply,
    "size; speed only on devices that compute in FP8, others run in float",
    conditional_needs=_conditional_needs,
)
