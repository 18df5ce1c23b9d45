"""Exact runs on the CPU."""

import gc

import numpy as np
import openvino as ov
import pytest
from openvino import opset15 as op

from ovtool.core.errors import InputError
from ovtool.graph.reference_run import ReferenceModel
from tests.helpers.graphs import accumulating, fully_connected, growing

WEIGHTS = np.random.default_rng(0).standard_normal((32, 64)).astype(np.float32)


def two_outputs():
    """a, b [batch, 64] -> a - b, a + b; the tensor of the second input has no name."""
    a, b = (op.parameter([-1, 64], ov.Type.f32, name=name) for name in "ab")
    model = ov.Model([op.result(op.subtract(a, b)), op.result(op.add(a, b))], [a, b], "two")
    model.inputs[1].get_tensor().set_names(set())
    return model


def weight_compressed():
    """[batch, 64] -> a product with 8-bit weights: by default, the CPU quantizes its input too."""
    x = op.parameter([-1, 64], ov.Type.f32, name="x")
    scale = np.abs(WEIGHTS).max(1, keepdims=True) / 127
    integers = op.constant(np.round(WEIGHTS / scale).astype(np.int8))
    weights = op.multiply(op.convert(integers, "f32"), op.constant(scale.astype(np.float32)))
    return ov.Model([op.result(op.matmul(x, weights, False, True))], [x], "compressed")


def rows(count, seed=1):
    return np.random.default_rng(seed).standard_normal((count, 64)).astype(np.float32)


def test_cpu_confirms_exact_properties():
    compiled = ReferenceModel(fully_connected()).compiled
    expected = {
        "INFERENCE_PRECISION_HINT": ov.Type.f32,
        "EXECUTION_MODE_HINT": ov.properties.hint.ExecutionMode.ACCURACY,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0,
        "KV_CACHE_PRECISION": ov.Type.f32,
        "NUM_STREAMS": 1,
    }
    assert {name: compiled.get_property(name) for name in expected} == expected


def test_compressed_weights_leave_activations_in_f32():
    scale = np.abs(WEIGHTS).max(1, keepdims=True) / 127
    weights = (np.round(WEIGHTS / scale) * scale).astype(np.float64)
    x = rows(16)
    (exact,) = ReferenceModel(weight_compressed()).run({0: x})
    assert np.abs(exact - x @ weights.T).max() < 1e-4


def test_inputs_by_name_and_by_position_give_the_outputs_in_order():
    a, b = rows(3), rows(3, seed=2)
    model = ReferenceModel(two_outputs())
    for inputs in ({"a": a, "input_1": b}, {"input_1": b, "a": a}, {1: b, 0: a}):
        difference, total = model.run(inputs)
        assert np.array_equal(difference, a - b)
        assert np.array_equal(total, a + b)


@pytest.mark.slow
def test_outputs_stay_valid_after_later_runs_and_without_the_model():
    a, b = rows(2), rows(2, seed=2)
    model = ReferenceModel(two_outputs())
    first, _ = model.run({0: a, 1: b})
    model.run({0: b, 1: b})
    del model
    gc.collect()
    assert np.array_equal(first, a - b)


def test_inputs_of_a_wrong_shape_are_refused():
    with pytest.raises(InputError, match="65"):
        ReferenceModel(fully_connected()).run({"x": np.zeros((1, 65), np.float32)})


def test_valid_inputs_run_after_inputs_that_fail():
    """Without a new compilation, the CPU rejects the last ones, or returns another shape."""
    x = op.parameter([-1, 4, -1, 8], ov.Type.f32, name="x")
    mask = op.parameter([-1, 1, 1, -1], ov.Type.f32, name="mask")
    total = op.add(op.transpose(x, [0, 1, 3, 2]), mask)
    graph = ReferenceModel(ov.Model([op.multiply(op.relu(total), np.float32(2))], [x, mask], "sum"))

    def run(length, mask_length):
        feed = {
            "x": np.ones([1, 4, length, 8], np.float32),
            "mask": np.ones([1, 1, 1, mask_length], np.float32),
        }
        return graph.run(feed)[0]

    for length in (16, 24):
        assert run(length, length).shape == (1, 4, 8, length)
    for sizes in ((24, 16), (16, 24)):
        with pytest.raises(InputError):
            run(*sizes)
        np.testing.assert_array_equal(run(24, 24), np.full([1, 4, 8, 24], 4, np.float32))


@pytest.mark.parametrize(("graph", "shape"), [(accumulating, (1, 4)), (growing, (1, 1, 4))])
def test_each_run_starts_from_the_initial_state(graph, shape):
    """From the initial state, the sums of both graphs are the input itself."""
    reference = ReferenceModel(graph())
    generator = np.random.default_rng(0)
    for _ in range(3):
        x = generator.standard_normal(shape).astype(np.float32)
        np.testing.assert_array_equal(reference.run({0: x})[0].reshape(-1), x.reshape(-1))


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("bf16", [1, -2.5, 3.140625, 65536], [1, -2.5, 3.140625, 65536]),
        ("f8e4m3", [1, -2.5, 0.4375, 448], [1, -2.5, 0.4375, 448]),
        ("f8e5m2", [1, -2.5, 0.4375, 57344], [1, -2.5, 0.4375, 57344]),
        ("f4e2m1", [1, -1.5, 0.5, 6], [1, -1.5, 0.5, 6]),
        ("nf4", [0, 1, -1], [0, 1, -1]),
        ("i4", [1, -8, 7], [1, -8, 7]),
        ("u4", [1, 15, 8], [1, 15, 8]),
        ("u2", [0, 3, 2], [0, 3, 2]),
    ],
)
def test_outputs_of_types_without_numpy_equivalent_have_their_values(kind, values, expected):
    x = op.parameter([-1], ov.Type.f32, name="x")
    model = ov.Model([op.result(op.convert(x, kind))], [x], "narrow")
    (output,) = ReferenceModel(model).run({"x": np.array(values, np.float32)})
    np.testing.assert_array_equal(output, expected)
    assert output.dtype == {"i": np.int8, "u": np.uint8}.get(kind[0], np.float32)


def test_texts_are_read():
    x = op.parameter([-1], ov.Type.string, name="x")
    texts = np.array(["a", "bcd", ""])
    (output,) = ReferenceModel(ov.Model([op.result(x)], [x], "texts")).run({"x": texts})
    assert output.tolist() == texts.tolist()


def test_output_that_is_an_input_follows_a_change_of_shape():
    x = op.parameter([-1, 5], ov.Type.f32, name="x")
    results = [op.result(op.convert(x, "f32")), op.result(op.relu(x))]
    model = ReferenceModel(ov.Model(results, [x], "m"))
    values = np.random.default_rng(0).standard_normal((3, 5)).astype(np.float32)
    for size in (2, 1, 3, 1):
        same, positive = model.run({0: values[:size].copy()})
        assert np.array_equal(same, values[:size])
        assert np.array_equal(positive, np.maximum(values[:size], 0))
