"""What a compiled model executes, layer by layer, as its runtime graph tells.

Precision: a CPU's ``runtimePrecision`` is that of the weights where weights alone are compressed,
though such a layer multiplies in floating point.  The end of ``primitiveType`` is the type of what
flows into the layer (``brgemm_avx512_bf16``, ``brgconv_avx512_1x1_I8``), so that is taken where it
names one.  That a CPU may quantize activations inside such a layer is shown nowhere, and the two
products of a fused attention share one precision.

FLOPs: a fused layer does the work of the operations that ``originalLayersNames`` lists.  The list
leaves some out: a product fused with its bias goes by the bias's name alone, and the first of the
two products of an attention not at all.  Those are found by what follows them in the model.
"""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from ovtool.graph.geometry import Geometry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ovtool.graph.flops import Work

Weight = Literal["flops", "time", "layers"]

_COMPUTE = {
    "convolution", "groupconvolution", "deconvolution", "fullyconnected", "fully_connected",
    "matmul", "gemm", "lstmsequence", "lstmcell", "lstm_seq", "lstm_cell", "grusequence",
    "grucell", "gru_seq", "gru_cell", "rnnseq", "rnncell", "sdpa",
    "scaleddotproductattention", "scaleddotproductattentionwithkvcache",
    "scaled_dot_product_attention",
}  # fmt: skip
_SEVERAL = {"subgraph"} | {name for name in _COMPUTE if "sdpa" in name or "attention" in name}
"""Types that may hold two products."""
_CONSTANTS = {"const", "constant"}
_NO_LAYERS = {"const", "constant", "data", "input", "input_layout", "output", "parameter", "result"}
_SIZES = {"i8": 1, "bf16": 2, "f16": 2}
"""Bytes of a weight."""
_NAMED = re.compile(r"_(i8|u8|bf16|f16|f32)$")
_NUMBERED = re.compile(r"^[A-Za-z]+_\d+$")
_PART = re.compile(r"^subgraph\d+: ")
_DEQUANTIZED = re.compile(r"/Dequantization(Multiply|Subtract)$")


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer that a device executes.

    Args:
        name: In the runtime graph.
        type: The plugin's own, such as ``FullyConnected``.
        precision: What it computes in: ``i8`` (u8 too), ``bf16``, ``f16``, ``f32`` or another;
            None where it is not told.
        primitive: The implementation, such as ``brgemm_avx512_bf16``.
        flops: Of one inference; None where nothing was found that it does the work of.
        time_ms: Mean of one inference; None where it was not taken.
        device: Where it runs; None where that is not told.
        original: Operations of the model that it stands for, as the plugin lists them.
        data_bytes: Activations that it reads and writes, in the precisions of the graph; None where
            the graph does not tell.
        weight_bytes: Weights that it reads, in its precision.
        geometry: Sizes of its arithmetic: of the operation with the most of it.
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

    @property
    def label(self) -> str:
        """Its name for people: a number gives way to a name that it stands for."""
        names = (name for name in (self.name, *self.original) if not _NUMBERED.match(name))
        return next(names, self.name).removeprefix("__module.")

    @property
    def computes(self) -> bool:
        """Whether it does the arithmetic of the model."""
        return self.flops is not None or self.type.lower() in _COMPUTE


def executed(compiled: Any, work: Work) -> list[Layer] | None:
    """Return the layers of a compiled model in the order of execution.

    Constants, and what is prepared of them once while compiling, are left out.

    Args:
        compiled: An ``ov.CompiledModel``.
        work: Of the model that was compiled, with the same shapes.

    Returns:
        None where the plugin does not show its graph.
    """
    try:
        graph = compiled.get_runtime_model()
    except RuntimeError:
        return None
    device = only_device(compiled)
    return _with_work([_layer(node, device) for node in _running(graph)], work)


def only_device(compiled: Any) -> str | None:
    """Return the device that everything runs on; None where there are several, or it is unknown."""
    if "EXECUTION_DEVICES" not in compiled.get_property("SUPPORTED_PROPERTIES"):
        return None
    found = compiled.get_property("EXECUTION_DEVICES")
    return str(found[0]) if len(found) == 1 else None


def attributed(layers: Sequence[Layer], flops: Mapping[str, int]) -> float | None:
    """Return the share of a model's FLOPs that some layer is known to do; None if it has none."""
    total = sum(flops.values())
    return sum(layer.flops or 0 for layer in layers) / total if total else None


def shares(layers: Sequence[Layer], weight: Weight = "flops") -> dict[str, float]:
    """Return the share of each precision, the largest first; empty where the weight is unknown.

    Args:
        layers: Executed layers.
        weight: ``flops``, ``time``, or ``layers`` for the number of those that compute.
    """
    sums: dict[str, float] = {}
    for layer in layers:
        value = {"flops": layer.flops, "time": layer.time_ms, "layers": int(layer.computes)}[weight]
        if value:
            name = layer.precision or "unknown"
            sums[name] = sums.get(name, 0) + value
    total = sum(sums.values())
    return {name: sums[name] / total for name in sorted(sums, key=lambda n: -sums[n])}


