"""How far the measurements support a choice: the doubts that every output shows beside it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from ovtool.core import units
from ovtool.results.rows import Row, Rows, measured_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ovtool.core.notes import Note

Certainty = Literal["stable", "provisional", "estimate"]
"""``provisional``: the row or more than half of the rows to choose from are not stable."""
DoubtKind = Literal["too-few", "estimate", "provisional"]

UNSTABLE = {
    "contended": "disturbed by other processes",
    "throttled": "slowed down by clock, heat or a quota",
    "unsteady": "did not stabilize",
}
"""What each verdict other than ``stable`` says of a row."""
_TITLES: dict[DoubtKind, str] = {
    "too-few": "TOO FEW TO TELL",
    "estimate": "ESTIMATE",
    "provisional": "PROVISIONAL",
}
TOO_FEW = "quality-too-few"
"""Id of the warning that the samples do not decide whether quality is lost."""


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a choice is not solid."""

    kind: DoubtKind
    text: str

    @property
    def title(self) -> str:
        """The doubt in few words."""
        return _TITLES[self.kind]

    @property
    def line(self) -> str:
        """Title and text."""
        return f"{self.title}: {self.text}"


@dataclass(frozen=True, slots=True)
class Basis:
    """The measurements that a choice is based on.

    Args:
        machines: Descriptions of the machines.
        rows: Number of rows to choose from.
        unstable: Number of them by verdict, of those that are not stable.
        measured_s: Measuring time of the rows, in seconds.
    """

    machines: tuple[str, ...]
    rows: int
    unstable: dict[str, int]
    measured_s: float

    @classmethod
    def of(cls, rows: Rows) -> Basis:
        """Return the basis of a choice among some rows."""
        verdicts = Counter(row["verdict"] for row in measured_rows(rows))
        return cls(
            machines=tuple(rows.unique("machine")),
            rows=len(rows),
            unstable={verdict: n for verdict, n in verdicts.most_common() if verdict != "stable"},
            measured_s=float(np.nansum(rows.numbers("measured_s"))),
        )

    @property
    def mostly_unstable(self) -> bool:
        """Whether more than half of the rows are not stable."""
        return 2 * sum(self.unstable.values()) > self.rows

    def certainty_of(self, row: Row) -> Certainty:
        """Return how far the measurements support a choice of a row."""
        if row["status"] == "estimated":
            return "estimate"
        unstable = self.mostly_unstable or row["verdict"] != "stable"
        return "provisional" if unstable else "stable"

    def doubt(self, certainty: Certainty) -> Doubt | None:
        """Return the doubt about a row; None about a stable one."""
        if certainty == "estimate":
            return Doubt(certainty, "by the device's compiler; nothing ran on the device")
        if certainty == "stable":
            return None
        counts = (
            f"{count} {UNSTABLE.get(verdict, 'without a verdict')}"
            for verdict, count in self.unstable.items()
        )
        return Doubt(certainty, f"of {units.count_text(self.rows, 'row')}, {', '.join(counts)}")


def find_doubts(row: Row, basis: Basis, warnings: Iterable[Note]) -> Iterator[Doubt]:
    """Yield the doubts about the choice of a row, the most important first."""
    for note in warnings:
        if note.id == TOO_FEW:
            yield Doubt("too-few", note.evidence)
    if (doubt := basis.doubt(basis.certainty_of(row))) is not None:
        yield doubt
