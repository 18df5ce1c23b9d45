"""What of NNCF's quantization can be set, and that it is set."""

import numpy as np
import openvino as ov
import pytest

from ovtool.compression.sensitivity import sensitivity
from ovtool.core import files
from ovtool.core.errors import InputError
from tests.compression.samples import Listed, closeness, compress, types_of
from tests.helpers.graphs import convolutional, save


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["e4m3", "e5m2"])
def test_fp8_stores_weights_as_floats_of_eight_bits(conv, pictures, tmp_path, mode):
    compressed = compress(conv, "fp8", {"mode": mode}, pictures, out=tmp_path / "q", name="q")
    assert list(types_of(compressed)) == [f"f8{mode}"]
    assert compressed.record.bin_bytes < conv.record.bin_bytes / 3
    assert closeness(compressed, conv, pictures) > 0.98


@pytest.mark.slow
def test_int8_quantizes_weights_and_activations(conv, pictures, tmp_path, progress):
    before = files.sha256(conv.xml, conv.bin)
    compressed = compress(
        conv, "int8", {}, pictures, out=tmp_path / "q", name="small8", progress=progress
    )
    step = compressed.record.steps[-1]
    assert types_of(compressed)["i8"]["share_pct"] == 100
    assert step.details["quantized_activations"] >= 2
    assert step.details["calibration_samples"] == 12
    assert compressed.record.bin_bytes < conv.record.bin_bytes / 3
    assert closeness(compressed, conv, pictures) > 0.99
    assert files.sha256(conv.xml, conv.bin) == before
    assert ("calibrating", 12) in progress.tasks
    assert progress.steps == 12
    assert [task for task, _ in progress.tasks[-2:]] == ["checking", "comparing outputs"]
    assert any("12 samples of listed" in note for note in progress.notes)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        {"fast_bias_correction": "false"},
        {"model_type": "transformer"},
        {"preset": "mixed", "target_device": "npu"},
    ],
)
def test_int8_settings_reach_nncf(conv, pictures, tmp_path, settings):
    compressed = compress(conv, "int8", settings, pictures, out=tmp_path / "q", name="q")
    stated = ov.Core().read_model(compressed.xml).get_rt_info(["nncf", "quantization"]).astype(dict)
    written = {key: str(value.value if hasattr(value, "value") else value).lower()
               for key, value in stated.items()}  # fmt: skip
    for key, value in settings.items():
        assert str(value).lower() in written[key]
    assert closeness(compressed, conv, pictures) > 0.98


@pytest.mark.parametrize("method", ["int8", "fp8"])
def test_a_quantized_model_is_not_quantized_again(pictures, tmp_path, method):
    parent = save(tmp_path / "elsewhere", convolutional(int8=("conv0", "conv1", "classifier")))
    with pytest.raises(InputError, match=r"elsewhere .*int8, 3 of 3"):
        compress(parent, method, {}, pictures, out=tmp_path / "q", name="q")
    assert not (tmp_path / "q").exists()


def test_sensitivity_needs_a_model_that_is_not_quantized(tmp_path):
    parent = save(tmp_path / "elsewhere", convolutional(int8=("conv0",)))
    with pytest.raises(InputError, match=r"elsewhere .*int8, 1 of 3"):
        sensitivity(parent, data="noise:4")


@pytest.mark.slow
def test_compressed_weights_can_be_quantized(dense, tmp_path):
    rows = Listed([np.ones(64, np.float32)] * 4)
    first = compress(dense, "weights", {}, None, out=tmp_path / "w", name="w")
    second = compress(first, "int8", {}, rows, out=tmp_path / "q", name="q")
    assert second.record.steps[-1].details["quantized_activations"] > 0
