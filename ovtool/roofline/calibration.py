"""Calibration of a device: its measured rates, how they follow from probes, and its file."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from ovtool.core import files, places
from ovtool.core.checksum import add_checksum, verify_checksum
from ovtool.core.errors import InputError
from ovtool.core.fields import Record, invalid_content
from ovtool.core.tabular import Tabular
from ovtool.roofline.model import (
    COMPUTE_KINDS,
    MEMORY_KINDS,
    STREAM,
    DeviceRates,
    Task,
    predict_layer,
)
from ovtool.roofline.probes import OVERHEAD, SINK
from ovtool.roofline.surface import Surface

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from ovtool.core.statistics import Interval

FOLDER = "calibration"
NO_RATE = {
    "other-kind": "the device executes it as another kind of layer",
    "mixed-precision": "its layers run in several precisions",
    "overhead-bound": "its target layers take too small a share of its time",
    "unknown-sizes": "the device does not report the sizes of its layers",
}
"""Reasons why a probe gives no rate."""
_MIN_TARGET_SHARE = 0.25
"""Minimum share of a probe's time that its target layers must take."""


class Rate(Record):
    """A rate measured at some sizes, with its 95% interval when known."""

    kind: str
    precision: str
    """Execution precision; ``any`` for a memory kind."""
    sizes: tuple[float, ...] = Field(min_length=1)
    value: float = Field(gt=0, allow_inf_nan=False)
    """FLOP/s, or bytes per second."""
    ci_low: float | None = None
    ci_high: float | None = None
    verdict: str
    """Verdict of the measurement."""


class Peak(Record):
    """FLOP/s of the fastest matrix product in a precision."""

    hint: str
    precision: str
    flops_per_s: float = Field(gt=0, allow_inf_nan=False)
    ci_low: float | None = None
    ci_high: float | None = None
    streams: int | None = None
    verdict: str


class Overhead(Record):
    """An overhead in seconds, with its 95% interval when known."""

    value_s: float = Field(ge=0, allow_inf_nan=False)
    ci_low_s: float | None = None
    ci_high_s: float | None = None


class Calibration(Tabular, Record):
    """Measured rates and overheads of a device in one environment."""

    schema_version: Literal[1] = 1
    environment: str
    """Environment id, as in ``environment.json``."""
    machine: str
    device: str
    full_name: str
    created: str
    layer: Overhead
    inference: Overhead
    peaks: tuple[Peak, ...]
    rates: tuple[Rate, ...]
    left_out: tuple[str, ...] = ()
    """Probes without a result, each with the reason."""

    __repr__ = Tabular.__repr__

    def _title(self) -> str:
        return f"{self.device}, {self.full_name}, {self.summary}"

    def _rows(self) -> list[dict[str, Any]]:
        return [rate.model_dump() for rate in self.rates]

    @property
    def summary(self) -> str:
        """Creation time, and the number of measurements by verdict."""
        counts = Counter(rate.verdict for rate in self.rates).most_common()
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in counts)
        return f"{self.created}, {len(self.rates)} measurements: {verdicts}"

    def device_rates(self) -> DeviceRates:
        """Return the rates that predictions use, under the latency hint."""
        peaks = {p.precision: p.flops_per_s for p in self.peaks if p.hint == "latency"}
        return fit_rates(self.rates, self.layer.value_s, self.inference.value_s, peaks)

    def bandwidths(self) -> dict[str, Rate]:
        """Return the elementwise bandwidth of memory (most bytes) and of the fastest cache."""
        moved = [r for r in self.rates if r.kind == MEMORY_KINDS[0]]
        if not moved:
            return {}
        largest, fastest = max(moved, key=lambda r: r.sizes), max(moved, key=lambda r: r.value)
        return {"memory": largest, "cache": fastest}


def path(environment: str, device: str) -> Path:
    """Return the path of a device's calibration file."""
    name = "".join(c if c.isalnum() or c in ".-" else "_" for c in device)
    return places.user_folder() / FOLDER / environment / f"{name}.json"


def write(calibration: Calibration) -> Path:
    """Write a calibration, replacing an older one."""
    target = path(calibration.environment, calibration.device)
    content = add_checksum(calibration.model_dump_json(indent=1))
    files.write_file(target, lambda path: path.write_bytes(content))
    files.mark_kept(target, "a calibration")
    return target


def read(environment: str, device: str) -> Calibration | None:
    """Return the calibration of a device in an environment; None when there is no file.

    Raises:
        InputError: The file is damaged, or belongs to another version, environment or device.
    """
    source = path(environment, device)
    if not source.is_file():
        return None
    remedy = f"recalibrate: ovtool devices --calibrate --device {device}"
    try:
        content = verify_checksum(source.read_bytes(), f"{source}", remedy)
        calibration = Calibration.model_validate_json(content)
    except ValidationError as error:
        raise invalid_content(source, error, remedy) from error
    if (calibration.environment, calibration.device) != (environment, device):
        raise InputError(
            f"{source} belongs to {calibration.device} in environment {calibration.environment},"
            f" not to {device} in {environment}",
            remedy,
        )
    return calibration


@dataclass(frozen=True, slots=True)
class ProbeMeasurement:
    """A measured probe.

    Args:
        copies: Number of layers of the kind in the probe.
        seconds: Time of one inference, with its interval.
        tasks: Executed layers; empty when the device does not report them.
    """

    name: str
    kind: str
    copies: int
    seconds: Interval
    verdict: str
    tasks: tuple[Task, ...]

    @property
    def targets(self) -> tuple[Task, ...]:
        """The layers of the kind that the probe measures."""
        kind = "product" if self.kind == STREAM else self.kind
        return tuple(
            task for task in self.tasks if task.kind == kind and not task.name.startswith(SINK)
        )


