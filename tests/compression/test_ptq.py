"""Settings of post-training quantization reach NNCF."""

import numpy as np
import openvino as ov
import pytest

from ovtool.compression.nncf_adapter import quiet_nncf
from ovtool.compression.registry import parse_settings
from ovtool.core import files
from ovtool.core.errors import InputError
from tests.compression.outliers import pictures, saved
from tests.compression.samples import Listed, closeness, compress


def quantizers(variant):
    model = ov.Core().read_model(variant.xml)
    return [o for o in model.get_ordered_ops() if o.get_type_name() == "FakeQuantize"]


@pytest.fixture(scope="module")
def products(tmp_path_factory):
    return saved(tmp_path_factory.mktemp("products") / "products", "matmul")


def test_default_settings_equal_nncf_quantize(conv, pictures, tmp_path):
    compressed = compress(conv, "int8", {}, pictures, out=tmp_path / "q", name="q")
    again = compress(conv, "int8", {}, pictures, out=tmp_path / "again", name="q")
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


@pytest.mark.parametrize(
    ("settings", "stated"),
    [
        ({"model_type": "transformer", "smooth_matmul": 0.5}, "'matmul': 0.5"),
        ({"model_type": "transformer", "smooth_convolution": 0.25}, "'convolution': 0.25"),
        ({"bias_correction": "false"}, "'disable_bias_correction': True"),
        ({"channel_alignment": "true"}, "'disable_channel_alignment': False"),
        ({"activations_range": "histogram"}, "histogram"),
        ({"overflow_fix": "enable"}, "'overflow_fix': 'enable'"),
        ({"weights_per_channel": "false"}, "'per_channel': False"),
        ({"quantize_outputs": "true"}, "'quantize_outputs': True"),
    ],
)
def test_settings_reach_nncf(products, tmp_path, settings, stated):
    plain = compress(products, "int8", {}, pictures(12, 1), out=tmp_path / "p", name="q")
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
        ("int8", {"time_limit_s": 5}, "time_limit_s .* max_drop"),
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
