"""What quantizing each layer costs: one layer is quantized at a time, all others stay in float.

This is the sensitivity analysis of Wu et al. 2020, "Integer Quantization for Deep Learning
Inference: Principles and Empirical Evaluation", section 5.1.  The graph is calibrated once; then
only its quantizers are switched, so a layer costs a compilation and a few inferences and no
calibration.  Biases are not corrected here: a correction belongs to the layer that it corrects,
and would shift those that stay in float.  So the figures rank layers; they are no forecast of the
quantized model, whose errors also meet on their way.
"""

from __future__ import annotations

import itertools
import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.compression import ptq
from ovtool.compression.calibration_feed import Feed
from ovtool.core import units
from ovtool.core.errors import InputError
from ovtool.core.progress import SILENT, Progress
from ovtool.graph import flops

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.compression.method import Judge
    from ovtool.compression.ptq import Quantizing
    from ovtool.core.variant import Port
    from ovtool.datasets.samples import Samples

SAMPLES = 32
"""Calibration samples that outputs are compared on."""
MOST = 128
"""Rows of their own; the layers of a deeper network go by blocks of neighbours."""
_QUANTIZERS = frozenset({"FakeQuantize", "FakeConvert"})
# Layers that only move values: a quantizer before them belongs to the layer that computes.
_MOVING = frozenset({
    "Broadcast", "Concat", "Convert", "DepthToSpace", "Gather", "MaxPool", "Pad", "Reshape",
    "ShuffleChannels", "Slice", "SpaceToDepth", "Split", "Squeeze", "StridedSlice", "Tile",
    "Transpose", "Unsqueeze", "VariadicSplit",
})  # fmt: skip
_BESIDE = frozenset({"Result", "ShapeOf"})
_EXACT = {"INFERENCE_PRECISION_HINT": "f32", "EXECUTION_MODE_HINT": "ACCURACY"}


