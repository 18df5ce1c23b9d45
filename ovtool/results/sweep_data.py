"""One sweep as it was measured: its plan, its environment and its measurements."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.measurement import Measurement
    from ovtool.core.sweep_folder import Environment, SweepPlan


@dataclass(frozen=True, slots=True)
class SweepData:
    """The content of a sweep folder.

    Args:
        path: The folder.
        plan: The current plan.
        environment: The machine and software.
        measurements: Of the trials of the plan; of a trial measured twice, the later one.
        outdated: Number of trials in the journal that the current plan does not have.
    """

    path: Path
    plan: SweepPlan
    environment: Environment
    measurements: tuple[Measurement, ...]
    outdated: int

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
