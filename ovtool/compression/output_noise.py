"""The noise of quantized outputs: its power over that of the outputs in float.

A tensor may hold quantities of different ranges, such as boxes in pixels beside scores from 0 to 1.
Noise that ruins the scores is small beside the boxes, so each group of channels counts by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.compression.calibration_rules import judging_properties
from ovtool.compression.nncf_adapter import CalibrationFeed
from ovtool.core.progress import SILENT
from ovtool.evaluation.outputs import channels_text, find_channel_groups
from ovtool.graph.reference_run import ReferenceModel

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import openvino as ov
    from numpy.typing import NDArray

    from ovtool.compression.method import MethodContext
    from ovtool.datasets.samples import Samples

    Outputs = list[NDArray[Any]]
    """All outputs of one request."""
    Powers = NDArray[np.float64]
    """Power of the error and of the signal, [requests, 2]."""

_CHECKED = 4  # samples to judge a single quantization on
_MAX_SQNR_DB = 999.0
_LARGEST_DB = 150.0  # a rounding of 24 bits has 144 dB
_NEGLIGIBLE = 1e-12  # of the power: a variation that is rounding only


@dataclass(frozen=True, slots=True)
class Noise:
    """The noise of the worst output, or of the worst group of its channels.

    Args:
        ratio: Power of the error over the power of the signal.
        output: Position of the output, from 0.
        channels: Channels of the group, such as ``channels 4-6 of axis 1``; empty for all.
        requests_db: Signal-to-noise ratio of each request, of its worst output or group.
    """

    ratio: float
    output: int
    channels: str = ""
    requests_db: tuple[float, ...] = ()

    @property
    def sqnr_db(self) -> float:
        """Signal-to-quantization-noise ratio, in dB, lower is worse; infinite without noise."""
        return sqnr_db(self.ratio)


def sqnr_db(noise: float) -> float:
    """Return the signal-to-noise ratio of a relative noise power, in dB.

    >>> sqnr_db(0.01), sqnr_db(0.0), sqnr_db(float("inf"))
    (20.0, inf, -inf)
    """
    if noise == 0:
        return math.inf
    return -math.inf if math.isinf(noise) else -10 * math.log10(noise)


@dataclass(frozen=True, slots=True)
class Gain:
    """Mean gain of the signal-to-noise ratio, in dB, and its standard error.

    The error is NaN for a single request.
    """

    mean_db: float
    error_db: float


def compare_noise(before: Sequence[float], after: Sequence[float]) -> Gain:
    """Return the gain from the ratios ``before`` to those ``after``, paired by request.

    A pooled ratio is that of the few requests with the most noise. Decibels of each request weigh
    all alike, and pairs cancel what makes requests differ. Requests with infinite noise decide
    first: the gain is infinite where ``after`` has fewer, minus infinity where it has more.

    Raises:
        ValueError: The numbers of requests differ.
    """
    pairs = list(zip(before, after, strict=True))
    broken = sum(a == -math.inf for a, _ in pairs) - sum(b == -math.inf for _, b in pairs)
    if broken:
        return Gain(math.copysign(math.inf, broken), 0.0)
    gains = np.array([limit_db(b) - limit_db(a) for a, b in pairs])
    error = gains.std(ddof=1) / math.sqrt(gains.size) if gains.size > 1 else math.nan
    return Gain(float(gains.mean()), float(error))


def limit_db(ratio_db: float) -> float:
    """Return a ratio within those that outputs in f32 show."""
    return min(max(ratio_db, -_LARGEST_DB), _LARGEST_DB)


def relative_noise(in_float: Sequence[NDArray[Any]], quantized: Sequence[NDArray[Any]]) -> float:
    """Return the power of the difference over the power of the float outputs, over all batches.

    Values that are not finite in float are left out. Infinite where other quantized outputs are
    not finite, where sizes differ, or where only the float outputs are zero.
    """
    error, signal = _measure_powers(in_float, quantized).sum(0).tolist()
    return _divide(error, signal)


def _measure_powers(exact: Sequence[NDArray[Any]], rounded: Sequence[NDArray[Any]]) -> Powers:
    """Return the power of the difference and of the float output of each request."""
    return np.array([_measure_power(a, b) for a, b in zip(exact, rounded, strict=True)], float)


def _measure_power(exact: NDArray[Any], rounded: NDArray[Any]) -> tuple[float, float]:
    if exact.shape != rounded.shape:
        return math.inf, 0.0
    known = np.isfinite(exact)
    a, b = exact[known].astype(np.float64), rounded[known].astype(np.float64)
    if not np.isfinite(b).all():
        return math.inf, 0.0
    return float((b - a) @ (b - a)), float(a @ a)


def _divide(error: float, signal: float) -> float:
    if error == 0:
        return 0.0
    return error / signal if signal else math.inf


@dataclass(frozen=True, slots=True)
class _Group:
    """Channels of an output with ranges of their own; ``variation`` is the power of the signal."""

    axis: int
    channels: list[int]
    variation: float


class FloatOutputs:
    """The outputs of a graph in float for some requests, which those of others are compared with.

    The signal of a whole output is its power. That of a group of channels, as
    :func:`~ovtool.evaluation.outputs.find_channel_groups` finds them, is its variation around the
    mean of each channel: scores that are all the same tell nothing. Outputs without floating-point
    values are not compared.
    """

    def __init__(self, rows: Sequence[Outputs]) -> None:
        self._columns = {
            index: [row[index] for row in rows]
            for index, values in enumerate(rows[0])
            if values.dtype.kind == "f"
        }
        self._groups = {index: _find_groups(column) for index, column in self._columns.items()}

    @property
    def known(self) -> bool:
        """Whether an output has floating-point values, which noise is a ratio of."""
        return bool(self._columns)

    def compare(self, rows: Sequence[Outputs]) -> Noise:
        """Return the worst noise of the outputs of other graphs for the same requests."""
        parts = [
            part
            for index, column in self._columns.items()
            for part in self._compare(index, column, [row[index] for row in rows])
        ]
        worst = max((noise for noise, _ in parts), key=lambda noise: noise.ratio)
        by_request = np.max([_request_ratios(powers) for _, powers in parts], axis=0)
        return replace(worst, requests_db=tuple(sqnr_db(ratio) for ratio in by_request.tolist()))

    def _compare(self, index: int, exact: Outputs, column: Outputs) -> list[tuple[Noise, Powers]]:
        """Return the noise of an output, or of each group of its channels, with its powers."""
        groups = self._groups[index]
        same = all(a.shape == b.shape for a, b in zip(exact, column, strict=True))
        if not groups or not same:
            powers = _measure_powers(exact, column)
            return [(Noise(_divide(*powers.sum(0).tolist()), index), powers)]
        parts = []
        for group in groups:
            difference = _take(exact, group) - _take(column, group)
            with np.errstate(over="ignore"):
                errors = (difference**2).reshape(len(exact), -1).sum(1)
            errors[~np.isfinite(errors)] = math.inf
            powers = np.stack([errors, np.full(len(exact), group.variation / len(exact))], 1)
            noise = Noise(
                _divide(float(errors.sum()), group.variation),
                index,
                channels_text(group.channels, group.axis),
            )
            parts.append((noise, powers))
        return parts


def _request_ratios(powers: Powers) -> NDArray[np.float64]:
    """Return the ratio of the error of each request to its signal.

    A request without signal, such as an empty mask, has that of the mean request.
    """
    errors, signals = powers.T
    mean = signals.mean()
    signals = np.where(signals > _NEGLIGIBLE * mean, signals, mean)
    pairs = zip(errors.tolist(), signals.tolist(), strict=True)
    return np.array([_divide(error, signal) for error, signal in pairs])


def _find_groups(column: Outputs) -> list[_Group]:
    """Return the groups of channels of an output [...] of each request; empty for a single one."""
    if len({values.shape for values in column}) > 1:
        return []
    axis, groups = find_channel_groups(np.stack(column))
    if len(groups) < 2:
        return []
    found = []
    for channels in groups:
        group = _Group(axis - 1, channels, 0.0)  # the first axis is that of the requests
        values = _take(column, group)
        others = tuple(a for a in range(values.ndim) if a != axis)
        power = float((values**2).sum())
        variation = float(((values - values.mean(others, keepdims=True)) ** 2).sum())
        signal = variation if variation > _NEGLIGIBLE * power else power
        found.append(_Group(axis - 1, channels, signal or math.ulp(0.0)))
    return found


def _take(column: Outputs, group: _Group) -> NDArray[np.float64]:
    return np.take(np.stack(column), group.channels, group.axis + 1).astype(np.float64)


class OutputNoise:
    """The noise of graphs' outputs, against those of a graph in float, on a few samples."""

    def __init__(
        self, model: ov.Model, samples: Samples, context: MethodContext[Any], limit: int
    ) -> None:
        feed = CalibrationFeed(samples, context.parent.record.inputs, limit, SILENT)
        self.samples = feed.count
        self._data = list(feed)
        self._properties = judging_properties(context.settings)
        self._exact = FloatOutputs(run_all(model, self._data, self._properties))

    @property
    def known(self) -> bool:
        """Whether an output has floating-point values, which noise is a ratio of."""
        return self._exact.known

    def measure(self, model: ov.Model | ReferenceModel) -> Noise:
        """Return the noise of the worst output.

        A compiled graph is used again if it was compiled as graphs are judged.

        Raises:
            InputError: The graph does not run.
        """
        if isinstance(model, ReferenceModel):
            if model.properties == self._properties:
                return self._exact.compare([model.run(inputs) for inputs in self._data])
            model = model.model
        return self._exact.compare(run_all(model, self._data, self._properties))


def run_all(
    model: ov.Model, data: Sequence[Mapping[int, Any]], properties: Mapping[str, str]
) -> list[Outputs]:
    """Return the outputs of a graph for each request, given its inputs by position.

    Raises:
        InputError: The graph does not run.
    """
    reference = ReferenceModel(model, properties)
    return [reference.run(inputs) for inputs in data]


def measure_noise(
    context: MethodContext[Any], samples: Samples, quantized: ov.Model | ReferenceModel
) -> dict[str, Any] | None:
    """Return the noise of a quantized graph on a few calibration samples; None if unknown.

    ``sqnr_db`` is None without noise.
    """
    measured = OutputNoise(context.model, samples, context, _CHECKED)
    if not measured.known:
        return None
    noise = measured.measure(quantized)
    ratio = max(noise.sqnr_db, -_MAX_SQNR_DB)  # NaN and infinity are infinite noise
    return {
        "sqnr_db": None if math.isinf(ratio) else ratio,
        "output": context.parent.record.outputs[noise.output].name,
        "channels": noise.channels,
        "samples": measured.samples,
    }