def fit_overheads(measurements: Iterable[ProbeMeasurement]) -> tuple[Overhead, Overhead] | None:
    """Return the overheads per layer and per inference, from chains of tiny layers.

    The overhead per layer is the slope of the time over the number of layers, the overhead per
    inference its intercept.  None when fewer than two chains were measured.
    """
    chains = sorted(
        (m for m in measurements if m.kind == OVERHEAD), key=lambda m: len(m.tasks) or m.copies
    )
    if len(chains) < 2:
        return None
    short, long = chains[0], chains[-1]
    few, many = (len(p.tasks) or p.copies for p in (short, long))
    steps = many - few
    slope = max(0.0, (long.seconds.value - short.seconds.value) / steps)
    slope_half = math.hypot(_half_width(long.seconds), _half_width(short.seconds)) / steps
    intercept = max(0.0, short.seconds.value - few * slope)
    intercept_half = math.hypot(_half_width(short.seconds), few * slope_half)
    return _overhead(slope, slope_half), _overhead(intercept, intercept_half)


def _half_width(interval: Interval) -> float:
    return (interval.high - interval.low) / 2


def _overhead(value: float, half: float) -> Overhead:
    if math.isnan(half):
        return Overhead(value_s=value)
    return Overhead(value_s=value, ci_low_s=max(0.0, value - half), ci_high_s=value + half)


def compute_rates(
    measurements: Sequence[ProbeMeasurement], layer_s: float, inference_s: float
) -> tuple[tuple[Rate, ...], tuple[str, ...]]:
    """Return the rate of each probe, and the probes without a rate, with the reason.

    Kinds are evaluated in order.  The predicted time of a probe's other layers, by the rates of
    earlier kinds, is subtracted from its time; the rest is the time of its target layers.
    """
    rates: list[Rate] = []
    left_out: list[str] = []
    for kind in (*MEMORY_KINDS, STREAM, *COMPUTE_KINDS):
        known = fit_rates(rates, layer_s, inference_s)
        for measurement in (m for m in measurements if m.kind == kind):
            rate = _rate(measurement, known)
            if isinstance(rate, str):
                left_out.append(f"{measurement.name}: {rate}")
            else:
                rates.append(rate)
    return tuple(rates), tuple(left_out)


def _rate(measurement: ProbeMeasurement, known: DeviceRates) -> Rate | str:
    """Return the rate of a probe's target layers, or the reason why it is unknown."""
    kind, seconds, targets = measurement.kind, measurement.seconds, measurement.targets
    if not targets:
        return NO_RATE["other-kind"]
    precisions = {task.precision for task in targets}
    if kind in COMPUTE_KINDS and len(precisions) > 1:
        return NO_RATE["mixed-precision"]
    others_s = sum(_known_s(task, known) for task in measurement.tasks if task not in targets)
    other_s = known.inference_s + others_s + known.layer_s * len(targets)
    target_s = seconds.value - other_s
    if target_s < _MIN_TARGET_SHARE * seconds.value:
        return NO_RATE["overhead-bound"]
    middle = targets[len(targets) // 2]
    if kind in COMPUTE_KINDS:
        amount, sizes = sum(task.flops for task in targets), middle.sizes
    elif kind == STREAM:
        amount = sum(task.weight_bytes for task in targets)
        sizes = (float(amount),)
    else:
        amount, sizes = sum(task.data_bytes for task in targets), middle.sizes
    if not amount:
        return NO_RATE["unknown-sizes"]
    low_s, high_s = seconds.low - other_s, seconds.high - other_s
    interval_known = seconds.known and low_s > 0
    return Rate(
        kind=kind,
        precision=(middle.precision or "unknown") if kind in COMPUTE_KINDS else "any",
        sizes=sizes,
        value=amount / target_s,
        ci_low=amount / high_s if interval_known else None,
        ci_high=amount / low_s if interval_known else None,
        verdict=measurement.verdict,
    )


def _known_s(task: Task, known: DeviceRates) -> float:
    """Return a layer's predicted time by the rates known so far, or the overhead."""
    if task.name.startswith(SINK):
        return known.layer_s
    layer = predict_layer(task, known, task.weight_bytes)
    return known.layer_s if layer is None else layer.expected.total_s


def fit_rates(
    rates: Sequence[Rate],
    layer_s: float,
    inference_s: float,
    peaks: Mapping[str, float] | None = None,
) -> DeviceRates:
    """Fit a surface to the rates of each kind and precision.

    ``layer_s`` and ``inference_s`` are the overheads, ``peaks`` the FLOP/s of the fastest network
    of matrix products, by precision.
    """
    groups: dict[tuple[str, str], list[Rate]] = {}
    for rate in rates:
        groups.setdefault((rate.kind, rate.precision), []).append(rate)
    surfaces = {
        key: Surface.fit([r.sizes for r in rows], [r.value for r in rows])
        for key, rows in groups.items()
    }
    highest = dict(peaks or {})
    for rate in rates:
        if rate.kind == "product":  # a peak includes overheads, a rate does not
            highest[rate.precision] = max(rate.value, highest.get(rate.precision, 0.0))
    return DeviceRates(
        peaks=highest,
        compute={key: s for key, s in surfaces.items() if key[0] in COMPUTE_KINDS},
        memory={key[0]: s for key, s in surfaces.items() if key[0] in MEMORY_KINDS},
        stream=surfaces.get((STREAM, "any")),
        layer_s=layer_s,
        inference_s=inference_s,
    )
