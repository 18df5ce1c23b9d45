"""The loss of quality against the uncompressed model on the same samples.

Samples on which both models agree say nothing of their difference, so a paired interval is narrower
than the intervals of both suggest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.columns import quality_loss
from ovtool.core.paired import compare_outcomes
from ovtool.core.statistics import mean_interval
from ovtool.evaluation.scores import Score, make_interval_figures, sample_errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.evaluation.metrics import Judge
    from ovtool.evaluation.outputs import Rows

    Outputs = Mapping[str, Rows]

_LOSS = "quality_loss"


def find_loss(judge: Judge, score: Score, outputs: Outputs, references: Outputs) -> Score:
    """Return how much worse a score by labels is than that of the uncompressed model.

    The loss of a metric without a figure for each sample has no interval.
    """
    if judge.labels is None or judge.function is not None or judge.compares:
        return Score({})
    if judge.metric == "top1":
        before, after = judge.outcomes(references, None), judge.outcomes(outputs, None)
        if before is None or after is None:
            return Score({})
        paired = compare_outcomes(before, after)
        figures = make_interval_figures(_LOSS, paired.drop, -1.0, 1.0)
        counts = {"samples_lost": float(paired.lost), "samples_won": float(paired.won)}
        return Score(figures | counts)
    if judge.metric == "mae" and judge.target is not None:
        rows, reference = outputs[judge.target], references[judge.target]
        return Score(error_loss(rows, reference, judge.labels, judge.target))
    figure_before = judge.score_labels(references).figures.get(judge.column)
    figure_after = score.figures.get(judge.column)
    if figure_before is None or figure_after is None:
        return Score({})
    return Score({_LOSS: quality_loss(judge.column, figure_before, figure_after)})


def error_loss(
    outputs: Rows, reference: Rows, labels: Sequence[Any], name: str
) -> dict[str, float]:
    """Return the growth of the mean absolute error over samples, in the unit of the labels.

    One sample has no interval, and so no loss.

    Raises:
        InputError: The numbers of values differ.
    """
    growth = sample_errors(outputs, labels, name) - sample_errors(reference, labels, name)
    if len(growth) < 2 or not np.isfinite(growth).all():
        return {}
    return make_interval_figures(_LOSS, mean_interval(growth.tolist()), -math.inf, math.inf)
