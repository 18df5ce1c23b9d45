"""The Pareto front: the rows that no other row beats in everything that is known of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.columns import BY_NAME
from ovtool.results.labels import row_label
from ovtool.results.rows import measured_rows, real_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ovtool.results.rows import Config, Rows


@dataclass(frozen=True, slots=True)
class Front:
    """The rows of a front.

    Args:
        columns: That were compared.
        left_out: Columns that no row has.
        rows: Those of the front, the most throughput first.
        labels: Their names.
        of: How many rows were compared.
    """

    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    rows: Rows
    labels: tuple[str, ...]
    of: int

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON types, with the figures that were compared."""
        kept = ("environment", "trial", "variant", "device", "batch", "load", "precision")
        return {
            "columns": list(self.columns),
            "left_out": list(self.left_out),
            "compared": self.of,
            "rows": [
                {"label": label} | {name: row[name] for name in (*kept, *self.columns)}
                for label, row in zip(self.labels, self.rows, strict=True)
            ],
        }


def front(rows: Rows, percentile: int, quality: str | None, labels: Mapping[Config, str]) -> Front:
    """Return the front over throughput, latency, quality, size and energy.

    Args:
        rows: Of the table; failed and emulated ones take no part.
        percentile: Of the latency.
        quality: Column of quality; None where it was not evaluated.
        labels: Names of the configurations.
    """
    wanted = ["throughput_fps", f"latency_p{percentile}_ms", "model_mib", "energy_mj_per_sample"]
    wanted[2:2] = [quality] if quality else []
    fine = measured_rows(real_rows(rows))
    columns = [name for name in wanted if fine.known(name).any()]
    signs = [-1.0 if BY_NAME[name].better == "lower" else 1.0 for name in columns]
    values = [sign * fine.numbers(name) for sign, name in zip(signs, columns, strict=True)]
    found = not_dominated(np.column_stack(values)) if values else []
    throughput = fine.take(found).numbers("throughput_fps")
    kept = fine.take(found).take(np.argsort(-throughput, kind="stable"))
    return Front(
        tuple(columns),
        tuple(name for name in wanted if name not in columns),
        kept,
        tuple(row_label(row, labels) for row in kept),
        len(fine),
    )


def not_dominated(values: NDArray[np.float64]) -> list[int]:
    """Return the rows that no other one dominates, in their order.

    One row dominates another if it is at least as good in every figure that is known of the other,
    and better in one of them.  A figure that is not known speaks neither for the row that lacks
    it, nor against the others.  A row of which nothing is known is on no front.

    Args:
        values: [rows, figures], more is better, NaN where unknown.
    """
    index = np.flatnonzero(~np.isnan(values).all(axis=1))
    values = values[index]
    done = np.zeros(len(index), bool)
    # Rows that are good in all go first: they rule most others out early.
    ranks = np.nansum(values.argsort(axis=0).argsort(axis=0) * ~np.isnan(values), axis=1)
    order = np.argsort(-ranks, kind="stable")
    index, values = index[order], values[order]
    while not done.all():
        mine, counts = values[done.argmin()], ~np.isnan(values)
        worse_nowhere = ((mine >= values) | ~counts).all(axis=1)
        better_once = ((mine > values) & counts).any(axis=1)
        done |= ((mine == values) | (np.isnan(mine) & ~counts)).all(axis=1)  # those as good, too
        kept = ~(worse_nowhere & better_once)
        index, values, done = index[kept], values[kept], done[kept]
    return sorted(index.tolist())
