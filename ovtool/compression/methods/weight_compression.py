"""Weight-only compression: ``nncf.compress_weights``, and weights as 16-bit floats."""

from __future__ import annotations

import contextlib
import os
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ovtool.compression.layer_selection import check_ignored, ignored_scope
from ovtool.compression.method import (
    IgnoredScopeSettings,
    Method,
    MethodContext,
    MethodResult,
    MethodSettings,
    Need,
)
from ovtool.compression.nncf_adapter import CalibrationFeed, quiet_nncf
from ovtool.compression.weight_search import find_smallest
from ovtool.core.errors import InputError
from ovtool.core.fields import Drop  # noqa: TC001 - pydantic reads it
from ovtool.graph.quantization import NONE, count_low_bit_layers
from ovtool.graph.weights import count_weights, find_weights

if TYPE_CHECKING:
    from collections.abc import Iterator

    import nncf

# Group sizes that NNCF requires.
_FIXED_GROUP = {"mxfp4": 32, "mxfp8_e4m3": 32, "nvfp4": 16}
_INT8 = ("int8_sym", "int8_asym")
_INT4 = ("int4_sym", "int4_asym")
_FLOATS = ("fp4", "mxfp4", "nvfp4", "fp8_e4m3", "mxfp8_e4m3")
_CORRECTIONS = ("awq", "scale_estimation", "gptq", "lora_correction")
_BY_DATA = ("scale_estimation", "gptq", "lora_correction")
_NNCF_NUMPY = "NNCF_DISABLE_OPTIMIZED_COMPRESSION"
_COMPILED_FROM = 1 << 21
"""Mean number of weights of a layer from which NNCF compiles a graph for it: a compilation takes
longer than NumPy for less (EfficientNet-Lite0 to INT8, 93,000 a layer: 2.4 and 0.44 CPU seconds;
SmolLM2-135M to INT4, 640,000 a layer: 17.6 and 9.2)."""
_CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData")


def _numbers(value: object) -> object:
    if isinstance(value, str):
        return [part for part in value.replace(",", " ").split() if part]
    return value


