"""Post-training quantization of weights and activations to 8 bits, on data without labels."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from ovtool.compression import accuracy, calibration_rules, output_noise, ptq
from ovtool.compression.calibration_search import CalibrationSearch
from ovtool.compression.method import Method, MethodContext, MethodResult
from ovtool.compression.nncf_adapter import CalibrationFeed
from ovtool.compression.ptq import Fp8Settings, Int8Settings, QuantizationSettings
from ovtool.core import units

if TYPE_CHECKING:
    from ovtool.compression.method import Need
    from ovtool.datasets.samples import Samples
    from ovtool.graph.reference_run import ReferenceModel


def _apply(context: MethodContext[Any]) -> MethodResult:
    given: QuantizationSettings = context.settings
    ptq.check_not_quantized(context.model, context.parent.name)
    samples = context.samples("calibration", "quantization")
    settings, decisions = calibration_rules.decide(context.model, given)
    for decision in decisions:
        context.progress.note(f"{decision.setting}={decision.value}: {decision.reason}")
    if len(samples) < settings.subset_size:
        context.progress.note(f"calibrating on all {len(samples)} samples of {samples.reference}")
    feed = CalibrationFeed(
        samples, context.parent.record.inputs, settings.subset_size, context.progress
    )
    details: dict[str, Any] = {
        "calibration_samples": feed.count,
        "decisions": [asdict(decision) for decision in decisions],
    }
    if settings.max_drop is not None:
        result = accuracy.quantize_within_limit(context, settings, samples, feed)
        return MethodResult(result.model, details | result.details)
    if settings.effort in ptq.TIME_LIMITS_S:
        search = CalibrationSearch(context, samples, settings, time_limit_s=settings.time_limit_s)
        ranked = search.rank()
        chosen = ranked[0].changed if ranked else {}
        settings = search.with_changes(chosen)
        details |= {"chosen": chosen, "settings_search": search.details()}
    context.progress.start("reading the graph")
    model = ptq.quantize(context.model, settings, feed)
    judge = None if settings.effort == "none" else partial(_judge, context, samples)
    return MethodResult(model, units.finite(details), judge=judge)


def _judge(
    context: MethodContext[Any], samples: Samples, compiled: ReferenceModel
) -> dict[str, Any]:
    return {"noise": output_noise.measure_noise(context, samples, compiled)}


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
    untrained="EfficientNet-Lite0 has 259 of 300 photographs right in FP32, 245 in FP8 (e4m3)",
)
