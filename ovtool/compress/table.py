"""The table of compression methods."""

from __future__ import annotations

from ovtool.registry import Entry, Registry

METHODS = Registry(
    "method",
    {
        "fp16": Entry("ovtool.compress.fp16:FP16", "weights stored in 16 bits: half the size"),
        "fp8": Entry(
            "ovtool.compress.quantization:FP8",
            "weights and activations in 8-bit floats, calibrated on data: small",
        ),
        "int8": Entry(
            "ovtool.compress.quantization:INT8",
            "weights and activations in 8 bits, calibrated on data: small and fast",
        ),
        "train": Entry(
            "ovtool.compress.distillation:TRAIN",
            "training on labels, or on what a teacher says (knowledge distillation)",
        ),
        "weights": Entry(
            "ovtool.compress.weights:WEIGHTS",
            "weights alone in 8, 4 or fewer bits, without data: for memory-bound models",
        ),
    },
)
