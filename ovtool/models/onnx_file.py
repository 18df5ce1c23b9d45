"""What an ONNX file declares, and the correction of what OpenVINO misreads in it."""

from __future__ import annotations

import mmap
import os
import re
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError, MissingDependencyError
from ovtool.core.system_errors import reading
from ovtool.core.third_party import reason

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import onnx
    import openvino as ov

INSTALL = "pip install 'ovtool[onnx]'"

_LOCATION = re.compile(
    rb"\n\x08location\x12(?P<size>[\x80-\xff][\x00-\x7f]|[\x01-\x7f])", re.DOTALL
)
"""Key of an entry in the wire format of Protocol Buffers, and the length of its value."""

RECURRENT = frozenset({"RNN", "GRU", "LSTM"})

_STATES = (5, 6)
"""Positions of initial_h and initial_c in the inputs of the recurrent operators."""

TYPES = {
    "FLOAT": "f32", "DOUBLE": "f64", "FLOAT16": "f16", "BFLOAT16": "bf16", "BOOL": "boolean",
    "FLOAT8E4M3FN": "f8e4m3", "FLOAT8E5M2": "f8e5m2", "FLOAT8E8M0": "f8e8m0",
    "FLOAT4E2M1": "f4e2m1", "STRING": "string",
    **{f"INT{bits}": f"i{bits}" for bits in (2, 4, 8, 16, 32, 64)},
    **{f"UINT{bits}": f"u{bits}" for bits in (2, 4, 8, 16, 32, 64)},
}  # fmt: skip
"""ONNX type -> OpenVINO type."""


@dataclass(frozen=True, slots=True)
class DeclaredValue:
    """An input or output as the file declares it."""

    name: str
    dtype: str | None
    """OpenVINO's name of the type; None if OpenVINO has no such type."""
    shape: tuple[int | str, ...] | None
    """A size, or the name of an open dimension, which may be empty; None is an unknown rank."""


