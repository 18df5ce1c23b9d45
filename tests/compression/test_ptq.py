"""Settings of post-training quantization reach NNCF."""

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.compression.nncf_adapter import quiet_nncf
from ovtool.compression.registry import parse_settings
from ovtool.core import files
from ovtool.core.errors import InputError
from tests.compression.outliers import pictures, saved
from tests.compression.samples import Listed, closeness, compress
from tests.helpers.graphs import constant, save


def quantizers(variant):
    model = ov.Core().read_model(variant.xml)
    return [o for o in model.get_ordered_ops() if o.get_type_name() == "FakeQuantize"]


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("products") / "products", "matmul")


@pytest.mark.slow
def test_settings_without_effort_equal_nncf_quantize(conv, pictures, tmp_path):
    bare = {"effort": "none"}
    compressed = compress(conv, "int8", bare, pictures, out=tmp_path / "q", name="q")
    again = compress(conv, "int8", bare, pictures, out=tmp_path / "again", name="q")
    rows = [sample.inputs["x"][None] for sample in pictures]
    with quiet_nncf("test"):
        import nncf

        bare = nncf.quantize(
            ov.Core().read_model(conv.xml), nncf.Dataset(rows), subset_size=len(rows)
        )
    ov.save_model(bare, tmp_path / "bare.xml", compress_to_fp16=False)
    assert (
        files.sha256(compressed.bin)
        == files.sha256(again.bin)
        == files.sha256(tmp_path / "bare.bin")
    )
    assert files.sha256(compressed.xml) == files.sha256(again.xml)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "stated"),
    [
        ({"model_type": "transformer", "smooth_matmul": 0.5}, "'matmul': 0.5"),
        ({"model_type": "transformer", "smooth_convolution": 0.25}, "'convolution': 0.25"),
        ({"bias_correction": "false"}, "'disable_bias_correction': True"),
        ({"channel_alignment": "true"}, "'disable_channel_alignment': False"),
        ({"activations_range": "histogram"}, "histogram"),
        ({"overflow_fix": "enable"}, "'overflow_fix': 'enable'"),
        ({"activation_scales": "per_tensor"}, "'per_channel': False"),
        ({"weights_per_channel": "false"}, "'per_channel': False"),
        ({"quantize_outputs": "true"}, "'quantize_outputs': True"),
    ],
)
def test_settings_reach_nncf(products, tmp_path, settings, stated):
    bare = {"effort": "none"}
    plain = compress(products, "int8", bare, pictures(12, 1), out=tmp_path / "p", name="q")
    compressed = compress(products, "int8", settings, pictures(12, 1), out=tmp_path / "q", name="q")
    info = ov.Core().read_model(compressed.xml).get_rt_info(["nncf", "quantization"]).astype(dict)
    assert stated in str(info["advanced_parameters"].value).replace('"', "'")
    assert files.sha256(compressed.xml, compressed.bin) != files.sha256(plain.xml, plain.bin)


@pytest.mark.slow
def test_smooth_quant_reduces_noise_of_inputs_with_outliers(products, tmp_path):
    some = pictures(100, 1)
    plain = compress(products, "int8", {}, some, out=tmp_path / "p", name="q")
    smooth = {"model_type": "transformer"}
    smoothed = compress(products, "int8", smooth, some, out=tmp_path / "s", name="q")
    off = smooth | {"smooth_matmul": -1}
    unsmoothed = compress(products, "int8", off, some, out=tmp_path / "u", name="q")
    assert closeness(smoothed, products, some) > 0.98
    assert closeness(plain, products, some) < 0.9
    assert closeness(unsmoothed, products, some) < 0.9


@pytest.mark.slow
def test_activations_range_changes_the_quantizers(conv, tmp_path):
    rising = Listed([np.full((3, 16, 16), index, np.float32) for index in range(12)])
    ends = {}
    for kind in ("minmax", "mean_minmax"):
        chosen = {"activations_range": kind}
        compressed = compress(conv, "int8", chosen, rising, out=tmp_path / kind, name="q")
        (ends[kind],) = [
            float(np.max(q.input_value(2).get_node().get_data()))
            for q in quantizers(compressed)
            if q.input_value(0).get_node().get_type_name() == "Parameter"
        ]
    assert ends == pytest.approx({"minmax": 11, "mean_minmax": 5.5}, rel=0.02)


