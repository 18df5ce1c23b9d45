"""Weights alone in few bits (``nncf.compress_weights``), with or without calibration data."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, model_validator

from ovtool.compression.calibration_feed import Feed
from ovtool.compression.method import Compressed, Ignoring, Method, Work, missing
from ovtool.compression.nncf_session import check_ignored, ignored_scope, quiet_nncf
from ovtool.core.errors import InputError
from ovtool.graph import weights as stored_weights

if TYPE_CHECKING:
    import nncf

    from ovtool.compression.method import Need

# Sizes of group that NNCF demands.
_FIXED_GROUP = {"mxfp4": 32, "mxfp8_e4m3": 32, "nvfp4": 16}
_INT8 = ("int8_sym", "int8_asym")
_FLOATS = ("fp4", "mxfp4", "nvfp4", "fp8_e4m3", "mxfp8_e4m3")
_CORRECTIONS = ("awq", "scale_estimation", "gptq", "lora_correction")
_BY_DATA = ("scale_estimation", "gptq", "lora_correction")
_CONVOLUTIONS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData")


def _numbers(value: object) -> object:
    if isinstance(value, str):
        return [part for part in value.replace(",", " ").split() if part]
    return value


class WeightsSettings(Ignoring):
    """Settings of ``nncf.compress_weights``, by its names."""

    mode: Literal[
        "int8_sym", "int8_asym", "int4_sym", "int4_asym", "int3_sym", "int2_sym",
        "nf4", "cb4", "fp4", "mxfp4", "nvfp4", "fp8_e4m3", "mxfp8_e4m3",
        "codebook", "adaptive_codebook",
    ] = Field("int8_asym", description="type that weights are stored in")  # fmt: skip
    group_size: int | None = Field(
        None,
        description="weights that share a scale, -1 for a whole channel; none: the mode's own",
    )
    group_size_fallback: Literal["error", "ignore", "adjust"] = Field(
        "error",
        description="where the group does not divide a channel: stop, leave the layer, or take a "
        "smaller group",
    )
    ratio: float | None = Field(
        None,
        gt=0,  # nncf takes 0 for 1
        le=1,
        description="share of the layers that get the mode, the others get 8 bits; none: all",
    )
    all_layers: bool = Field(
        False, description="embeddings and the last layer get the mode too, not 8 bits"
    )
    backup_mode: Literal["none", "int8_sym", "int8_asym", "fp8_e4m3", "mxfp8_e4m3"] | None = Field(
        None, description="of the layers that do not get the mode: a type, or left in float (none)"
    )
    sensitivity_metric: (
        Literal[
            "weight_quantization_error", "hessian_input_activation", "mean_activation_variance",
            "max_activation_variance", "mean_activation_magnitude",
        ] | None
    ) = Field(
        None,
        description="which layers get the mode where ratio is below 1; all but the error of the "
        "weights need data",
    )  # fmt: skip
    awq: bool = Field(False, description="scales that save the weights that matter (AWQ)")
    awq_by: Literal["activations", "weights"] = Field(
        "activations", description="what AWQ finds them by; weights needs no data"
    )
    scale_estimation: bool = Field(False, description="scales of least error on the data")
    gptq: bool = Field(False, description="weights corrected one by one on the data (GPTQ)")
    lora_correction: bool = Field(False, description="a low-rank product added to each layer")
    lora_rank: int = Field(8, ge=1, description="of that product")
    subset_size: int = Field(128, ge=1, description="samples for what works on data")
    codebook: Annotated[tuple[float, ...], BeforeValidator(_numbers)] = Field(
        (), description="of mode codebook: the values that weights take, ascending, times a scale"
    )
    codebook_size: int = Field(16, ge=2, le=256, description="of mode adaptive_codebook")

    @model_validator(mode="after")
    def _combination(self) -> WeightsSettings:
        mistakes = [
            *self._of_8_bits(),
            *self._of_groups(),
            *self._of_corrections(),
            *self._of_tables(),
        ]
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return self

    def _of_8_bits(self) -> list[str]:
        names = ("group_size", "ratio", "all_layers", "backup_mode", "sensitivity_metric")
        extra = [name for name in (*names, *_CORRECTIONS) if getattr(self, name)]
        if self.mode not in _INT8 or not extra:
            return []
        no = " and no ".join(extra)
        return [f"mode {self.mode} puts every layer in 8 bits by channel: it takes no {no}"]

    def _of_groups(self) -> list[str]:
        size, fixed = self.group_size, _FIXED_GROUP.get(self.mode)
        if size is not None and size < 1 and size != -1:
            return [f"group_size is a number above 0, or -1 (not {size})"]
        if fixed and size not in (None, fixed):
            return [f"mode {self.mode} has groups of {fixed} (not {size})"]
        if fixed and self.group_size_fallback == "adjust":
            return [f"mode {self.mode} has groups of {fixed}: group_size_fallback cannot adjust"]
        return []

    def _of_corrections(self) -> list[str]:
        wanted = [name for name in _CORRECTIONS if getattr(self, name)]
        found = []
        if wanted and self.mode in _FLOATS:
            found.append(f"mode {self.mode} takes no {' and no '.join(wanted)}")
        if self.gptq and self.lora_correction:
            found.append("gptq and lora_correction do not go together")
        if self.sensitivity_metric and (self.ratio or 1) == 1:
            found.append("sensitivity_metric chooses layers where ratio is below 1")
        return found

    def _of_tables(self) -> list[str]:
        values = self.codebook
        if (self.mode == "codebook") != bool(values):
            return ["mode codebook and the values of a codebook go together"]
        if len(values) == 1 or any(a >= b for a, b in pairwise(values)):
            return ["codebook: two values or more, ascending"]
        return []

    @property
    def by_data(self) -> bool:
        """Whether something works on samples."""
        metric = self.sensitivity_metric
        return (
            any(getattr(self, name) for name in _BY_DATA)
            or (self.awq and self.awq_by == "activations")
            or self.mode == "adaptive_codebook"
            or metric not in (None, "weight_quantization_error")
        )


def _apply(work: Work[WeightsSettings]) -> Compressed:
    settings, samples = work.settings, work.material.calibration
    details: dict[str, Any] = {}
    what = f"compressing weights to {settings.mode}"
    feed = None
    if settings.by_data:
        if samples is None:
            raise missing("weights", ["calibration"])
        inputs = work.parent.record.inputs
        feed = Feed(samples, inputs, settings.subset_size, work.progress, what)
        details["calibration_samples"] = min(settings.subset_size, len(samples))
    check_ignored(work.model, settings)
    work.progress.start(what)
    try:
        model = _compressed(work, feed)
    except InputError as error:
        if _has_convolutions(work):
            types = ",".join(_CONVOLUTIONS)
            raise InputError(
                f"{error} (the model has convolutions)",
                f"leave them in float: --set ignored_types={types}; or take mode int8_asym, or "
                "--set backup_mode=int8_asym",
            ) from error.__cause__
        raise
    return Compressed(model, details)


def _compressed(work: Work[WeightsSettings], feed: Feed | None) -> Any:
    settings = work.settings
    with quiet_nncf(f"weight compression to {settings.mode}"):
        import nncf

        int8 = settings.mode in _INT8
        # What the 8-bit modes do not know they refuse even where it is off.
        return nncf.compress_weights(
            work.model,
            mode=nncf.CompressWeightsMode(settings.mode),
            ratio=settings.ratio,
            group_size=settings.group_size,
            all_layers=settings.all_layers or None,
            ignored_scope=ignored_scope(work.model, settings),
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


def _advanced(settings: WeightsSettings) -> nncf.AdvancedCompressionParameters:
    from nncf.quantization import advanced_parameters as nncf_parameters

    made = nncf_parameters.AdvancedCompressionParameters(
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
        made.codebook = np.array(settings.codebook, np.float32)
    return made


def _has_convolutions(work: Work[WeightsSettings]) -> bool:
    ignored = work.settings.ignored_types
    kinds = {stored.layer.get_type_name() for stored in stored_weights.weights(work.model)}
    return any("Convolution" in kind and kind not in ignored for kind in kinds)


def _also(settings: WeightsSettings) -> frozenset[Need]:
    return frozenset({"calibration"}) if settings.by_data else frozenset()


WEIGHTS = Method(
    WeightsSettings,
    frozenset(),
    _apply,
    "size; speed where memory is the limit, on CPU, GPU and NPU",
    also=_also,
)
