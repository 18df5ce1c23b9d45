"""Post-training quantization by ``nncf.quantize``: its settings and the call.

Not offered: ``quantize_with_accuracy_control``, which evaluates compiled models and only reverts
layers (:mod:`ovtool.compression.accuracy` evaluates graphs and starts with cheaper candidates); the
quantizer propagation rule, bit widths and signedness, for which devices run graphs in float;
statistics per batch, which follow from the data.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ovtool.compression import weight_ranges
from ovtool.compression.layer_selection import ignored_scope
from ovtool.compression.method import IgnoredScopeSettings
from ovtool.compression.nncf_adapter import quiet_nncf
from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.graph.quantization import detect_compression
from ovtool.graph.weights import classify_codebook, find_weights

if TYPE_CHECKING:
    import openvino as ov

    from ovtool.compression.nncf_adapter import CalibrationFeed

Range = Literal[
    "auto", "minmax", "mean_minmax", "median_minmax", "mean_no_outliers_minmax", "mean_quantile",
    "histogram",
]  # fmt: skip
Effort = Literal["none", "low", "medium", "high"]
TIME_LIMITS_S = {"medium": 300.0, "high": 1200.0}
"""Time of the searches for settings."""
_SMOOTH_MATMUL, _SMOOTH_CONVOLUTION = 0.95, -1.0  # defaults of NNCF


class CalibrationSettings(IgnoredScopeSettings):
    """Settings of every calibrated quantization, with NNCF's names."""

    subset_size: int = Field(300, ge=1, description="maximum number of calibration samples")


class QuantizationSettings(CalibrationSettings):
    """Settings of both INT8 and FP8, with NNCF's names where it has one."""

    effort: Effort = Field(
        "low",
        description="how to set what is left at its default: low: by rules, in the time of one "
        "quantization; medium, high: also by trying settings on calibration samples, up to "
        f"{units.duration(TIME_LIMITS_S['medium'])} or {units.duration(TIME_LIMITS_S['high'])}; "
        "none: the defaults of NNCF",
    )
    model_type: Literal["auto", "none", "transformer"] = Field(
        "auto",
        description="transformer: keeps parts of attention in float, and applies SmoothQuant; "
        "auto: by effort",
    )
    fast_bias_correction: bool = Field(
        True, description="false: full correction, slower and often more accurate"
    )
    bias_correction: bool = Field(True, description="false: no correction of biases")
    smooth_matmul: float = Field(
        _SMOOTH_MATMUL,
        ge=-1,
        le=1,
        description="SmoothQuant alpha of matrix products, for model_type transformer: share of "
        "the activations' range that moves to the weights, 0 to 1; below 0: off",
    )
    smooth_convolution: float = Field(
        _SMOOTH_CONVOLUTION, ge=-1, le=1, description="SmoothQuant alpha of convolutions"
    )
    channel_alignment: bool = Field(False, description="equalizes channel ranges of convolutions")
    activations_range: Range = Field("auto", description="estimator of activation ranges")
    max_drop: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="maximum metric drop (0.01 = 1 percentage point): tries other settings, then "
        "leaves layers in float until the limit holds; none: no limit",
    )
    time_limit_s: float | None = Field(
        None,
        gt=0,
        description="for max_drop, and effort medium or high: seconds after which no further "
        "setting is tried",
    )

    @property
    def smoothing_changed(self) -> bool:
        """Whether SmoothQuant has other shares than NNCF's."""
        shares = (self.smooth_matmul, self.smooth_convolution)
        return shares != (_SMOOTH_MATMUL, _SMOOTH_CONVOLUTION)

    @model_validator(mode="after")
    def _check_effect(self) -> QuantizationSettings:
        if self.smoothing_changed and self.model_type != "transformer":
            raise ValueError("smooth_matmul and smooth_convolution need model_type transformer")
        if not self.bias_correction and not self.fast_bias_correction:
            raise ValueError("fast_bias_correction=false has no effect with bias_correction=false")
        searches = self.max_drop is not None or self.effort in TIME_LIMITS_S
        if self.time_limit_s is not None and not searches:
            raise ValueError("time_limit_s limits a search: it needs max_drop, or effort medium")
        return self


class PresetSettings(CalibrationSettings):
    """The preset of INT8; FP8 has none."""

    preset: Literal["auto", "performance", "mixed"] = Field(
        "auto",
        description="symmetric (performance) or asymmetric activations (mixed, more accurate); "
        "auto: mixed for transformers, else performance",
    )


class Int8Settings(QuantizationSettings, PresetSettings):
    """Settings of INT8 quantization."""

    target_device: Literal["any", "cpu", "gpu", "npu", "cpu_spr"] = Field(
        "any", description="device with the quantization rules to apply"
    )
    overflow_fix: Literal["auto", "pairs", "enable", "first_layer_only", "disable"] = Field(
        "auto",
        description="against overflow on CPUs without VNNI: enable: weights in half of their range;"
        " pairs: in as much of it as the sums of two products allow; auto: by effort, else by NNCF "
        "(half, in the first layers)",
    )
    activation_scales: Literal["auto", "per_tensor", "per_channel"] = Field(
        "auto",
        description="scales of activations before depthwise convolutions; others have one scale "
        "per tensor; auto: by effort",
    )
    weights_per_channel: bool = Field(True, description="false: one scale per layer")
    quantize_outputs: bool = Field(False, description="also quantizes the model's outputs")


