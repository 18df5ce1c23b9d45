"""8-bit weights and activations by post-training quantization (``nncf.quantize``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ovtool.compress.feed import Feed
from ovtool.compress.method import Compressed, Ignoring, Method, Work
from ovtool.compress.session import ignored_scope, quiet_nncf
from ovtool.errors import InputError


class Quantizing(Ignoring):
    """Settings of ``nncf.quantize`` of any graph, by its names."""

    preset: Literal["auto", "performance", "mixed"] = Field(
        "auto",
        description="activations symmetric (performance) or asymmetric (mixed, more accurate); "
        "auto: mixed for transformers, else performance",
    )
    subset_size: int = Field(300, ge=1, description="samples to calibrate on")
    model_type: Literal["none", "transformer"] = Field(
        "none", description="transformer: keeps what attention needs in float, and smooths"
    )


class Int8Settings(Quantizing):
    """Settings of ``nncf.quantize`` of an OpenVINO graph."""

    fast_bias_correction: bool = Field(
        True, description="false: the full correction, slower and often more accurate"
    )
    target_device: Literal["any", "cpu", "gpu", "npu", "cpu_spr"] = Field(
        "any", description="device whose quantization rules apply"
    )


def _apply(work: Work[Int8Settings]) -> Compressed:
    settings, samples = work.settings, work.material.calibration
    if samples is None:
        raise InputError("int8 is calibrated on data", "give some with --data")
    if len(samples) < settings.subset_size:
        work.progress.note(f"calibrating on all {len(samples)} samples of {samples.reference}")
    feed = Feed(samples, work.parent.record.inputs, settings.subset_size, work.progress)
    work.progress.start("reading the graph")
    with quiet_nncf("int8 quantization"):
        import nncf

        preset = settings.preset
        model = nncf.quantize(
            work.model,
            nncf.Dataset(feed),
            preset=None if preset == "auto" else nncf.QuantizationPreset(preset),
            target_device=nncf.TargetDevice(settings.target_device.upper()),
            subset_size=len(feed),
            fast_bias_correction=settings.fast_bias_correction,
            model_type=None if settings.model_type == "none" else nncf.ModelType.TRANSFORMER,
            ignored_scope=ignored_scope(work.model, settings),
        )
    return Compressed(model, {"calibration_samples": min(settings.subset_size, len(samples))})


INT8 = Method(Int8Settings, frozenset({"calibration"}), _apply, "size; speed on CPU, GPU and NPU")
