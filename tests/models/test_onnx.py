"""ONNX files as a source."""

import os

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from ovtool.core.errors import InputError
from ovtool.core.variant import Variant
from ovtool.models.onnx import read
from ovtool.models.options import SourceOptions
from tests.helpers.quantized_models import write_dynamic
from tests.models.onnx_models import recurrent_onnx, tensor, value_of, write_onnx
from tests.models.source_models import (
    conv_ir,
    conv_onnx,
    half,
    make,
    unknown_onnx,
    written,
)


@pytest.mark.slow
def test_onnx_is_converted_with_a_dynamic_batch(tmp_path, notes):
    source = conv_onnx(tmp_path / "net.onnx", batch="n")
    before = source.read_bytes()
    made = make(source, tmp_path / "out", notes)
    record = Variant.load(tmp_path / "out").record
    assert record == made.record
    assert (record.name, record.batch, record.batch_note) == ("net", "dynamic", "")
    assert record.source.kind == "onnx"
    assert record.source.sha256
    [port] = record.inputs
    assert (port.name, port.shape, port.dtype, port.layout) == ("x", (-1, 3, 8, 8), "f32", "NCHW")
    assert record.check.against.startswith("onnxruntime 1.")
    assert record.check.inputs == "random, seed 0: x 1x3x8x8; x 2x3x8x8; x 5x3x8x8"
    [difference] = record.check.differences
    assert difference.output == "y"
    assert difference.largest_value > 1
    assert difference.max_abs_difference < 1e-5 * difference.largest_value
    assert source.read_bytes() == before
    assert any(" y " in text and "onnxruntime" in text for text in notes.texts)


@pytest.mark.slow
def test_saved_ir_matches_the_source(tmp_path):
    made = make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out")
    image = np.random.default_rng(5).standard_normal((3, 3, 8, 8)).astype(np.float32)
    run = [
        ov.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        for path in (made.xml, tmp_path / "net.onnx")
    ]
    ones = np.concatenate([run[1](image[i : i + 1])[0] for i in range(3)])
    np.testing.assert_allclose(run[0](image)[0], ones, atol=1e-4)


@pytest.mark.slow
def test_reference_evaluator_replaces_a_missing_onnxruntime(tmp_path, without):
    without("onnxruntime")
    record = make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert f"onnx {onnx.__version__}" in record.check.against
    assert [d.status for d in record.check.differences] == ["checked"]
    assert record.notes == ()


def test_conversion_without_any_runtime_is_recorded_as_not_checked(tmp_path, without):
    without("onnxruntime", "onnx")
    record = make(conv_onnx(tmp_path / "net.onnx"), tmp_path / "out").record
    assert record.check.against is None
    assert "pip install 'ovtool[onnx]'" in record.check.why_unchecked
    assert [d.status for d in record.check.differences] == ["no-reference"]
    assert record.check.max_abs_difference is None
    assert [note.id for note in record.notes] == ["conversion-not-checked"]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_batchwise_recurrence_is_converted_and_checked(tmp_path, kind):
    source = recurrent_onnx(tmp_path / "net.onnx", kind, states=True)
    made = make(source, tmp_path / "out")
    assert [d.status for d in made.record.check.differences] == ["checked"] * (2 + (kind == "LSTM"))
    generator = np.random.default_rng(7)
    feed = {
        p.name: generator.standard_normal([1 if d < 0 else d for d in p.shape]).astype(np.float32)
        for p in made.record.inputs
    }
    expected = ReferenceEvaluator(str(source)).run(None, feed)
    results = ov.compile_model(made.xml, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(feed)
    for index, array in enumerate(expected):
        np.testing.assert_allclose(results[index], array, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "more"), [("GRU", {"clip": 0.1}), ("LSTM", {"clip": 0.1})])
def test_attributes_that_the_evaluator_ignores_are_not_checked(tmp_path, kind, more):
    record = make(recurrent_onnx(tmp_path / "net.onnx", kind, **more), tmp_path / "out").record
    assert record.check.against is None
    assert "clip" in record.check.why_unchecked
    assert [note.id for note in record.notes] == ["conversion-not-checked"]


