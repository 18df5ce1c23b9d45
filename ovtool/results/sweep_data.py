"""A sweep as measured: its plan, its environment and its measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.columns import QualityMetric
from ovtool.core.fields import Record
from ovtool.core.sweep_folder import SweepFolder, Unavailable

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.measurement import Measurement
    from ovtool.core.sweep_folder import Environment, SweepPlan


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


def read_sweep(path: str | Path) -> SweepData:
    """Read a sweep folder.

    Raises:
        InputError: The folder is not a sweep, or a file in it is damaged.
    """
    folder = SweepFolder.open(path)
    plan = folder.plan
    planned = {trial.id for trial in plan.trials}
    latest = {measurement.trial.id: measurement for measurement in folder.measurements()}
    return SweepData(
        path=folder.path,
        plan=plan,
        environment=folder.environment,
        measurements=tuple(m for identifier, m in latest.items() if identifier in planned),
        outdated=len(latest.keys() - planned),
    )
