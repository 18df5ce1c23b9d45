"""Outputs of two runs compared: by output, and by channel group where ranges differ.

Nothing here runs a model.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core import units
from ovtool.core.statistics import Interval, mean_interval

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    Rows = NDArray[Any] | Sequence[NDArray[Any]]
    """Values of each sample, [samples, ...]; a list of arrays if their sizes differ."""

FEW_VALUES = 8
"""With fewer values a sample, the cosine of one sample says little: that of one value is +1 or -1.
"""
RANGE_RATIO = 10.0
"""Channels whose largest values differ by this factor, without a value between, are compared apart.
"""
MAX_GROUPS = 8
MAX_CHANNELS = 4096
_EMPTY = "not compared: no values in any sample"
_ZERO = "not compared: 0 in every sample, on both sides"
_RESAMPLES = 400
_COSINE_DIGITS = 12  # the rest is rounding: equal vectors have the cosine 1
_NEGLIGIBLE = 1e-12  # of the power: a deviation that is rounding only


@dataclass(frozen=True, slots=True)
class OutputQuality:
    """An output, or a group of its channels, compared with the reference; None is unknown.

    Args:
        output: Name of the output.
        channels: Channels of the group, such as ``channels 0-3 of axis 1``; empty for all.
        cosine: See :func:`compare_output`.
        relative_error: RMS difference / RMS deviation of the reference from its mean over the
            samples; over the RMS of the reference, if that does not vary.
        max_abs_difference: Largest absolute difference.
        samples: Number of samples that were compared.
        differing: Number of samples whose size differs from the reference.
        reason: Why nothing was compared; empty otherwise.
        empty: Whether there is nothing to compare: no values, or zeros only on both sides.
    """

    output: str
    channels: str = ""
    cosine: Interval | None = None
    relative_error: float | None = None
    max_abs_difference: float | None = None
    samples: int = 0
    differing: int = 0
    reason: str = ""
    empty: bool = False

    @property
    def rows(self) -> int:
        """Number of samples, compared or of another size."""
        return self.samples + self.differing

    @property
    def differing_pct(self) -> float:
        """Share of the samples with another size than the reference."""
        return 100 * self.differing / self.rows if self.rows else 0.0

    @property
    def name(self) -> str:
        """The output with its channels."""
        return f"{self.output} {self.channels}".rstrip()

    @property
    def text(self) -> str:
        """The name with its figures."""
        if self.reason:
            return f"{self.name}: {self.reason}"
        cosine = units.UNKNOWN if self.cosine is None else units.text(self.cosine.value)
        error = units.UNKNOWN if self.relative_error is None else units.text(self.relative_error)
        return f"{self.name}: cosine {cosine}, relative error {error}"


def read_rows(archive: Mapping[str, Any], index: int) -> Rows:
    """Return the rows of an output from the archive that ``Session.infer`` writes."""
    array: NDArray[Any] = archive[f"arr_{index}"]
    if f"shapes_{index}" not in archive:
        return array
    shapes = archive[f"shapes_{index}"]
    parts = np.split(array, np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1])
    return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]


def join_rows(chunks: Sequence[Rows]) -> Rows:
    """Return the rows of consecutive chunks; an array if all have the same shape."""
    if all(isinstance(chunk, np.ndarray) for chunk in chunks):
        arrays = [np.asarray(chunk) for chunk in chunks]
        if len({array.shape[1:] for array in arrays}) == 1:
            return np.concatenate(arrays)
    rows = [np.asarray(row) for chunk in chunks for row in chunk]
    return np.stack(rows) if len({row.shape for row in rows}) == 1 else rows


def row_shape_text(rows: Rows) -> str:
    """Return the shape of rows as text; ? for sizes that differ."""
    if isinstance(rows, np.ndarray):
        return str(["samples", *rows.shape[1:]]).replace("'", "")
    ranks = {row.ndim for row in rows}
    if len(ranks) > 1:
        return "[samples, ...]"
    sizes = [set(column) for column in zip(*(row.shape for row in rows), strict=True)]
    shown = ["samples", *(str(s.pop()) if len(s) == 1 else "?" for s in sizes)]
    return f"[{', '.join(shown)}]"


def compare_output(
    name: str, rows: Rows, reference: Rows, *, grouped: bool = True
) -> tuple[OutputQuality, ...]:
    """Compare the rows of an output with those of the reference, in one part or by channel group.

    The cosine of a group with at least :data:`FEW_VALUES` values a sample is the mean over the
    samples of the cosine between both; 1 if both are 0, 0 if one is.  With fewer values, it is the
    cosine over all samples of the deviations from the mean of the reference, value by value.  A
    sample of another size than the reference counts as 0, and has no error.  A figure is None if a
    value is not finite.  Empty samples are not compared.
    """
    if len(rows) != len(reference):
        reason = f"not comparable: {len(rows)} and {len(reference)} arrays, not one a sample"
        return (OutputQuality(name, reason=reason),)
    arrays = isinstance(rows, np.ndarray) and isinstance(reference, np.ndarray)
    if not arrays or rows.shape != reference.shape:  # type: ignore[union-attr]
        return (_compare_ragged(name, rows, reference),)
    a, b = np.asarray(rows), np.asarray(reference)
    if not a.size:
        return (OutputQuality(name, reason=_EMPTY, empty=True),)
    return tuple(_compare_group(name, *group) for group in _groups(a, b, grouped))


def _compare_ragged(name: str, rows: Rows, reference: Rows) -> OutputQuality:
    """Compare rows whose sizes differ, sample by sample."""
    pairs = [(np.asarray(a), np.asarray(b)) for a, b in zip(rows, reference, strict=True)]
    differing = sum(a.shape != b.shape for a, b in pairs)
    same = [(a.reshape(-1), b.reshape(-1)) for a, b in pairs if a.shape == b.shape and a.size]
    if not same:
        if not differing:
            return OutputQuality(name, reason=_EMPTY, empty=True)
        reason = f"not comparable: another size in {differing} of {len(pairs)} samples"
        return OutputQuality(name, differing=differing, reason=reason)
    cosines = [cosine(*map(_floats, pair)) for pair in same] + [0.0] * differing
    flat = [_floats(np.concatenate(side)) for side in zip(*same, strict=True)]
    power = float(flat[1] @ flat[1])
    with np.errstate(invalid="ignore", over="ignore"):
        error = _ratio(float(((flat[0] - flat[1]) ** 2).sum()), power)
        largest = float(np.abs(flat[0] - flat[1]).max())
    return OutputQuality(
        name,
        cosine=mean_interval(cosines) if np.isfinite(cosines).all() else None,
        relative_error=error,
        max_abs_difference=largest if math.isfinite(largest) else None,
        samples=len(same),
        differing=differing,
    )


def _compare_group(
    name: str, channels: str, rows: NDArray[Any], reference: NDArray[Any]
) -> OutputQuality:
    """Compare [samples, ...] with the reference; memory is that of a few samples."""
    count = len(rows)
    if not all(np.isfinite(_floats(row)).all() for side in (rows, reference) for row in side):
        return OutputQuality(name, channels, samples=count)
    # Squares of very large or very small values are out of range.
    scale = max(_largest(row) for row in reference)
    scale = scale if scale > np.finfo(float).tiny else 1.0
    mean = sum((_floats(row) / scale for row in reference), np.zeros(reference[0].size)) / count
    cosines, largest, error, spread, power = [], 0.0, 0.0, 0.0, 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        for pair in zip(rows, reference, strict=True):
            a, b = map(_floats, pair)
            cosines.append(cosine(a, b))
            largest = max(largest, float(np.abs(a - b).max()))
            error += float(((a / scale - b / scale) ** 2).sum())
            spread += float(((b / scale - mean) ** 2).sum())
            power += float(((b / scale) ** 2).sum())
    varies = count > 1 and spread > _NEGLIGIBLE * power
    if power == 0 and error == 0:
        return OutputQuality(name, channels, samples=count, reason=_ZERO, empty=True)
    figure = mean_interval(cosines)
    if mean.size < FEW_VALUES and varies and math.isfinite(error):
        figure = _cosine_of_deviations(rows, reference, scale, mean)
    return OutputQuality(
        name,
        channels,
        figure,
        _ratio(error, spread if varies else power),
        largest if math.isfinite(largest) else None,
        count,
    )


def _cosine_of_deviations(
    rows: NDArray[Any], reference: NDArray[Any], scale: float, mean: NDArray[np.float64]
) -> Interval:
    """Return the cosine over all samples of the deviations from ``mean``, with its interval.

    The interval is the percentile bootstrap over samples (Efron and Tibshirani 1993, chapter 13).
    """
    count = len(rows)
    a, b = (_floats(x).reshape(count, -1) / scale - mean for x in (rows, reference))
    a, b = (x / max(float(np.abs(x).max()), np.finfo(float).tiny) for x in (a, b))
    products = np.array([(a * b).sum(1), (a * a).sum(1), (b * b).sum(1)])
    drawn = np.random.default_rng(0).integers(0, count, (_RESAMPLES, count))
    value = _normalized(products.sum(1, keepdims=True))[0]
    low, high = np.quantile(_normalized(products[:, drawn].sum(-1)), [0.025, 0.975])
    return Interval(float(value), min(float(low), value), max(float(high), value))


def _normalized(products: NDArray[np.float64]) -> NDArray[np.float64]:
    dot, first, second = products
    lengths = np.sqrt(first) * np.sqrt(second)
    cosines = np.divide(dot, lengths, out=np.zeros_like(dot), where=lengths > 0)
    return np.asarray(np.clip(cosines, -1.0, 1.0)).round(_COSINE_DIGITS)


def _groups(
    rows: NDArray[Any], reference: NDArray[Any], grouped: bool
) -> Iterator[tuple[str, NDArray[Any], NDArray[Any]]]:
    axis, groups = find_channel_groups(reference) if grouped else (0, [])
    if len(groups) < 2:
        yield "", rows, reference
        return
    for group in groups:
        yield (
            channels_text(group, axis),
            np.take(rows, group, axis),
            np.take(reference, group, axis),
        )


def find_channel_groups(values: NDArray[Any]) -> tuple[int, list[list[int]]]:
    """Return the axis of [samples, ...] whose channels have different ranges, and their groups.

    The range of a channel is its largest absolute value over all samples.  Two groups have ranges
    that differ by :data:`RANGE_RATIO` or more.  Channels with values from 0 to 1 (shares, scores,
    probabilities) have the range 1; channels of zeros belong to the group of the smallest range.
    The axis is the one with the largest ratio.  One group, or none, if there is no such axis.
    """
    best: tuple[float, int, list[list[int]]] = (0.0, 1, [])
    if values.dtype.kind not in "iuf" or values.ndim < 2:
        return 1, []
    for axis in range(1, values.ndim):
        if 2 <= values.shape[axis] <= MAX_CHANNELS:
            ratio, groups = _split_channels(values, axis)
            if 1 < len(groups) <= MAX_GROUPS and ratio > best[0]:
                best = (ratio, axis, groups)
    return best[1], best[2]


def _split_channels(values: NDArray[Any], axis: int) -> tuple[float, list[list[int]]]:
    others = tuple(i for i in range(values.ndim) if i != axis)
    low, high = (_floats(f(values, axis=others), flat=False) for f in (np.min, np.max))
    ranges = np.maximum(np.abs(low), np.abs(high))
    if not np.isfinite(ranges).all() or not ranges.any():
        return 0.0, []
    ranges = np.where((low >= 0) & (high <= 1) & (high > 0), 1.0, ranges)
    ranges = np.where(ranges > 0, ranges, ranges[ranges > 0].min())
    order = np.argsort(ranges, kind="stable")
    with np.errstate(over="ignore"):
        ratios = ranges[order][1:] / ranges[order][:-1]
    cuts = np.flatnonzero(ratios >= RANGE_RATIO) + 1
    groups = [sorted(part.tolist()) for part in np.split(order, cuts)]
    return float(ratios.max()), sorted(groups)


def channels_text(channels: Sequence[int], axis: int) -> str:
    """Return channels as text.

    >>> channels_text([0, 1, 2, 3, 7], 1)
    'channels 0-3,7 of axis 1'
    """
    return f"channels {_ranges(channels)} of axis {axis}"


def _ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text: 0-3,7."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][-1] + 1:
            parts[-1].append(number)
        else:
            parts.append([number])
    shown = [f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts]
    return units.listing(shown, 6, ",")


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Return the cosine of two vectors; 1 if both are 0, 0 if one is, NaN if one is not finite."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return math.nan
    # Scale first: squares of very large or small outputs are out of range.
    a, b = (x / top if (top := np.abs(x).max(initial=0.0)) else x for x in (a, b))
    lengths = math.sqrt(a @ a) * math.sqrt(b @ b)
    if lengths == 0:
        return 1.0 if not a.any() and not b.any() else 0.0
    return round(float(np.clip(a @ b / lengths, -1.0, 1.0)), _COSINE_DIGITS)


def _floats(values: NDArray[Any], *, flat: bool = True) -> NDArray[np.float64]:
    array = np.asarray(values).astype(np.float64)
    return array.reshape(-1) if flat else array


def _largest(row: NDArray[Any]) -> float:
    return float(np.abs(_floats(row)).max(initial=0.0))


def _ratio(error: float, power: float) -> float | None:
    """Return the root of error / power; 0 without an error, None if it is not a finite number."""
    if error == 0:
        return 0.0
    ratio = math.sqrt(error / power) if power > 0 and math.isfinite(error) else math.inf
    return ratio if math.isfinite(ratio) else None
