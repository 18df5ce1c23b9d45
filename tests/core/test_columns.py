from collections import Counter
from typing import get_args

import pytest

from ovtool.core.columns import (
    BY_NAME,
    COLUMNS,
    FIGURES,
    METRIC_COLUMNS,
    QualityMetric,
    metric_column,
    quality_loss,
)

UNITS = {"_ms": "ms", "_s": "s", "_mib": "MiB", "_pct": "%", "_fps": "samples/s", "_x": "x"}


def test_each_name_is_declared_once():
    names = Counter(name for column in COLUMNS for name in column.names)
    assert [name for name, count in names.items() if count > 1] == []
    assert len(BY_NAME) == len(COLUMNS)


def test_figures_are_the_measured_columns_and_their_intervals():
    assert {"throughput_fps", "throughput_fps_ci_low", "throughput_fps_ci_high"} <= FIGURES
    assert {"variant", "speedup_f32_x", "latency_mean_ms_ci_low"}.isdisjoint(FIGURES)


@pytest.mark.parametrize("column", COLUMNS, ids=lambda c: c.name)
def test_a_column_has_title_meaning_and_unit(column):
    assert column.meaning
    assert column.title
    for suffix, unit in UNITS.items():
        if column.name.endswith(suffix) and column.name != "tokens_s":
            assert column.unit == unit
    if column.interval:
        assert column.better


def test_an_estimate_is_marked():
    estimate = BY_NAME["throughput_uncontended_fps"]
    assert "estimate" in estimate.title
    assert estimate.meaning.startswith("ESTIMATE")


def test_each_metric_has_a_declared_column():
    columns = [metric_column(metric) for metric in (*METRIC_COLUMNS, "module:function")]
    assert sorted(columns) == sorted(get_args(QualityMetric))
    assert set(columns) <= FIGURES
    assert all(BY_NAME[column].better for column in columns)


def test_a_loss_is_positive_in_the_direction_of_the_column():
    assert quality_loss("accuracy_top1", 0.9, 0.8) == pytest.approx(0.1)
    assert quality_loss("mean_absolute_error", 2.0, 3.0) == 1
