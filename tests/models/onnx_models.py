"""Small ONNX files for tests: one graph of nodes, with inputs and outputs by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from pathlib import Path

SEQUENCE, BATCH, FEATURES, HIDDEN = 5, 3, 4, 6
GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def write_onnx(path: Path, nodes, inputs, outputs, initializers=(), *, opset=17, ir_version=8):
    """Write a graph; a port is a shape, (shape, ONNX type) or a ValueInfoProto."""

    def values(ports):
        return [value_of(name, port) for name, port in ports.items()]

    graph = helper.make_graph(nodes, "g", values(inputs), values(outputs), list(initializers))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version
    )
    onnx.save(model, path)
    return path


def value_of(name, port):
    if isinstance(port, onnx.ValueInfoProto):
        return port
    shape, kind = port if isinstance(port, tuple) else (port, TensorProto.FLOAT)
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name, array):
    return numpy_helper.from_array(np.asarray(array), name)


def recurrent_onnx(path: Path, kind="GRU", *, layout=1, states=False, direction="forward", **more):
    """Write one recurrent operator: x [batch, sequence, features], or sequence first."""
    generator = np.random.default_rng(0)
    directions = 2 if direction == "bidirectional" else 1
    shape = [directions, GATES[kind] * HIDDEN]
    weights = [
        tensor(name, generator.standard_normal((*shape, size)).astype(np.float32))
        for name, size in (("W", FEATURES), ("R", HIDDEN))
    ]
    batchwise = [BATCH, SEQUENCE, FEATURES]
    inputs = {"x": batchwise if layout else [SEQUENCE, BATCH, FEATURES]}
    names = ["x", "W", "R"]
    if states:
        state = [BATCH, directions, HIDDEN] if layout else [directions, BATCH, HIDDEN]
        inputs |= {"h0": state, "c0": state} if kind == "LSTM" else {"h0": state}
        names += ["", "", *list(inputs)[1:]]
    outputs = {"y": None, "yh": None, "yc": None} if kind == "LSTM" else {"y": None, "yh": None}
    attributes = {"hidden_size": HIDDEN, "layout": layout, "direction": direction, **more}
    node = helper.make_node(kind, names, list(outputs), **attributes)
    return write_onnx(path, [node], inputs, outputs, weights, opset=14)
