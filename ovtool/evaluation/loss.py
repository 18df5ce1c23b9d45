"""The loss of quality against the uncompressed model on the same samples.

Samples on which both models agree say nothing of their difference, so a paired interval is narrower
than the intervals of both suggest.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ovtool.core.columns import quality_loss
from ovtool.core.paired import compare_scores
from ovtool.evaluation.scores import Score, make_interval_figures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ovtool.core.paired import PairedDrop
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
    before, after = judge.sample_scores(references, None), judge.sample_scores(outputs, None)
    if before is not None and after is not None:
        return Score(_paired_figures(compare_scores(before, after)))
    figure_before = judge.score_labels(references).figures.get(judge.column)
    figure_after = score.figures.get(judge.column)
    if figure_before is None or figure_after is None:
        return Score({})
    return Score({_LOSS: quality_loss(judge.column, figure_before, figure_after)})


def _paired_figures(paired: PairedDrop) -> dict[str, float]:
    """Return the loss with its interval, and the numbers of samples of a share of samples."""
    if not math.isfinite(paired.drop.value):
        return {}
    if paired.lost is None or paired.won is None:
        # An error of one sample has no interval, and so no loss.
        if not paired.drop.known:
            return {}
        return make_interval_figures(_LOSS, paired.drop, -math.inf, math.inf)
    counts = {"samples_lost": float(paired.lost), "samples_won": float(paired.won)}
    return make_interval_figures(_LOSS, paired.drop, -1.0, 1.0) | counts
