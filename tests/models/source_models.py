"""Small real models, one of each kind that can be made here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
import openvino as ov
import torch
from onnx import TensorProto, helper

from ovtool.core.progress import SILENT
from ovtool.models.convert import convert, default_name
from ovtool.models.options import SourceOptions

if TYPE_CHECKING:
    from pathlib import Path


def conv_onnx(path: Path, *, batch: int | str = 1, external: str | None = None) -> Path:
    """Write Conv + Relu: x [batch, 3, 8, 8] -> y [batch, 4, 6, 6]."""
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    tensor = helper.make_tensor("w", TensorProto.FLOAT, weights.shape, weights.tobytes(), raw=True)
    if external is not None:
        tensor = onnx.TensorProto(
            name="w",
            data_type=TensorProto.FLOAT,
            dims=weights.shape,
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in (("location", external), ("offset", "0"), ("length", "432")):
            tensor.external_data.add(key=key, value=value)
        target = path.parent / external
        if not target.exists():
            target.write_bytes(weights.tobytes())
    return _write(
        path,
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])],
        {"x": [batch, 3, 8, 8]},
        {"y": [batch, 4, 6, 6]},
        [tensor],
    )


def reshape_onnx(path: Path) -> Path:
    """Write a model whose Reshape bakes batch 1 in: x [1, 3, 4] -> y [1, 12]."""
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [1, -1])
    return _write(
        path,
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        {"x": [1, 3, 4]},
        {"y": [1, 12]},
        [shape],
    )


def across_onnx(path: Path) -> Path:
    """Write a model that mixes the samples of a batch: x - mean over the batch."""
    axes = helper.make_tensor("a", TensorProto.INT64, [1], [0])
    nodes = [
        helper.make_node("ReduceMean", ["x", "a"], ["m"]),
        helper.make_node("Sub", ["x", "m"], ["d"]),
        helper.make_node("Add", ["d", "x"], ["y"]),
    ]
    return _write(path, nodes, {"x": [1, 5]}, {"y": [1, 5]}, [axes])


def unknown_onnx(path: Path) -> Path:
    """Write a model with an operation that nobody knows."""
    nodes = [helper.make_node("Foo", ["x"], ["y"], domain="mine")]
    return _write(path, nodes, {"x": [1, 5]}, {"y": [1, 5]}, [])


def open_onnx(path: Path) -> Path:
    """Write Linear over an open length: x [batch, length, 5] -> y [batch, length, 5]."""
    weights = np.eye(5, dtype=np.float32)
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [5, 5], weights.tobytes(), raw=True)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return _write(path, nodes, {"x": ["b", "n", 5]}, {"y": ["b", "n", 5]}, [tensor])


def graph_onnx(path, nodes, floats, integers=None, *, constants=None, outputs=("y",)) -> Path:
    """Write a graph of (type, inputs, output) nodes with f32 and i64 inputs; shapes are unknown."""

    def values(shapes, kind):
        return [helper.make_tensor_value_info(n, kind, s) for n, s in (shapes or {}).items()]

    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in nodes],
        "g",
        values(floats, TensorProto.FLOAT) + values(integers, TensorProto.INT64),
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(np.asarray(v), n) for n, v in (constants or {}).items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    return path


def _write(path, nodes, inputs, outputs, initializers) -> Path:
    def values(ports):
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in ports.items()]

    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), initializers)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("mine", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    path.write_bytes(model.SerializeToString())
    return path


def conv_ir(path: Path) -> Path:
    """Write the convolution as OpenVINO IR, with its .bin."""
    source = conv_onnx(path.with_suffix(".onnx"))
    ov.save_model(ov.Core().read_model(source), path, compress_to_fp16=False)
    source.unlink()
    return path


class Net(torch.nn.Module):
    """x [batch, 3, 8, 8] -> [batch, 4]; its weights are random, of a fixed seed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv = torch.nn.Conv2d(3, 4, 3)
        self.out = torch.nn.Linear(4, 4)

    def forward(self, image):
        return self.out(torch.relu(self.conv(image)).mean((2, 3)))


def exported(path: Path, *, dynamic: bool = True) -> Path:
    """Write the network by torch.export.save."""
    shapes = ({0: torch.export.Dim("batch")},) if dynamic else None
    batch = 2 if dynamic else 1
    program = torch.export.export(
        Net().eval(), (torch.randn(batch, 3, 8, 8),), dynamic_shapes=shapes
    )
    torch.export.save(program, path)
    return path


def make(reference, out, notes=SILENT, replace=False, **options):
    """Convert a source to a variant folder; ``options`` are fields of ``SourceOptions``."""
    reference = str(reference)
    return convert(
        reference,
        out=out,
        name=default_name(reference),
        options=SourceOptions(**options),
        progress=notes,
        force=replace,
    )


def half(path):
    """Truncate a file to its first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def written(name, content):
    """Return a function that writes a file to a folder."""

    def write(folder):
        (folder / name).write_bytes(content)
        return name

    return write
