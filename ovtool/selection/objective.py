"""What a choice is best at: one quantity, or several with weights.

Several are made one figure by the weighted product of ratios: each figure as a share of the best
one (1 is the best, less is worse), raised to its weight, the weights adding up to 1.  That is the
weighted product model (Bridgman 1922, Dimensional Analysis; Miller and Starr 1969); a geometric
mean is the one mean of normalized figures whose order does not depend on what they are normalized
by (Fleming and Wallace 1986, How not to lie with statistics).  So neither units nor the other rows
move the order of two rows.  A weight of 2 means: 1 % more of this outweighs 2 % less of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ovtool.core.columns import Column
from ovtool.core.errors import InputError, NothingMeasuredError, OvtoolError
from ovtool.results.rows import Figures, measured_rows
from ovtool.selection.choice_spec import parse_objective
from ovtool.selection.quantities import Quantity, cost, measured_in

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
    "weighted geometric mean of the shares of the best; 1: the best in all",
    better="higher",
    interval=True,
)


@dataclass(frozen=True, slots=True)
class Part:
    """One of the quantities of an objective, with its share of the weight."""

    quantity: Quantity
    weight: float


def score(figures: Sequence[Figures], parts: Sequence[Part], best: Sequence[float]) -> Figures:
    """Return the weighted geometric mean of rows' figures as shares of the best ones.

    The interval goes from all figures at their worse ends to all at their better ends: they err
    together (a slow moment lowers throughput and raises latency), so it is not too narrow.

    Args:
        figures: One for each part, of the same rows.
        parts: What they are, and their weights.
        best: The best value of each; its own interval cancels when rows are compared.
    """

    def product(ends: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        total = np.ones(len(ends[0]))
        for end, part, top in zip(ends, parts, best, strict=True):
            with np.errstate(all="ignore"):  # what cannot be divided by is unknown
                share = top / end if part.quantity.lower else end / top
            total *= np.where(np.isfinite(share) & (share >= 0), share, np.nan) ** part.weight
        return total

    lower = [part.quantity.lower for part in parts]
    worse = [f.high if less else f.low for f, less in zip(figures, lower, strict=True)]
    better = [f.low if less else f.high for f, less in zip(figures, lower, strict=True)]
    return Figures(product([f.value for f in figures]), product(worse), product(better))


def goal(spec: ChoiceSpec, rows: Rows, table: ResultsTable) -> Quantity:
    """Return the quantity that a choice is best at; of several objectives their score.

    Args:
        spec: The objective, the latency percentile and the prices.
        rows: What is chosen from: the best of each figure among them has the score 1.
        table: Table of the rows.

    Raises:
        InputError: The objective was not measured in any row.
    """
    prices = spec.price_table()
    parts = [
        Part(_quantity(name, spec.percentile, table, prices), weight)
        for name, weight in parse_objective(spec.objective).items()
    ]
    known = [part.quantity.of(rows).value for part in parts]
    for part, values in zip(parts, known, strict=True):
        if np.isnan(values).all():
            raise _nowhere(part.quantity, rows, table)
    if len(parts) == 1:
        return parts[0].quantity
    best = [
        float(np.nanmin(values) if part.quantity.lower else np.nanmax(values))
        for part, values in zip(parts, known, strict=True)
    ]

    def of(rows: Rows) -> Figures:
        return score([part.quantity.of(rows) for part in parts], parts, best)

    def evidence(row: Row) -> str:
        return ", ".join(f"{p.quantity.words} {p.quantity.text(row)}" for p in parts)

    return Quantity(SCORE, of, evidence)


def _quantity(name: str, percentile: int, table: ResultsTable, prices: Prices | None) -> Quantity:
    if name == "cost" and prices is not None:  # ChoiceSpec refuses a cost without prices
        return cost(prices)
    if name == "quality":
        if table.quality_metric is None:
            raise InputError("quality was measured in no row", "sweep with --data")
        return measured_in(table.quality_metric)
    return measured_in(
        {
            "throughput": "throughput_fps",
            "latency": f"latency_p{percentile}_ms",
            "size": "model_mib",
            "energy": "energy_mj_per_sample",
            "memory": "peak_rss_mib",
        }[name]
    )


def _nowhere(quantity: Quantity, rows: Rows, table: ResultsTable) -> OvtoolError:
    """Return the error of a quantity that no row has."""
    name = quantity.column.name
    if not measured_rows(rows):
        return NothingMeasuredError(
            f"{quantity.words} was measured in no row, and a compiler's estimates are of the"
            " latency alone",
            "choose by latency",
        )
    if name == "cost_per_million":
        machines = ", ".join(dict.fromkeys(one.machine for one in table.environments))
        return InputError(f"no machine has a price: {machines}", "add a pattern that matches it")
    why = [
        reason
        for environment in table.environments
        for what, reason in environment.unknown.items()
        if "energy" in what and name.startswith("energy")
    ]
    return InputError(
        f"{quantity.words} was measured in no row" + (f": {why[0]}" if why else ""),
        "choose by another objective",
    )