@pytest.mark.parametrize(
    ("method", "settings", "message"),
    [
        ("int8", {"smooth_matmul": 0.5}, "smooth_matmul .* model_type"),
        ("int8", {"smooth_matmul": 2}, "smooth_matmul"),
        (
            "int8",
            {"bias_correction": False, "fast_bias_correction": False},
            "fast_bias_correction.*bias_correction",
        ),
        ("int8", {"smooth_matmul": 0.5, "model_type": "auto"}, "smooth_matmul .* model_type"),
        ("int8", {"time_limit_s": 5}, "time_limit_s .* max_drop"),
        ("int8", {"effort": "lots"}, "effort"),
        ("int8", {"max_drop": -0.1}, "max_drop"),
        ("fp8", {"preset": "mixed"}, "unknown setting 'preset'"),
    ],
)
def test_settings_without_effect_raise(method, settings, message):
    with pytest.raises(InputError, match=message):
        parse_settings(method, settings)


def test_shared_weights_cannot_be_quantized(conv, pictures, tmp_path):
    shared = compress(
        conv, "weight-sharing", {"min_weights": 1}, None, out=tmp_path / "s", name="s"
    )
    with pytest.raises(InputError, match=r"\d layers") as caught:
        compress(shared, "int8", {}, pictures, out=tmp_path / "q", name="q")
    assert caught.value.hint


def depthwise(seed=0):
    """[batch, 3, 8, 8] -> convolution -> depthwise convolution -> 5 classes.

    The depthwise convolution reads channels of very different ranges.
    """
    rng = np.random.default_rng(seed)
    x = op.parameter([-1, 3, 8, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NCHW"))
    h = op.convolution(x, constant(rng, 16, 3, 3, 3), [1, 1], [1, 1], [1, 1], [1, 1], name="first")
    h = op.relu(h)
    kernels = op.constant(rng.standard_normal((16, 1, 1, 3, 3)).astype(np.float32))
    h = op.group_convolution(h, kernels, [1, 1], [1, 1], [1, 1], [1, 1], name="depthwise")
    h = op.reduce_mean(op.relu(h), op.constant(np.array([2, 3])), keep_dims=False)
    h = op.matmul(h, constant(rng, 5, 16), False, True, name="classifier")
    h.output(0).set_names({"scores"})
    return ov.Model([op.result(h)], [x], "depthwise")


@pytest.mark.slow
@pytest.mark.parametrize(("scales", "values"), [("per_tensor", 1), ("per_channel", 16)])
def test_activation_scales_before_a_depthwise_convolution(tmp_path, scales, values):
    parent = save(tmp_path / "depthwise", depthwise())
    rows = Listed(list(np.random.default_rng(1).random((8, 3, 8, 8), np.float32)))
    settings = {"activation_scales": scales}
    compressed = compress(parent, "int8", settings, rows, out=tmp_path / "q", name="q")
    sizes = [
        q.input_value(1).get_node().get_data().size
        for q in quantizers(compressed)
        if "GroupConvolution"
        in {r.get_node().get_type_name() for r in q.output(0).get_target_inputs()}
    ]
    assert values in sizes


def test_channels_that_nncf_cannot_align_raise(tmp_path):
    rng = np.random.default_rng(0)
    x = op.parameter([-1, 3, 8, 8], ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    x.set_layout(ov.Layout("NCHW"))
    h = op.relu(op.convolution(x, constant(rng, 8, 3, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1]))
    for _ in range(2):  # NNCF aligns the channels between products without an activation
        h = op.convolution(h, constant(rng, 8, 8, 1, 1), [1, 1], [0, 0], [0, 0], [1, 1])
        h = op.add(h, constant(rng, 1, 8, 1, 1))
    h.output(0).set_names({"y"})
    parent = save(tmp_path / "chain", ov.Model([op.result(h)], [x], "chain"))
    rows = Listed(list(rng.random((8, 3, 8, 8), np.float32)))
    settings = {"channel_alignment": "true"}
    with pytest.raises(InputError, match="align"):
        compress(parent, "int8", settings, rows, out=tmp_path / "q", name="q")
