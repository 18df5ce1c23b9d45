"""The table of compression methods."""

from __future__ import annotations

from ovtool.core.registry import Entry, Registry

METHODS = Registry(
    "method",
    {
        "binary": Entry(
            "ovtool.compression.methods.ternary:BINARY",
            "weights of two values a channel, in 1 bit each",
        ),
        "downsample": Entry(
            "ovtool.compression.methods.downsample:DOWNSAMPLE",
            "smaller images, or a pooling layer in front of a layer: less arithmetic",
        ),
        "fp16": Entry(
            "ovtool.compression.methods.fp16:FP16", "weights stored in 16 bits: half the size"
        ),
        "fp8": Entry(
            "ovtool.compression.methods.quantization:FP8",
            "weights and activations in 8-bit floats, calibrated on data: small",
        ),
        "hashed-weights": Entry(
            "ovtool.compression.methods.hashed_weights:HASHED_WEIGHTS",
            "weights that share values by a hash of their position (HashedNets)",
        ),
        "int8": Entry(
            "ovtool.compression.methods.quantization:INT8",
            "weights and activations in 8 bits, calibrated on data: small and fast",
        ),
        "prune-channels": Entry(
            "ovtool.compression.methods.prune_channels:PRUNE_CHANNELS",
            "whole channels removed with what depends on them (structured pruning)",
            "pruning",
        ),
        "prune-weights": Entry(
            "ovtool.compression.methods.prune_weights:PRUNE_WEIGHTS",
            "single weights set to 0 (unstructured pruning), and the others trained on",
        ),
        "qat": Entry(
            "ovtool.compression.methods.qat:QAT",
            "8 bits that the torch network is trained with, where int8 loses accuracy",
        ),
        "separable": Entry(
            "ovtool.compression.methods.separable:SEPARABLE",
            "full convolutions replaced with depthwise and pointwise ones",
        ),
        "ternary": Entry(
            "ovtool.compression.methods.ternary:TERNARY",
            "weights of three values a channel, in 2 bits each",
        ),
        "train": Entry(
            "ovtool.compression.methods.distillation:TRAIN",
            "training on labels, or on what a teacher says (knowledge distillation)",
        ),
        "weight-sharing": Entry(
            "ovtool.compression.methods.weight_sharing:WEIGHT_SHARING",
            "weights that share few values, by k-means (Deep Compression)",
        ),
        "weights": Entry(
            "ovtool.compression.methods.weight_compression:WEIGHTS",
            "weights alone in 8, 4 or fewer bits, without data: for memory-bound models",
        ),
    },
)
