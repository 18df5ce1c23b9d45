"""Sensitivity of each layer to quantization: one layer is quantized, the rest stays in float.

This is the sensitivity analysis of Wu et al. 2020, "Integer Quantization for Deep Learning
Inference: Principles and Empirical Evaluation", section 5.1. The graph is calibrated once, then
quantizers are switched on and off: a layer needs a compilation and a few inferences, no
calibration. Biases are not corrected, since a correction would shift layers that stay in float.
The figures rank layers. They do not predict the quantized model, where errors interact.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool.compression import ptq
from ovtool.compression.nncf_adapter import CalibrationFeed
from ovtool.compression.output_noise import FloatOutputs, run_all, sqnr_db
from ovtool.core import units
from ovtool.core.columns import quality_loss
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.graph import flops
from ovtool.graph.reference_run import FLOAT_KERNELS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.compression.method import QualityEvaluator
    from ovtool.compression.ptq import QuantizationSettings
    from ovtool.core.ports import Port
    from ovtool.datasets.samples import Samples

COMPARED_SAMPLES = 32
"""Number of calibration samples to compare outputs on."""
MAX_ROWS = 128
"""Maximum number of rows; neighboring layers of a deeper network are measured as blocks."""
_QUANTIZERS = frozenset({"FakeQuantize", "FakeConvert"})
# Layers that only move values: a quantizer before them belongs to the next layer that computes.
_MOVING = frozenset({
    "Broadcast", "Concat", "Convert", "DepthToSpace", "Gather", "MaxPool", "Pad", "Reshape",
    "ShuffleChannels", "Slice", "SpaceToDepth", "Split", "Squeeze", "StridedSlice", "Tile",
    "Transpose", "Unsqueeze", "VariadicSplit",
})  # fmt: skip
_NOT_COMPUTING = frozenset({"Result", "ShapeOf"})


@dataclass(frozen=True, slots=True)
class LayerCost:
    """Cost of quantizing one layer, or a block of neighboring layers.

    ``macs_share`` is the share of the model's multiply-adds, 0 to 1, None if unknown. ``noise`` is
    the power of the error over that of the signal, of the worst output or group of its channels.
    """

    layers: tuple[str, ...]
    type: str
    macs_share: float | None
    noise: float
    metric_drop: float | None = None

    @property
    def name(self) -> str:
        """Name of the layer, or of the first and the last layer of the block."""
        if len(self.layers) == 1:
            return self.layers[0]
        return f"{self.layers[0]} ... {self.layers[-1]} ({len(self.layers)} layers)"

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise, in dB, lower is worse; infinite without noise."""
        return sqnr_db(self.noise)

    def to_json(self) -> dict[str, Any]:
        """Return the cost as JSON types, with None for infinite values."""
        document: dict[str, Any] = units.finite(
            {"name": self.name, **asdict(self), "sqnr_db": self.sqnr_db}
        )
        return document


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """Cost of quantizing each layer.

    The most sensitive layer comes first. ``noise`` is the noise with all layers quantized,
    ``in_float`` the metric without quantization; the time limit ended before ``not_reached``.
    """

    layers: tuple[LayerCost, ...]
    noise: float
    metric: str | None
    in_float: float | None
    samples: int
    not_reached: tuple[str, ...] = ()

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise with all layers quantized, in dB."""
        return sqnr_db(self.noise)


class QuantizerSwitches:
    """A quantized graph with quantizers that can be switched on and off per layer, in place."""

    def __init__(self, model: ov.Model) -> None:
        self.model = model
        self._edges = list(_edges(model))
        owners = {name for edge in self._edges for name in edge.layers}
        self.layers = {
            operation.get_friendly_name(): operation.get_type_name()
            for operation in model.get_ordered_ops()
            if operation.get_friendly_name() in owners
        }

    def enable_only(self, names: Sequence[str]) -> None:
        """Quantize only these layers."""
        for edge in self._edges:
            on = not edge.layers.isdisjoint(names)
            edge.reader.replace_source_output(edge.quantized if on else edge.plain)


@dataclass(frozen=True, slots=True)
class _Edge:
    """An input that reads a quantizer: its source with and without it, and the layers affected."""

    reader: Any
    quantized: Any
    plain: Any
    layers: frozenset[str]


def _edges(model: ov.Model) -> Iterator[_Edge]:
    for operation in model.get_ordered_ops():
        if operation.get_type_name() not in _QUANTIZERS:
            continue
        plain = operation.input_value(0)
        while plain.get_node().get_type_name() in _QUANTIZERS:
            plain = plain.get_node().input_value(0)
        for reader in operation.output(0).get_target_inputs():
            node = reader.get_node()
            table = node.get_type_name() == "Gather" and _is_constant(plain.get_node())
            layers = frozenset({node.get_friendly_name()}) if table else _computing(node)
            yield _Edge(reader, operation.output(0), plain, layers)


def _is_constant(node: Any) -> bool:
    """Return whether a value is stored; a Gather from it is an embedding, which is a layer."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _computing(node: Any) -> frozenset[str]:
    """Return the layers that compute with the output of a node: the node itself, if it computes."""
    kind = node.get_type_name()
    if kind in _NOT_COMPUTING:
        return frozenset()
    layers: frozenset[str] = frozenset()
    if kind in _MOVING or kind in _QUANTIZERS:
        for output in node.outputs():
            for reader in output.get_target_inputs():
                layers |= _computing(reader.get_node())
    return layers or frozenset({node.get_friendly_name()})


