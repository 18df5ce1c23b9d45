"""Weights stored in 16-bit floats.

The engine widens them when it compiles, so speed is that of the parent; only the files shrink.
"""

from __future__ import annotations

from ovtool.compression.method import Compressed, Method, Settings, Work


class Fp16Settings(Settings):
    """There is nothing to set."""


def _apply(work: Work[Fp16Settings]) -> Compressed:
    # What ov.save_model(compress_to_fp16=True) does, but to the graph: it is saved in one place.
    from openvino._offline_transformations import compress_model_transformation

    compress_model_transformation(work.model)
    return Compressed(work.model)


FP16 = Method(Fp16Settings, frozenset(), _apply, "size")
