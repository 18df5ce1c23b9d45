"""Quality metrics: short names and columns."""

from __future__ import annotations

from typing import Literal, get_args

Metric = Literal["top1", "agreement", "characters"]
QualityMetric = Literal["accuracy_top1", "agreement_top1", "accuracy_characters"]

METRICS: tuple[Metric, ...] = get_args(Metric)
COLUMNS: dict[Metric, QualityMetric] = {
    "top1": "accuracy_top1",
    "agreement": "agreement_top1",
    "characters": "accuracy_characters",
}
"""Higher is better for every metric."""
