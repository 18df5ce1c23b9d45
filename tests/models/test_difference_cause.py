"""Causes of different outputs: casts without a defined result, integers that overflow."""

import numpy as np
import openvino as ov
import pytest
from onnx import TensorProto, helper
from openvino import opset15 as op

from ovtool.core.errors import InputError
from ovtool.core.variant import Source
from ovtool.models.difference_cause import (
    depending_outputs,
    explain_overflow,
    undefined_casts,
)
from ovtool.models.output_judge import OutputJudge
from ovtool.models.source import SourceModel
from tests.models.onnx_models import tensor, write_onnx
from tests.models.source_models import make

CAUSE = InputError("differs; more", "hint")


def cast_onnx(path, scale, offset=0.0):
    """Pixels: uint8(x * scale + offset)."""
    nodes = [
        helper.make_node("Mul", ["x", "s"], ["a"]),
        helper.make_node("Add", ["a", "o"], ["b"]),
        helper.make_node("Cast", ["b"], ["q"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
    ]
    constants = [tensor("s", np.float32(scale)), tensor("o", np.float32(offset))]
    return write_onnx(path, nodes, {"x": ["n", 8]}, {"y": ["n", 8]}, constants)


@pytest.mark.slow
def test_negative_values_cast_to_unsigned_are_a_note(tmp_path):
    record = make(cast_onnx(tmp_path / "net.onnx", 100), tmp_path / "out").record
    assert [d.status for d in record.check.differences] == ["checked"]
    assert record.check.max_abs_difference == 0
    (note,) = record.notes
    assert note.id == "cast-undefined"
    assert "u8" in note.evidence
    assert ": -" in note.evidence


@pytest.mark.slow
def test_a_cast_without_a_defined_result_does_not_hide_other_outputs(tmp_path):
    """Runtimes differ in infinity as an 8-bit float, and in every cast of it to an integer."""
    nodes = [
        helper.make_node("Cast", ["x"], ["a"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["a"], ["first"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["x"], ["b"], to=TensorProto.FLOAT8E4M3FN),
        helper.make_node("Cast", ["b"], ["second"], to=TensorProto.FLOAT),
    ]
    shape = ["n", 8]
    limits = []
    for outputs in ({"second": shape}, {"first": shape, "second": shape}):
        folder = tmp_path / "-".join(outputs)
        folder.mkdir()
        path = write_onnx(folder / "net.onnx", nodes, {"x": shape}, outputs)
        record = make(path, folder / "out").record
        assert {d.status for d in record.check.differences} == {"checked"}
        limits.append([n.evidence for n in record.notes if n.id == "values-limited"])
    assert "cast-undefined" in [note.id for note in record.notes]
    assert limits[0] == limits[1] != []


@pytest.mark.slow
def test_a_difference_beside_a_cast_without_a_defined_result_is_an_error():
    x = op.parameter([-1, 4], np.float32, name="x")
    model = ov.Model([op.convert(op.convert(x, "u8"), "f32"), op.add(x, np.float32(1))], [x], "m")
    for index, name in enumerate(("first", "second")):
        model.outputs[index].get_tensor().set_names({name})

    def reference(inputs):
        values = inputs["x"]
        return [np.abs(values), values + wrong]

    source = SourceModel(Source(kind="onnx", reference="r"), model, reference, "r")
    inputs = {"x": np.float32([[-300, 2, 3, 4]])}
    for wrong, disagrees in ((1, False), (2, True)):  # noqa: B007 - the reference reads it
        judge = OutputJudge(model, source, reference, 1e-3)
        error = judge.compare(inputs)
        assert (error is not None) == disagrees
        if disagrees:
            assert "second" in str(error)
        else:
            assert [len(output.comparisons) for output in judge.outputs] == [0, 1]
            assert judge.undefined_error is not None


@pytest.mark.slow
def test_a_cast_that_never_stays_in_range_is_an_error_that_names_it(tmp_path):
    path = cast_onnx(tmp_path / "net.onnx", 1, offset=-1e6)
    with pytest.raises(InputError, match="to u8: -"):
        make(path, tmp_path / "out")


def test_defined_casts_make_no_note(tmp_path):
    nodes = [
        helper.make_node("Clip", ["x", "low", "high"], ["a"]),
        helper.make_node("Cast", ["a"], ["q"], to=TensorProto.UINT8),
        helper.make_node("Cast", ["q"], ["y"], to=TensorProto.FLOAT),
    ]
    constants = [tensor("low", np.float32(0)), tensor("high", np.float32(255))]
    path = write_onnx(tmp_path / "net.onnx", nodes, {"x": [2, 8]}, {"y": [2, 8]}, constants)
    assert make(path, tmp_path / "out").record.notes == ()


def test_casts_beyond_a_range_are_found_with_their_values():
    x = op.parameter([4], np.float32, name="x")
    cast = op.convert(x, "i8")
    cast.set_friendly_name("cast")
    model = ov.Model([cast, op.convert(x, "f16"), op.convert(x, "boolean")], [x], "m")
    assert undefined_casts(model, {"x": np.float32([-128.9, 127.9, 0, 3])}) == {}
    found = undefined_casts(model, {"x": np.float32([-200, 130, 0, 3])})
    assert found == {"cast": "cast to i8: -200..130"}
    assert depending_outputs(model, found) == {0}
    assert depending_outputs(model, {}) == frozenset()
    assert undefined_casts(model, {"x": np.float32([np.nan, 1, 2, 3])})


@pytest.mark.parametrize(
    ("dtype", "values", "name", "reaches"),
    [
        (np.int64, [2**20, 5], "product", "1099511627776"),
        (np.int8, [100, 5], "product", "10000"),
        (np.int64, [2**10, 5], None, ""),
    ],
)
def test_the_first_operation_beyond_its_range_is_named(dtype, values, name, reaches):
    x = op.parameter([2], dtype, name="x")
    product = op.multiply(x, x)
    product.set_friendly_name("product")
    model = ov.Model([op.convert(op.subtract(product, x), "f32")], [x], "m")
    error = explain_overflow(CAUSE, model, {"x": np.array(values, dtype)})
    assert (str(name) in str(error)) == (name is not None)
    assert reaches in str(error)
    assert (error is CAUSE) == (name is None)


def test_operations_whose_attributes_change_them_are_left_out():
    x = op.parameter([2, 3], np.int32, name="x")
    model = ov.Model([op.matmul(x, x, False, True)], [x], "m")
    assert explain_overflow(CAUSE, model, {"x": np.full((2, 3), 2**20, np.int32)}) is CAUSE


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "operation", "dtype"),
    [(TensorProto.INT8, "Add", "i8"), (TensorProto.UINT8, "Mul", "u8")],
)
def test_overflow_of_narrow_integers_is_the_cause_of_an_error(tmp_path, kind, operation, dtype):
    node = helper.make_node(operation, ["a", "b"], ["y"])
    shape = ([2, 9], kind)
    path = write_onnx(tmp_path / "net.onnx", [node], {"a": shape, "b": shape}, {"y": shape})
    with pytest.raises(InputError, match=f"beyond {dtype}") as caught:
        make(path, tmp_path / "out")
    assert "tolerance" not in caught.value.hint


def test_integers_beyond_32_bits_are_the_cause_of_an_error(tmp_path):
    nodes = [
        helper.make_node("Cast", ["x"], ["i"], to=TensorProto.INT64),
        helper.make_node("Mul", ["i", "c"], ["m"]),
        helper.make_node("Cast", ["m"], ["y"], to=TensorProto.FLOAT),
    ]
    constants = [tensor("c", np.array(2**40))]
    path = write_onnx(tmp_path / "net.onnx", nodes, {"x": [2, 9]}, {"y": [2, 9]}, constants)
    with pytest.raises(InputError, match="32 bits") as caught:
        make(path, tmp_path / "out")
    assert "tolerance" not in caught.value.hint
