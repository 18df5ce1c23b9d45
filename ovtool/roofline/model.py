"""How fast a model can be: each layer against what its device was measured to reach.

A layer takes ``max(FLOPs / peak, bytes / bandwidth) + overhead``, and layers run one after another
(Williams, Waterman and Patterson 2009, "Roofline: An Insightful Visual Performance Model").  Two
things are told of each:

- the *limit*: with the device's peak in the layer's precision, and the bandwidth of the memory or
  cache that its bytes fit in.  What is measured may come near it and not much below.
- the *prediction*: with what layers of the same kind and like sizes reached when the device was
  calibrated, since hardly any layer but a large matrix product reaches the peak.

Nothing here knows of models or devices: a layer comes as a :class:`Task`, a device as
:class:`Roofs`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ovtool.core.statistics import Z975, Interval

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.graph.geometry import Geometry
    from ovtool.roofline.surface import Surface

Bound = Literal["compute", "memory", "overhead"]

LANES = 16
"""Channels in whose multiples convolutions are told how full their last vector is: f32 values of
512 bits.  What an unfilled one costs is measured, and may be nothing."""
VIEW = "view"
"""The kind of a layer that only looks at data in another way."""
MOVING = ("elementwise", "reorder", "pooling", "normalization", "transpose", "reduce")
"""Kinds whose time is that of the bytes they move."""
COMPUTING = (
    "stem", "convolution", "pointwise", "depthwise", "grouped", "product", "attention",
)  # fmt: skip
"""Kinds whose time is that of their arithmetic, in the order in which they are calibrated."""
STREAM = "stream"
"""The reading of weights, once each, by products of one row."""
_MOVING_TYPES = {
    "pooling": "pooling", "adaptivepooling": "pooling",
    "softmax": "normalization", "logsoftmax": "normalization", "mvn": "normalization",
    "normalizel2": "normalization", "normalize": "normalization", "rms": "normalization",
    "rmsnorm": "normalization", "lrn": "normalization", "groupnormalization": "normalization",
    "transpose": "transpose", "permute": "transpose", "reduce": "reduce", "reorder": "reorder",
    "reshape": VIEW, "squeeze": VIEW, "unsqueeze": VIEW, "shapeof": VIEW,
}  # fmt: skip
"""Kinds of layers without arithmetic, by the type that plugins give them; others are elementwise,
that is they move each byte once."""
_LIKE = {"grouped": "convolution", "attention": "product", "stem": "convolution"}
"""Which kind stands for one that was not calibrated in a precision."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a layer has to do in one inference.

    Args:
        name: Of the layer.
        kind: One of :data:`COMPUTING` or :data:`MOVING`, or :data:`VIEW`.
        precision: What it computes in; None where that is not told.
        flops: Its arithmetic; 0 for a kind that only moves data.
        weight_bytes: Weights that it reads.
        data_bytes: Activations that it reads and writes.
        geometry: What its arithmetic looks like; None for a kind that only moves data.
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
        """All that it reads and writes."""
        return self.weight_bytes + self.data_bytes

    @property
    def intensity(self) -> float | None:
        """FLOPs for each byte; None for a layer without arithmetic."""
        return self.flops / self.bytes if self.flops and self.bytes else None

    @property
    def sizes(self) -> tuple[float, ...]:
        """What its speed depends on, as the surfaces of its kind have it."""
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


def moving_kind(layer_type: str) -> str:
    """Return the kind of a layer without arithmetic.

    >>> moving_kind("Pooling"), moving_kind("Eltwise"), moving_kind("Reshape")
    ('pooling', 'elementwise', 'view')
    """
    return _MOVING_TYPES.get(layer_type.lower(), MOVING[0])


@dataclass(frozen=True, slots=True)
class Terms:
    """The parts of a layer's time, in seconds."""

    compute_s: float
    memory_s: float
    overhead_s: float

    @property
    def total_s(self) -> float:
        """``max(compute, memory) + overhead``."""
        return max(self.compute_s, self.memory_s) + self.overhead_s

    @property
    def bound(self) -> Bound:
        """Which of the three is the largest; memory and compute before the overhead."""
        parts: dict[Bound, float] = {
            "compute": self.compute_s,
            "memory": self.memory_s,
            "overhead": self.overhead_s,
        }
        return max(parts, key=lambda part: parts[part])


