"""The noise of quantized outputs, by output and by group of channels."""

import math

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op
from scipy import stats

from ovtool.compression.layer_sensitivity import measure_sensitivity
from ovtool.compression.method import MethodContext, MethodInputs
from ovtool.compression.output_noise import FloatOutputs, OutputNoise, compare_noise, relative_noise
from ovtool.compression.registry import parse_settings
from ovtool.core.progress import SILENT
from tests.compression.samples import Listed, compress
from tests.helpers.graphs import constant, save

RNG = np.random.default_rng(5)


def two_outputs(errors):
    """[batch, 2] -> two outputs, each with a constant error relative to an input of ones."""
    x = op.parameter([-1, 2], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NC"))
    results = []
    for index, error in enumerate(errors):
        y = op.multiply(x, op.constant(np.float32(1 + error)))
        y.output(0).set_names({f"y{index}"})
        results.append(op.result(y))
    return ov.Model(results, [x], "outputs")


def test_the_worst_output_counts(tmp_path):
    parent = save(tmp_path / "v", two_outputs([0, 0]))
    samples = Listed([np.ones(2, np.float32)] * 3)
    inputs = MethodInputs(calibration=samples)
    context = MethodContext(
        two_outputs([0, 0]), parse_settings("int8", {}), parent, inputs, tmp_path, SILENT
    )
    noise = OutputNoise(context.model, samples, context, 2)
    assert noise.samples == 2
    for errors, output in (([0.01, 0.1], 1), ([0.1, 0.01], 0)):
        measured = noise.measure(two_outputs(errors))
        assert (measured.sqnr_db, measured.output) == (pytest.approx(20, abs=0.01), output)
        assert measured.channels == ""
    assert noise.measure(two_outputs([0, 0])).sqnr_db == math.inf


def detections(axis, shape, scores_first=False, requests=4):
    """Boxes of pixels and scores of 0 to 1 in one output, channels at ``axis``, per request."""
    parts = [
        RNG.uniform(0, high, (requests, *shape[:axis], count, *shape[axis:]))
        for high, count in ((640, 4), (1, 3))
    ]
    return list(np.concatenate(parts[::-1] if scores_first else parts, axis + 1).astype(np.float32))


LAYOUTS = [
    (1, (1, 50), False, "channels 4-6 of axis 1"),
    (1, (1, 50), True, "channels 0-2 of axis 1"),
    (2, (1, 50), False, "channels 4-6 of axis 2"),
    (2, (1, 50), True, "channels 0-2 of axis 2"),
    (2, (1, 3, 8, 8), False, "channels 4-6 of axis 2"),
    (4, (1, 3, 8, 8), False, "channels 4-6 of axis 4"),
    (1, (1,), False, "channels 4-6 of axis 1"),
    (0, (50,), False, "channels 4-6 of axis 0"),
]


@pytest.mark.parametrize(("axis", "shape", "first", "channels"), LAYOUTS)
def test_scores_count_beside_boxes_in_every_layout(axis, shape, first, channels):
    exact = detections(axis, shape, first)
    step = 640 / 255
    rounded = [np.round(values / step) * step for values in exact]
    noise = FloatOutputs([[e] for e in exact]).compare([[r] for r in rounded])
    assert noise.channels == channels
    assert noise.sqnr_db < 0
    assert relative_noise(exact, rounded) < 1e-4  # what one ratio over the output would show


def test_scores_that_are_all_the_same_have_no_signal():
    """Their power is nearly that in float; what is lost is how they differ."""
    exact = detections(1, (1, 400))
    constant_scores = [values.copy() for values in exact]
    for values in constant_scores:
        values[:, 4:] = 0.5
    noise = FloatOutputs([[e] for e in exact]).compare([[r] for r in constant_scores])
    assert noise.ratio == pytest.approx(1, abs=0.05)


def test_a_rare_output_of_several_counts_by_its_groups():
    maps, boxes = [RNG.standard_normal((1, 2, 8, 8)) for _ in range(3)], detections(2, (1, 50))[:3]
    rows = [[m, b, np.zeros(1, np.int64)] for m, b in zip(maps, boxes, strict=True)]
    worse = [[m + 0.01, b.copy(), c] for m, b, c in rows]
    for row in worse:
        row[1][..., 5] += 0.4
    noise = FloatOutputs(rows).compare(worse)
    assert (noise.output, noise.channels) == (1, "channels 4-6 of axis 2")


def test_segmentation_classes_of_another_range_count_by_themselves():
    """Channels of logits near 100, of others near 1: their rounding in steps of 1."""
    scale = np.array([100, 1, 100, 1]).reshape(1, 4, 1, 1)
    exact = [RNG.standard_normal((1, 4, 16, 16)) * scale for _ in range(4)]
    noise = FloatOutputs([[e] for e in exact]).compare([[np.round(e / 3) * 3] for e in exact])
    assert noise.channels == "channels 1,3 of axis 1"
    assert noise.sqnr_db < 3


def test_outputs_without_groups_are_compared_as_a_whole():
    exact = [RNG.standard_normal((1, 10)) for _ in range(3)]
    other = [e + 0.1 for e in exact]
    noise = FloatOutputs([[e] for e in exact]).compare([[o] for o in other])
    assert (noise.ratio, noise.channels) == (pytest.approx(relative_noise(exact, other)), "")
    ragged = [np.ones((1, n)) for n in (3, 4)]
    assert FloatOutputs([[r] for r in ragged]).compare([[r] for r in ragged]).ratio == 0
    assert not FloatOutputs([[np.ones(3, np.int64)]]).known


def test_each_request_has_the_ratio_of_its_worst_output():
    errors = np.array([[0.01, 0.1], [0.1, 0.01], [0, 0.001]])
    exact = [[np.full((1, 5), size), np.full((1, 3), 1.0)] for size in (1.0, 100.0, 1.0)]
    other = [[y * (1 + e) for y, e in zip(row, pair, strict=True)]
             for row, pair in zip(exact, errors, strict=True)]  # fmt: skip
    noise = FloatOutputs(exact).compare(other)
    assert noise.requests_db == pytest.approx((20, 20, 60))
    exact[2][0][:] = 0  # an empty mask: the mean power of the requests is that of two thirds
    other[2][0][:] = 10
    power = (1 + 100**2) / 3
    ratios = FloatOutputs(exact).compare(other).requests_db
    assert ratios == pytest.approx((20, 20, 10 * math.log10(power / 100)))


def test_requests_of_channel_groups_and_ragged_outputs_have_ratios():
    exact = detections(1, (1, 50))
    other = [values.copy() for values in exact]
    other[1][0, 5] += 0.3
    other[3][0, 5, 3] = np.nan
    noise = FloatOutputs([[e] for e in exact]).compare([[o] for o in other])
    scores = np.stack(exact)[:, 0, 4:]
    variation = ((scores - scores.mean((0, 2), keepdims=True)) ** 2).sum() / len(exact)
    expected = 10 * math.log10(variation / (50 * 0.3**2))
    assert noise.requests_db == pytest.approx((math.inf, expected, math.inf, -math.inf), abs=1e-4)
    ragged = [np.ones((1, n)) for n in (3, 4)]
    noise = FloatOutputs([[r] for r in ragged]).compare([[1.1 * ragged[0]], [1.01 * ragged[1]]])
    assert noise.requests_db == pytest.approx((20, 40))


def test_one_noisy_sample_decides_the_pooled_ratio_and_not_the_paired_gain():
    """Six lines of text: a candidate better on the noisiest one, and worse on the other five."""
    exact = [[np.ones((1, 10))] for _ in range(6)]
    before, after = [0.5, *[0.01] * 5], [0.1, *[0.02] * 5]
    a, b = (FloatOutputs(exact).compare([[y[0] * (1 + e)] for y, e in zip(exact, es, strict=True)])
            for es in (before, after))  # fmt: skip
    assert b.sqnr_db > a.sqnr_db + 13
    gain = compare_noise(a.requests_db, b.requests_db)
    assert gain.mean_db == pytest.approx((20 * math.log10(5) - 5 * 20 * math.log10(2)) / 6)
    assert gain.mean_db < -2


@given(st.lists(st.floats(-40, 140), min_size=2, max_size=20), st.floats(-5, 5))
def test_the_gain_of_a_shift_is_the_shift(ratios, shift):
    shifted = [ratio + shift for ratio in ratios]
    gain = compare_noise(ratios, shifted)
    assert (gain.mean_db, gain.error_db) == pytest.approx((shift, 0), abs=1e-6)
    assert compare_noise(shifted, ratios).mean_db == pytest.approx(-shift, abs=1e-6)


@given(st.lists(st.floats(-40, 60), min_size=2, max_size=20), st.integers(0, 99))
def test_the_error_of_the_gain_is_that_of_the_mean_of_the_pairs(ratios, seed):
    other = np.random.default_rng(seed).uniform(-10, 10, len(ratios)) + ratios
    gain = compare_noise(ratios, other.tolist())
    assert gain.error_db == pytest.approx(stats.sem(other - ratios))


def test_exact_outputs_have_no_gain_over_exact_outputs():
    assert compare_noise([math.inf] * 3, [math.inf] * 3).mean_db == 0
    assert math.isfinite(compare_noise([20.0, 20.0], [math.inf, 20.0]).mean_db)
    assert math.isnan(compare_noise([20.0], [21.0]).error_db)


def test_channels_of_infinite_outputs_are_infinite_noise():
    exact = detections(1, (1, 50))
    broken = [values.copy() for values in exact]
    broken[0][0, 5, 3] = np.nan
    noise = FloatOutputs([[e] for e in exact]).compare([[b] for b in broken])
    assert (noise.ratio, noise.channels) == (math.inf, "channels 4-6 of axis 1")


def test_noise_of_another_size_is_infinite_and_infinities_in_float_do_not_count():
    assert relative_noise([np.ones((1, 3))], [np.ones((1, 4))]) == math.inf
    masked = [np.array([[-np.inf, 1.0, 2.0]])]
    assert relative_noise(masked, [np.array([[-np.inf, 1.0, 2.0]])]) == 0
    assert relative_noise(masked, [np.array([[-np.inf, 1.5, 2.0]])]) == pytest.approx(0.05)
    assert relative_noise(masked, [np.array([[-np.inf, np.nan, 2.0]])]) == math.inf


@given(st.floats(1e-3, 1e3), st.integers(1, 5))
def test_noise_does_not_depend_on_the_scale_of_the_outputs(factor, count):
    rng = np.random.default_rng(count)
    a = [rng.standard_normal((2, 3)) for _ in range(count)]
    b = [item + 0.1 * rng.standard_normal((2, 3)) for item in a]
    scaled = relative_noise([factor * item for item in a], [factor * item for item in b])
    assert scaled == pytest.approx(relative_noise(a, b))
    assert relative_noise(a, a) == 0


def detector(order, scale=640.0):
    """[batch, 3, 16, 16] -> boxes in pixels and scores in one tensor, through one last layer."""
    rng = np.random.default_rng(0)
    x = op.parameter([-1, 3, 16, 16], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NCHW"))
    h = op.relu(op.convolution(x, constant(rng, 16, 3, 3, 3), [2, 2], [0, 0], [1, 1], [1, 1]))
    heads = []
    for name, count, size in (("boxes", 4, scale), ("scores", 3, 1.0)):
        head = op.convolution(h, constant(rng, count, 16, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
        head = op.reshape(head, op.constant(np.array([0, count, -1])), special_zero=True)
        heads.append(op.multiply(op.sigmoid(head, name=name), op.constant(np.float32(size))))
    joined = op.concat(heads[::order], 1)
    kernels = op.constant(np.eye(7, dtype=np.float32)[:, :, None])
    y = op.convolution(joined, kernels, [1], [0], [0], [1], name="last")
    y.output(0).set_names({"det"})
    return ov.Model([op.result(y)], [x], "detector")


@pytest.fixture(scope="module")
def frames():
    return Listed(list(RNG.standard_normal((8, 3, 16, 16)).astype(np.float32)))


@pytest.mark.slow
@pytest.mark.parametrize(("order", "channels"), [(1, "channels 4-6"), (-1, "channels 0-2")])
def test_scores_that_one_quantizer_ruins_are_noted(tmp_path, frames, order, channels):
    parent = save(tmp_path / "det", detector(order))
    variant = compress(parent, "int8", {}, frames, out=tmp_path / "q", name="q")
    noted = {note.id: note.evidence for note in variant.record.notes}
    assert f"det {channels} of axis 1" in noted["quantization-noise"]
    assert variant.record.steps[-1].details["noise"]["sqnr_db"] < 10


@pytest.mark.slow
def test_boxes_of_the_range_of_scores_are_not_noted(tmp_path, frames):
    parent = save(tmp_path / "det", detector(1, scale=1.0))
    variant = compress(parent, "int8", {}, frames, out=tmp_path / "q", name="q")
    assert "quantization-noise" not in {note.id for note in variant.record.notes}


@pytest.mark.slow
def test_the_layer_that_ruins_the_scores_is_the_most_sensitive(tmp_path, frames):
    parent = save(tmp_path / "det", detector(1))
    settings = parse_settings("int8", {})
    model = ov.Core().read_model(parent.xml)
    actual = measure_sensitivity(model, frames, parent.record.inputs, settings)
    assert actual.layers[0].name == "last"
    assert actual.layers[0].sqnr_db < 10
