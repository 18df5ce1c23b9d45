"""The result of a comparison of two sweeps."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ovtool.comparison.figures import LEVEL, Change
from ovtool.comparison.noise import Noise
from ovtool.core import units
from ovtool.core.errors import LimitNotMetError, UndecidedError
from ovtool.core.tabular import Tabular, interval_cells
from ovtool.results.labels import column_label

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """One of the two sweeps; ``name`` is the folder where both have the same name."""

    name: str
    folder: str
    machine: str


@dataclass(frozen=True, slots=True, repr=False)
class Comparison(Tabular):
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

    def _title(self) -> str:
        counts = Counter(change.outcome for change in self.all_changes)
        outcomes = ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common())
        return f"{self.b.name} compared with {self.a.name}: {outcomes or 'no figure in common'}"

    def _rows(self) -> list[dict[str, Any]]:
        return [
            {
                "label": change.label,
                "column": change.column,
                **interval_cells("a", change.a),
                **interval_cells("b", change.b),
                "loss_pct": change.loss_pct,
                "p": change.p,
                "outcome": change.outcome,
            }
            for change in self.all_changes
        ]

    @property
    def same_machine(self) -> bool:
        """Whether both sweeps were measured on the same hardware."""
        return not any(difference.of_machine for difference in self.differences)

    @property
    def all_changes(self) -> tuple[Change | QualityChange, ...]:
        """The changes of speed and of quality."""
        return (*self.changes, *self.quality)

    def regressions(self, limit_pct: float) -> tuple[str, ...]:
        """Return significant losses of at least a limit, and trials that no longer run."""
        losses = [
            f"{change.label}: {column_label(change.column)} {change.loss_pct:.1f}% worse"
            for change in self.all_changes
            if change.outcome == "worse" and change.loss_pct >= limit_pct
        ]
        return (*losses, *(f"{f.label}: fails in B: {f.reason_b}" for f in self.failures if f.new))

    @property
    def nothing_decided(self) -> bool:
        """Whether every figure of speed and quality is unknown."""
        return all(change.outcome == "unknown" for change in self.all_changes)

    def undecided(self, limit_pct: float | None = None) -> tuple[str, ...]:
        """Return the unknown figures, and the trials of A that were not measured in both sweeps.

        With a limit, only the figures that may have lost that much: an interval can exclude such a
        loss without excluding every difference.
        """
        least_pct = -math.inf if limit_pct is None else limit_pct
        figures = (
            ": ".join(filter(None, [f"{c.label}: {column_label(c.column)} unknown", c.reason]))
            for c in self.all_changes
            if c.outcome == "unknown" and c.max_loss_pct >= least_pct
        )
        failed = (
            f"{f.label}: failed in A{' and B' if f.reason_b else ''}"
            for f in self.failures
            if not f.new
        )
        return (*figures, *failed, *(f"{label}: not in B" for label in self.only_a))

    def check(self, limit_pct: float | None, *, unknown: bool = False) -> None:
        """Raise LimitNotMetError if there are :meth:`regressions` of at least a limit.

        Without regressions, raise UndecidedError if ``unknown`` is set and something is
        :meth:`undecided`.
        """
        if limit_pct is not None and (regressions := self.regressions(limit_pct)):
            raise LimitNotMetError(
                f"{units.count_text(len(regressions), 'regression')} of at least {limit_pct:g}%:"
                f" {_first(regressions)}"
            )
        if unknown and (undecided := self.undecided(limit_pct)):
            raise UndecidedError(
                f"cannot tell, {units.count_text(len(undecided), 'comparison')} undecided:"
                f" {_first(undecided)}",
                "sweep again on an idle machine, or measure the noise with repetitions: --rerun",
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


def _first(items: Sequence[str]) -> str:
    more = f" (and {len(items) - 1} more)" if len(items) > 1 else ""
    return f"{items[0]}{more}"
