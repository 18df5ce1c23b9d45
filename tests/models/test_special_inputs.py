"""Special values that random inputs do not contain."""

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper
from openvino import opset13 as op

from ovtool.graph.reference_run import ReferenceModel
from ovtool.models.special_inputs import special_inputs
from tests.models.onnx_models import tensor, write_onnx
from tests.models.source_models import make


def limits(path, tmp_path):
    record = make(path, tmp_path / "out").record
    assert all(d.status == "checked" for d in record.check.differences)
    return {n.id: n.evidence for n in record.notes if n.id.endswith("-limited")}


def cast_onnx(path, nodes, kind=TensorProto.FLOAT, to=TensorProto.FLOAT, constants=()):
    inputs, outputs = {"x": ([2, 8], kind)}, {"y": ([2, 8], to)}
    return write_onnx(path, nodes, inputs, outputs, constants, opset=19, ir_version=10)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("to", "values"),
    [
        (TensorProto.DOUBLE, ["inf", "-inf"]),
        (TensorProto.FLOAT8E4M3FN, ["896", "-896", "inf", "-inf"]),
        (TensorProto.FLOAT16, None),
        (TensorProto.FLOAT, None),
    ],
)
def test_values_beyond_a_cast_are_named(tmp_path, to, values):
    """The standard saturates at 448 for FLOAT8E4M3FN, and keeps infinity in DOUBLE."""
    path = cast_onnx(tmp_path / "net.onnx", [helper.make_node("Cast", ["x"], ["y"], to=to)], to=to)
    found = limits(path, tmp_path)
    assert found == ({} if values is None else {"values-limited": f"x: {', '.join(values)}"})


def test_the_cast_may_be_between_operations_on_single_values(tmp_path):
    nodes = [
        helper.make_node("Mul", ["x", "c"], ["a"]),
        helper.make_node("Cast", ["a"], ["b"], to=TensorProto.DOUBLE),
        helper.make_node("Neg", ["b"], ["y"]),
    ]
    path = cast_onnx(
        tmp_path / "net.onnx", nodes, to=TensorProto.DOUBLE, constants=[tensor("c", np.float32(2))]
    )
    assert "inf" in limits(path, tmp_path)["values-limited"]


@pytest.mark.slow
@pytest.mark.parametrize("first", ["Sigmoid", "Softmax", "MatMul"])
def test_a_bounded_or_mixed_value_gets_no_special_inputs(tmp_path, first):
    inputs = ["x", "w"] if first == "MatMul" else ["x"]
    nodes = [
        helper.make_node(first, inputs, ["a"]),
        helper.make_node("Cast", ["a"], ["y"], to=TensorProto.DOUBLE),
    ]
    weights = [tensor("w", np.eye(8, dtype=np.float32))]
    path = cast_onnx(tmp_path / "net.onnx", nodes, to=TensorProto.DOUBLE, constants=weights)
    model = ov.Core().read_model(path)
    assert list(special_inputs(model, {"x": np.ones((2, 8), np.float32)}, [])) == []
    assert limits(path, tmp_path) == {}


def test_token_ids_get_no_special_inputs():
    ids = op.parameter([2, 8], np.int64, name="ids")
    table = op.constant(np.ones((9, 4), np.float32))
    model = ov.Model([op.gather(table, op.convert(ids, "i32"), op.constant(0))], [ids], "m")
    assert list(special_inputs(model, {"ids": np.ones((2, 8), np.int64)}, [])) == []


def attention_onnx(path, *, safe):
    """Scores masked with -inf; with ``safe``, rows that are masked as a whole give 0."""
    nodes = [
        helper.make_node("Where", ["attn_mask", "x", "low"], ["s"]),
        helper.make_node("Softmax", ["s"], ["p"], axis=-1),
        helper.make_node("IsNaN", ["p"], ["nan"]),
        helper.make_node("Where", ["nan", "zero", "p"], ["y"]),
    ]
    low = -np.inf if safe else -1e4
    constants = [tensor("low", np.float32(low)), tensor("zero", np.float32(0))]
    inputs = {"x": [3, 4, 4], "attn_mask": ([4, 4], TensorProto.BOOL)}
    return write_onnx(path, nodes, inputs, {"y": [3, 4, 4]}, constants)


