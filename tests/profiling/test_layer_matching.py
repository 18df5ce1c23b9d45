import pytest

from ovtool.graph.runtime import Layer
from ovtool.profiling.layer_matching import collect, match


def conv(name, precision="f32", flops=100, original=(), time_ms=1.0):
    return Layer(name, "Convolution", precision, "", flops, time_ms, "CPU", original)


def pair_names(a, b):
    pairs = match(collect([a]), collect([b]), lambda layer: layer.type == "Reorder")
    return {(p.a and p.a.layer.name, p.b and p.b.layer.name) for p in pairs}


def test_layers_have_the_time_of_each_round_whatever_their_generated_number():
    first = [conv("conv0", time_ms=1.0), Layer("Add_12", "Eltwise", "f32", "", time_ms=2.0)]
    second = [conv("conv0", time_ms=3.0), Layer("Add_99", "Eltwise", "f32", "", time_ms=4.0)]
    conv0, add = collect([first, second])
    assert (conv0.times_ms, add.times_ms) == ((1.0, 3.0), (2.0, 4.0))
    assert add.mean_ms == pytest.approx(3.0)


def test_a_layer_that_a_round_does_not_have_takes_no_time_there():
    (only,) = collect([[conv("conv")], []])
    assert only.times_ms == (1.0, 0.0)


def test_products_match_by_operation_then_by_order_and_flops():
    a = [conv("x", flops=10), conv("y", flops=20), conv("z", flops=30)]
    b = [conv("q1", "i8", 10), conv("q2", "i8", 20), conv("w", "i8", 30, ("z",))]
    assert pair_names(a, b) == {("x", "q1"), ("y", "q2"), ("z", "w")}


def test_a_layer_of_other_work_has_no_counterpart():
    assert pair_names([conv("x", flops=10)], [conv("x", "i8", 11)]) == {("x", None), (None, "x")}


def test_other_layers_match_by_name_then_by_type_and_conversions_never():
    def layers(softmax, reorder):
        return [Layer("pool", "Pooling", "f32", ""), Layer(softmax, "Softmax", "f32", ""),
                Layer(reorder, "Reorder", "f32", "")]  # fmt: skip

    assert pair_names(layers("Softmax_1", "r"), layers("fq", "r")) == {
        ("pool", "pool"), ("Softmax_1", "fq"), ("r", None), (None, "r"),
    }  # fmt: skip
