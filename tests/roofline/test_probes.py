"""Models of the probes."""

import pytest

from ovtool.roofline import probes
from ovtool.roofline.model import COMPUTE_KINDS


def test_every_kind_has_probes_with_unique_names():
    result = probes.probes()
    names = [probe.name for probe in result]
    assert len(set(names)) == len(names)
    assert {probe.kind for probe in result} >= set(COMPUTE_KINDS)


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("kind", dict.fromkeys(probe.kind for probe in probes.probes()))
def test_probe_contains_operations_of_its_kind(kind, int8):
    from ovtool.graph import geometry

    small = min((p for p in probes.probes() if p.kind == kind), key=lambda p: p.rows)
    result = geometry.compute_geometries(small.build(int8=int8))
    own = [geometry for name, geometry in result.items() if not name.startswith(probes.SINK)]
    counted = [size for size in own if size.kind == ("product" if kind == "stream" else kind)]
    if kind in (*COMPUTE_KINDS, "stream"):
        assert len(counted) == small.copies
    elif kind != probes.REORDER:
        assert not result


@pytest.mark.parametrize("precision", ["f32", "bf16"])
def test_branch_outputs_are_not_converted(precision):
    """What follows the last convolution would stay in f32: a copy of each branch's output."""
    import openvino as ov

    from ovtool.graph import runtime
    from ovtool.graph.flops import compute_cost

    model = probes.Probe("pointwise", 8, 16, 32, copies=12).build()
    properties = {"INFERENCE_PRECISION_HINT": precision}
    result = runtime.read_layers(
        ov.Core().compile_model(model, "CPU", properties), compute_cost(model)
    )
    assert sum(layer.type == "Convolution" for layer in result) == 1 + 12 + 1
    assert sum(layer.type in ("Reorder", "Convert") for layer in result) <= 3
    kept = {layer.precision for layer in result if layer.type in ("Convolution", "Pooling")}
    assert len(kept) == 1


@pytest.mark.parametrize("width", [64, 512, 2048])
def test_product_weights_fit_a_cache(width):
    (probe_,) = (p for p in probes.probes() if (p.kind, p.rows, p.inputs) == ("product", 1, width))
    assert probe_.copies == 1 or probe_.copies * width * width * 4 <= 8e6