def terms(
    flops: float, moved_bytes: float, peak: float, bandwidth: float, overhead_s: float = 0.0
) -> Terms:
    """Return the parts of a layer's time.

    Args:
        flops: Its arithmetic.
        moved_bytes: What it reads and writes.
        peak: FLOP/s.
        bandwidth: Bytes a second.
        overhead_s: What a layer takes however little it does.

    Raises:
        ValueError: A count is negative, or a rate is not positive.
    """
    if flops < 0 or moved_bytes < 0 or overhead_s < 0:
        raise ValueError("FLOPs, bytes and overhead are not negative")
    if not (peak > 0 and bandwidth > 0):
        raise ValueError("a peak and a bandwidth are above 0")
    return Terms(flops / peak, moved_bytes / bandwidth, overhead_s)


@dataclass(frozen=True, slots=True)
class Roofs:
    """What a device was measured to reach.

    Args:
        peaks: FLOP/s of the fastest matrix product, by precision.
        computing: FLOP/s by kind and precision.
        moving: Bytes a second by kind, at the bytes that a layer moves.
        stream: Bytes a second of weights, at the bytes of all of a model's weights.
        layer_s: Overhead of a layer.
        inference_s: Overhead of an inference.
    """

    peaks: Mapping[str, float]
    computing: Mapping[tuple[str, str], Surface]
    moving: Mapping[str, Surface]
    stream: Surface | None
    layer_s: float
    inference_s: float

    def speed(self, task: Task) -> float | None:
        """Return the FLOP/s that a task's kind reaches; None where that was not calibrated."""
        found = self._speeds(task)
        if found is None:
            return None
        kind, surface = found
        sizes = task.sizes
        if kind != task.kind and task.geometry is not None:
            g = task.geometry
            product = (g.rows, math.sqrt(g.inputs * g.outputs * g.kernel))
            sizes = product if kind == "product" else (*sizes[:3], g.kernel, sizes[-1])
        return surface.at(sizes)

    def _speeds(self, task: Task) -> tuple[str, Surface] | None:
        """Return the kind that tells of a task's speed, and its speeds."""
        kind = task.kind
        surface = self.computing.get((kind, task.precision or ""))
        while surface is None and kind in _LIKE:
            kind = _LIKE[kind]
            surface = self.computing.get((kind, task.precision or ""))
        return None if surface is None else (kind, surface)

    def _moves(self, task: Task) -> Surface | None:
        return self.moving.get(task.kind) or self.moving.get(MOVING[0])

    def doubt(self, task: Task, expected: Terms) -> tuple[str, float]:
        """Return what the time expected of a task was told by, and how far that errs.

        Returns:
            The measurements' kind, and the root mean square of their relative errors when each is
            predicted from the others; NaN where there are too few.
        """
        computed = self._speeds(task)
        if computed is not None and expected.compute_s >= expected.memory_s:
            return f"{computed[0]} {task.precision}", computed[1].error
        weights = task.weight_bytes > task.data_bytes
        surface = self.stream if weights else self._moves(task)
        kind = STREAM if weights else task.kind
        return kind, math.nan if surface is None else surface.error

    def bandwidth(self, task: Task) -> float:
        """Return the bytes a second at which a task's data moves; infinite where not calibrated."""
        surface = self._moves(task)
        return math.inf if surface is None else surface.at((max(task.data_bytes, 1),))

    def streaming(self, model_weight_bytes: float) -> float:
        """Return the bytes a second at which a model's weights are read."""
        return math.inf if self.stream is None else self.stream.at((max(model_weight_bytes, 1),))


