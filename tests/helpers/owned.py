"""A small classifier as a user has it: an ONNX file, a torch function, labelled samples."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import openvino as ov
from onnx import TensorProto, helper

QUICK = {"rounds": 3, "round_s": 0.03, "max_seconds": 0.5}
"""Measurement settings of a short sweep."""
TORCH = '''
import torch

def make():
    """Return the classifier of the ONNX file."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 3), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(), torch.nn.Linear(16, 5),
    )
    return net, torch.zeros(1, 3, 12, 12)
'''


@dataclass(frozen=True)
class Owned:
    """The user's own files."""

    folder: Path
    onnx: Path
    torch: str
    labelled: Path
    unlabelled: Path


def write_onnx(path: Path, seed: int = 0) -> Path:
    """Write x [batch, 3, 12, 12] -> convolution, mean, product -> scores [batch, 5]."""
    rng = np.random.default_rng(seed)
    values = {
        "w": rng.standard_normal((16, 3, 3, 3)) / 5,
        "b": rng.standard_normal(16) / 5,
        "f": rng.standard_normal((16, 5)),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["n"]),
        helper.make_node("MatMul", ["n", "f"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "classifier",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", 3, 12, 12])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 5])],
        [onnx.numpy_helper.from_array(v.astype(np.float32), n) for n, v in values.items()],
    )
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path


def write_all(folder: Path) -> Owned:
    """Write the files; a quarter of the labels is not what the network answers."""
    path = write_onnx(folder / "classifier.onnx")
    (folder / "classifier_in_torch.py").write_text(TORCH)
    images = np.random.default_rng(1).standard_normal((40, 3, 12, 12)).astype(np.float32)
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    labels = compiled(images)[0].argmax(1)
    labels[::4] = (labels[::4] + 1) % 5
    np.savez(folder / "labelled.npz", x=images, label=labels)
    other = np.random.default_rng(2).standard_normal((12, 3, 12, 12)).astype(np.float32)
    np.savez(folder / "unlabelled.npz", x=other)
    return Owned(
        folder,
        path,
        "classifier_in_torch:make",
        folder / "labelled.npz",
        folder / "unlabelled.npz",
    )
