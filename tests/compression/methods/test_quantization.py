"""What of NNCF's quantization can be set, and that it is set."""

import openvino as ov
import pytest

from ovtool.core import files
from tests.compression.samples import closeness, compress, types_of


@pytest.mark.parametrize("mode", ["e4m3", "e5m2"])
def test_fp8_stores_weights_as_floats_of_eight_bits(conv, pictures, tmp_path, mode):
    compressed = compress(conv, "fp8", {"mode": mode}, pictures, out=tmp_path / "q", name="q")
    assert list(types_of(compressed)) == [f"f8{mode}"]
    assert compressed.record.bin_bytes < conv.record.bin_bytes / 3
    assert closeness(compressed, conv, pictures) > 0.98


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
    assert progress.tasks[-1] == ("checking", None)
    assert any("12 samples of listed" in note for note in progress.notes)


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
