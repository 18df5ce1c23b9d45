"""The best row of each machine, so that machines can be compared by their best settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core.units import UNKNOWN
from ovtool.results.labels import environment_labels, interval_text
from ovtool.results.rows import Rows, first_of_each_group
from ovtool.selection.quantities import cost_quantity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ovtool.core.statistics import Interval
    from ovtool.results.rows import Row
    from ovtool.selection.candidates import Candidates
    from ovtool.selection.limits import Check
    from ovtool.selection.prices import Prices

MAX_HOSTS = 50
"""Machines of a table."""
HEADINGS = ("host", "labels", "best row", "objective", "missed limits", "price/h", "cost")


@dataclass(frozen=True, slots=True)
class HostBest:
    """The best row of a machine; of the rows that meet the limits, if there is one.

    Args:
        host: Name of the host, or of the environment where it has none.
        labels: Labels of the host, as text.
        figure: Its figure of the objective.
        missed: The limits that the row does not meet.
        price_per_hour: From the price table; None if it has none of this machine.
        cost: Of a million samples; None without a price.
    """

    host: str
    labels: str
    label: str
    figure: Interval
    figure_text: str
    missed: tuple[Check, ...]
    row: Row
    price_per_hour: float | None = None
    cost: Interval | None = None
    cost_text: str = ""

    @property
    def missed_text(self) -> str:
        """The limits that the row does not meet."""
        return "; ".join(check.miss_text for check in self.missed)

    @property
    def cells(self) -> tuple[str, ...]:
        """The texts of the row, in the order of :data:`HEADINGS`."""
        price = UNKNOWN if self.price_per_hour is None else f"{self.price_per_hour:g}"
        cost = self.cost_text or UNKNOWN
        missed = self.missed_text or "none"
        return self.host, self.labels or "-", self.label, self.figure_text, missed, price, cost

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON types."""
        return {
            "host": self.host,
            "labels": self.labels,
            "label": self.label,
            "figure": asdict(self.figure),
            "missed": [check.to_json() for check in self.missed],
            "price_per_hour": self.price_per_hour,
            "cost": None if self.cost is None else asdict(self.cost),
            "row": self.row,
        }


def find_best_of_hosts(
    candidates: Candidates, order: NDArray[np.intp], prices: Prices | None
) -> tuple[HostBest, ...]:
    """Return the best row of each machine, the best machine first; empty for a single machine.

    ``order`` has the winner first, then the rows that fit, the best first, then all other rows.
    """
    names = environment_labels(candidates.rows)
    if len(names) < 2:
        return ()
    best = first_of_each_group(candidates.rows.group_codes(("environment",)), order)
    cost = None if prices is None else cost_quantity(prices)
    hosts = []
    for index in best.tolist():
        candidate = candidates[index]
        row = candidate.row
        price = None if prices is None else prices.of_row(row)
        priced, text = None, ""
        if cost is not None and price is not None:
            priced = cost.of(Rows.from_row(row))[0]
            text = interval_text(priced, cost.column)
        hosts.append(
            HostBest(
                host=names[row["environment"]],
                labels=row["host_labels"] or "",
                label=candidate.label,
                figure=candidate.figure,
                figure_text=interval_text(candidate.figure, candidates.goal.column),
                missed=tuple(check for check in candidate.checks if not check.satisfied),
                row=dict(row),
                price_per_hour=price,
                cost=priced,
                cost_text=text,
            )
        )
    return tuple(hosts)
