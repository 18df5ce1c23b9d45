"""Layers that a compiled model executes, from its runtime graph.

Precision: ``runtimePrecision`` of a CPU is the precision of the weights if only weights are
compressed, although the layer computes in floating point. The suffix of ``primitiveType`` is the
type of the layer's input (``brgemm_avx512_bf16``, ``brgconv_avx512_1x1_I8``) and takes precedence.
No field shows whether a CPU quantizes activations inside of such a layer. Both products of a fused
attention share one precision.

FLOPs: a fused layer executes the operations in ``originalLayersNames``. The list is incomplete: a
product with a fused bias is listed under the name of the bias only, and the first product of an
attention is not listed at all. Such operations belong to the layer of their followers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ovtool.graph.geometry import Geometry
from ovtool.graph.operations import count_elements

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ovtool.graph.flops import OperationCost

ShareOf = Literal["flops", "time", "layers"]

_COMPUTE = {
    "convolution", "groupconvolution", "deconvolution", "fullyconnected", "fully_connected",
    "matmul", "gemm", "lstmsequence", "lstmcell", "lstm_seq", "lstm_cell", "grusequence",
    "grucell", "gru_seq", "gru_cell", "rnnseq", "rnncell", "sdpa",
    "scaleddotproductattention", "scaleddotproductattentionwithkvcache",
    "scaled_dot_product_attention",
}  # fmt: skip
_TWO_PRODUCTS = {"subgraph"} | {name for name in _COMPUTE if "sdpa" in name or "attention" in name}
"""Types with up to two products."""
_CONSTANTS = {"const", "constant"}
_NO_LAYERS = {"const", "constant", "data", "input", "input_layout", "output", "parameter", "result"}
_SIZES = {"i8": 1, "bf16": 2, "f16": 2}
"""Bytes of a weight; 4 in other precisions."""
_PRECISION_SUFFIX = re.compile(r"_(i8|u8|bf16|f16|f32)$")
_GENERATED_NAME = re.compile(r"^[A-Za-z]+_\d+$")
_PART_PREFIX = re.compile(r"^subgraph\d+: ")
_DEQUANTIZATION_SUFFIX = re.compile(r"/Dequantization(Multiply|Subtract)$")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that a device executes.

    Args:
        type: Type in the runtime graph, such as ``FullyConnected``.
        precision: Executed precision: ``i8`` (also for u8), ``bf16``, ``f16``, ``f32`` or another;
            None if unknown.
        primitive: Implementation, such as ``brgemm_avx512_bf16``.
        flops: FLOPs of one inference; None if no counted operation belongs to the layer.
        time_ms: Mean time of one inference; None if not measured.
        device: Executing device; None if unknown.
        original: Operations of the model that the plugin lists for the layer.
        data_bytes: Bytes of the activations that the layer reads and writes, in the types of the
            runtime graph; None if unknown.
        weight_bytes: Bytes of the weights, in the precision of the layer.
        geometry: Sizes of the arithmetic, of the operation with the most FLOPs.
        quantized: Whether the model quantizes the data and the weights of an operation.
        inputs: Names of the layers whose outputs it reads; constants are omitted.
    """

    name: str
    type: str
    precision: str | None
    primitive: str
    flops: int | None = None
    time_ms: float | None = None
    device: str | None = None
    original: tuple[str, ...] = ()
    data_bytes: int | None = None
    weight_bytes: int = 0
    geometry: Geometry | None = None
    quantized: bool = False
    inputs: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The name for people: an original name rather than a generated one."""
        names = (name for name in (self.name, *self.original) if not _GENERATED_NAME.match(name))
        return next(names, self.name).removeprefix("__module.")

    @property
    def computes(self) -> bool:
        """Whether the layer executes arithmetic of the model."""
        return self.flops is not None or self.type.lower() in _COMPUTE


def read_layers(compiled: Any, cost: OperationCost) -> list[Layer] | None:
    """Return the layers of a compiled model in the order of execution.

    Constants, and layers that depend on constants only, are omitted. The result is None if the
    plugin does not expose its runtime graph. The cost is that of the same model and shapes.
    """
    try:
        graph = compiled.get_runtime_model()
    except RuntimeError:
        return None
    device = find_single_device(compiled)
    layers = [_parse_layer(node, device) for node in _executed_nodes(graph)]
    named = [
        replace(layer, quantized=not cost.quantized.isdisjoint((layer.name, *layer.original)))
        for layer in layers
    ]
    return _assign_cost(named, cost)


def find_single_device(compiled: Any) -> str | None:
    """Return the device that executes the whole model; None if there are several, or unknown."""
    if "EXECUTION_DEVICES" not in compiled.get_property("SUPPORTED_PROPERTIES"):
        return None
    devices = compiled.get_property("EXECUTION_DEVICES")
    return str(devices[0]) if len(devices) == 1 else None


def compute_attributed_share(layers: Sequence[Layer], flops: Mapping[str, int]) -> float | None:
    """Return the share of the FLOPs of a model that belong to a layer; None without FLOPs."""
    total = sum(flops.values())
    return sum(layer.flops or 0 for layer in layers) / total if total else None


def compute_precision_shares(
    layers: Sequence[Layer], share_of: ShareOf = "flops"
) -> dict[str, float]:
    """Return the share of each precision, the largest first; empty if unknown.

    The share is of FLOPs, of time, or of the number of layers with arithmetic.
    """
    sums: dict[str, float] = {}
    for layer in layers:
        values = {"flops": layer.flops, "time": layer.time_ms, "layers": int(layer.computes)}
        if value := values[share_of]:
            name = layer.precision or "unknown"
            sums[name] = sums.get(name, 0) + value
    total = sum(sums.values())
    return {name: sums[name] / total for name in sorted(sums, key=lambda n: -sums[n])}


def find_fallbacks(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers of an INT8 model that compute in another precision, most FLOPs first.

    A model is INT8 if a layer runs in i8, or if the model quantizes a layer.
    """
    compute = [layer for layer in layers if layer.computes]
    if not any(layer.precision == "i8" or layer.quantized for layer in compute):
        return []
    others = [layer for layer in compute if layer.precision != "i8"]
    return sorted(others, key=lambda layer: -(layer.flops or 0))