class WeightCompressionSettings(IgnoredScopeSettings):
    """Settings of ``nncf.compress_weights``, by its names."""

    mode: Literal[
        "int8_sym", "int8_asym", "int4_sym", "int4_asym", "int3_sym", "int2_sym",
        "nf4", "cb4", "fp4", "mxfp4", "nvfp4", "fp8_e4m3", "mxfp8_e4m3",
        "codebook", "adaptive_codebook",
    ] = Field("int8_asym", description="storage type of the weights")  # fmt: skip
    group_size: int | None = Field(
        None, description="number of weights per scale, -1 for a channel; none: default of the mode"
    )
    group_size_fallback: Literal["error", "ignore", "adjust"] = Field(
        "error",
        description="if the group size does not divide a channel: stop, skip the layer, or use a "
        "smaller group",
    )
    ratio: float | None = Field(
        None,
        gt=0,  # nncf takes 0 for 1
        le=1,
        description="share of the layers in this mode, the rest in backup_mode; none: all",
    )
    all_layers: bool = Field(
        False, description="applies the mode to embeddings and the last layer too, not 8 bits"
    )
    backup_mode: Literal["none", "int8_sym", "int8_asym", "fp8_e4m3", "mxfp8_e4m3"] | None = Field(
        None, description="type of the remaining layers, or none for float"
    )
    sensitivity_metric: (
        Literal[
            "weight_quantization_error", "hessian_input_activation", "mean_activation_variance",
            "max_activation_variance", "mean_activation_magnitude",
        ] | None
    ) = Field(
        None,
        description="selects the layers for a ratio below 1; all but weight_quantization_error "
        "need data",
    )  # fmt: skip
    awq: bool = Field(False, description="scales that protect important weights (AWQ)")
    awq_by: Literal["activations", "weights"] = Field(
        "activations", description="source of importance for AWQ; weights needs no data"
    )
    scale_estimation: bool = Field(False, description="scales with the smallest error on the data")
    gptq: bool = Field(False, description="sequential correction of weights on the data (GPTQ)")
    lora_correction: bool = Field(False, description="adds a low-rank correction to each layer")
    lora_rank: int = Field(8, ge=1, description="rank of the correction")
    max_perplexity_rise: Drop | None = Field(
        None,
        description="of a text generator: tries settings until the smallest that raises the "
        "perplexity by at most this share (0.05 or 5%); none: no search",
    )
    time_limit_s: float | None = Field(
        None,
        gt=0,
        description="for max_perplexity_rise: seconds after which no further setting is tried",
    )
    subset_size: int = Field(128, ge=1, description="maximum number of calibration samples")
    codebook: Annotated[tuple[float, ...], BeforeValidator(_numbers)] = Field(
        (), description="values of mode codebook, ascending; a scale multiplies them"
    )
    codebook_size: int = Field(16, ge=2, le=256, description="values of mode adaptive_codebook")

    @model_validator(mode="after")
    def _check_combination(self) -> WeightCompressionSettings:
        mistakes = [
            *self._8_bit_mistakes(),
            *self._group_mistakes(),
            *self._correction_mistakes(),
            *self._codebook_mistakes(),
        ]
        if self.time_limit_s is not None and self.max_perplexity_rise is None:
            mistakes.append("time_limit_s limits a search: it needs max_perplexity_rise")
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _8_bit_mistakes(self) -> list[str]:
        names = ("group_size", "ratio", "all_layers", "backup_mode", "sensitivity_metric")
        extra = [name for name in (*names, *_CORRECTIONS) if getattr(self, name)]
        searched = self.max_perplexity_rise is not None  # which has a mode of its own
        if self.mode not in _INT8 or not extra or searched:
            return []
        return [f"mode {self.mode} does not support {', '.join(extra)}"]

    def _group_mistakes(self) -> list[str]:
        size, fixed = self.group_size, _FIXED_GROUP.get(self.mode)
        if size is not None and size < 1 and size != -1:
            return [f"group_size must be positive or -1 (not {size})"]
        if fixed and size not in (None, fixed):
            return [f"mode {self.mode} requires group_size {fixed} (not {size})"]
        if fixed and self.group_size_fallback == "adjust":
            return [f"mode {self.mode} does not support group_size_fallback=adjust"]
        return []

    def _correction_mistakes(self) -> list[str]:
        requested = [name for name in _CORRECTIONS if getattr(self, name)]
        mistakes = []
        if requested and self.mode in _FLOATS:
            mistakes.append(f"mode {self.mode} does not support {', '.join(requested)}")
        if self.gptq and self.lora_correction:
            mistakes.append("gptq and lora_correction are exclusive")
        if self.sensitivity_metric and (self.ratio or 1) == 1:
            mistakes.append("sensitivity_metric needs a ratio below 1")
        return mistakes

    def _codebook_mistakes(self) -> list[str]:
        values = self.codebook
        if (self.mode == "codebook") != bool(values):
            return ["mode codebook and the setting codebook need each other"]
        if len(values) == 1 or any(a >= b for a, b in pairwise(values)):
            return ["codebook needs two or more values, ascending"]
        return []

    @property
    def needs(self) -> frozenset[Need]:
        """What the settings require besides the graph."""
        if self.max_perplexity_rise is not None:
            return frozenset({"calibration", "validation"})
        return frozenset({"calibration"} if self.needs_data else ())

    @property
    def only_rounds(self) -> bool:
        """Whether each layer is rounded to integers by itself, without corrections."""
        corrected = any(getattr(self, name) for name in _CORRECTIONS)
        return self.mode in (*_INT8, *_INT4) and not corrected and (self.ratio or 1) == 1

    @property
    def needs_data(self) -> bool:
        """Whether a setting needs calibration samples."""
        metric = self.sensitivity_metric
        return (
            any(getattr(self, name) for name in _BY_DATA)
            or (self.awq and self.awq_by == "activations")
            or self.mode == "adaptive_codebook"
            or metric not in (None, "weight_quantization_error")
        )


def _apply(context: MethodContext[WeightCompressionSettings]) -> MethodResult:
    if context.settings.max_perplexity_rise is not None:
        return find_smallest(context, _apply_once)
    return _apply_once(context)


def _apply_once(context: MethodContext[WeightCompressionSettings]) -> MethodResult:
    settings = context.settings
    _check_not_compressed(context)
    details: dict[str, Any] = {}
    task = f"compressing weights to {settings.mode}"
    feed = None
    if settings.needs_data:
        samples = context.samples("calibration", "weights")
        inputs = context.parent.record.inputs
        feed = CalibrationFeed(samples, inputs, settings.subset_size, context.progress, task)
        details["calibration_samples"] = feed.count
    check_ignored(context.model, settings)
    context.progress.start(task)
    try:
        model = _compress(context, feed)
    except InputError as error:
        if _has_convolutions(context):
            types = ",".join(_CONVOLUTIONS)
            raise InputError(
                f"{error} (the model has convolutions)",
                f"skip them with ignored_types={types}, or use mode=int8_asym or "
                "backup_mode=int8_asym",
            ) from error.__cause__
        raise
    return MethodResult(model, details)


