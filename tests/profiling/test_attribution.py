"""Causes of invented layers, among them precisions that this machine may not have."""

import pytest

from ovtool.graph.product_quantization import GraphQuantization, ProductQuantization
from ovtool.graph.runtime import Layer
from ovtool.profiling.attribution import Attribution
from ovtool.profiling.layer_matching import collect

CONV, LSTM = "Convolution", "LSTMSequence"


def product(kind=CONV, data=8, weights=8, *, zero_points=False, between=()):
    return ProductQuantization(kind, data, weights, zero_points, between)


def layer(name, precision="i8", time_ms=1.0, flops=10**9, kind=CONV, inputs=()):
    return Layer(
        name, kind, precision, "", flops, time_ms, "CPU", (), 1000, 0, None, False, tuple(inputs)
    )


def attribute(a, b, products=None, rounding=(), bound=lambda _: "compute"):
    types = {name: each.type for name, each in (products or {}).items()}
    graph = GraphQuantization(products or {}, frozenset(rounding), types)
    return Attribution(collect([a]), collect([b]), graph, bound, bound)


def causes_of(attribution):
    return {pair.b.layer.name: pair.cause for pair in attribution.pairs if pair.b is not None}


@pytest.mark.parametrize(
    ("quantization", "cause"),
    [
        (product(), "quantizers-not-fused"),
        (product(data=16), "quantized-wide"),
        (product(zero_points=True), "weights-zero-points"),
        (product(LSTM), "type-not-int8"),
        (product(data=None), "not-quantized"),
    ],
)
def test_a_layer_in_float_has_the_reason_that_its_graph_shows(quantization, cause):
    a = [layer("x", "f32"), layer("y", "f32", flops=10**8)]
    b = [layer("x", "f32"), layer("y", "i8", flops=10**8, inputs=["x"])]
    result = attribute(a, b, {"x": quantization, "y": product()})
    assert causes_of(result)["x"] == cause


def test_weights_alone_do_not_make_int8():
    a, b = [layer("x", "f32")], [layer("x", "f32")]
    compressed = attribute(a, b, {"x": product(data=None)})
    assert causes_of(compressed) == {"x": "weights-only"}
    plain = attribute(a, b, {"x": product(data=None, weights=None)})
    assert causes_of(plain) == {"x": "no-quantization"}


def test_conversions_belong_to_the_float_layer_between_int8_layers():
    a = [layer("x", "f32"), layer("y", "f32", flops=7), layer("z", "f32", flops=8)]
    b = [
        layer("x"),
        layer("to-float", "f32", 0.5, None, "Reorder", ["x"]),
        layer("y", "f32", flops=7, inputs=["to-float"]),
        layer("to-int8", "i8", 0.25, None, "Reorder", ["y"]),
        layer("z", flops=8, inputs=["to-int8"]),
        layer("end", "f32", 0.1, None, "Reorder", ["z"]),
    ]
    result = attribute(a, b, {"y": product(data=None, weights=None)})
    assert causes_of(result) == {
        "x": "int8-slow", "y": "float-island", "to-float": "float-island",
        "to-int8": "float-island", "z": "int8-slow", "end": "conversions",
    }  # fmt: skip
    island = next(c for c in result.causes(1, 2.0) if c.id == "float-island")
    assert (island.a_ms.value, island.b_ms.value) == (1.0, 1.75)
    assert set(island.layers) == {"y", "to-float", "to-int8"}


@pytest.mark.parametrize(
    ("before", "a_ms", "cause"),
    [
        ("bf16", 1.2, "baseline-reduced"),
        ("f16", 1.2, "baseline-reduced"),
        ("bf16", 2.0, "in-int8"),
        ("f32", 2.0, "in-int8"),
        ("f32", 1.0, "int8-slow"),
        ("i8", 1.0, "other-layers"),
    ],
)
def test_the_gain_of_int8_depends_on_the_precision_of_the_reference(before, a_ms, cause):
    result = attribute([layer("x", before, a_ms)], [layer("x", "i8", 1.0)])
    assert causes_of(result) == {"x": cause}


def test_a_bf16_reference_is_the_first_cause_and_is_named():
    a = [layer("x", "bf16", 3.0), layer("y", "f32", 0.2, 7)]
    b = [layer("x", "i8", 2.5), layer("y", "f32", 0.2, 7, inputs=["x"])]
    result = attribute(a, b)
    first = max(result.causes(1, 4.0), key=lambda cause: cause.stake_ms)
    assert first.id == "baseline-reduced"
    assert "bf16" in first.sentence


def test_small_and_memory_bound_layers_are_told_by_their_bound():
    a = [layer("x", "f32"), layer("s", "f32", 0.01, None, "Softmax")]
    b = [layer("x", "i8"), layer("s", "f32", 0.01, None, "Softmax", ["x"])]
    small = attribute(a, b, bound=lambda _: "overhead")
    assert causes_of(small) == {"x": "small-layers", "s": "small-layers"}
    memory = attribute(a, b, bound=lambda _: "memory")
    assert causes_of(memory) == {"x": "memory-bound", "s": "memory-bound"}


def test_a_subgraph_of_quantizers_is_a_conversion_and_another_one_is_not():
    def subgraph(name, *original):
        return Layer(name, "Subgraph", "i8", "", None, 1.0, "CPU", original)

    b = [layer("x"), subgraph("q", "fq", "Multiply_12"), subgraph("act", "HSwish_3", "fq")]
    result = attribute([layer("x", "f32", 2.0)], b, rounding=["fq"])
    assert causes_of(result) == {"x": "in-int8", "q": "conversions", "act": "fusion-lost"}


def test_every_layer_belongs_to_one_cause():
    a = [layer("x", "f32"), layer("gone", "f32", 0.5, None, "Pooling"), layer("lost", "f32", 1, 3)]
    b = [layer("x"), layer("new", "f32", 0.5, 4)]
    result = attribute(a, b)
    causes = result.causes(1, 2.0)
    assert sum(cause.a_ms.value for cause in causes) == pytest.approx(2.5)
    assert sum(cause.b_ms.value for cause in causes) == pytest.approx(1.5)