def summarize_layers(layers: Sequence[Layer] | None, cost: OperationCost) -> dict[str, Any] | None:
    """Return the layer figures of a measurement, as JSON types; None without layers."""
    if layers is None:
        return None
    fallbacks = find_fallbacks(layers)
    total = sum(layer.flops or 0 for layer in layers)
    return {
        "flops_share": compute_precision_shares(layers),
        "layer_share": compute_precision_shares(layers, "layers"),
        "compute_layers": sum(layer.computes for layer in layers),
        "fallbacks": [layer.label for layer in fallbacks],
        "fallback_share": sum(f.flops or 0 for f in fallbacks) / total if total else None,
        "attributed": compute_attributed_share(layers, cost.flops),
    }


def merge_times(
    layers: Sequence[Layer] | None, profiled: Sequence[Layer], cost: OperationCost
) -> tuple[Layer, ...]:
    """Return the layers from :func:`read_layers` that took time, with their times.

    A profiled layer that is not in the runtime graph is kept, so that the sum of the times stays
    complete.
    """
    known = {layer.name: layer for layer in layers or ()}
    timed = [
        replace(known[layer.name], time_ms=layer.time_ms) if layer.name in known else layer
        for layer in profiled
    ]
    return tuple(timed if layers is not None else _assign_cost(timed, cost))


def parse_precision(primitive: str, runtime: str | None = None) -> str | None:
    """Return the precision of a layer; the primitive takes precedence, see the module."""
    suffix = _PRECISION_SUFFIX.search(primitive.lower())
    precision = suffix.group(1) if suffix else runtime
    return "i8" if precision == "u8" else precision or None


def strip_part(name: str) -> str:
    """Return the name of a layer without the prefix of HETERO for a part of the model."""
    return _PART_PREFIX.sub("", name)


