from dataclasses import replace

import numpy as np
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openvino import opset15 as op

from ovtool.datasets import synthetic
from ovtool.datasets.synthetic import ValueRange, generate, input_ranges, range_by_name
from tests.helpers.graphs import ROWS, convolutional, embedding

TYPES = ["float16", "float32", "float64", "bool", "int8", "uint8", "int32", "int64", "uint64"]
dtypes = st.sampled_from(TYPES).map(np.dtype)
shapes = st.lists(st.integers(0, 5), max_size=3).map(tuple)
limits = st.none() | st.integers(0, 10**6)
wanted = st.builds(ValueRange, st.sampled_from(["normal", "whole", "ones", "count"]), limits)


@given(wanted, shapes, dtypes, st.integers(0, 9))
def test_every_value_lies_in_its_range(values, shape, dtype, seed):
    array = generate(values, shape, dtype, np.random.default_rng(seed))
    assert array.shape == shape
    assert array.dtype == dtype
    again = generate(values, shape, dtype, np.random.default_rng(seed))
    np.testing.assert_array_equal(array, again)
    if values.kind == "ones":
        assert (array == 1).all()
    if values.kind in ("whole", "count"):
        whole = array.astype(np.float64)
        assert (whole == np.floor(whole)).all()
        assert (whole >= 0).all()
        assert values.maximum is None or (whole <= values.maximum).all()


def test_whole_numbers_take_every_value():
    array = generate(ValueRange("whole", 6), (200,), np.dtype(np.int64), np.random.default_rng(0))
    assert set(array.tolist()) == set(range(7))


def test_positions_count_up_along_the_last_axis_and_begin_anew():
    array = generate(ValueRange("count", 2), (2, 5), np.dtype(np.int64), np.random.default_rng(0))
    assert array.tolist() == [[0, 1, 2, 0, 1]] * 2


@pytest.mark.parametrize(
    ("name", "dtype", "values"),
    [
        ("attention_mask", "int64", "ones"),
        ("InputMask", "float32", "ones"),
        ("mask", "bool", "ones"),
        ("use_cache", "bool", "0..1"),
        ("token_type_ids", "int64", "zeros"),
        ("segment_ids", "int32", "zeros"),
        ("beam_idx", "int32", "zeros"),
        ("position_ids", "int64", "counted up from 0"),
        ("positions", "float32", "N(0, 1)"),
        ("image", "uint8", "0..255"),
        ("image", "int8", "-128..127"),
        ("audio", "int16", "-32768..32767"),
        ("length", "int32", "0..1"),
        ("x", "float16", "N(0, 1)"),
    ],
)
def test_range_follows_from_name_and_type(name, dtype, values):
    assert range_by_name(name, np.dtype(dtype)).text == values


def parameter(name, kind=ov.Type.i64, shape=(-1, -1)):
    array = op.parameter(list(shape), kind, name=name)
    array.output(0).set_names({name})
    return array


def table(rows, width=4, dtype=np.float32):
    return op.constant(np.ones((rows, width), dtype))


def zero():
    return op.constant(np.int64(0))


def model(*inputs, outputs):
    return ov.Model([op.result(o) for o in outputs], list(inputs), "m")


def values_of(graph):
    """The values of each input, without the reason."""
    return {name: replace(values, reason="").text for name, values in input_ranges(graph).items()}


def text_of(*inputs, outputs):
    return values_of(model(*inputs, outputs=outputs))


def test_token_ids_are_table_rows_and_masks_are_ones():
    assert values_of(embedding()) == {"ids": f"0..{ROWS - 1}", "mask": "ones"}
    assert [values.text for values in input_ranges(convolutional()).values()] == ["N(0, 1)"]


def test_the_model_runs_on_its_random_inputs():
    net = embedding()
    generator = np.random.default_rng(0)
    inputs = {
        name: generate(values, (3, 500), np.dtype(np.int64), generator)
        for name, values in input_ranges(net).items()
    }
    assert np.isfinite(ov.Core().compile_model(net, "CPU")(inputs)[0]).all()
    assert inputs["ids"].max() == ROWS - 1


def test_table_is_recognized_through_shape_changes():
    ids = parameter("ids", shape=(-1, 6))
    h = op.unsqueeze(op.convert(ids, "i32"), op.constant(np.int64(0)))
    h = op.reshape(h, op.constant(np.array([-1, 3])), special_zero=False)
    h = op.squeeze(op.unsqueeze(h, op.constant(np.int64(1))), op.constant(np.int64(1)))
    rows = op.gather(op.convert(table(30, dtype=np.float16), "f32"), h, zero())
    assert text_of(ids, outputs=[rows]) == {"ids": "0..29"}


def test_quantized_table_is_recognized():
    ids = parameter("ids")
    whole = op.convert(op.constant(np.ones((20, 4), np.uint8)), "f32")
    rows = op.gather(op.multiply(whole, op.constant(np.float32(0.1))), ids, zero())
    assert text_of(ids, outputs=[rows]) == {"ids": "0..19"}


def test_each_input_has_its_own_table_and_positions_stay_in_range():
    ids, kinds, places = (parameter(n) for n in ("ids", "token_type_ids", "position_ids"))
    values = text_of(
        ids,
        kinds,
        places,
        outputs=[
            op.gather(table(rows), one, zero())
            for rows, one in ((40, ids), (2, kinds), (16, places))
        ],
    )
    assert values == {
        "ids": "0..39",
        "token_type_ids": "0..1",
        "position_ids": "counted up within 0..15",
    }


def test_smallest_table_limits_the_range():
    ids = parameter("ids")
    values = text_of(ids, outputs=[op.gather(table(n), ids, zero()) for n in (40, 8)])
    assert values == {"ids": "0..7"}


def test_table_axis_is_that_of_the_gather():
    ids = parameter("ids")
    last = op.constant(np.int64(-1))
    values = text_of(ids, outputs=[op.gather(table(40, 4), ids, last)])
    assert values == {"ids": "0..3"}


def test_ids_that_come_as_real_numbers_are_whole():
    ids = parameter("ids", ov.Type.f32)
    values = input_ranges(model(ids, outputs=[op.gather(table(9), op.convert(ids, "i32"), zero())]))
    array = generate(values["ids"], (50,), np.dtype(np.float32), np.random.default_rng(0))
    assert set(array.tolist()) == set(range(9))


def test_embedding_bag_has_indices_and_offsets():
    ids, begin = parameter("ids", shape=(-1,)), parameter("begin", shape=(-1,))
    bags = op.embedding_bag_offsets(table(12), ids, begin)
    assert text_of(ids, begin, outputs=[bags]) == {
        "ids": "0..11",
        "begin": "zeros",
    }


def test_index_into_a_computed_tensor_is_zero():
    """The beams of a text generator index the batch of its state."""
    indices, x = parameter("indices", ov.Type.i32, (-1,)), parameter("x", ov.Type.f32, (-1, 4))
    state = op.read_value(x, "state", ov.Type.f32, ov.PartialShape([-1, 4]))
    for value in (x, state):
        net = ov.Model([op.result(op.gather(value, indices, zero()))], [indices, x], "m")
        assert values_of(net)["indices"] == "zeros"


def test_maximum_is_lowered_to_the_exact_integers_of_the_type():
    array = generate(
        ValueRange("whole", 30_521), (500,), np.dtype(np.float16), np.random.default_rng(0)
    )
    assert array.max() <= 2048
    assert synthetic.ZEROS_AND_ONES.text == "0..1"