def load(path: Path) -> onnx.ModelProto | None:
    """Return the content of an ONNX file without external data; None if onnx is not installed.

    A file that onnx does not parse is None too: OpenVINO's reader reports what is wrong with it.

    Raises:
        MissingDependencyError: The onnx package is needed to convert this file correctly.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ModuleNotFoundError:
        _reject_possible_layout(path)
        return None
    try:
        with reading(path):
            return onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, OSError):
        return None


def external_files(path: Path) -> list[Path]:
    """Return the files with external data of an ONNX file that exist; needs no onnx package.

    An entry of ``TensorProto.external_data`` is a pair of strings with the key ``location``
    (onnx.proto); other bytes that look like it only name files that do not exist.

    Raises:
        InputError: The operating system reports an error.
    """
    locations = set()
    with reading(path), path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        if size == 0:
            return []
        data = mmap.mmap(stream.fileno(), size, access=mmap.ACCESS_READ)
    with data:
        for match in _LOCATION.finditer(data):
            length = match["size"][0] & 127
            if len(match["size"]) == 2:
                length |= match["size"][1] << 7
            locations.add(data[match.end() : match.end() + length])
    folder = path.resolve().parent
    names = [os.fsdecode(location) for location in sorted(locations) if b"\0" not in location]
    return [file for name in names if (file := folder / name).is_file()]


def declared_inputs(model: onnx.ModelProto, path: Path) -> list[DeclaredValue]:
    """Return the inputs in order, without the constants that old files list as inputs.

    Raises:
        InputError: An input is not a tensor.
    """
    graph = model.graph
    constants = {tensor.name for tensor in graph.initializer}
    constants.update(tensor.values.name for tensor in graph.sparse_initializer)
    return [_declared("input", v, path) for v in graph.input if v.name not in constants]


def declared_outputs(model: onnx.ModelProto, path: Path) -> list[DeclaredValue]:
    """Return the outputs in order.

    Raises:
        InputError: An output is not a tensor.
    """
    return [_declared("output", value, path) for value in model.graph.output]


def _declared(kind: str, value: onnx.ValueInfoProto, path: Path) -> DeclaredValue:
    import onnx

    form = value.type.WhichOneof("value") or "tensor_type"
    if form != "tensor_type":
        what = form.removesuffix("_type").replace("_", " ")
        raise InputError(
            f"{kind} {value.name!r} of {path} is a {what}; OpenVINO has tensors only",
            f"export the model with one tensor {kind} for each element",
        )
    tensor = value.type.tensor_type
    number = tensor.elem_type
    name = onnx.TensorProto.DataType.Name(number) if number else "UNDEFINED"
    if number and name not in TYPES:
        raise InputError(
            f"{kind} {value.name!r} of {path} has the type {name}, which OpenVINO does not support",
            "cast it in the exported model, e.g. complex numbers to pairs of floats",
        )
    shape = None
    if tensor.HasField("shape"):
        dims = tensor.shape.dim
        shape = tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in dims)
    return DeclaredValue(value.name, TYPES.get(name), shape)


def name_like_file(
    model: ov.Model, inputs: Sequence[str], outputs: Sequence[str], origins: Mapping[str, str]
) -> list[str]:
    """Give the ports of a converted model the names that the file gives them.

    OpenVINO renames an input that a removed operation reads, such as Dropout, and may drop an input
    whose values no output depends on.  An output that has the values of an input under another name
    gets a tensor of its own.

    Args:
        model: Changed in place.
        inputs: Names of the inputs of the file, in order.
        outputs: Names of the outputs of the file, in order.
        origins: Name of a value -> first value that its operation reads.

    Returns:
        The inputs of the file that the model does not have.
    """
    import openvino as ov

    if len(outputs) == len(model.outputs):
        for port, name in zip(model.outputs, outputs, strict=True):
            source = port.get_node().input_value(0)
            if source.get_node().get_type_name() == "Parameter" and name not in inputs:
                own = ov.opset16.identity(source, name=name)
                port.get_node().input(0).replace_source_output(own.output(0))
            port.get_tensor().set_names({name})
    unused = list(inputs)
    find = _Origin(origins, unused)
    unknown = []
    for port in model.inputs:
        candidates = [port.get_node().get_friendly_name(), *sorted(port.get_names())]
        origin = next(filter(None, map(find, candidates)), None)
        if origin is None:
            unknown.append(port)
            continue
        unused.remove(origin)
        port.get_tensor().set_names({origin})
    if len(unknown) == len(unused):
        for port, name in zip(unknown, unused, strict=True):
            port.get_tensor().set_names({name})
        unused = []
    return unused


@dataclass(frozen=True, slots=True)
class _Origin:
    """Finds the input that a value was computed from."""

    origins: Mapping[str, str]
    inputs: Sequence[str]

    def __call__(self, name: str) -> str | None:
        seen: set[str] = set()
        while name not in self.inputs:
            if name in seen or name not in self.origins:
                return None
            seen.add(name)
            name = self.origins[name]
        return name


def value_origins(model: onnx.ModelProto) -> dict[str, str]:
    """Return the first input of the operation that computes each value of the main graph."""
    return {name: n.input[0] for n in model.graph.node if n.input for name in n.output}


def _reject_possible_layout(path: Path) -> None:
    """Reject a file that may have a batchwise recurrent operator, which OpenVINO misreads."""
    if not path.stat().st_size:
        return
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        recurrent = any(data.find(name.encode()) >= 0 for name in RECURRENT)
        if recurrent and data.find(b"layout") >= 0:
            raise MissingDependencyError(
                f"{path} has recurrent operators with a layout, which OpenVINO misreads", INSTALL
            )


def with_time_major_recurrence(model: onnx.ModelProto, path: Path) -> bytes | None:
    """Return a copy of a file without batchwise recurrent operators; None if it has none.

    OpenVINO reads RNN, GRU and LSTM with layout=1 as if they had layout=0.  The copy has layout=0
    between transpositions, and contains the external data.

    Raises:
        InputError: The file cannot be rewritten.
    """
    import onnx

    if not any(_is_batchwise(node) for node in all_nodes(model)):
        return None
    try:
        rewritten = onnx.load(path)
        names = _new_names(rewritten)
        for nodes in (rewritten.graph.node, *(function.node for function in rewritten.functions)):
            _make_time_major(nodes, names)
        content: bytes = rewritten.SerializeToString()
    except (ValueError, OSError) as error:
        raise InputError(
            f"{path} has recurrent operators with layout=1, not rewritten: {reason(error)}",
            "OpenVINO misreads them: export with layout=0 (sequence first)",
        ) from error
    return content


def all_nodes(model: onnx.ModelProto) -> Iterator[onnx.NodeProto]:
    """Yield the nodes of a file, also those of subgraphs and functions."""
    pending = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    while pending:
        node = pending.pop()
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                pending += graph.node


_TRAINING_INPUT = 2
"""Position of training_mode in the inputs of Dropout, since operator set 12."""


def trains_with_dropout(model: onnx.ModelProto) -> bool:
    """Whether a file has dropout in training mode, which OpenVINO does not read."""
    from onnx import numpy_helper

    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=1)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in all_nodes(model):
        for attribute in node.attribute if node.op_type == "Constant" else ():
            if attribute.name == "value":
                constants[node.output[0]] = attribute.t
    for node in all_nodes(model):
        if node.op_type != "Dropout":
            continue
        if opset < 7 and not any(a.name == "is_test" and a.i for a in node.attribute):
            return True
        mode = node.input[_TRAINING_INPUT] if len(node.input) > _TRAINING_INPUT else ""
        if mode in constants and numpy_helper.to_array(constants[mode]).any():
            return True
    return False


def _is_batchwise(node: onnx.NodeProto) -> bool:
    """Whether a recurrent operator has the batch before the sequence."""
    if node.op_type not in RECURRENT or node.domain not in ("", "ai.onnx"):
        return False
    return any(a.name == "layout" and (a.i == 1 or a.ref_attr_name) for a in node.attribute)


def _new_names(model: onnx.ModelProto) -> Iterator[str]:
    """Yield names that the file does not use."""
    used = {name for node in all_nodes(model) for name in (*node.input, *node.output)}
    used.update(value.name for value in (*model.graph.input, *model.graph.initializer))
    return (name for index in count() if (name := f"time_major_{index}") not in used)


def _make_time_major(nodes: Any, names: Iterator[str]) -> None:
    """Replace batchwise recurrent operators in place, also in subgraphs."""
    from onnx import helper

    rewritten: list[onnx.NodeProto] = []
    for node in nodes:
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                _make_time_major(graph.node, names)
        if not _is_batchwise(node):
            rewritten.append(node)
            continue
        if any(a.name == "layout" and a.ref_attr_name for a in node.attribute):
            raise ValueError(f"the layout of {node.op_type} is an attribute of a function")
        before, after = [], []
        for index in (0, *_STATES):
            if index < len(node.input) and node.input[index]:
                name = next(names)
                before.append(
                    helper.make_node("Transpose", [node.input[index]], [name], perm=[1, 0, 2])
                )
                node.input[index] = name
        for index, output in enumerate(node.output):
            if output:
                # The sequence of outputs has the directions between sequence and batch.
                order = [2, 0, 1, 3] if index == 0 else [1, 0, 2]
                node.output[index] = next(names)
                after.append(
                    helper.make_node("Transpose", [node.output[index]], [output], perm=order)
                )
        kept = [attribute for attribute in node.attribute if attribute.name != "layout"]
        del node.attribute[:]
        node.attribute.extend(kept)
        rewritten += [*before, node, *after]
    copies = [_copy(node) for node in rewritten]
    del nodes[:]
    nodes.extend(copies)


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copied = type(node)()
    copied.CopyFrom(node)
    return copied