def test_a_mask_row_of_zeros_is_tried(tmp_path):
    """Where the CPU plugin differs from the source on such a row, the note names the mask."""
    path = attention_onnx(tmp_path / "net.onnx", safe=True)
    found = limits(path, tmp_path)
    session = onnx.reference.ReferenceEvaluator(str(path))
    x, mask = np.ones((3, 4, 4), np.float32), np.ones((4, 4), np.bool_)
    mask[-1] = False
    with np.errstate(invalid="ignore"):
        (expected,) = session.run(None, {"x": x, "attn_mask": mask})
    (actual,) = ReferenceModel(ov.Core().read_model(path)).run({"x": x, "attn_mask": mask})
    agrees = np.allclose(actual, expected)
    assert set(found) == (set() if agrees else {"rows-limited"})
    assert all("attn_mask" in evidence for evidence in found.values())


def test_rows_of_a_padding_mask_are_samples_and_not_emptied(tmp_path):
    x, mask = (op.parameter([2, 4], np.float32, name=n) for n in ("x", "mask"))
    mask.set_layout(ov.Layout("NC"))
    model = ov.Model([op.multiply(x, mask)], [x, mask], "m")
    ordinary = {n: np.ones((2, 4), np.float32) for n in ("x", "mask")}
    assert list(special_inputs(model, ordinary, ["mask"])) == []
    mask.set_layout(ov.Layout("??"))
    special = list(special_inputs(model, ordinary, ["mask"]))
    assert [s.inputs["mask"][-1].tolist() for s in special] == [[0] * 4, [-np.inf] * 4]


def nms_onnx(path, threshold, *, center=0, computed=False):
    source = "half" if computed else "boxes"
    names = [source, "scores", "n", "t"]
    nodes = [helper.make_node("NonMaxSuppression", names, ["y"], center_point_box=center)]
    if computed:
        nodes.insert(0, helper.make_node("Sigmoid", ["boxes"], ["half"]))
    constants = [tensor("n", np.array([9])), tensor("t", np.float32([threshold]))]
    inputs = {"boxes": [1, 5, 4], "scores": [1, 1, 5]}
    return write_onnx(
        path, nodes, inputs, {"y": (["k", 3], TensorProto.INT64)}, constants, opset=11
    )


def overlap(first, second, *, center):
    if center:
        first, second = (
            [b[1] - b[3] / 2, b[0] - b[2] / 2, b[1] + b[3] / 2, b[0] + b[2] / 2]
            for b in (first, second)
        )
    sides = [min(first[i + 2], second[i + 2]) - max(first[i], second[i]) for i in (0, 1)]
    common = max(sides[0], 0) * max(sides[1], 0)
    areas = [(b[2] - b[0]) * (b[3] - b[1]) for b in (first, second)]
    return common / (sum(areas) - common)


@pytest.mark.slow
@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("threshold", [0.5, 0.45, 0.7])
def test_an_overlap_equal_to_the_threshold_is_tried(tmp_path, threshold, center):
    """The standard keeps a box whose overlap is not greater than the threshold."""
    path = nms_onnx(tmp_path / "net.onnx", threshold, center=center)
    drawn = {"boxes": np.zeros((1, 5, 4), np.float32), "scores": np.zeros((1, 1, 5), np.float32)}
    model = ov.Core().read_model(path)
    (special,) = special_inputs(model, drawn, [])
    boxes = special.inputs["boxes"][0].astype(np.float64)
    overlaps = [overlap(boxes[0], box, center=center) for box in boxes[1:]]
    np.testing.assert_allclose(overlaps, [threshold, 0, 0, 0], atol=1e-6)
    note = limits(path, tmp_path).get("overlap-limited", "")
    (kept,) = ReferenceModel(model).run(special.inputs)
    assert (f"{threshold}" in note) == (len(kept) < 5)


@pytest.mark.slow
def test_computed_boxes_get_no_special_inputs(tmp_path):
    assert limits(nms_onnx(tmp_path / "net.onnx", 0.5, computed=True), tmp_path) == {}
