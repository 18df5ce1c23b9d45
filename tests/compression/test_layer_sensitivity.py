"""What quantizing each layer costs."""

import math

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.compression import layer_sensitivity, ptq
from ovtool.compression.layer_sensitivity import (
    LayerCost,
    QuantizerSwitches,
    measure_sensitivity,
    order_for_float,
)
from ovtool.compression.nncf_adapter import CalibrationFeed
from ovtool.compression.registry import parse_settings
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT
from tests.compression.outliers import evaluator, pictures, saved
from tests.compression.samples import Listed, Notes
from tests.helpers.graphs import attention, save

NOISES = st.lists(
    st.tuples(st.floats(1e-9, 1e3), st.one_of(st.none(), st.floats(0, 1))), min_size=1, max_size=12
)


def costs(pairs):
    return [LayerCost((f"l{i}",), "MatMul", m, n) for i, (n, m) in enumerate(pairs)]


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("outliers") / "outliers", "conv")


def graph(variant):
    return ov.Core().read_model(variant.xml)


def measured(variant, settings=None, **options):
    parsed = parse_settings("int8", settings or {})
    return measure_sensitivity(
        graph(variant), pictures(100, 1), variant.record.inputs, parsed, **options
    )


def outputs(model):
    """Its scores on a few samples, in f32."""
    rows = np.stack([sample.inputs["x"] for sample in pictures(8, 3)])
    properties = {"INFERENCE_PRECISION_HINT": "f32"}
    return ov.Core().compile_model(model, "CPU", properties)(rows)[0]


@pytest.mark.slow
def test_the_layer_with_outliers_is_the_most_sensitive(parent):
    actual = measured(parent)
    assert actual.layers[0].name == "second"
    assert {cost.name for cost in actual.layers} == {"first", "second", "classifier"}
    assert actual.layers[0].sqnr_db < actual.layers[1].sqnr_db - 10
    assert sum(cost.macs_share for cost in actual.layers) == pytest.approx(1)
    macs = {"first": 64 * 27, "second": 64 * 144, "classifier": 4 * 64}
    shares = {cost.name: cost.macs_share for cost in actual.layers}
    assert shares == pytest.approx({n: m / sum(macs.values()) for n, m in macs.items()})
    assert actual.samples == 32
    # One layer makes nearly all of the noise, so all together are about as noisy as it.
    assert actual.noise == pytest.approx(actual.layers[0].noise, rel=0.3)


@pytest.mark.slow
def test_quantizer_switches_restore_both_models(parent):
    settings = parse_settings("int8", {"bias_correction": False})
    feed = CalibrationFeed(pictures(100, 1), parent.record.inputs, 100, SILENT)
    switches = QuantizerSwitches(ptq.quantize(graph(parent), settings, feed, stored=False))
    everything = outputs(ptq.quantize(graph(parent), settings, feed))
    exact = outputs(graph(parent))
    switches.enable_only(())
    np.testing.assert_allclose(outputs(switches.model), exact, rtol=1e-3, atol=1e-4)
    switches.enable_only(["classifier"])
    some = outputs(switches.model)
    assert 0 < np.abs(some - exact).max() < 0.3 * np.abs(exact).max()
    switches.enable_only(list(switches.layers))
    np.testing.assert_allclose(outputs(switches.model), everything, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_layers_of_a_transformer_block_have_separate_rows(tmp_path):
    block = save(tmp_path / "block", attention(fused=False), batch_note="")
    rng = np.random.default_rng(0)

    samples = Listed(list(rng.standard_normal((6, 24, 64)).astype(np.float32)))
    settings = parse_settings("int8", {"model_type": "transformer"})
    actual = measure_sensitivity(graph(block), samples, block.record.inputs, settings)
    names = {cost.name for cost in actual.layers}
    assert {"q/product", "k/product", "v/product", "up/product", "down/product"} <= names
    assert all(0 < cost.noise < 0.1 for cost in actual.layers if "product" in cost.name)


@pytest.mark.slow
def test_evaluator_adds_the_metric_drop(parent):
    actual = measured(parent, evaluator=evaluator(parent))
    assert actual.metric == "agreement_top1"
    assert actual.in_float == 1
    drops = {cost.name: cost.metric_drop for cost in actual.layers}
    assert drops["second"] > 0.2
    assert drops["classifier"] < 0.1


@pytest.mark.slow
def test_many_layers_are_measured_in_blocks(parent):
    actual = measured(parent, max_rows=2)
    assert sorted(len(cost.layers) for cost in actual.layers) == [1, 2]
    assert actual.layers[0].layers == ("second", "classifier")
    assert actual.layers[0].name == "second ... classifier (2 layers)"


@pytest.mark.slow
def test_layers_after_the_time_limit_are_listed(parent):
    actual = measured(parent, time_limit_s=1e-6)
    assert [cost.name for cost in actual.layers] == ["first"]
    assert actual.not_reached == ("second", "classifier")


@pytest.mark.slow
def test_ignored_layers_have_no_row_and_all_ignored_is_an_error(parent):
    actual = measured(parent, {"ignored_names": "first"})
    assert {cost.name for cost in actual.layers} == {"second", "classifier"}
    with pytest.raises(InputError):
        measured(parent, {"ignored_types": "Convolution, MatMul"})


@pytest.mark.slow
def test_progress_counts_layers(parent):
    progress = Notes()
    measured(parent, progress=progress)
    assert ("quantizing one layer at a time", 3) in progress.tasks


@given(NOISES)
def test_order_for_float_puts_the_most_noise_per_cost_first(pairs):
    ordered = order_for_float(costs(pairs))
    assert sorted(cost.layers for cost in ordered) == sorted(c.layers for c in costs(pairs))
    values = [cost.noise / (0.001 + (cost.macs_share or 0)) for cost in ordered]
    assert values == sorted(values, reverse=True)


def test_layers_with_infinite_noise_come_first():
    ordered = order_for_float(costs([(5.0, 0.001), (math.inf, 0.8)]))
    assert [cost.layers for cost in ordered] == [("l1",), ("l0",)]


@given(st.lists(st.text(min_size=1), min_size=1, max_size=40, unique=True), st.integers(1, 50))
def test_blocks_cover_all_layers_evenly(layers, most):
    blocks = layer_sensitivity._blocks(layers, most)
    assert [name for block in blocks for name in block] == layers
    assert len(blocks) == min(most, len(layers))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1


def test_infinite_noise_is_null_in_json():
    assert LayerCost(("a",), "MatMul", None, math.inf).to_json()["sqnr_db"] is None