EYE = tensor("w", np.eye(8, dtype=np.float32))


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("nodes", "inputs"),
    [
        ([node("Dropout", "x", "a"), node("MatMul", "a w", "y")], "x"),
        ([node("Identity", "x", "a"), node("MatMul", "a w", "y")], "x"),
        ([node("CastLike", "x z", "a"), node("MatMul", "a w", "y")], "x z"),
        ([node("MatMul", "x w", "y")], "x z"),
        ([node("Dropout", "x", "b"), node("Dropout", "z", "a"), node("Sub", "a b", "y")], "x z"),
        ([node("Shape", "z", "s"), node("Reshape", "x s", "a"), node("Relu", "a", "y")], "x z"),
    ],
)
def test_inputs_have_the_names_of_the_file(tmp_path, nodes, inputs):
    shapes = {key: ["N", 8] for key in inputs.split()}
    source = write_onnx(tmp_path / "net.onnx", nodes, shapes, {"y": ["N", 8]}, [EYE])
    record = make(source, tmp_path / "out").record
    assert [port.name for port in record.inputs] == inputs.split()
    assert [port.name for port in record.outputs] == ["y"]
    assert [d.status for d in record.check.differences] == ["checked"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "limited"),
    [("DOUBLE", {"values-limited"}), ("BFLOAT16", set()), ("FLOAT8E4M3FN", {"values-limited"})],
)
def test_input_that_only_gives_its_type_is_dropped_with_a_note(tmp_path, kind, limited):
    number = TensorProto.DataType.Value(kind)
    source = write_onnx(
        tmp_path / "net.onnx",
        [node("CastLike", "x z", "y")],
        {"x": [2, 3], "z": ([0], number)},
        {"y": ([2, 3], number)},
        opset=21,
    )
    record = make(source, tmp_path / "out").record
    assert [port.name for port in record.inputs] == ["x"]
    notes = {note.id: note.evidence for note in record.notes}
    assert notes["inputs-dropped"] == "z"
    assert set(notes) == {"inputs-dropped", *limited}
    assert [d.status for d in record.check.differences] == ["checked"]


def test_constants_that_old_files_list_as_inputs_are_no_inputs(tmp_path):
    source = write_onnx(
        tmp_path / "net.onnx",
        [node("MatMul", "x w", "y")],
        {"x": [1, 8], "w": [8, 8]},
        {"y": [1, 8]},
        [EYE],
        opset=8,
        ir_version=3,
    )
    assert [port.name for port in make(source, tmp_path / "out").record.inputs] == ["x"]


def test_bf16_output_is_compared(tmp_path):
    source = write_onnx(
        tmp_path / "net.onnx",
        [node("Cast", "x", "y", to=TensorProto.BFLOAT16)],
        {"x": ["N", 8]},
        {"y": (["N", 8], TensorProto.BFLOAT16)},
    )
    record = make(source, tmp_path / "out").record
    [difference] = record.check.differences
    assert (record.outputs[0].dtype, difference.status) == ("bf16", "checked")
    assert difference.max_abs_difference <= 2**-7 * difference.largest_value  # one step
    assert difference.largest_value > 1


def test_shape_that_the_file_does_not_declare_raises_without_a_reference(tmp_path):
    source = recurrent_onnx(tmp_path / "net.onnx", "GRU", clip=0.1)
    model = onnx.load(source)
    model.graph.output[0].CopyFrom(value_of("y", [3, 1, 5, 6]))
    onnx.save(model, source)
    with pytest.raises(InputError, match=r"'y'.*3x5x1x6.*3x1x5x6"):
        make(source, tmp_path / "out")


def nothing(_folder):
    return "m.onnx"


def half_an_onnx(folder):
    half(conv_onnx(folder / "m.onnx"))
    return "m.onnx"


def ir_called_onnx(folder):
    conv_ir(folder / "m.xml").rename(folder / "m.onnx")
    return "m.onnx"


def unknown_operation(folder):
    unknown_onnx(folder / "m.onnx")
    return "m.onnx"


def data_outside(folder):
    (folder / "in").mkdir()
    conv_onnx(folder / "in" / "m.onnx", external="../secret.bin")
    return "in/m.onnx"


def linked_data_outside(folder):
    (folder / "in").mkdir()
    conv_onnx(folder / "in" / "m.onnx", external="data.bin")
    (folder / "in" / "data.bin").rename(folder / "secret.bin")
    (folder / "in" / "data.bin").symlink_to(folder / "secret.bin")
    return "in/m.onnx"


def data_missing(folder):
    conv_onnx(folder / "m.onnx", external="data.bin")
    (folder / "data.bin").unlink()
    return "m.onnx"


@pytest.mark.parametrize(
    ("prepare", "value"),
    [
        (nothing, r"m\.onnx"),
        (written("m.onnx", b""), r"m\.onnx"),
        (written("m.onnx", b"this is text, not a model\n" * 9), r"\.onnx.* ONNX"),
        (half_an_onnx, r"\.onnx.* ONNX"),
        (ir_called_onnx, r"\.onnx.* ONNX"),
        (unknown_operation, r"mine\.Foo"),
        (data_outside, "outside the base directory"),
        pytest.param(
            linked_data_outside,
            "outside the base directory",
            marks=pytest.mark.skipif(os.name == "nt", reason="links need a privilege on Windows"),
        ),
        (data_missing, "data.bin"),
    ],
)
def test_invalid_file_raises_one_line_and_leaves_nothing(invalid_file, prepare, value):
    invalid_file(prepare, value)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operator", "shape", "integers"),
    [
        # OpenVINO returns zeros for repeats of several dimensions that are an input.
        (helper.make_node("Tile", ["x", "n"], ["y"]), [2, 3, 4, 5], [4]),
        # OpenVINO ignores an axis that is an input.
        (helper.make_node("DFT", ["x", "", "n"], ["y"]), [1, 10, 10, 1], []),
    ],
)
def test_operators_that_are_wrong_for_some_integers_are_refused(
    tmp_path, operator, shape, integers
):
    inputs = {"x": shape, "n": (integers, TensorProto.INT64)}
    source = write_onnx(tmp_path / "net.onnx", [operator], inputs, {"y": [None] * 4}, opset=20)
    with pytest.raises(InputError, match="'y'"):
        make(source, tmp_path / "out")