@dataclass(frozen=True, slots=True)
class LayerCost:
    """What quantizing one layer, or a block of neighbours, costs.

    Args:
        layers: Names, in the order of the graph.
        type: Of the layer, or of all of the block's.
        macs_share: Share of the model's multiply-adds, 0 to 1; None where it cannot be told.
        noise: Power of the error of the first output over the power of that output.
        metric_drop: What the metric loses; None without a judge.
    """

    layers: tuple[str, ...]
    type: str
    macs_share: float | None
    noise: float
    metric_drop: float | None = None

    @property
    def name(self) -> str:
        """The layer, or the first and the last of the block."""
        if len(self.layers) == 1:
            return self.layers[0]
        return f"{self.layers[0]} ... {self.layers[-1]} ({len(self.layers)} layers)"

    @property
    def sqnr_db(self) -> float:
        """Signal to quantization noise, in dB, lower is worse; infinite without noise."""
        return sqnr_db(self.noise)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types; what is infinite is None."""
        found: dict[str, Any] = units.finite(
            {"name": self.name, **asdict(self), "sqnr_db": self.sqnr_db}
        )
        return found


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What quantizing costs, layer by layer.

    Args:
        layers: The most sensitive first.
        noise: With all layers quantized, as of one.
        metric: Its name in ``columns.py``; None without a judge.
        in_float: Value of the metric without quantization.
        samples: Calibration samples that outputs were compared on.
        not_reached: Layers that the time did not suffice for.
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


def sqnr_db(noise: float) -> float:
    """Return the signal-to-noise ratio of a relative noise power, in dB.

    >>> sqnr_db(0.01), sqnr_db(0.0), sqnr_db(float("inf"))
    (20.0, inf, -inf)
    """
    if noise == 0:
        return math.inf
    return -math.inf if math.isinf(noise) else -10 * math.log10(noise)


def relative_noise(plain: Sequence[NDArray[Any]], quantized: Sequence[NDArray[Any]]) -> float:
    """Return the power of the difference over the power of the plain outputs, all together.

    Infinite where the quantized outputs are not finite, or the plain ones are zero and these
    are not.
    """
    signal = error = 0.0
    for a, b in zip(plain, quantized, strict=True):
        exact, rounded = a.astype(np.float64).ravel(), b.astype(np.float64).ravel()
        if not np.isfinite(rounded).all():
            return math.inf
        signal += float(exact @ exact)
        error += float((rounded - exact) @ (rounded - exact))
    if error == 0:
        return 0.0
    return error / signal if signal else math.inf


class Switches:
    """A quantized graph, changed in place, whose layers can be quantized or not."""

    def __init__(self, model: ov.Model) -> None:
        self.model = model
        self._edges = list(_edges(model))
        owners = {name for edge in self._edges for name in edge.layers}
        self.layers = {
            operation.get_friendly_name(): operation.get_type_name()
            for operation in model.get_ordered_ops()
            if operation.get_friendly_name() in owners
        }

    def only(self, names: Sequence[str]) -> None:
        """Quantize these layers and no others."""
        for edge in self._edges:
            on = not edge.layers.isdisjoint(names)
            edge.reader.replace_source_output(edge.quantized if on else edge.plain)


@dataclass(frozen=True, slots=True)
class _Edge:
    """Where the graph reads a quantizer: what is read with it and without it, for which layers."""

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
    """Whether a value is stored: what is gathered from it is an embedding, a layer of its own."""
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")


def _computing(node: Any) -> frozenset[str]:
    """Return the layers that compute with what a node passes on: itself, if it computes."""
    kind = node.get_type_name()
    if kind in _BESIDE:
        return frozenset()
    found: frozenset[str] = frozenset()
    if kind in _MOVING or kind in _QUANTIZERS:
        for output in node.outputs():
            for reader in output.get_target_inputs():
                found |= _computing(reader.get_node())
    return found or frozenset({node.get_friendly_name()})


def measure(
    model: ov.Model,
    samples: Samples,
    inputs: Sequence[Port],
    settings: Quantizing,
    *,
    judge: Judge | None = None,
    most: int = MOST,
    time_limit_s: float | None = None,
    progress: Progress = SILENT,
) -> Sensitivity:
    """Quantize one layer of a graph at a time and compare the first output with the graph's own.

    Args:
        model: In floating point; it stays as it is.
        samples: To calibrate on, as many as the settings say, and of those to compare on
            :data:`SAMPLES` from all over.
        inputs: Of the graph.
        settings: How it would be quantized; layers ignored there have no row.
        judge: Takes the metric too, with all validation samples for each layer.
        most: Above so many layers, neighbours are measured together as blocks.
        time_limit_s: Begin no further layer after this long.
        progress: Told of the layers.

    Raises:
        InputError: It cannot be quantized, no layer of it is, or it does not run.
    """
    started = time.monotonic()
    plain = settings.model_copy(update={"bias_correction": False, "fast_bias_correction": True})
    feed = Feed(samples, inputs, settings.subset_size, progress)
    switches = Switches(ptq.quantize(model, plain, feed, stored=False))
    if not switches.layers:
        raise InputError("no layer of the model is quantized with these settings")
    compared = Feed(samples, inputs, SAMPLES, SILENT)
    data = list(compared)
    switches.only(())
    exact = _outputs(switches.model, data)
    in_float = judge(switches.model).value if judge else None
    switches.only(tuple(switches.layers))
    together = relative_noise(exact, _outputs(switches.model, data))
    macs = _macs_shares(model, data[0])
    blocks = _blocks(list(switches.layers), most)
    found: list[LayerCost] = []
    progress.start("quantizing one layer at a time", len(blocks))
    for block in blocks:
        if found and time_limit_s is not None and time.monotonic() - started >= time_limit_s:
            break
        switches.only(block)
        noise = relative_noise(exact, _outputs(switches.model, data))
        drop = in_float - judge(switches.model).value if judge and in_float is not None else None
        kinds = dict.fromkeys(switches.layers[name] for name in block)
        share = None if macs is None else sum(macs.get(name, 0.0) for name in block)
        found.append(LayerCost(block, ", ".join(kinds), share, noise, drop))
        progress.advance()
    return Sensitivity(
        tuple(sorted(found, key=lambda cost: -cost.noise)),
        together,
        judge.metric if judge else None,
        in_float,
        compared.count,
        tuple(name for block in blocks[len(found) :] for name in block),
    )


def _outputs(model: ov.Model, data: Sequence[dict[int, Any]]) -> list[NDArray[Any]]:
    """Return the first output for each batch, computed on the CPU in f32 and what is quantized."""
    import openvino as ov

    try:
        compiled = ov.Core().compile_model(model, "CPU", _EXACT)
        return [np.array(compiled(feed)[0]) for feed in data]
    except RuntimeError as error:
        raise InputError(f"the graph does not run on the CPU: {error}") from error


def _macs_shares(model: ov.Model, feed: Mapping[int, NDArray[Any]]) -> dict[str, float] | None:
    """Return each layer's share of the multiply-adds; None where they cannot all be told."""
    static = model.clone()
    try:
        static.reshape({index: list(array.shape) for index, array in feed.items()})
    except RuntimeError:
        return None
    work = flops.work(static)
    return {name: f / work.total for name, f in work.flops.items()} if work.total else None


def _blocks(layers: Sequence[str], most: int) -> list[tuple[str, ...]]:
    """Return the layers in at most so many runs of neighbours, of sizes that differ by one."""
    count = min(most, len(layers))
    bounds = [place * len(layers) // count for place in range(count + 1)]
    return [tuple(layers[a:b]) for a, b in itertools.pairwise(bounds)]


_LEAST_COST = 1e-3
"""Share of the multiply-adds that any layer in float is taken to cost: leaving and entering the
quantized part takes time too."""


def cheapest(costs: Sequence[LayerCost], share: float) -> tuple[str, ...]:
    """Return few cheap layers that make a share of all noise, as if noise of layers adds up.

    Those with the most noise for their multiply-adds are taken first (the greedy way to fill a
    knapsack, Dantzig 1957), then those that turn out not to be needed are dropped, the dearest
    first.

    Args:
        costs: Of all layers.
        share: Of their noise that is to go, 0 to 1.
    """
    infinite = any(math.isinf(cost.noise) for cost in costs)
    noise = [float(math.isinf(c.noise)) if infinite else c.noise for c in costs]
    price = [_LEAST_COST + (c.macs_share or 0.0) for c in costs]
    goal = share * math.fsum(noise) * (1 - 1e-12)
    taken: list[int] = []
    for place in sorted(range(len(costs)), key=lambda i: -noise[i] / price[i]):
        if math.fsum(noise[i] for i in taken) >= goal:
            break
        taken.append(place)
    for place in sorted(taken, key=lambda i: -price[i]):
        rest = [i for i in taken if i != place]
        if math.fsum(noise[i] for i in rest) >= goal:
            taken = rest
    return tuple(name for i in sorted(taken) for name in costs[i].layers)
