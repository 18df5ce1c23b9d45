"""A sweep as measured: its plan, its environment and its measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.core.columns import QualityMetric
from ovtool.core.fields import Record
from ovtool.core.statistics import Interval, ratio_unpaired
from ovtool.core.sweep_folder import SweepFolder, Unavailable
from ovtool.results.frame import QUALITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from ovtool.core.measurement import Measurement
    from ovtool.core.sweep_folder import Environment, SweepPlan

_ENDS = ("", "_ci_low", "_ci_high")


@dataclass(frozen=True, slots=True)
class SweepData:
    """The content of a sweep folder."""

    path: Path
    plan: SweepPlan
    environment: Environment
    measurements: tuple[Measurement, ...]
    """Of the trials of the plan; of a trial measured twice, the later one."""
    outdated: int
    """Number of trials in the journal that the current plan does not have."""
    drift: Drift | None = None
    """Change of the speed of a host of a fleet over its work; None without anchors."""

    @property
    def real(self) -> tuple[Measurement, ...]:
        """The measurements of real devices, and estimates."""
        return tuple(m for m in self.measurements if not m.emulated)

    @property
    def excluded(self) -> tuple[Measurement, ...]:
        """The measurements of emulated devices, which are not compared."""
        return tuple(m for m in self.measurements if m.emulated)

    @property
    def name(self) -> str:
        """The name of the sweep in reports."""
        return self.plan.name


class Drift(Record):
    """Throughput of the anchor trial over the work of a host."""

    host: str
    change_pct: float
    """From the first anchor to the last."""
    low_pct: float | None
    high_pct: float | None
    """Ends of the 95% interval of the change; None if unknown."""
    anchors: int
    """Number of anchors."""

    @property
    def text(self) -> str:
        """The change with its interval."""
        if self.low_pct is None or self.high_pct is None:
            return f"{self.change_pct:+.1f}%, interval unknown"
        return f"{self.change_pct:+.1f}% [{self.low_pct:+.1f}, {self.high_pct:+.1f}]"

    @property
    def significant(self) -> bool:
        """Whether the speed of the host changed."""
        known = self.low_pct is not None and self.high_pct is not None
        return known and not self.low_pct <= 0 <= self.high_pct  # type: ignore[operator]


class SweepInfo(Record):
    """What a table needs to know of a sweep besides its rows."""

    name: str
    quality_metric: QualityMetric | None
    quality_reason: str
    """Why this metric decides; empty if quality was not evaluated."""
    unavailable: tuple[Unavailable, ...]
    baselines: tuple[str, ...]
    """Ids of the uncompressed variants."""
    variants: tuple[str, ...]
    """Ids, in the order of the plan."""
    shapes: tuple[str, ...]
    data_shapes: tuple[str, ...]
    planned: int
    """Number of trials of the plan."""
    remaining: int
    """Number of trials not measured yet."""
    outdated: int
    """Number of trials of earlier plans."""
    notes: tuple[tuple[str, str, str], ...]
    """Id, message and remedy of each note of the measurements; the rows hold the evidence."""
    drift: Drift | None = None


def read_sweep(path: str | Path) -> SweepData:
    """Read a sweep folder.

    Raises:
        InputError: The folder is not a sweep, or a file in it is damaged.
    """
    folder = SweepFolder.open(path)
    plan = folder.plan
    planned = {trial.id for trial in plan.trials}
    latest = {measurement.trial.id: measurement for measurement in folder.measurements()}
    measurements = [m for identifier, m in latest.items() if identifier in planned]
    return SweepData(
        path=folder.path,
        plan=plan,
        environment=folder.environment,
        measurements=_with_quality(measurements, latest.values()),
        outdated=len(latest.keys() - planned),
        drift=read_drift(folder),
    )


def read_drift(folder: SweepFolder) -> Drift | None:
    """Return the change from the first anchor to the last of the same trial and machine.

    The two are separate measurements, so the interval is that of an unpaired ratio.
    """
    anchors = [m for m in folder.anchors() if m.figures.get("throughput_fps")]
    same = [m for m in anchors if anchors and m.label == anchors[-1].label]
    if len(same) < 2:
        return None
    first, last = (
        Interval(*(m.figures.get(f"throughput_fps{end}", math.nan) for end in _ENDS))
        for m in (same[0], same[-1])
    )
    ratio = ratio_unpaired(last, first)
    low, high = (100 * (end - 1) if math.isfinite(end) else None for end in (ratio.low, ratio.high))
    return Drift(
        host=folder.environment.host or folder.path.name,
        change_pct=100 * (ratio.value - 1),
        low_pct=low,
        high_pct=high,
        anchors=len(same),
    )


def _with_quality(
    measurements: Sequence[Measurement], all_plans: Iterable[Measurement]
) -> tuple[Measurement, ...]:
    """Return measurements with the quality that only a trial of an earlier plan has.

    Quality is evaluated in one trial of a configuration, and the current plan may not have this
    trial. The samples of a sweep folder are always the same. As usual, one row gets the figures.
    """
    missing = {_evaluated(m): m for m in all_plans if "quality_samples" in m.figures}
    for measurement in measurements:
        if "quality_samples" in measurement.figures:
            missing.pop(_evaluated(measurement), None)
    if not missing:
        return tuple(measurements)
    return tuple(_add_quality(m, missing.pop(_evaluated(m), None)) for m in measurements)


def _add_quality(measurement: Measurement, source: Measurement | None) -> Measurement:
    if source is None:
        return measurement
    quality = {n: value for n, value in source.figures.items() if n in QUALITY}
    return replace(measurement, figures={**measurement.figures, **quality})


def _evaluated(measurement: Measurement) -> tuple[object, ...]:
    """Return what a quality is of: a configuration, relative to a baseline."""
    return measurement.trial.configuration, measurement.evaluated_against
