import numpy as np
import pytest
from PIL import Image

from ovtool.core.errors import InputError
from ovtool.core.ports import Port
from ovtool.datasets.bundled import text_lines
from ovtool.datasets.registry import load_samples

PORT = Port(name="x", shape=(-1, 3, 48, -1), dtype="f32", layout="NCHW")


def test_lines_repeat_and_carry_their_text():
    samples = load_samples("sample:text-lines-validation", [PORT], None, limit=5)
    once, again = list(samples), list(samples)
    for a, b in zip(once, again, strict=True):
        assert a.label == b.label
        assert np.array_equal(a.inputs["x"], b.inputs["x"])
        assert a.inputs["x"].shape == (3, 48, 320)
        assert np.abs(a.inputs["x"]).max() <= 1
        assert 1 <= len(a.label) <= text_lines.MAX_CHARACTERS
        assert a.inputs["x"].std() > 0.1, "something is drawn"
    assert samples.labelled


def test_parts_share_no_line():
    loaded = {
        part: load_samples(f"sample:text-lines-{part}", [PORT], None) for part in text_lines.PARTS
    }
    assert {part: len(s) for part, s in loaded.items()} == {
        part: count for part, (_, count) in text_lines.PARTS.items()
    }
    firsts = [[s.inputs["x"].tobytes() for s, _ in zip(x, range(10))] for x in loaded.values()]  # noqa: B905
    assert len({line for lines in firsts for line in lines}) == 30


def test_a_line_is_scaled_to_its_height_and_padded_with_zeros():
    red = Image.new("RGB", (20, 10), (255, 0, 0))
    array = text_lines.preprocess(red, 200)
    assert array.shape == (3, 48, 200)
    assert (array[:, :, :96] == np.array([-1, -1, 1])[:, None, None]).all(), "BGR, -1 to 1"
    assert not array[:, :, 96:].any()
    assert (text_lines.preprocess(red, 50)[2] == 1).all(), "a line that is too long is squeezed"


def test_unsuitable_model_raises():
    port = Port(name="x", shape=(-1, 3, 32, -1), dtype="f32", layout="NCHW")
    with pytest.raises(InputError, match=r"x .*32"):
        load_samples("sample:text-lines-test", [port], None)
