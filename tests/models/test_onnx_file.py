"""What ONNX files declare, and batchwise recurrent operators."""

import errno
import io
import os
import re
from unittest.mock import Mock

import numpy as np
import onnx
import openvino as ov
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.models import onnx_file
from ovtool.models.convert import source_fingerprint
from ovtool.models.onnx_file import DeclaredValue, external_files
from ovtool.models.options import SourceOptions
from tests.models.onnx_models import recurrent_onnx, tensor, write_onnx
from tests.models.source_models import conv_onnx

EYE = tensor("w", np.eye(8, dtype=np.float32))


def node(kind, inputs, outputs, **attributes):
    return helper.make_node(kind, inputs.split(), outputs.split(), **attributes)


def read(path):
    reader = ov.frontend.FrontEndManager().load_by_framework("onnx")
    return reader.convert(reader.load(str(path)))


def names_of(ports):
    return [sorted(port.get_names()) for port in ports]


def test_declared_ports_have_types_and_shapes(tmp_path):
    nodes = [node("Cast", "x", "y", to=TensorProto.BFLOAT16), node("MatMul", "x w", "z")]
    path = write_onnx(
        tmp_path / "m.onnx",
        nodes,
        {"x": ["N", 8], "w": [8, 8]},
        {"y": (["N", 8], TensorProto.BFLOAT16), "z": None},
        [EYE],
    )
    proto = onnx_file.load(path)
    assert onnx_file.declared_inputs(proto, path) == [DeclaredValue("x", "f32", ("N", 8))]
    assert onnx_file.declared_outputs(proto, path) == [
        DeclaredValue("y", "bf16", ("N", 8)),
        DeclaredValue("z", "f32", None),
    ]


@pytest.mark.parametrize(
    "value",
    [
        helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, [3]),
        helper.make_value_info(
            "x", helper.make_optional_type_proto(helper.make_tensor_type_proto(1, [3]))
        ),
        helper.make_tensor_value_info("x", TensorProto.COMPLEX64, [3]),
    ],
)
def test_ports_that_are_no_tensors_of_openvino_raise(tmp_path, value):
    path = write_onnx(tmp_path / "m.onnx", [node("Identity", "x", "y")], {"x": value}, {"y": [3]})
    with pytest.raises(InputError, match="'x'"):
        onnx_file.declared_inputs(onnx_file.load(path), path)