def layer_from_json(data: dict[str, Any]) -> Layer:
    """Return a layer from the JSON types of its fields."""
    geometry = data["geometry"] and Geometry(**data["geometry"])
    names = {key: tuple(data[key]) for key in ("original", "inputs")}
    return Layer(**data | names | {"geometry": geometry})


def _executed_nodes(graph: Any) -> Iterator[Any]:
    """Yield the nodes that each inference executes."""
    constant: set[str] = set()
    for node in graph.get_ordered_ops():
        name, kind = node.get_friendly_name(), _layer_type(node).lower()
        sources = [value.get_node().get_friendly_name() for value in node.input_values()]
        if kind in _CONSTANTS or (sources and constant.issuperset(sources)):
            constant.add(name)
        elif kind not in _NO_LAYERS:
            yield node


def _parse_layer(node: Any, device: str | None) -> Layer:
    primitive = _read_info(node, "primitiveType") or ""
    names = (_read_info(node, "originalLayersNames") or "").split(",")
    return Layer(
        name=node.get_friendly_name(),
        type=_layer_type(node),
        precision=parse_precision(primitive, (_read_info(node, "runtimePrecision") or "").lower()),
        primitive=primitive,
        device=device,
        original=tuple(name for name in names if name),
        data_bytes=_count_data_bytes(node),
        inputs=tuple(value.get_node().get_friendly_name() for value in _read_data(node)),
    )


def _count_data_bytes(node: Any) -> int | None:
    """Return the bytes that a node reads, except from constants, and writes; None if unknown."""
    total = 0
    for value in (*_read_data(node), *node.outputs()):
        shape, element = value.get_partial_shape(), value.get_element_type()
        if shape.is_dynamic or element.is_dynamic():
            return None
        total += int(count_elements(shape.to_shape()) * element.bitwidth / 8)
    return total


def _read_data(node: Any) -> list[Any]:
    """Return the values that a node reads, except constants."""
    values = node.input_values()
    return [v for v in values if _layer_type(v.get_node()).lower() not in _CONSTANTS]


def _layer_type(node: Any) -> str:
    return _read_info(node, "layerType") or str(node.get_type_name())


def _read_info(node: Any, key: str) -> str | None:
    info = node.get_rt_info()
    return str(info[key].astype(str)) if key in info else None


def _assign_cost(layers: Sequence[Layer], cost: OperationCost) -> list[Layer]:
    """Assign each operation of the model to a layer, by its name or by its followers."""
    by_name: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        names = (layer.name, *layer.original)
        for name in {*names, *(_DEQUANTIZATION_SUFFIX.sub("", name) for name in names)}:
            by_name.setdefault(name, []).append(index)
    kinds = [layer.type.lower() for layer in layers]
    assigned: dict[int, list[str]] = {}
    for operation in cost.flops:
        if operation in by_name:
            owner = min(by_name[operation], key=lambda i: kinds[i] not in _COMPUTE)
            assigned.setdefault(owner, []).append(operation)
    for operation in (name for name in cost.flops if name not in by_name):
        for index in (i for name in cost.followers[operation] for i in by_name.get(name, ())):
            # Only an attention executes a product in addition to those that it lists.
            if kinds[index] in (_TWO_PRODUCTS if index in assigned else _COMPUTE):
                assigned.setdefault(index, []).append(operation)
                break
    return [
        _add_cost(layer, assigned[index], cost) if index in assigned else layer
        for index, layer in enumerate(layers)
    ]


def _add_cost(layer: Layer, operations: Sequence[str], cost: OperationCost) -> Layer:
    """Return a layer with the cost of some operations of the model."""
    geometries = [cost.geometries[name] for name in operations if name in cost.geometries]
    largest = max(operations, key=lambda name: cost.flops[name])
    weights = sum(geometry.weights for geometry in geometries)
    return replace(
        layer,
        flops=sum(cost.flops[name] for name in operations),
        geometry=cost.geometries.get(largest),
        quantized=layer.quantized or not cost.quantized.isdisjoint(operations),
        weight_bytes=weights * _SIZES.get(layer.precision or "f32", 4),
    )