def fallbacks(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers of an INT8 model that compute in something else, most FLOPs first."""
    compute = [layer for layer in layers if layer.computes]
    if not any(layer.precision == "i8" for layer in compute):
        return []
    others = [layer for layer in compute if layer.precision != "i8"]
    return sorted(others, key=lambda layer: -(layer.flops or 0))


def summary(layers: Sequence[Layer] | None, work: Work) -> dict[str, Any] | None:
    """Return what a measurement tells of the layers, as JSON types; None where there are none."""
    if layers is None:
        return None
    back = fallbacks(layers)
    return {
        "flops_share": shares(layers),
        "layer_share": shares(layers, "layers"),
        "compute_layers": sum(layer.computes for layer in layers),
        "fallbacks": [layer.label for layer in back],
        "fallback_share": _share_of(back, layers),
        "attributed": attributed(layers, work.flops),
    }


def timed(
    layers: Sequence[Layer] | None, profiled: Sequence[Layer], work: Work
) -> tuple[Layer, ...]:
    """Return the layers that took time, with it.

    Args:
        layers: As :func:`executed` returns them.
        profiled: The same as the profiling information has them, each with its time; one that the
            graph does not show is taken as it is, so that no time is lost.
        work: Of the model.
    """
    known = {layer.name: layer for layer in layers or ()}
    found = [
        replace(known[one.name], time_ms=one.time_ms) if one.name in known else one
        for one in profiled
    ]
    return tuple(found if layers is not None else _with_work(found, work))


def precision_of(primitive: str, runtime: str | None = None) -> str | None:
    """Return what a layer computes in; see the module's docstring for which is believed."""
    named = _NAMED.search(primitive.lower())
    found = named.group(1) if named else runtime
    return {"u8": "i8"}.get(found, found) if found else None


def without_part(name: str) -> str:
    """Return a layer's name without the part of the model that HETERO puts before it."""
    return _PART.sub("", name)


def as_json(layer: Layer) -> dict[str, Any]:
    """Return a layer as JSON types."""
    return asdict(layer)


def from_json(data: Mapping[str, Any]) -> Layer:
    """Return the layer that :func:`as_json` wrote."""
    told = data["geometry"]
    return Layer(
        **{
            **data,
            "original": tuple(data["original"]),
            "geometry": None if told is None else Geometry(**told),
        }
    )


def _running(graph: Any) -> Iterator[Any]:
    """Yield the nodes that run at each inference."""
    constant: set[str] = set()
    for node in graph.get_ordered_ops():
        name, kind = node.get_friendly_name(), _kind(node)
        sources = [value.get_node().get_friendly_name() for value in node.input_values()]
        if kind.lower() in _CONSTANTS or (sources and constant.issuperset(sources)):
            constant.add(name)
        elif kind.lower() not in _NO_LAYERS:
            yield node


def _layer(node: Any, device: str | None) -> Layer:
    primitive = _told(node, "primitiveType") or ""
    listed = (_told(node, "originalLayersNames") or "").split(",")
    return Layer(
        name=node.get_friendly_name(),
        type=_kind(node),
        precision=precision_of(primitive, (_told(node, "runtimePrecision") or "").lower()),
        primitive=primitive,
        device=device,
        original=tuple(name for name in listed if name),
        data_bytes=_data_bytes(node),
    )


def _data_bytes(node: Any) -> int | None:
    """Return the size of what a node reads of other nodes that run, and of what it writes."""
    read = [v for v in node.input_values() if _kind(v.get_node()).lower() not in _CONSTANTS]
    sizes = [_bytes_of(value) for value in (*read, *node.outputs())]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _bytes_of(value: Any) -> int | None:
    shape, kind = value.get_partial_shape(), value.get_element_type()
    if shape.is_dynamic or kind.is_dynamic():
        return None
    return int(math.prod(shape.to_shape()) * kind.bitwidth / 8)


def _kind(node: Any) -> str:
    return _told(node, "layerType") or str(node.get_type_name())


def _told(node: Any, key: str) -> str | None:
    info = node.get_rt_info()
    return str(info[key].astype(str)) if key in info else None


def _with_work(layers: Sequence[Layer], work: Work) -> list[Layer]:
    """Give each operation of the model to one layer: by name, else by what follows it."""
    named: dict[str, list[int]] = {}
    for index, layer in enumerate(layers):
        listed = (layer.name, *layer.original)
        for name in {*listed, *(_DEQUANTIZED.sub("", one) for one in listed)}:
            named.setdefault(name, []).append(index)
    kinds = [layer.type.lower() for layer in layers]
    owned: dict[int, list[str]] = {}
    for operation in work.flops:
        if operation in named:
            owner = min(named[operation], key=lambda i: kinds[i] not in _COMPUTE)
            owned.setdefault(owner, []).append(operation)
    for operation in (name for name in work.flops if name not in named):
        near = (i for name in work.followers[operation] for i in named.get(name, ()))
        into = next((i for i in near if _takes(kinds[i], taken=i in owned)), None)
        if into is not None:
            owned.setdefault(into, []).append(operation)
    return [
        _doing(layer, owned[index], work) if index in owned else layer
        for index, layer in enumerate(layers)
    ]


def _doing(layer: Layer, operations: Sequence[str], work: Work) -> Layer:
    """Return a layer with the work of some operations of the model."""
    known = [work.geometries[name] for name in operations if name in work.geometries]
    most = max(operations, key=lambda name: work.flops[name])
    weights = sum(geometry.weights for geometry in known)
    return replace(
        layer,
        flops=sum(work.flops[name] for name in operations),
        geometry=work.geometries.get(most),
        weight_bytes=weights * _SIZES.get(layer.precision or "f32", 4),
    )


def _takes(kind: str, *, taken: bool) -> bool:
    """Whether a layer may be what an operation was fused into: one without work, or attention."""
    return kind in (_SEVERAL if taken else _COMPUTE)


def _share_of(some: Sequence[Layer], layers: Sequence[Layer]) -> float | None:
    total = sum(layer.flops or 0 for layer in layers)
    return sum(layer.flops or 0 for layer in some) / total if total else None