def _check_not_compressed(context: MethodContext[WeightCompressionSettings]) -> None:
    """Check that weights are left to compress.

    Raises:
        InputError: All weights have few bits, or those of a source that was compressed elsewhere.
    """
    parent, counted = context.parent, count_low_bit_layers(context.model)
    elsewhere = parent.record.source.compression != NONE and counted.low_bit > 0
    if elsewhere or 0 < counted.low_bit == counted.layers:
        raise InputError(
            f"{parent.name} has compressed weights already: {', '.join(counted.types)} in"
            f" {counted.low_bit} of {counted.layers} layers",
            "compress the uncompressed model",
        )


def _compress(
    context: MethodContext[WeightCompressionSettings], feed: CalibrationFeed | None
) -> Any:
    settings = context.settings
    int8 = settings.mode in _INT8
    compiled = not settings.only_rounds or _compile_pays_off(context)
    with quiet_nncf(f"weight compression to {settings.mode}"), _nncf_kernels(compiled):
        import nncf

        # The 8-bit modes reject other parameters even where they are off.
        return nncf.compress_weights(
            context.model,
            mode=nncf.CompressWeightsMode(settings.mode),
            ratio=settings.ratio,
            group_size=settings.group_size,
            all_layers=settings.all_layers or None,
            ignored_scope=ignored_scope(context.model, settings),
            dataset=None if feed is None else nncf.Dataset(feed),
            sensitivity_metric=settings.sensitivity_metric
            and nncf.SensitivityMetric(settings.sensitivity_metric),
            subset_size=settings.subset_size if feed is None else len(feed),
            awq=settings.awq or None,
            scale_estimation=settings.scale_estimation or None,
            gptq=settings.gptq or None,
            lora_correction=settings.lora_correction or None,
            backup_mode=settings.backup_mode and nncf.BackupMode(settings.backup_mode),
            advanced_parameters=None if int8 else _advanced(settings),
        )


def _compile_pays_off(context: MethodContext[WeightCompressionSettings]) -> bool:
    """Return whether layers are so large that NNCF's compiled kernels are faster than NumPy."""
    sizes = [count_weights(stored.constant) for stored in find_weights(context.model)]
    return sum(sizes) >= _COMPILED_FROM * len(sizes)


@contextlib.contextmanager
def _nncf_kernels(compiled: bool) -> Iterator[None]:
    """Let NNCF compress in OpenVINO graphs, or in NumPy, which rounds to the same integers."""
    before = os.environ.get(_NNCF_NUMPY)
    if not compiled:
        os.environ[_NNCF_NUMPY] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(_NNCF_NUMPY, None)


def _advanced(settings: WeightCompressionSettings) -> nncf.AdvancedCompressionParameters:
    from nncf.quantization import advanced_parameters as nncf_parameters

    parameters = nncf_parameters.AdvancedCompressionParameters(
        group_size_fallback_mode=nncf_parameters.GroupSizeFallbackMode(
            settings.group_size_fallback
        ),
        awq_params=nncf_parameters.AdvancedAWQParameters(
            prefer_data_aware_scaling=settings.awq_by == "activations"
        ),
        lora_correction_params=nncf_parameters.AdvancedLoraCorrectionParameters(
            adapter_rank=settings.lora_rank
        ),
        adaptive_codebook_params=nncf_parameters.AdvancedAdaptiveCodebookParameters(
            num_elements=settings.codebook_size
        ),
    )
    if settings.codebook:
        parameters.codebook = np.array(settings.codebook, np.float32)
    return parameters


def _has_convolutions(context: MethodContext[WeightCompressionSettings]) -> bool:
    ignored = context.settings.ignored_types
    kinds = {stored.layer.get_type_name() for stored in find_weights(context.model)}
    return any("Convolution" in kind and kind not in ignored for kind in kinds)


WEIGHTS = Method(
    WeightCompressionSettings,
    frozenset(),
    _apply,
    "size; speed of memory-bound models on CPU, GPU and NPU",
    untrained="EfficientNet-Lite0 has 259 of 300 photographs right in FP32, 262 with 8 bits",
    conditional_needs=lambda settings: settings.needs,
)


def _apply_fp16(context: MethodContext[MethodSettings]) -> MethodResult:
    """Store weights as 16-bit floats; the engine widens them during compilation."""
    # The pass of ov.save_model(compress_to_fp16=True), on the graph: the pipeline saves it.
    from openvino._offline_transformations import compress_model_transformation

    compress_model_transformation(context.model)
    return MethodResult(context.model)


FP16 = Method(MethodSettings, frozenset(), _apply_fp16, "size")
