"""Roofline model: the time of each layer from its FLOPs, its bytes and the rates of its device.

A layer takes ``max(FLOPs / peak, bytes / bandwidth) + overhead``, and layers run sequentially
(Williams, Waterman and Patterson 2009, "Roofline: An Insightful Visual Performance Model").  Each
layer has two times:

- the *limit*: with the device's peak in the layer's precision, and the bandwidth of the memory or
  cache that holds its bytes.  A measurement can approach the limit but not fall far below it.
- the *prediction*: with the rate that layers of the same kind and similar size reached during the
  calibration.  Few layers other than large matrix products reach the peak.

This module depends on no model or device: a layer is a :class:`Task`, a device is a
:class:`DeviceRates`.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

from ovtool.core import units
from ovtool.core.statistics import Z975, Interval
from ovtool.core.tabular import Tabular

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.graph.geometry import Geometry
    from ovtool.roofline.surface import Surface

Bound = Literal["compute", "memory", "overhead"]

LANES = 16
"""Vector width in f32 channels (512 bits).  How full the last vector is, is a size of a
convolution; the cost of a partly filled vector is measured, and may be zero."""
VIEW = "view"
"""Kind of a layer that reinterprets its input without copying it."""
MEMORY_KINDS = ("elementwise", "reorder", "pooling", "normalization", "transpose", "reduce")
"""Kinds bound by the bytes they move."""
COMPUTE_KINDS = (
    "stem", "convolution", "pointwise", "depthwise", "grouped", "product", "attention",
)  # fmt: skip
"""Kinds bound by their arithmetic, in calibration order."""
STREAM = "stream"
"""Reading each weight once, as matrix products of one row do."""
_MEMORY_KIND_OF_TYPE = {
    "pooling": "pooling", "adaptivepooling": "pooling",
    "softmax": "normalization", "logsoftmax": "normalization", "mvn": "normalization",
    "normalizel2": "normalization", "normalize": "normalization", "rms": "normalization",
    "rmsnorm": "normalization", "lrn": "normalization", "groupnormalization": "normalization",
    "transpose": "transpose", "permute": "transpose", "reduce": "reduce", "reorder": "reorder",
    "reshape": VIEW, "squeeze": VIEW, "unsqueeze": VIEW, "shapeof": VIEW,
}  # fmt: skip
"""Kind of a layer without arithmetic, by plugin layer type; other types are elementwise: they move
each byte once."""
_SUBSTITUTE_KIND = {"grouped": "convolution", "attention": "product", "stem": "convolution"}
"""Kind to use in place of one without a calibrated rate in a precision."""


@dataclass(frozen=True, slots=True)
class Task:
    """The work of one layer in one inference.

    Args:
        kind: One of :data:`COMPUTE_KINDS` or :data:`MEMORY_KINDS`, or :data:`VIEW`.
        precision: Execution precision; None when unknown.
        flops: Floating-point operations; 0 for a memory kind.
        weight_bytes: Bytes of weights read.
        data_bytes: Bytes of activations read and written.
        geometry: Sizes of the arithmetic; None for a memory kind.
    """

    name: str
    kind: str
    precision: str | None
    flops: int
    weight_bytes: int
    data_bytes: int
    geometry: Geometry | None = None

    @property
    def bytes(self) -> int:
        """Bytes read and written in total."""
        return self.weight_bytes + self.data_bytes

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity in FLOPs per byte; None for a layer without arithmetic."""
        return self.flops / self.bytes if self.flops and self.bytes else None

    @property
    def sizes(self) -> tuple[float, ...]:
        """Coordinates of the layer on the rate surface of its kind."""
        g = self.geometry
        if g is None:
            return (float(self.data_bytes),)
        fill = g.outputs / (LANES * math.ceil(g.outputs / LANES))
        if g.kind == "depthwise":
            return (g.rows, g.outputs, g.kernel, g.stride, fill)
        if g.kind in ("product", "attention"):
            return (g.rows, math.sqrt(g.inputs * g.outputs))
        if g.kind == "pointwise":
            return (g.rows, g.inputs, g.outputs, fill)
        return (g.rows, g.inputs, g.outputs, g.kernel, fill)