@dataclass(frozen=True, slots=True)
class Predicted:
    """What is expected of a layer.

    Args:
        task: The layer.
        limit: The parts of its time by the device's peak and bandwidth.
        expected: The same by what its kind reaches.
        told_by: Which measurements that comes from.
        error: How far these err: the root mean square of relative errors; NaN where not known.
    """

    task: Task
    limit: Terms
    expected: Terms
    told_by: str = ""
    error: float = 0.0

    @property
    def limit_ms(self) -> float:
        """The least time, by peak and bandwidth alone."""
        return 1000 * max(self.limit.compute_s, self.limit.memory_s)

    @property
    def predicted_ms(self) -> float:
        """The expected time."""
        return 1000 * self.expected.total_s

    @property
    def bound(self) -> Bound:
        """What the limit comes from."""
        return self.limit.bound


@dataclass(frozen=True, slots=True)
class Prediction:
    """What is expected of a model.

    Args:
        layers: Those that something is expected of.
        unknown: Names of those whose precision or kind was not calibrated.
        inference_s: Overhead of an inference.
    """

    layers: tuple[Predicted, ...]
    unknown: tuple[str, ...] = ()
    inference_s: float = 0.0

    @property
    def by_name(self) -> dict[str, Predicted]:
        """What is expected of each layer."""
        return {layer.task.name: layer for layer in self.layers}

    @property
    def latency_ms(self) -> float | None:
        """Expected time of one inference; None where a layer is unknown."""
        if self.unknown:
            return None
        return sum(layer.predicted_ms for layer in self.layers) + 1000 * self.inference_s

    @property
    def latency(self) -> Interval | None:
        """The expected time in ms with its 95 % interval; None where a layer is unknown.

        The layers that measurements of one kind tell of err together, those of different kinds on
        their own; where too few measurements do not tell how far they err, it is as much as they
        say.  What the machine's speed does between the calibration and now is not in it.
        """
        value = self.latency_ms
        if value is None:
            return None
        errors: dict[str, float] = {}
        for one in self.layers:
            error = one.predicted_ms * (1.0 if math.isnan(one.error) else one.error)
            errors[one.told_by] = errors.get(one.told_by, 0.0) + error
        share = Z975 * math.hypot(*errors.values()) / value if value else math.nan
        return Interval(value, value / (1 + share), value * (1 + share))

    @property
    def limit_ms(self) -> float | None:
        """Least time of one inference, without any overhead; None where a layer is unknown."""
        return None if self.unknown else sum(layer.limit_ms for layer in self.layers)

    @property
    def by_bound(self) -> dict[Bound, float]:
        """Expected milliseconds of the layers by what they are bound by."""
        found: dict[Bound, float] = {}
        for layer in self.layers:
            found[layer.bound] = found.get(layer.bound, 0.0) + layer.predicted_ms
        return found


def predict(tasks: Sequence[Task], roofs: Roofs) -> Prediction:
    """Return what is expected of a model's layers, which run one after another."""
    weights = sum(task.weight_bytes for task in tasks)
    found = [layer(task, roofs, weights) for task in tasks]
    return Prediction(
        tuple(one for one in found if one is not None),
        tuple(task.name for task, one in zip(tasks, found, strict=True) if one is None),
        roofs.inference_s,
    )


def layer(task: Task, roofs: Roofs, model_weight_bytes: float) -> Predicted | None:
    """Return what is expected of a layer; None where its kind or precision was not calibrated.

    Weights are read at the bandwidth that belongs to all of the model's: those of one layer may
    fit a cache, but the other layers' have passed through it since.

    Args:
        task: The layer.
        roofs: The device.
        model_weight_bytes: Of all layers.
    """
    if task.kind == VIEW:
        nothing = Terms(0.0, 0.0, 0.0)
        return Predicted(task, nothing, nothing)
    memory_s = task.weight_bytes / roofs.streaming(model_weight_bytes)
    memory_s += task.data_bytes / roofs.bandwidth(task)
    if not task.flops:
        expected = Terms(0.0, memory_s, roofs.layer_s)
        return Predicted(task, expected, expected, *roofs.doubt(task, expected))
    speed, peak = roofs.speed(task), roofs.peaks.get(task.precision or "")
    if speed is None or peak is None:
        return None
    limit = Terms(task.flops / peak, memory_s, roofs.layer_s)
    expected = Terms(task.flops / speed, memory_s, roofs.layer_s)
    return Predicted(task, limit, expected, *roofs.doubt(task, expected))
