"""The result of a comparison of two sweeps."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.comparison.figures import LEVEL, Change
from ovtool.comparison.noise import Noise
from ovtool.core import units
from ovtool.core.errors import LimitNotMetError
from ovtool.results.labels import column_label

if TYPE_CHECKING:
    from ovtool.comparison.quality import QualityChange, SizeChange
    from ovtool.core.notes import Note
    from ovtool.results.environments import Difference


@dataclass(frozen=True, slots=True)
class Failure:
    """A trial that failed in A, in B or in both; the reason is empty where the trial ran."""

    label: str
    reason_a: str
    reason_b: str

    @property
    def new(self) -> bool:
        """Whether the trial ran in A and failed in B."""
        return bool(self.reason_b) and not self.reason_a


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sweeps."""

    name: str
    folder: str
    machine: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result of a comparison of sweep B with sweep A.

    Args:
        differences: Differences of environments and settings, those of the machine first.
        within_pct: Smaller changes count as no change.
        detectable_pct: Median of the smallest detectable losses.
        changes: Speed by trial, the worst first.
        quality: Quality by variant, device and precision.
    """

    a: Side
    b: Side
    differences: tuple[Difference, ...]
    noise: Noise
    within_pct: float
    detectable_pct: float
    changes: tuple[Change, ...]
    quality: tuple[QualityChange, ...]
    sizes: tuple[SizeChange, ...]
    only_a: tuple[str, ...]
    only_b: tuple[str, ...]
    failures: tuple[Failure, ...]
    notes: tuple[Note, ...]

    @property
    def same_machine(self) -> bool:
        """Whether both sweeps were measured on the same hardware."""
        return not any(difference.of_machine for difference in self.differences)

    def regressions(self, limit_pct: float) -> tuple[str, ...]:
        """Return significant losses of at least a limit, and trials that no longer run."""
        changes: tuple[Change | QualityChange, ...] = (*self.changes, *self.quality)
        losses = [
            f"{change.label}: {column_label(change.column)} {change.loss_pct:.1f} % worse"
            for change in changes
            if change.outcome == "worse" and change.loss_pct >= limit_pct
        ]
        return (*losses, *(f"{f.label}: fails in B: {f.reason_b}" for f in self.failures if f.new))

    def check(self, limit_pct: float) -> None:
        """Raise LimitNotMetError if there are :meth:`regressions`."""
        if regressions := self.regressions(limit_pct):
            count = len(regressions)
            more = f" (and {count - 1} more)" if count > 1 else ""
            raise LimitNotMetError(
                f"{units.count_text(count, 'regression')} of at least {limit_pct:g} %:"
                f" {regressions[0]}{more}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return the comparison as JSON types."""
        document = asdict(replace(self, noise=Noise()))
        document["noise"] = {
            "text": self.noise.text,
            "allowance_pct": self.noise.allowance_pct,
            "reruns": self.noise.reruns,
            "measured": [
                {"device": device, "column": column, "sd_pct": 100 * math.expm1(s.sd)}
                for (device, column), s in (self.noise.measured or {}).items()
            ],
        }
        document["same_machine"] = self.same_machine
        document["level"] = LEVEL
        return document
