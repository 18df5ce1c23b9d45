import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.graph.runtime import Layer
from ovtool.profiling.breakdown import by_kind, by_layer

LAYERS = [
    Layer("copy", "Reorder", "f32", "jit_f32", None, 1.0, "CPU"),
    Layer("a", "Convolution", "i8", "conv_I8", 6_000_000, 2.0, "CPU"),
    Layer("b", "Convolution", "bf16", "conv_bf16", 10_000_000, 4.0, "CPU"),
    Layer("c", "Convolution", "i8", "conv_I8", 2_000_000, 1.0, "GPU"),
]
RANDOM = st.lists(
    st.builds(
        Layer,
        name=st.text(max_size=3),
        type=st.sampled_from("ABC"),
        precision=st.sampled_from(["i8", "f32", None]),
        primitive=st.just(""),
        flops=st.none() | st.integers(1, 10**9),
        time_ms=st.none() | st.floats(0, 100),
    ),
    max_size=9,
)


def test_the_slowest_layer_comes_first_with_its_rate():
    rows = by_layer(LAYERS)
    assert [row.name for row in rows] == ["b", "a", "copy", "c"]
    assert [row.share_pct for row in rows] == [50, 25, 12.5, 12.5]
    assert [row.cumulative_pct for row in rows] == [50, 75, 87.5, 100]
    assert [row.gflops for row in rows] == [0.01, 0.006, None, 0.002]
    assert [row.gflops_per_s for row in rows] == pytest.approx([2.5, 3.0, None, 2.0])


def test_layers_of_one_type_and_precision_are_grouped():
    rows = {(row.type, row.precision): row for row in by_kind(LAYERS)}
    assert list(rows) == [("Convolution", "bf16"), ("Convolution", "i8"), ("Reorder", "f32")]
    both = rows["Convolution", "i8"]
    assert (both.layers, both.time_ms, both.gflops) == (2, 3.0, 0.008)
    assert both.device is None  # two devices
    assert both.name == ""
    assert rows["Reorder", "f32"].gflops is None


def test_a_layer_with_zero_time_has_no_rate():
    (row,) = by_layer([Layer("a", "Convolution", "f32", "", 1000, 0.0)])
    assert (row.time_ms, row.gflops_per_s, row.share_pct) == (0.0, None, 0.0)
    assert by_kind([]) == []


@pytest.mark.slow
@given(RANDOM)
def test_groups_keep_the_total_time(layers):
    total = sum(layer.time_ms or 0 for layer in layers)
    for rows in (by_layer(layers), by_kind(layers)):
        assert sum(row.time_ms for row in rows) == pytest.approx(total)
        assert sum(row.layers for row in rows) == len(layers)
        if total:
            assert rows[-1].cumulative_pct == pytest.approx(100)
        times = [row.time_ms for row in rows]
        assert times == sorted(times, reverse=True)