@pytest.mark.parametrize("states", [False, True])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
def test_batchwise_recurrence_is_rewritten(tmp_path, kind, direction, states):
    path = recurrent_onnx(tmp_path / "m.onnx", kind, direction=direction, states=states)
    content = onnx_file.with_time_major_recurrence(onnx_file.load(path), path)
    reader = ov.frontend.FrontEndManager().load_by_framework("onnx")
    compiled = ov.compile_model(
        reader.convert(reader.load(io.BytesIO(content))), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    generator = np.random.default_rng(1)
    feed = {
        value.name: generator.standard_normal(value.shape).astype(np.float32)
        for value in onnx_file.declared_inputs(onnx_file.load(path), path)
    }
    expected = ReferenceEvaluator(str(path)).run(None, feed)
    for actual, output in zip(compiled(feed).values(), expected, strict=True):
        np.testing.assert_allclose(actual, output, atol=1e-5)


def test_batchwise_recurrence_of_a_branch_and_with_external_data_is_rewritten(tmp_path):
    path = recurrent_onnx(tmp_path / "m.onnx")
    model = onnx.load(path)
    branch = helper.make_graph(list(model.graph.node), "b", [], [*model.graph.output])
    chosen = helper.make_node("If", ["c"], ["y", "yh"], then_branch=branch, else_branch=branch)
    del model.graph.node[:]
    model.graph.node.append(chosen)
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    onnx.save(model, path, save_as_external_data=True, location="m.data", size_threshold=0)
    content = onnx_file.with_time_major_recurrence(onnx_file.load(path), path)
    rewritten = onnx.load_from_string(content)
    kinds = [n.op_type for n in onnx_file.all_nodes(rewritten)]
    assert (kinds.count("GRU"), kinds.count("Transpose")) == (2, 6)
    feed = {"x": np.ones((3, 5, 4), np.float32), "c": np.array(True)}
    for before, after in zip(
        ReferenceEvaluator(str(path)).run(None, feed),
        ReferenceEvaluator(rewritten).run(None, feed),
        strict=True,
    ):
        np.testing.assert_allclose(before, after, atol=1e-6)


def test_sequence_first_recurrence_is_left_alone(tmp_path):
    path = recurrent_onnx(tmp_path / "m.onnx", layout=0)
    assert onnx_file.with_time_major_recurrence(onnx_file.load(path), path) is None


def test_layout_without_the_onnx_package_raises(tmp_path, without):
    batchwise = recurrent_onnx(tmp_path / "m.onnx", "LSTM")
    plain = write_onnx(tmp_path / "p.onnx", [node("Relu", "x", "y")], {"x": [3]}, {"y": [3]})
    (tmp_path / "empty.onnx").touch()
    without("onnx")
    with pytest.raises(MissingDependencyError, match=r"m\.onnx"):
        onnx_file.load(batchwise)
    assert onnx_file.load(plain) is None
    assert onnx_file.load(tmp_path / "empty.onnx") is None


TWO = [node("Dropout", "x", "b"), node("Dropout", "z", "a"), node("Sub", "a b", "y")]
CHAIN = [node("Dropout", "x", "b"), node("Dropout", "b", "a"), node("MatMul", "a w", "y")]
SHARED = [node("MatMul", "x w", "y"), node("Dropout", "y", "b")]
PASSED = [node("Dropout", "x", "y"), node("MatMul", "x w", "z")]


@pytest.mark.parametrize(
    ("nodes", "inputs", "outputs"),
    [
        (TWO, "x z", "y"),
        (CHAIN, "x", "y"),
        (SHARED, "x", "y b"),
        (SHARED, "x", "b y"),
        (PASSED, "x", "y z"),
        (PASSED, "x", "z x y"),
        ([node("MatMul", "x w", "y")], "x z", "y"),
        ([node("MatMul", "x w", "y"), node("Identity", "w", "v")], "x", "v y"),
    ],
)
def test_ports_have_the_names_of_the_file_also_when_saved(tmp_path, nodes, inputs, outputs):
    path = write_onnx(
        tmp_path / "m.onnx",
        nodes,
        {key: ["N", 8] for key in inputs.split()},
        {key: [None, 8] for key in outputs.split()},
        [EYE],
    )
    proto, model = onnx_file.load(path), read(path)
    origins = onnx_file.value_origins(proto)
    assert not onnx_file.name_like_file(model, inputs.split(), outputs.split(), origins)
    ov.save_model(model, tmp_path / "m.xml")
    saved = ov.Core().read_model(tmp_path / "m.xml")
    assert names_of(saved.inputs) == [[name] for name in inputs.split()]
    assert names_of(saved.outputs) == [[name] for name in outputs.split()]
    feed = {
        name: np.random.default_rng(i).standard_normal((2, 8)).astype(np.float32)
        for i, name in enumerate(inputs.split())
    }
    expected = ReferenceEvaluator(str(path)).run(None, feed)
    compiled = ov.compile_model(saved, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled([feed[name] for name in inputs.split()])
    for index, array in enumerate(expected):
        np.testing.assert_allclose(results[index], array, atol=1e-6)


def test_input_that_openvino_drops_is_returned():
    x = ov.opset13.parameter([2], ov.Type.f32, name="a")
    model = ov.Model([ov.opset13.result(ov.opset13.relu(x))], [x], "m")
    assert onnx_file.name_like_file(model, ["shape", "a"], ["y"], {}) == ["shape"]
    assert names_of([*model.inputs, *model.outputs]) == [["a"], ["y"]]


def test_external_data_of_any_name_belongs_to_the_file(tmp_path):
    for name in ("w.bin", "größer " + "x" * 150):  # a length of one byte and of two
        path = conv_onnx(tmp_path / f"{len(name)}.onnx", external=name)
        assert external_files(path) == [tmp_path / name]
    assert external_files(conv_onnx(tmp_path / "plain.onnx")) == []
    (tmp_path / "empty.onnx").touch()
    assert external_files(tmp_path / "empty.onnx") == []


def test_a_file_without_a_size_is_an_error_of_the_system(tmp_path, monkeypatch):
    path = conv_onnx(tmp_path / "m.onnx")
    broken = Mock(side_effect=OSError(errno.EIO, os.strerror(errno.EIO)))
    monkeypatch.setattr(onnx_file, "os", Mock(wraps=os, fstat=broken))
    with pytest.raises(InputError, match=re.escape(path.name)):
        external_files(path)


def test_changed_external_data_is_another_source(tmp_path):
    path = str(conv_onnx(tmp_path / "m.onnx", external="w.bin"))
    before = source_fingerprint(path, SourceOptions())
    content = bytearray((tmp_path / "w.bin").read_bytes())
    content[40] ^= 1
    (tmp_path / "w.bin").write_bytes(content)
    assert source_fingerprint(path, SourceOptions()) != before
