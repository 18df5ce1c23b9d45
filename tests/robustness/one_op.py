"""Models of one operation with hostile constants or attributes, as IR and as ONNX.

An IR is built with benign values, then its weights and its XML are edited, since OpenVINO checks
what its Python API builds.  ONNX files are not checked when they are written.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import openvino as ov
from openvino import opset15 as op

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

HOSTILE = (10**9, -5, 2**31 - 1, 0, -(2**63), 2**62, -1)
"""Values of integer constants and attributes."""
_MARK = 7


def _marked(*values: int) -> Any:
    """Return a constant whose values are found in the weights again; 7 marks a hostile one."""
    return op.constant(np.array(values, np.int64))


def _x(*shape: int) -> Any:
    x = op.parameter(list(shape), ov.Type.f32, name="x")
    x.output(0).set_names({"x"})
    return x


def _float(*shape: int) -> Any:
    return op.constant(np.ones(shape, np.float32))


IR_CONSTANTS: dict[str, Callable[[Any, Any], Any]] = {
    "pad": lambda x, k: op.pad(x, k(0, 0, 0, 0), k(0, 0, 1, 1), "constant"),
    "pad-reflect": lambda x, k: op.pad(x, k(0, 0, 0, 0), k(0, 0, 1, 1), "reflect"),
    "gather": lambda x, k: op.gather(x, k(0), op.constant(np.int64(1))),
    "gather-axis": lambda x, k: op.gather(x, op.constant(np.array([0])), k(1)),
    "gather-nd": lambda x, k: op.gather_nd(x, k(0, 1), 0),
    "gather-elements": lambda x, k: op.gather_elements(
        x, op.broadcast(k(0), op.constant(np.array([1, 1, 8, 8]))), 1
    ),
    "scatter-elements": lambda x, k: op.scatter_elements_update(
        x, op.reshape(k(0), op.constant(np.array([1, 1, 1, 1])), special_zero=False),
        _float(1, 1, 1, 1), op.constant(np.int64(1)),
    ),
    "scatter-nd": lambda x, k: op.scatter_nd_update(x, k(0, 1, 1, 1), op.constant(np.float32(1))),
    "scatter": lambda x, k: op.scatter_update(
        x, k(1), _float(1, 1, 8, 8), op.constant(np.int64(1))
    ),
    "slice": lambda x, k: op.slice(x, k(0), k(2), k(1), op.constant(np.array([2]))),
    "slice-axis": lambda x, k: op.slice(
        x, op.constant(np.array([0])), op.constant(np.array([2])), op.constant(np.array([1])), k(2)
    ),
    "strided-slice": lambda x, k: op.strided_slice(
        x, k(0, 0, 0, 0), k(1, 3, 8, 8), k(1, 1, 1, 1), [0] * 4, [0] * 4
    ),
    "reshape": lambda x, k: op.reshape(x, k(1, 192), special_zero=False),
    "tile": lambda x, k: op.tile(x, k(1, 1, 1, 1)),
    "broadcast": lambda x, k: op.broadcast(x, k(1, 3, 8, 8)),
    "squeeze": lambda x, k: op.squeeze(x, k(0)),
    "unsqueeze": lambda x, k: op.unsqueeze(x, k(0)),
    "transpose": lambda x, k: op.transpose(x, k(0, 1, 2, 3)),
    "reduce": lambda x, k: op.reduce_sum(x, k(2), keep_dims=True),
    "split": lambda x, k: op.split(x, _scalar(k, 1), 3).output(0),
    "variadic-split": lambda x, k: (
        op.variadic_split(x, op.constant(np.int64(1)), k(1, 2)).output(0)
    ),
    "one-hot": lambda x, k: op.add(
        op.one_hot(k(0), op.constant(np.int64(3)), _float(), _float(), -1), op.reduce_sum(x, _ALL())
    ),
    "one-hot-depth": lambda x, k: op.add(
        op.one_hot(op.constant(np.array([0])), _scalar(k, 3), _float(), _float(), -1),
        op.reduce_sum(x, _ALL()),
    ),
    "range": lambda x, k: op.add(
        op.convert(op.range(_scalar(k, 0), _scalar(k, 4), _scalar(k, 1), "i64"), "f32"),
        op.reduce_sum(x, _ALL()),
    ),
    "topk": lambda x, k: op.topk(x, _scalar(k, 2), 2, "max", "value").output(0),
    "cum-sum": lambda x, k: op.cum_sum(x, _scalar(k, 2)),
    "roll": lambda x, k: op.roll(x, k(1), k(2)),
    "interpolate": lambda x, k: op.interpolate(
        x, k(8, 8), "nearest", "sizes", axes=op.constant(np.array([2, 3]))
    ),
    "space-to-batch": lambda x, k: op.space_to_batch(
        x, k(1, 1, 2, 2), k(0, 0, 0, 0), k(0, 0, 0, 0)
    ),
    "batch-to-space": lambda x, k: op.batch_to_space(
        x, k(1, 1, 1, 1), k(0, 0, 0, 0), k(0, 0, 0, 0)
    ),
    "reverse-sequence": lambda x, k: op.reverse_sequence(x, k(1), 0, 1),
    "eye": lambda x, k: op.add(
        op.eye(_scalar(k, 3), _scalar(k, 3), _scalar(k, 0), "f32"), op.reduce_sum(x, _ALL())
    ),
    "adaptive-pool": lambda x, k: op.adaptive_avg_pool(x, k(2, 2)),
    "embedding-bag": lambda x, k: op.embedding_bag_offsets(
        op.reshape(x, op.constant(np.array([24, 8])), special_zero=False), k(0, 1), k(0)
    ),
    "random-uniform": lambda x, k: op.add(
        op.random_uniform(k(2, 2), op.constant(np.float32(0)), op.constant(np.float32(1)), "f32"),
        op.reduce_sum(x, _ALL()),
    ),
    "gather-tree": lambda x, k: op.add(
        op.convert(
            op.gather_tree(
                op.reshape(k(0), op.constant(np.array([1, 1, 1])), special_zero=False),
                op.reshape(k(0), op.constant(np.array([1, 1, 1])), special_zero=False),
                k(1), op.constant(np.int64(0)),
            ),
            "f32",
        ),
        op.reduce_sum(x, _ALL()),
    ),
    "ctc": lambda x, k: op.convert(
        op.ctc_greedy_decoder_seq_len(
            op.reshape(x, op.constant(np.array([3, 8, 8])), special_zero=False),
            k(8, 8, 8), op.constant(np.int64(0)), True, "i64", "i64",
        ).output(0),
        "f32",
    ),
    "roi-align": lambda x, k: op.roi_align(
        x, op.constant(np.array([[0, 0, 4, 4]], np.float32)), k(0), 2, 2, 2, 1.0, "avg"
    ),
}  # fmt: skip
"""Operations with integer inputs: ``k`` makes a constant that becomes hostile."""


def _ALL() -> Any:  # noqa: N802 - a constant; OpenVINO wants a new one for each graph
    return op.constant(np.array([0, 1, 2, 3]))


def _scalar(k: Any, value: int) -> Any:
    return op.squeeze(k(value), op.constant(np.array([0])))


IR_ATTRIBUTES: dict[str, tuple[Callable[[Any], Any], Sequence[str]]] = {
    "convolution": (
        lambda x: op.convolution(x, _float(4, 3, 3, 3), [1, 1], [0, 0], [0, 0], [1, 1]),
        ("strides", "dilations", "pads_begin", "pads_end"),
    ),
    "backprop": (
        lambda x: op.convolution_backprop_data(x, _float(3, 4, 3, 3), [1, 1]),
        ("strides", "dilations", "pads_begin", "output_padding"),
    ),
    "max-pool": (
        lambda x: op.max_pool(x, [1, 1], [1, 1], [0, 0], [0, 0], [2, 2]).output(0),
        ("strides", "kernel", "pads_begin", "dilations", "axis"),
    ),
    "avg-pool": (
        lambda x: op.avg_pool(x, [1, 1], [0, 0], [0, 0], [2, 2], True),
        ("strides", "kernel", "pads_end"),
    ),
    "softmax": (lambda x: op.softmax(x, 1), ("axis",)),
    "concat": (lambda x: op.concat([x, x], 1), ("axis",)),
    "depth-to-space": (
        lambda x: op.depth_to_space(op.concat([x, x, x, x], 1), "blocks_first", 2),
        ("block_size",),
    ),
    "space-to-depth": (lambda x: op.space_to_depth(x, "blocks_first", 2), ("block_size",)),
    "patches": (
        lambda x: op.extract_image_patches(x, [2, 2], [1, 1], [1, 1], "valid"),
        ("sizes", "strides", "rates"),
    ),
    "lrn": (lambda x: op.lrn(x, op.constant(np.array([1])), 1, 1, 1, 3), ("size",)),
    "shuffle": (lambda x: op.shuffle_channels(x, 1, 3), ("axis", "group")),
    "parameter": (op.relu, ("shape",)),
    "split": (lambda x: op.split(x, op.constant(np.int64(1)), 3).output(0), ("num_splits",)),
}
"""Operations with attributes that become hostile."""


@dataclass(frozen=True)
class OneOp:
    """A model: its name, and the function that writes it into a folder and returns its path."""

    name: str
    write: Callable[[Path], Path]


def _save(folder: Path, name: str, result: Any, x: Any) -> Path:
    path = folder / f"{name}.xml"
    ov.save_model(ov.Model([op.result(result)], [x], name), path, compress_to_fp16=False)
    return path


def _ir_with_constant(kind: str, place: int, value: int, name: str, folder: Path) -> Path:
    """Replace the last value of constant number ``place`` in the weights."""
    made: list[tuple[int, ...]] = []

    def marked(*values: int) -> Any:
        made.append(values)
        return _marked(*values)

    x = _x(1, 3, 8, 8)
    path = _save(folder, name, IR_CONSTANTS[kind](x, marked), x)
    weights = path.with_suffix(".bin")
    values = made[place % len(made)]
    old = np.array(values, np.int64).tobytes()
    new = np.array([*values[:-1], value], np.int64).tobytes()
    data = weights.read_bytes()
    start = data.find(old)
    assert start >= 0, f"{name}: the constant {values} is not in the weights"
    weights.write_bytes(data[:start] + new + data[start + len(old) :])
    return path


def _ir_with_attribute(kind: str, attribute: str, value: int, name: str, folder: Path) -> Path:
    """Replace the last number of an attribute in the XML."""
    x = _x(1, 3, 8, 8)
    path = _save(folder, name, IR_ATTRIBUTES[kind][0](x), x)
    text = path.read_text()
    pattern = rf'( {attribute}="(?:[-\d]+, ?)*)[-\d]+"'
    changed, count = re.subn(pattern, rf'\g<1>{value}"', text, count=1)
    assert count, f"{name}: no attribute {attribute}"
    path.write_text(changed)
    return path


ONNX: dict[str, tuple[dict[str, Sequence[int]], dict[str, Any]]] = {
    "Pad": ({"pads": [0] * 8}, {}),
    "Gather": ({"indices": [0]}, {"axis": 1}),
    "GatherND": ({"indices": [0]}, {"batch_dims": 0}),
    "Slice": ({"starts": [0], "ends": [2], "axes": [2], "steps": [1]}, {}),
    "Reshape": ({"shape": [1, 192]}, {"allowzero": 1}),
    "Tile": ({"repeats": [1, 1, 1, 1]}, {}),
    "Expand": ({"shape": [1, 3, 8, 8]}, {}),
    "Squeeze": ({"axes": [0]}, {}),
    "Unsqueeze": ({"axes": [0]}, {}),
    "ReduceSum": ({"axes": [2]}, {}),
    "Split": ({"split": [3]}, {"axis": 1}),
    "TopK": ({"k": [2]}, {"axis": 2}),
    "CumSum": ({"axis": [2]}, {}),
    "ReverseSequence": ({"lens": [1]}, {"batch_axis": 0, "time_axis": 1}),
    "Transpose": ({}, {"perm": [0, 1, 2, 3]}),
    "Softmax": ({}, {"axis": 1}),
    "Flatten": ({}, {"axis": 1}),
    "DepthToSpace": ({}, {"blocksize": 1}),
    "SpaceToDepth": ({}, {"blocksize": 2}),
    "MaxPool": ({}, {"kernel_shape": [2, 2], "strides": [1, 1], "pads": [0, 0, 0, 0]}),
    "AveragePool": ({}, {"kernel_shape": [2, 2], "strides": [1, 1], "dilations": [1, 1]}),
    "LpPool": ({}, {"kernel_shape": [2, 2], "strides": [1, 1], "p": 2}),
    "LRN": ({}, {"size": 3}),
    "Hardmax": ({}, {"axis": 1}),
    "Trilu": ({"k": [0]}, {}),
}
"""Operations of ONNX: integer initializers after the input, and attributes; all become hostile."""


def _onnx(kind: str, slot: str, value: int, name: str, folder: Path) -> Path:
    import onnx
    from onnx import TensorProto, helper

    inputs, attributes = ({**part} for part in ONNX[kind])
    place = inputs if slot in inputs else attributes
    place[slot] = [*place[slot][:-1], value] if isinstance(place[slot], list) else value
    clipped = {
        n: [max(-(2**63), min(v, 2**63 - 1)) for v in values] for n, values in inputs.items()
    }
    node = helper.make_node(kind, ["x", *inputs], ["y"], **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            helper.make_tensor(n, TensorProto.INT64, [len(values)], values)
            for n, values in clipped.items()
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    path = folder / f"{name}.onnx"
    onnx.save(model, path)
    return path


def models(count: int = 250) -> list[OneOp]:
    """Return ``count`` models, the same in every process: every operation, then more values."""
    return list(itertools.islice(_rounds(), count))


def _rounds() -> Iterator[OneOp]:
    """Yield models in rounds: in each, every operation has another hostile value."""
    slots: list[tuple[str, Callable[..., Path], str, Any]] = [
        *(("ir", _ir_with_constant, kind, place) for kind in IR_CONSTANTS for place in (0, -1)),
        *(
            ("ir", _ir_with_attribute, kind, attribute)
            for kind, (_, attributes) in IR_ATTRIBUTES.items()
            for attribute in attributes
        ),
        *(
            ("onnx", _onnx, kind, slot)
            for kind, parts in ONNX.items()
            for slot in (*parts[0], *parts[1])
        ),
    ]
    for turn in range(len(HOSTILE)):
        for index, (form, write, kind, slot) in enumerate(slots):
            value = HOSTILE[(index + turn) % len(HOSTILE)]
            name = f"{form}-{kind}-{slot}-{value}".replace("--", "-minus-")
            yield OneOp(name, partial(write, kind, slot, value, name))
