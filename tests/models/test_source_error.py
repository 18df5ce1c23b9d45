import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.models.source_error import ancestors, own_error, resolution


def nodes_of(build):
    x = op.parameter([1, 4], ov.Type.f32, name="x")
    model = ov.Model([op.result(build(x))], [x], "m")
    return ancestors(model.get_results()[0])


def scalar(value):
    return op.constant(np.float32(value))


def quantized(x, levels):
    return op.fake_quantize(x, scalar(-1), scalar(1), scalar(-1), scalar(1), levels)


@pytest.mark.parametrize(
    ("build", "relative"),
    [
        (op.relu, 0),
        (lambda x: quantized(x, 256), 2 / 255),
        (lambda x: op.relu(quantized(quantized(x, 65536), 16)), 2 / 15),
        (lambda x: op.convert(op.convert(x, "u8"), "f32"), 2 / 255),
        (lambda x: op.convert(op.relu(op.convert(x, "bf16")), "f32"), 8 / 256),
        (lambda x: op.convert(op.relu(op.convert(x, "f16")), "f32"), 8 / 2048),
        # Compressed weights are exact.
        (lambda x: op.multiply(x, op.convert(op.constant(np.ones(4, np.float16)), "f32")), 0),
        (lambda x: op.multiply(x, op.convert(op.constant(np.ones(4, np.uint8)), "f32")), 0),
        (lambda x: op.convert(op.shape_of(op.convert(x, "bf16")), "f32"), 0),
    ],
)
def test_resolution_follows_the_arithmetic(build, relative):
    assert resolution(nodes_of(build)) == pytest.approx(relative)


def test_own_error_is_twice_the_spread_and_limited():
    expected = np.array([1.0, -4.0], np.float32)
    far = expected + 9

    def own(relative, precise, actual=far):
        return own_error(relative, expected, precise, actual, 1e-3)

    assert own(0, None) == 0
    assert own(0.01, None) == pytest.approx(0.04)
    assert own(0, expected + np.float32(0.125)) == pytest.approx(0.25)
    assert own(0, expected + 100) == pytest.approx(0.4)
    # One of many values lies on the other side of a step; without steps that is an error.
    many = np.arange(1000.0)
    flipped = many + 10 * (many == 500)
    for relative, allowed in ((0.001, 10), (0, 0)):
        granted = own_error(relative, many, many, flipped, 1e-3)
        assert granted == pytest.approx(allowed)
    # The conversion agrees with the precise run.
    assert own(0, expected + 100, expected + 100) == pytest.approx(100)
    assert own_error(0.01, np.array(["a"]), None, np.array(["a"]), 1e-3) == 0