class Fp8Settings(QuantizationSettings):
    """Settings of FP8 quantization."""

    mode: Literal["e4m3", "e5m2"] = Field(
        "e4m3", description="e4m3: 4 exponent bits, 3 mantissa bits; e5m2: 5 and 2, more range"
    )


def quantize(
    model: ov.Model, settings: QuantizationSettings, feed: CalibrationFeed, *, stored: bool = True
) -> ov.Model:
    """Return a quantized copy of a graph; the same settings and data give the same result.

    Settings left at ``auto`` are NNCF's; ``effort``, ``max_drop`` and ``time_limit_s`` have no
    effect. At most ``subset_size`` samples of the feed calibrate. Without ``stored``, weights stay
    in float, each with the quantizer that rounds it.

    Raises:
        InputError: NNCF rejected the model or the settings, an ignored name matches no layer, or
            the graph has codebooks, which NNCF cannot quantize.
    """
    _check_codebooks(model)
    feed = feed.limited(settings.subset_size)
    fp8 = isinstance(settings, Fp8Settings)
    with quiet_nncf(f"{'fp8' if fp8 else 'int8'} quantization"):
        import nncf

        options: dict[str, Any] = {}
        if isinstance(settings, Fp8Settings):
            options["mode"] = nncf.QuantizationMode[f"FP8_{settings.mode.upper()}"]
        elif isinstance(settings, Int8Settings):
            if settings.preset != "auto":
                options["preset"] = nncf.QuantizationPreset(settings.preset)
            options["target_device"] = nncf.TargetDevice(settings.target_device.upper())
        options |= {
            "subset_size": len(feed),
            "fast_bias_correction": settings.fast_bias_correction,
            "model_type": nncf.ModelType.TRANSFORMER
            if settings.model_type == "transformer"
            else None,
            "ignored_scope": ignored_scope(model, settings),
            "advanced_parameters": _advanced(settings, stored),
        }
        pairs = isinstance(settings, Int8Settings) and settings.overflow_fix == "pairs"
        try:
            with weight_ranges.fitted() if pairs else contextlib.nullcontext():
                return nncf.quantize(model, nncf.Dataset(feed), **options)
        except KeyError as error:  # of NNCF 3.4: its alignment asks for a type that it lacks
            if not settings.channel_alignment:
                raise
            raise InputError(
                "NNCF cannot align the channels of this graph", "set channel_alignment=false"
            ) from error


def check_not_quantized(model: ov.Model, name: str) -> None:
    """Check that a graph has no quantized activations.

    Raises:
        InputError: It has: another quantization would round twice, and slow the model down.
    """
    compression = detect_compression(model)
    if compression.activations is not None:
        count = f"{len(compression.quantized)} of {compression.products} layers"
        raise InputError(
            f"{name} is quantized already: {compression.label}, {count}",
            "quantize the uncompressed model",
        )


def _check_codebooks(model: ov.Model) -> None:
    layers = [
        stored.layer
        for stored in find_weights(model)
        if any(classify_codebook(node) for node in stored.path)
    ]
    if layers:
        raise InputError(
            f"{len(layers)} layers have shared weights, which cannot be quantized",
            "quantize a variant without shared weights: no engine runs both",
        )


def _advanced(settings: QuantizationSettings, stored: bool) -> Any:
    """Return NNCF's advanced parameters; None for its defaults."""
    import nncf
    from nncf.quantization.advanced_parameters import AdvancedSmoothQuantParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    changed: dict[str, Any] = {}
    if settings.smoothing_changed:
        changed["smooth_quant_alphas"] = AdvancedSmoothQuantParameters(
            settings.smooth_convolution, settings.smooth_matmul
        )
    if not settings.bias_correction:
        changed["disable_bias_correction"] = True
    if settings.channel_alignment:
        changed["disable_channel_alignment"] = False
    if settings.activations_range != "auto":
        changed["activations_range_estimator_params"] = getattr(
            RangeEstimatorParametersSet, settings.activations_range.upper()
        )
    if isinstance(settings, Int8Settings):
        changed |= _advanced_int8(settings)
    if not stored:
        changed["backend_params"] = {"compress_weights": False}
    return nncf.AdvancedQuantizationParameters(**changed) if changed else None


def _advanced_int8(settings: Int8Settings) -> dict[str, Any]:
    import nncf
    from nncf.quantization.advanced_parameters import QuantizationParameters

    changed: dict[str, Any] = {}
    if settings.overflow_fix != "auto":
        pairs = settings.overflow_fix == "pairs"  # NNCF's half of the range at first
        changed["overflow_fix"] = nncf.OverflowFix("enable" if pairs else settings.overflow_fix)
    if settings.activation_scales == "per_tensor":
        changed["activations_quantization_params"] = QuantizationParameters(per_channel=False)
    if not settings.weights_per_channel:
        changed["weights_quantization_params"] = QuantizationParameters(per_channel=False)
    if settings.quantize_outputs:
        changed["quantize_outputs"] = True
    return changed
