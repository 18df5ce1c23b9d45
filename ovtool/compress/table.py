"""The table of compression methods."""

from __future__ import annotations

from ovtool.registry import Entry, Registry

METHODS = Registry(
    "method",
    {
        "fp16": Entry("ovtool.compress.fp16:FP16", "weights stored in 16 bits: half the size"),
        "int8": Entry(
            "ovtool.compress.quantization:INT8",
            "weights and activations in 8 bits, calibrated on data: small and fast",
        ),
        "qat": Entry(
            "ovtool.compress.qat:QAT",
            "8 bits that the torch network is trained with, where int8 loses accuracy",
        ),
        "train": Entry(
            "ovtool.compress.distillation:TRAIN",
            "training on labels, or on what a teacher says (knowledge distillation)",
        ),
        "weights": Entry(
            "ovtool.compress.weights:WEIGHTS",
            "weights alone in 8, 4 or fewer bits, without data: for memory-bound models",
        ),
        "zero": Entry(
            "ovtool.compress.zeroing:ZERO",
            "single weights set to 0 (unstructured pruning), and the others trained on",
        ),
    },
)
