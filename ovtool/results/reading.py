"""A sweep as the reports read it: its plan, its environment, and the trials of that plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ovtool.core.sweep_folder import SweepFolder

if TYPE_CHECKING:
    from pathlib import Path

    from ovtool.core.measurement import Measurement
    from ovtool.core.sweep_folder import Environment, Plan


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that was read; of a trial measured twice the journal's last line counts."""

    path: Path
    plan: Plan
    environment: Environment
    measurements: tuple[Measurement, ...]
    outdated: int
    """Trials of earlier plans of the folder: of a variant that was made again, or other batches."""

    @property
    def name(self) -> str:
        """What a report calls it."""
        return self.plan.name


def read(path: str | Path) -> Sweep:
    """Read a sweep folder.

    Raises:
        InputError: It is no sweep, or a file of it is damaged.
    """
    folder = SweepFolder.open(path)
    plan = folder.plan
    planned = {trial.id for trial in plan.trials}
    latest = {measurement.trial.id: measurement for measurement in folder.measurements()}
    return Sweep(
        path=folder.path,
        plan=plan,
        environment=folder.environment,
        measurements=tuple(m for identifier, m in latest.items() if identifier in planned),
        outdated=len(latest.keys() - planned),
    )
