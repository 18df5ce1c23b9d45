"""The objective of a choice: one quantity, or several with weights.

Several quantities are combined by the weighted product of ratios: each figure as a fraction of the
best one (1 is best), raised to its weight; the weights add up to 1.  This is the weighted product
model (Bridgman 1922, Dimensional Analysis; Miller and Starr 1969).  The geometric mean is the only
mean of normalized figures with an order that does not depend on the normalization (Fleming and
Wallace 1986, How not to lie with statistics), so neither units nor other rows change the order of
two rows.  A weight of 2 means: 1% more of this quantity outweighs 2% less of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.columns import Column
from ovtool.core.errors import InputError, NothingMeasuredError, OvtoolError
from ovtool.results.rows import Figures, measured_rows, throughput_column
from ovtool.selection.choice_spec import parse_objective
from ovtool.selection.quantities import Quantity, column_quantity, cost_quantity

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from ovtool.results.rows import Row, Rows
    from ovtool.results.table import ResultsTable
    from ovtool.selection.choice_spec import ChoiceSpec
    from ovtool.selection.prices import Prices

SCORE = Column(
    "score",
    "score",
    "derived",
    "weighted geometric mean of the fractions of the best; 1: the best in all",
    better="higher",
    interval=True,
)


@dataclass(frozen=True, slots=True)
class WeightedQuantity:
    """A quantity of an objective, with its share of the weight."""

    quantity: Quantity
    weight: float


def score(
    figures: Sequence[Figures], parts: Sequence[WeightedQuantity], best: Sequence[float]
) -> Figures:
    """Return the weighted geometric mean of rows' figures as fractions of the best ones.

    The interval reaches from all figures at their worse ends to all at their better ends: their
    errors are correlated (a slow moment lowers throughput and raises latency), so it is not too
    narrow.  ``best`` has the best value of each quantity; its own interval cancels when rows are
    compared.
    """

    def product(ends: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        total = np.ones(len(ends[0]))
        for end, part, top in zip(ends, parts, best, strict=True):
            with np.errstate(all="ignore"):  # a division by 0 is unknown
                share = top / end if part.quantity.lower else end / top
            total *= np.where(np.isfinite(share) & (share >= 0), share, np.nan) ** part.weight
        return total

    lower = [part.quantity.lower for part in parts]
    worse = [f.high if less else f.low for f, less in zip(figures, lower, strict=True)]
    better = [f.low if less else f.high for f, less in zip(figures, lower, strict=True)]
    return Figures(product([f.value for f in figures]), product(worse), product(better))


def resolve_objective(spec: ChoiceSpec, rows: Rows, table: ResultsTable) -> Quantity:
    """Return the quantity to optimize; for several objectives their score.

    The best figure among ``rows``, the rows to choose from, has the score 1.

    Raises:
        InputError: No row has a figure of the objective.
        NothingMeasuredError: The rows are estimates, which have no figure of the objective.
    """
    prices = spec.price_table()
    parts = [
        WeightedQuantity(_quantity(name, rows, spec.percentile, table, prices), weight)
        for name, weight in parse_objective(spec.objective).items()
    ]
    known = [part.quantity.of(rows).value for part in parts]
    for part, values in zip(parts, known, strict=True):
        if np.isnan(values).all():
            raise _no_figure_error(part.quantity, rows, table)
    if len(parts) == 1:
        return parts[0].quantity
    best = [
        float(np.nanmin(values) if part.quantity.lower else np.nanmax(values))
        for part, values in zip(parts, known, strict=True)
    ]

    def of(rows: Rows) -> Figures:
        return score([part.quantity.of(rows) for part in parts], parts, best)

    def evidence(row: Row) -> str:
        return ", ".join(f"{p.quantity.label} {p.quantity.text(row)}" for p in parts)

    return Quantity(SCORE, of, evidence)


def _quantity(
    name: str, rows: Rows, percentile: int, table: ResultsTable, prices: Prices | None
) -> Quantity:
    if name == "cost" and prices is not None:  # ChoiceSpec rejects a cost without prices
        return cost_quantity(prices)
    if name == "quality":
        if table.quality_metric is None:
            raise InputError("no row has a quality", "sweep with --data")
        return column_quantity(table.quality_metric)
    columns = {
        "throughput": throughput_column(rows),
        "latency": f"latency_p{percentile}_ms",
        "size": "model_mib",
        "energy": "energy_mj_per_sample",
        "memory": "peak_rss_mib",
    }
    return column_quantity(columns[name])


def _no_figure_error(quantity: Quantity, rows: Rows, table: ResultsTable) -> OvtoolError:
    """Return the error of a quantity that no row has."""
    if not measured_rows(rows):
        return NothingMeasuredError(
            f"no row has {quantity.label}: compilers estimate latency only", "choose by latency"
        )
    name = quantity.column.name
    if name == "cost_per_million":
        machines = ", ".join(dict.fromkeys(e.machine for e in table.environments))
        return InputError(f"no machine has a price: {machines}", "add a pattern that matches")
    counters = [item for environment in table.environments for item in environment.unknown.items()]
    is_energy = name.startswith("energy")
    reasons = [reason for counter, reason in counters if is_energy and "energy" in counter]
    because = f": {reasons[0]}" if reasons else ""
    return InputError(f"no row has {quantity.label}{because}", "choose another objective")
