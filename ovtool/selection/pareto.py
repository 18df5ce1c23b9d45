"""The Pareto front: the rows that no other row dominates in the known figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.columns import BY_NAME
from ovtool.results.labels import row_label
from ovtool.results.rows import measured_rows, real_rows, throughput_column

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ovtool.results.rows import Config, Rows


@dataclass(frozen=True, slots=True)
class Front:
    """The rows of a Pareto front, the highest throughput first."""

    columns: tuple[str, ...]
    left_out: tuple[str, ...]
    """Columns without a figure in any row."""
    rows: Rows
    labels: tuple[str, ...]
    compared: int
    """Number of compared rows."""

    def to_json(self) -> dict[str, Any]:
        """Return the front as JSON types, with the compared figures."""
        identity = ("environment", "trial", "variant", "device", "batch", "load", "precision")
        return {
            "columns": list(self.columns),
            "left_out": list(self.left_out),
            "compared": self.compared,
            "rows": [
                {"label": label} | {name: row[name] for name in (*identity, *self.columns)}
                for label, row in zip(self.labels, self.rows, strict=True)
            ],
        }


def find_front(
    rows: Rows, percentile: int, quality: str | None, labels: Mapping[Config, str]
) -> Front:
    """Return the front of throughput, latency, quality, size and energy.

    Text generators have tokens/s, and the times to the first token and per token.

    Failed, excluded and estimated rows are left out.  ``quality`` is the column of the quality;
    None if it was not evaluated.
    """
    measured = measured_rows(real_rows(rows))
    names = [throughput_column(measured), f"latency_p{percentile}_ms"]
    if names[0] == "tokens_s":
        names[1:] = ["ttft_ms", "tpot_ms"]
    names += [*([quality] if quality else []), "model_mib", "energy_mj_per_sample"]
    columns = [name for name in names if measured.known(name).any()]
    signs = [-1.0 if BY_NAME[name].better == "lower" else 1.0 for name in columns]
    values = [sign * measured.numbers(name) for sign, name in zip(signs, columns, strict=True)]
    front = measured.take(find_non_dominated(np.column_stack(values)) if values else [])
    front = front.take(np.argsort(-front.numbers(names[0]), kind="stable"))
    return Front(
        tuple(columns),
        tuple(name for name in names if name not in columns),
        front,
        tuple(row_label(row, labels) for row in front),
        len(measured),
    )


def find_non_dominated(values: NDArray[np.float64]) -> list[int]:
    """Return the indices of the rows that no other row dominates, in their order.

    A row dominates another row if it is at least as good in every known figure of the other row,
    and better in one.  An unknown figure counts neither for its row nor against other rows.  A row
    without a known figure is not on the front.

    Args:
        values: [rows, figures], higher is better, NaN where unknown.
    """
    index = np.flatnonzero(~np.isnan(values).all(axis=1))
    values = values[index]
    done = np.zeros(len(index), bool)
    # Rows that are good in all figures come first: they eliminate most rows early.
    ranks = np.nansum(values.argsort(axis=0).argsort(axis=0) * ~np.isnan(values), axis=1)
    order = np.argsort(-ranks, kind="stable")
    index, values = index[order], values[order]
    while not done.all():
        pivot, known = values[done.argmin()], ~np.isnan(values)
        nowhere_worse = ((pivot >= values) | ~known).all(axis=1)
        somewhere_better = ((pivot > values) & known).any(axis=1)
        done |= ((pivot == values) | (np.isnan(pivot) & ~known)).all(axis=1)  # and its equals
        kept = ~(nowhere_worse & somewhere_better)
        index, values, done = index[kept], values[kept], done[kept]
    return sorted(index.tolist())