def memory_kind(layer_type: str) -> str:
    """Return the kind of a layer without arithmetic.

    >>> memory_kind("Pooling"), memory_kind("Eltwise"), memory_kind("Reshape")
    ('pooling', 'elementwise', 'view')
    """
    return _MEMORY_KIND_OF_TYPE.get(layer_type.lower(), MEMORY_KINDS[0])


@dataclass(frozen=True, slots=True)
class TimeTerms:
    """Terms of a layer's time, in seconds."""

    compute_s: float
    memory_s: float
    overhead_s: float

    @property
    def total_s(self) -> float:
        """``max(compute, memory) + overhead``."""
        return max(self.compute_s, self.memory_s) + self.overhead_s

    @property
    def bound(self) -> Bound:
        """The largest term."""
        terms: tuple[tuple[Bound, float], ...] = (
            ("compute", self.compute_s), ("memory", self.memory_s), ("overhead", self.overhead_s),
        )  # fmt: skip
        return max(terms, key=itemgetter(1))[0]


@dataclass(frozen=True, slots=True)
class DeviceRates:
    """Measured rates and overheads of a device.

    Args:
        peaks: FLOP/s of the fastest matrix product, by precision.
        compute: FLOP/s by kind and precision.
        memory: Bytes per second by kind, as a function of the bytes a layer moves.
        stream: Bytes per second of weights, as a function of the weight bytes of the whole model.
        layer_s: Overhead per layer.
        inference_s: Overhead per inference.
    """

    peaks: Mapping[str, float]
    compute: Mapping[tuple[str, str], Surface]
    memory: Mapping[str, Surface]
    stream: Surface | None
    layer_s: float
    inference_s: float

    def flops_per_s(self, task: Task) -> float | None:
        """Return the FLOP/s that a task's kind reaches; None when it is not calibrated."""
        kind, surface = self._compute_surface(task)
        if surface is None:
            return None
        sizes = task.sizes
        if kind != task.kind and task.geometry is not None:
            g = task.geometry
            product = (g.rows, math.sqrt(g.inputs * g.outputs * g.kernel))
            sizes = product if kind == "product" else (*sizes[:3], g.kernel, sizes[-1])
        return surface.at(sizes)

    def _compute_surface(self, task: Task) -> tuple[str, Surface | None]:
        """Return the calibrated kind that represents a task, and its rates."""
        kind = task.kind
        precision = task.precision or ""
        while (kind, precision) not in self.compute and kind in _SUBSTITUTE_KIND:
            kind = _SUBSTITUTE_KIND[kind]
        return kind, self.compute.get((kind, precision))

    def _memory_surface(self, task: Task) -> Surface | None:
        return self.memory.get(task.kind) or self.memory.get(MEMORY_KINDS[0])

    def prediction_error(self, task: Task, expected: TimeTerms) -> tuple[str, float]:
        """Return which rates a task's predicted time rests on, and their relative error.

        The error is the root mean square in leave-one-out cross-validation; NaN for too few
        measurements.
        """
        kind, computed = self._compute_surface(task)
        if computed is not None and expected.compute_s >= expected.memory_s:
            return f"{kind} {task.precision}", computed.error
        reads_weights = task.weight_bytes > task.data_bytes
        surface = self.stream if reads_weights else self._memory_surface(task)
        return STREAM if reads_weights else task.kind, surface.error if surface else math.nan

    def memory_s(self, task: Task, model_weight_bytes: float) -> float:
        """Return the time of reading and writing a task's bytes; 0 when not calibrated."""
        seconds, surface = 0.0, self._memory_surface(task)
        if self.stream is not None:
            seconds += task.weight_bytes / self.stream.at((max(model_weight_bytes, 1),))
        if surface is not None:
            seconds += task.data_bytes / surface.at((max(task.data_bytes, 1),))
        return seconds


@dataclass(frozen=True, slots=True)
class LayerPrediction:
    """Predicted time and limit of a layer.

    Args:
        limit: Time terms by the device's peak and bandwidth.
        expected: Time terms by the rates of the layer's kind.
        source: Kind of the rates that the prediction rests on.
        error: Root mean square of the relative errors of those rates; NaN when unknown.
    """

    task: Task
    limit: TimeTerms
    expected: TimeTerms
    source: str = ""
    error: float = 0.0

    @property
    def limit_ms(self) -> float:
        """Minimum time by peak and bandwidth alone, without overhead."""
        return 1000 * max(self.limit.compute_s, self.limit.memory_s)

    @property
    def predicted_ms(self) -> float:
        """Predicted time."""
        return 1000 * self.expected.total_s

    @property
    def bound(self) -> Bound:
        """Largest term of the limit."""
        return self.limit.bound


