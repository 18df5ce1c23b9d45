"""Post-training quantization by ``nncf.quantize``: its settings, its data, one call of it.

What of NNCF is left out, and why: ``quantize_with_accuracy_control`` judges compiled models and
only puts layers back (:mod:`ovtool.compression.accuracy` judges graphs, and tries what is cheaper
first); the quantizer propagation rule, bit widths and signedness give graphs that the devices run
in float; statistics by batch follow from the data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from ovtool.compression.method import Ignoring
from ovtool.compression.nncf_session import ignored_scope, quiet_nncf
from ovtool.core.errors import InputError
from ovtool.graph import weights as stored_weights

if TYPE_CHECKING:
    import openvino as ov

    from ovtool.compression.calibration_feed import Feed

Range = Literal[
    "auto", "minmax", "mean_minmax", "median_minmax", "mean_no_outliers_minmax", "mean_quantile",
    "histogram",
]  # fmt: skip
_SMOOTH_MATMUL, _SMOOTH_CONVOLUTION = 0.95, -1.0  # NNCF's own


class Calibrating(Ignoring):
    """Settings of every quantization that is calibrated, by NNCF's names."""

    subset_size: int = Field(300, ge=1, description="samples to calibrate on")
    model_type: Literal["none", "transformer"] = Field(
        "none", description="transformer: keeps what attention needs in float, and smooths"
    )


class Quantizing(Calibrating):
    """Settings that INT8 and FP8 share, by NNCF's names where it has one."""

    fast_bias_correction: bool = Field(
        True, description="false: the full correction, slower and often more accurate"
    )
    bias_correction: bool = Field(True, description="false: biases stay as they are")
    smooth_matmul: float = Field(
        _SMOOTH_MATMUL,
        ge=-1,
        le=1,
        description="SmoothQuant alpha of matrix products, with model_type transformer: how much "
        "of the activations' range goes to the weights, 0 to 1; below 0: off",
    )
    smooth_convolution: float = Field(
        _SMOOTH_CONVOLUTION, ge=-1, le=1, description="the same of convolutions"
    )
    channel_alignment: bool = Field(
        False, description="evens out the ranges of the channels between convolutions"
    )
    activations_range: Range = Field(
        "auto", description="how the range of activations comes from the samples"
    )
    max_drop: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="most that the metric may lose, 0.01 is one point: other settings are tried "
        "and then layers left in float until it holds; none: no limit",
    )
    time_limit_s: float | None = Field(
        None, gt=0, description="with max_drop: try nothing more after this long; none: no limit"
    )

    @model_validator(mode="after")
    def _takes_effect(self) -> Quantizing:
        smooth = (self.smooth_matmul, self.smooth_convolution)
        if (
            smooth != (_SMOOTH_MATMUL, _SMOOTH_CONVOLUTION)
            and self.model_type == "none"
            and self.max_drop is None
        ):
            raise ValueError("smooth_matmul and smooth_convolution need model_type transformer")
        if not self.bias_correction and not self.fast_bias_correction:
            raise ValueError("bias_correction false leaves fast_bias_correction nothing to choose")
        if self.time_limit_s is not None and self.max_drop is None:
            raise ValueError("time_limit_s limits the search that max_drop asks for: give both")
        return self


class WithPreset(Calibrating):
    """The setting that INT8 has and FP8 has not."""

    preset: Literal["auto", "performance", "mixed"] = Field(
        "auto",
        description="activations symmetric (performance) or asymmetric (mixed, more accurate); "
        "auto: mixed for transformers, else performance",
    )


class Int8Settings(WithPreset, Quantizing):
    """Settings of INT8 quantization."""

    target_device: Literal["any", "cpu", "gpu", "npu", "cpu_spr"] = Field(
        "any", description="device whose quantization rules apply"
    )
    overflow_fix: Literal["auto", "enable", "first_layer_only", "disable"] = Field(
        "auto",
        description="weights in half of their range, for CPUs without VNNI whose sums overflow; "
        "auto: as the device's rules say",
    )
    weights_per_channel: bool = Field(True, description="false: one scale for a whole layer")
    quantize_outputs: bool = Field(False, description="quantizes the model's outputs too")


class Fp8Settings(Quantizing):
    """Settings of FP8 quantization."""

    mode: Literal["e4m3", "e5m2"] = Field(
        "e4m3", description="e4m3: 4 bits of exponent and 3 of mantissa; e5m2: 5 and 2, more range"
    )


def quantize(model: ov.Model, settings: Quantizing, feed: Feed, *, stored: bool = True) -> ov.Model:
    """Quantize a graph; the given one stays as it is.

    The same graph, settings and data give the same result.

    Args:
        model: In floating point.
        settings: Of :class:`Int8Settings` or :class:`Fp8Settings`; the limits are not looked at.
        feed: Calibration data.
        stored: Whether weights are stored in 8 bits; False keeps them in float, each behind the
            quantizer that rounds it.

    Raises:
        InputError: NNCF refused the model or the settings, a name to ignore is no layer, or
            weights are looked up in tables, which NNCF cannot quantize.
    """
    _refuse_tables(model)
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
        return nncf.quantize(
            model,
            nncf.Dataset(feed),
            subset_size=len(feed),
            fast_bias_correction=settings.fast_bias_correction,
            model_type=None if settings.model_type == "none" else nncf.ModelType.TRANSFORMER,
            ignored_scope=ignored_scope(model, settings),
            advanced_parameters=_advanced(settings, stored),
            **options,
        )


def _refuse_tables(model: ov.Model) -> None:
    looked_up = [
        stored.layer
        for stored in stored_weights.weights(model)
        if any(stored_weights.codebook(node) for node in stored.passed)
    ]
    if looked_up:
        raise InputError(
            f"the weights of {len(looked_up)} layers are looked up in tables, which cannot be "
            f"quantized",
            "quantize in place of sharing weights: no engine runs both",
        )


def _advanced(settings: Quantizing, stored: bool) -> Any:
    """Return NNCF's advanced parameters; None where all are its defaults."""
    import nncf
    from nncf.quantization.advanced_parameters import (
        AdvancedSmoothQuantParameters,
        QuantizationParameters,
    )
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    given: dict[str, Any] = {}
    smooth = (settings.smooth_convolution, settings.smooth_matmul)
    if smooth != (_SMOOTH_CONVOLUTION, _SMOOTH_MATMUL):
        given["smooth_quant_alphas"] = AdvancedSmoothQuantParameters(*smooth)
    if not settings.bias_correction:
        given["disable_bias_correction"] = True
    if settings.channel_alignment:
        given["disable_channel_alignment"] = False
    if settings.activations_range != "auto":
        given["activations_range_estimator_params"] = getattr(
            RangeEstimatorParametersSet, settings.activations_range.upper()
        )
    if isinstance(settings, Int8Settings):
        if settings.overflow_fix != "auto":
            given["overflow_fix"] = nncf.OverflowFix(settings.overflow_fix)
        if not settings.weights_per_channel:
            given["weights_quantization_params"] = QuantizationParameters(per_channel=False)
        if settings.quantize_outputs:
            given["quantize_outputs"] = True
    if not stored:
        given["backend_params"] = {"compress_weights": False}
    return nncf.AdvancedQuantizationParameters(**given) if given else None
