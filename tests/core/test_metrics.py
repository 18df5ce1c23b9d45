"""Quality metrics."""

from ovtool.core import columns, metrics


def test_each_metric_has_a_declared_column():
    assert tuple(metrics.COLUMNS) == metrics.METRICS
    assert len(set(metrics.COLUMNS.values())) == len(metrics.METRICS)
    assert set(metrics.COLUMNS.values()) <= set(columns.FIGURES)