@dataclass(frozen=True, slots=True, repr=False)
class Prediction(Tabular):
    """Predicted time and limit of a model.

    ``unknown`` names the layers without a calibrated precision or kind; ``inference_s`` is the
    overhead per inference.
    """

    layers: tuple[LayerPrediction, ...]
    unknown: tuple[str, ...] = ()
    inference_s: float = 0.0

    def _title(self) -> str:
        if self.latency is None:
            return f"no prediction: {units.count_text(len(self.unknown), 'unknown layer')}"
        latency = units.interval_text(self.latency.value, self.latency.low, self.latency.high)
        return f"predicted latency {latency} ms, not measured"

    def _rows(self) -> list[dict[str, Any]]:
        return [
            asdict(layer.task) | {"predicted_ms": layer.predicted_ms, "limit_ms": layer.limit_ms}
            for layer in self.layers
        ]

    @property
    def latency_ms(self) -> float | None:
        """Predicted latency of one inference; None with an unknown layer."""
        if self.unknown:
            return None
        return sum(layer.predicted_ms for layer in self.layers) + 1000 * self.inference_s

    @property
    def latency(self) -> Interval | None:
        """Predicted latency in ms with its 95% interval; None with an unknown layer.

        Errors of layers that rest on the same rates add linearly, errors of different rates in
        quadrature.  An unknown error counts as 100%.  The interval excludes changes of the
        machine's speed since the calibration.
        """
        value = self.latency_ms
        if value is None:
            return None
        errors: dict[str, float] = {}
        for layer in self.layers:
            error = layer.predicted_ms * (1.0 if math.isnan(layer.error) else layer.error)
            errors[layer.source] = errors.get(layer.source, 0.0) + error
        relative = Z975 * math.hypot(*errors.values()) / value if value else math.nan
        return Interval(value, value / (1 + relative), value * (1 + relative))

    @property
    def limit_ms(self) -> float | None:
        """Minimum time of one inference without overheads; None with an unknown layer."""
        return None if self.unknown else sum(layer.limit_ms for layer in self.layers)

    @property
    def by_bound(self) -> dict[Bound, float]:
        """Predicted milliseconds of the layers, by bound."""
        totals: dict[Bound, float] = {}
        for layer in self.layers:
            totals[layer.bound] = totals.get(layer.bound, 0.0) + layer.predicted_ms
        return totals


def predict_tasks(tasks: Sequence[Task], rates: DeviceRates) -> Prediction:
    """Predict the time of a model from its layers, which run sequentially."""
    weight_bytes = sum(task.weight_bytes for task in tasks)
    layers = [predict_layer(task, rates, weight_bytes) for task in tasks]
    return Prediction(
        tuple(layer for layer in layers if layer is not None),
        tuple(task.name for task, layer in zip(tasks, layers, strict=True) if layer is None),
        rates.inference_s,
    )


def predict_layer(
    task: Task, rates: DeviceRates, model_weight_bytes: float
) -> LayerPrediction | None:
    """Predict the time of a layer; None when its kind or precision is not calibrated.

    Weights are read at the bandwidth for the weights of the whole model: one layer's weights may
    fit a cache, but the other layers evict them between inferences.
    """
    if task.kind == VIEW:
        nothing = TimeTerms(0.0, 0.0, 0.0)
        return LayerPrediction(task, nothing, nothing)
    memory_s = rates.memory_s(task, model_weight_bytes)
    if not task.flops:
        expected = TimeTerms(0.0, memory_s, rates.layer_s)
        return LayerPrediction(task, expected, expected, *rates.prediction_error(task, expected))
    flops_per_s, peak = rates.flops_per_s(task), rates.peaks.get(task.precision or "")
    if flops_per_s is None or peak is None:
        return None
    limit = TimeTerms(task.flops / peak, memory_s, rates.layer_s)
    expected = TimeTerms(task.flops / flops_per_s, memory_s, rates.layer_s)
    return LayerPrediction(task, limit, expected, *rates.prediction_error(task, expected))
