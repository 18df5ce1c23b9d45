"""The table of compression methods."""

from __future__ import annotations

from ovtool.registry import Entry, Registry

METHODS = Registry(
    "method",
    {
        "binary": Entry(
            "ovtool.compress.ternary:BINARY", "weights of two values a channel, in 1 bit each"
        ),
        "channels": Entry(
            "ovtool.compress.channels:CHANNELS",
            "whole channels removed with what depends on them (structured pruning)",
            "pruning",
        ),
        "downsample": Entry(
            "ovtool.compress.downsample:DOWNSAMPLE",
            "smaller images, or a pooling layer in front of a layer: less arithmetic",
        ),
        "fp16": Entry("ovtool.compress.fp16:FP16", "weights stored in 16 bits: half the size"),
        "fp8": Entry(
            "ovtool.compress.quantization:FP8",
            "weights and activations in 8-bit floats, calibrated on data: small",
        ),
        "hash": Entry(
            "ovtool.compress.hashing:HASH",
            "weights that share values by a hash of their position (HashedNets)",
        ),
        "int8": Entry(
            "ovtool.compress.quantization:INT8",
            "weights and activations in 8 bits, calibrated on data: small and fast",
        ),
        "qat": Entry(
            "ovtool.compress.qat:QAT",
            "8 bits that the torch network is trained with, where int8 loses accuracy",
        ),
        "separable": Entry(
            "ovtool.compress.separable:SEPARABLE",
            "full convolutions replaced with depthwise and pointwise ones",
        ),
        "share": Entry(
            "ovtool.compress.sharing:SHARE",
            "weights that share few values, by k-means (Deep Compression)",
        ),
        "ternary": Entry(
            "ovtool.compress.ternary:TERNARY", "weights of three values a channel, in 2 bits each"
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