def measure_sensitivity(
    model: ov.Model,
    samples: Samples,
    inputs: Sequence[Port],
    settings: QuantizationSettings,
    *,
    evaluator: QualityEvaluator | None = None,
    max_rows: int = MAX_ROWS,
    time_limit_s: float | None = None,
    progress: Progress = SILENT,
    properties: Mapping[str, str] | None = None,
) -> Sensitivity:
    """Quantize one layer of a graph at a time and compare the outputs with the graph's own.

    Outputs are compared on :data:`COMPARED_SAMPLES` of the calibration samples, evenly spread; the
    evaluator measures the metric on all validation samples, for each layer. More layers than
    ``max_rows`` are measured in blocks of neighbors. After ``time_limit_s`` no further layer is
    measured. The graph is not changed; ignored layers have no row. ``properties`` are those of the
    compiled graphs, by default of f32, as the graphs state it.

    Raises:
        InputError: The graph cannot be quantized, no layer is quantized, or it does not run.
    """
    started = time.monotonic()
    without_correction = settings.model_copy(
        update={"bias_correction": False, "fast_bias_correction": True}
    )
    feed = CalibrationFeed(samples, inputs, settings.subset_size, progress)
    switches = QuantizerSwitches(ptq.quantize(model, without_correction, feed, stored=False))
    if not switches.layers:
        raise InputError("these settings quantize no layer of the model")
    compared = CalibrationFeed(samples, inputs, COMPARED_SAMPLES, SILENT)
    meter = _create_meter(model, switches, list(compared), evaluator, properties or FLOAT_KERNELS)
    switches.enable_only(tuple(switches.layers))
    all_quantized = meter.measure_noise()
    blocks = _blocks(list(switches.layers), max_rows)
    costs: list[LayerCost] = []
    progress.start("quantizing one layer at a time", len(blocks))
    for block in blocks:
        if costs and time_limit_s is not None and time.monotonic() - started >= time_limit_s:
            break
        costs.append(meter.measure(block))
        progress.advance()
    return Sensitivity(
        tuple(sorted(costs, key=lambda cost: -cost.noise)),
        all_quantized,
        evaluator.metric if evaluator else None,
        meter.in_float,
        compared.count,
        tuple(name for block in blocks[len(costs) :] for name in block),
    )


@dataclass(frozen=True, slots=True)
class _Meter:
    """Measures what the enabled quantizers of a graph cost.

    Args:
        data: The inputs of each batch, by index.
        exact: Outputs of the graph without quantizers.
        in_float: The metric without quantizers; None without an evaluator.
        macs: Share of the multiply-adds by layer; None if some are unknown.
        properties: Of the compiled graphs.
    """

    switches: QuantizerSwitches
    data: Sequence[dict[int, Any]]
    exact: FloatOutputs
    evaluator: QualityEvaluator | None
    in_float: float | None
    macs: Mapping[str, float] | None
    properties: Mapping[str, str]

    def measure_noise(self) -> float:
        """Return the noise of the worst output with the enabled quantizers."""
        outputs = run_all(self.switches.model, self.data, self.properties)
        return self.exact.compare(outputs).ratio

    def measure(self, block: tuple[str, ...]) -> LayerCost:
        """Return the cost of a block of layers with all others in float."""
        self.switches.enable_only(block)
        drop = None
        if self.evaluator is not None and self.in_float is not None:
            value = self.evaluator(self.switches.model).value
            drop = quality_loss(self.evaluator.metric, self.in_float, value)
        kinds = dict.fromkeys(self.switches.layers[name] for name in block)
        share = None if self.macs is None else sum(self.macs.get(name, 0.0) for name in block)
        return LayerCost(block, ", ".join(kinds), share, self.measure_noise(), drop)


def _create_meter(
    model: ov.Model,
    switches: QuantizerSwitches,
    data: Sequence[dict[int, Any]],
    evaluator: QualityEvaluator | None,
    properties: Mapping[str, str],
) -> _Meter:
    """Return the meter of a graph, with its outputs and its metric in float."""
    switches.enable_only(())
    exact = FloatOutputs(run_all(switches.model, data, properties))
    in_float = evaluator(switches.model).value if evaluator else None
    return _Meter(
        switches, data, exact, evaluator, in_float, _macs_shares(model, data[0]), properties
    )


def _macs_shares(model: ov.Model, feed: Mapping[int, NDArray[Any]]) -> dict[str, float] | None:
    """Return each layer's share of the multiply-adds; None if some are unknown."""
    static = model.clone()
    try:
        static.reshape({index: list(array.shape) for index, array in feed.items()})
    except RuntimeError:
        return None
    cost = flops.compute_cost(static)
    return {name: f / cost.total for name, f in cost.flops.items()} if cost.total else None


def _blocks(layers: Sequence[str], max_blocks: int) -> list[tuple[str, ...]]:
    """Split the layers into runs of neighbors with sizes that differ by at most one."""
    count = min(max_blocks, len(layers))
    bounds = [index * len(layers) // count for index in range(count + 1)]
    return [tuple(layers[a:b]) for a, b in itertools.pairwise(bounds)]


_MIN_COST = 1e-3
"""Minimum cost of a layer in float, as a share of the multiply-adds: leaving and entering the
quantized part takes time too."""


def order_for_float(costs: Sequence[LayerCost]) -> list[LayerCost]:
    """Return the layers in the order in which leaving them in float pays off, the best first.

    The order is that of noise by multiply-adds: the greedy solution of the knapsack problem
    (Dantzig 1957, "Discrete-variable extremum problems").
    """
    return sorted(costs, key=lambda cost: -cost.noise / (_MIN_COST + (cost.macs_share or 0.0)))
