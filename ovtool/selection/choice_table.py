"""The figures that a choice needs, so that a page can choose again under other limits.

The page has a port of :func:`.candidates.find_winner` and of the limits; whatever does not depend
on the two limits that the reader moves is computed here.
"""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.results.labels import config_labels
from ovtool.selection.candidates import TIE_PCT, Candidates, eligible_rows
from ovtool.selection.certainty import Basis
from ovtool.selection.limits import default_quality_limit, list_limits, quality_range
from ovtool.selection.objective import resolve_objective
from ovtool.selection.quantities import column_quantity
from ovtool.selection.warnings import quality_on_samples, split_repeatable, undecided_quality

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ovtool.core.columns import QualityMetric
    from ovtool.results.rows import Figures, Rows
    from ovtool.results.table import ResultsTable
    from ovtool.selection.certainty import Certainty
    from ovtool.selection.choice_spec import ChoiceSpec

_MOVED = ("max_latency_ms", "min_quality")
"""The limits that the reader moves."""


@dataclass(frozen=True, slots=True)
class ChoiceTable:
    """The rows to choose from, as JSON types; unknown figures are None.

    ``rows`` are indices of the page's rows.  A figure is a list of values, lower and upper ends.
    """

    rows: list[int]
    goal: dict[str, Any]
    """Column, ``lower`` (whether lower is better) and figures of the objective."""
    latency: dict[str, Any]
    """Column and figures of the latency that the limit applies to."""
    quality: dict[str, Any] | None
    """Column, ``lower``, figures and ``range`` of the quality; None if it was not evaluated.

    ``text`` is the figure of each row with its variant and samples.
    """
    keeps_quality: list[bool] | None
    """Whether each row meets the default limit of quality; None if there is no such limit."""
    fits: list[bool]
    """Whether each row meets the limits that the reader does not move."""
    excess: list[float | None]
    """Sum of the excesses over these limits."""
    ties: list[dict[str, Any]]
    """Column, ``lower`` and figures that decide between ties, in order."""
    throughput: list[float | None]
    batch: list[float | None]
    variant: list[int]
    """Number of the variant of each row, in the order of the rows."""
    compressed: list[bool]
    undecided: list[str]
    """The quality of each row that does not decide about the default limit; else empty."""
    certainty: list[Certainty]
    doubts: dict[Certainty, str]
    """The text of the doubt about a row that is not stable."""
    tie_pct: float = TIE_PCT


def tabulate_choice(table: ResultsTable, spec: ChoiceSpec, shown: Rows) -> ChoiceTable:
    """Return the figures of the rows to choose from that are also in ``shown``.

    Raises:
        InputError: No row has the figure of the objective.
        LimitNotMetError: No model has repeatable outputs.
        NothingMeasuredError: No row was measured.
    """
    rows = eligible_rows(table.records, allow_estimates=spec.allow_estimates)
    rows, _ = split_repeatable(rows, table)
    basis = Basis.of(rows)
    goal = resolve_objective(spec, rows, table)
    keys = ("environment", "trial")
    places = {key: n for n, key in enumerate(zip(*map(shown.values, keys), strict=True))}
    on_page = [key in places for key in zip(*map(rows.values, keys), strict=True)]
    rows = rows.take(np.array(on_page, bool))
    fixed = [limit for limit in list_limits(spec, table) if limit.option not in _MOVED]
    candidates = Candidates(rows, goal, fixed, {})
    default = default_quality_limit(table, spec.model_copy(update={"min_quality": None}))
    kept = Candidates(rows, goal, () if default is None else (default,), config_labels(rows))
    rows = candidates.rows
    latency, metric = f"latency_p{spec.percentile}_ms", table.quality_metric
    tied_by = (latency, "throughput_fps", "peak_rss_mib", "model_mib")
    certainty = [basis.certainty_of(row) for row in rows]
    doubts = {kind: basis.doubt(kind) for kind in certainty}
    return ChoiceTable(
        rows=[places[key] for key in zip(*map(rows.values, keys), strict=True)],
        goal={"column": goal.column.name, "lower": goal.lower} | _ends(candidates.figures),
        latency=_figures(latency, rows),
        quality=None if metric is None else _quality(metric, rows),
        keeps_quality=None if default is None else kept.fits.tolist(),
        fits=candidates.fits.tolist(),
        excess=_known(candidates.excess),
        ties=[_figures(name, rows) for name in tied_by if name != goal.column.name],
        throughput=_known(rows.numbers("throughput_fps")),
        batch=_known(rows.numbers("batch")),
        variant=rows.group_codes(("variant_id",)).tolist(),
        compressed=[row["variant_id"] != table.details_of(row).baseline for row in rows],
        undecided=[undecided_quality(kept[index], table) for index in range(len(kept))],
        certainty=certainty,
        doubts={kind: doubt.text for kind, doubt in doubts.items() if doubt is not None},
    )


def _figures(name: str, rows: Rows) -> dict[str, Any]:
    quantity = column_quantity(name)
    return {"column": name, "lower": quantity.lower} | _ends(quantity.of(rows))


def _quality(metric: QualityMetric, rows: Rows) -> dict[str, Any]:
    texts = [quality_on_samples(row, column_quantity(metric)) for row in rows]
    return _figures(metric, rows) | {"range": _range(metric), "text": texts}


def _range(metric: QualityMetric) -> list[float | None]:
    return [end if math.isfinite(end) else None for end in astuple(quality_range(metric))]


def _ends(figures: Figures) -> dict[str, list[float | None]]:
    return {name: _known(getattr(figures, name)) for name in ("value", "low", "high")}


def _known(values: NDArray[np.float64]) -> list[float | None]:
    return [value if math.isfinite(value) else None for value in values.tolist()]
