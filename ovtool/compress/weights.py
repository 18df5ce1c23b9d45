"""Weights alone in few bits, without data (``nncf.compress_weights``)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ovtool.compress.method import Compressed, Ignoring, Method, Work
from ovtool.compress.session import ignored_scope, quiet_nncf

# Sizes of group that NNCF demands.
_FIXED_GROUP = {"mxfp4": 32, "mxfp8_e4m3": 32, "nvfp4": 16}


class WeightsSettings(Ignoring):
    """Settings of ``nncf.compress_weights``, by its names.

    The modes are those that give a model the CPU runs from settings alone; ``codebook`` and
    ``adaptive_codebook`` need a table of values.
    """

    mode: Literal[
        "int8_sym", "int8_asym", "int4_sym", "int4_asym", "int3_sym", "int2_sym",
        "nf4", "cb4", "fp4", "mxfp4", "nvfp4", "fp8_e4m3", "mxfp8_e4m3",
    ] = Field("int8_asym", description="type that weights are stored in")  # fmt: skip
    group_size: int | None = Field(
        None,
        description="weights that share a scale, -1 for a whole channel; none: the mode's own",
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

    @model_validator(mode="after")
    def _combination(self) -> WeightsSettings:
        if self.mode in ("int8_sym", "int8_asym"):
            extra = [
                name
                for name in ("group_size", "ratio", "all_layers")
                if getattr(self, name) not in (None, False)
            ]
            if extra:
                raise ValueError(
                    f"mode {self.mode} puts every layer in 8 bits by channel: it takes no "
                    f"{' and no '.join(extra)}"
                )
        if self.group_size is not None and self.group_size < 1 and self.group_size != -1:
            raise ValueError(f"group_size is a number above 0, or -1 (not {self.group_size})")
        fixed = _FIXED_GROUP.get(self.mode)
        if fixed and self.group_size not in (None, fixed):
            raise ValueError(f"mode {self.mode} has groups of {fixed} (not {self.group_size})")
        return self


def _apply(work: Work[WeightsSettings]) -> Compressed:
    settings = work.settings
    work.progress.start(f"compressing weights to {settings.mode}")
    with quiet_nncf(f"weight compression to {settings.mode}"):
        import nncf

        model = nncf.compress_weights(
            work.model,
            mode=nncf.CompressWeightsMode(settings.mode),
            ratio=settings.ratio,
            group_size=settings.group_size,
            all_layers=settings.all_layers or None,  # the 8-bit modes refuse False too
            ignored_scope=ignored_scope(work.model, settings),
        )
    return Compressed(model)


WEIGHTS = Method(
    WeightsSettings,
    frozenset(),
    _apply,
    "size; speed where memory is the limit, on CPU, GPU and NPU",
)
