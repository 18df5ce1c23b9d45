"""Weights and activations in 8 bits by post-training quantization, on data without labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ovtool.compression import accuracy, ptq
from ovtool.compression.calibration_feed import Feed
from ovtool.compression.method import Compressed, Method, Work
from ovtool.compression.ptq import Fp8Settings, Int8Settings, Quantizing
from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from ovtool.compression.method import Need


def _apply(work: Work[Any]) -> Compressed:
    settings: Quantizing = work.settings
    samples = work.material.calibration
    if samples is None:
        raise InputError("quantization is calibrated on data", "give some with --data")
    if len(samples) < settings.subset_size:
        work.progress.note(f"calibrating on all {len(samples)} samples of {samples.reference}")
    feed = Feed(samples, work.parent.record.inputs, settings.subset_size, work.progress)
    details = {"calibration_samples": feed.count}
    if settings.max_drop is not None:
        found = accuracy.within_limit(work, samples, feed)
        return Compressed(found.model, details | found.details)
    work.progress.start("reading the graph")
    return Compressed(ptq.quantize(work.model, settings, feed), details)


def _also(settings: Quantizing) -> frozenset[Need]:
    return frozenset() if settings.max_drop is None else frozenset({"validation"})


INT8: Method[Int8Settings] = Method(
    Int8Settings,
    frozenset({"calibration"}),
    _apply,
    "size; speed on CPU, GPU and NPU",
    also=_also,
)
FP8: Method[Fp8Settings] = Method(
    Fp8Settings,
    frozenset({"calibration"}),
    _apply,
    "size; speed only where a device computes in FP8: others run it in float",
    also=_also,
)