@pytest.mark.parametrize("samples", [1, 3, "N"])
def test_inputs_that_the_source_rejects_do_not_end_the_process(tmp_path, samples):
    # OpenVINO crashes on an image of size 0.
    col2im = helper.make_node("Col2Im", ["x", "image", "block"], ["y"], strides=[2, 2])
    inputs = {"x": [samples, 9, 4]}
    inputs |= {"image": ([2], TensorProto.INT64), "block": ([2], TensorProto.INT64)}
    outputs = {"y": [samples, 1, 5, 5]}
    source = write_onnx(tmp_path / "net.onnx", [col2im], inputs, outputs, opset=18)
    with pytest.raises(InputError):
        make(source, tmp_path / "out")


def test_products_of_integers_do_not_saturate(tmp_path):
    """On a CPU without VNNI, the default kernels return half of these sums."""
    rng = np.random.default_rng(0)
    weights = (1 - rng.random((64, 8)) / 50).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 8])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), tmp_path / "m.onnx")
    path = write_dynamic(tmp_path / "m.onnx", tmp_path / "q.onnx")
    values = np.ones((4, 64), np.float32)
    (result,) = read(str(path), SourceOptions()).reference({"x": values})
    assert result == pytest.approx(values @ weights, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("node", "shape", "requested"),
    [
        (helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=2), None, (-1, 3, 4, 6)),
        (helper.make_node("ReduceSum", ["x"], ["y"]), None, (2, 3)),
        (helper.make_node("TopK", ["x", "k"], ["y", "i"]), None, (-1, 9)),
    ],
)
def test_shapes_that_the_reader_needs_are_set_before(tmp_path, node, shape, requested):
    """OpenVINO's converters of these operators need the rank of the input."""
    outputs = dict.fromkeys(node.output)
    if "i" in outputs:
        outputs["i"] = (None, TensorProto.INT64)
    initializers = [tensor("k", np.array([3]))] if "k" in node.input else []
    path = write_onnx(tmp_path / "net.onnx", [node], {"x": shape}, outputs, initializers)
    with pytest.raises(InputError) as caught:
        make(path, tmp_path / "out")
    assert "--shape x=" in caught.value.hint
    record = make(path, tmp_path / "out", input_shapes={"x": requested}).record
    assert record.inputs[0].shape[1:] == requested[1:]
    assert [d.status for d in record.check.differences] == ["checked"] * len(outputs)


@pytest.mark.parametrize(
    ("operator", "domain"), [("QGemm", "com.microsoft"), ("QLinearMul", "my.domain"), ("Foo", "")]
)
def test_operators_that_openvino_lacks_get_no_hint_on_shapes(tmp_path, operator, domain):
    node = helper.make_node(operator, ["x"], ["y"], domain=domain)
    path = write_onnx(tmp_path / "net.onnx", [node], {"x": ("N", 4)}, {"y": ("N", 4)})
    with pytest.raises(InputError, match=operator) as caught:
        make(path, tmp_path / "out")
    assert "--shape" not in caught.value.hint
    assert ("QDQ" in caught.value.hint) == operator.startswith("Q")


def test_a_wrong_name_of_a_shape_is_an_error_also_before_reading(tmp_path):
    node = helper.make_node("SpaceToDepth", ["x"], ["y"], blocksize=2)
    path = write_onnx(tmp_path / "net.onnx", [node], {"x": None}, {"y": None})
    with pytest.raises(InputError, match="cannot read"):
        make(path, tmp_path / "out", input_shapes={"z": (2, 3)})


@pytest.mark.parametrize("opset", [13, 6])
@pytest.mark.parametrize("training", [True, False])
def test_dropout_in_training_mode_is_the_cause_in_the_hint(tmp_path, opset, training):
    names = ["x", "r", "t"] if opset > 6 else ["x"]
    attributes = {} if opset > 6 else {"is_test": int(not training)}
    dropout = helper.make_node("Dropout", names, ["y"], **attributes)
    constants = [tensor("r", np.float32(0.5)), tensor("t", np.array(training))]
    path = write_onnx(
        tmp_path / "net.onnx",
        [dropout],
        {"x": [2, 8]},
        {"y": [2, 8]},
        constants[: len(names) - 1],
        opset=opset,
    )
    if training:
        with pytest.raises(InputError) as caught:
            make(path, tmp_path / "out")
        assert "dropout" in caught.value.hint
    else:
        assert make(path, tmp_path / "out").record.outputs[0].shape == (-1, 8)
