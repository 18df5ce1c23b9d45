"""Rows to choose from, and their order."""

import math

import pytest

from ovtool.results.labels import config_labels
from ovtool.selection.candidates import Candidates
from ovtool.selection.limits import Limit
from ovtool.selection.quantities import column_quantity

LATENCY, MEMORY = column_quantity("latency_p99_ms"), column_quantity("peak_rss_mib")


def candidates_of(rows, limits=(), goal=LATENCY):
    return Candidates(rows, goal, list(limits), config_labels(rows))


@pytest.fixture
def rows(limited_table):
    return limited_table.records


@pytest.mark.slow
def test_fitting_rows_come_first_and_then_the_nearest(rows):
    result = candidates_of(rows, [Limit(MEMORY, 115.0, "max_memory_mib")])
    order = list(result.nearest_first)
    fitting = int(result.fits.sum())
    assert 0 < fitting < len(result) == len(order)
    assert all(result[i].fits for i in order[:fitting])
    assert not any(result[i].fits for i in order[fitting:])
    best = [result[i].figure.value for i in order[:fitting]]
    assert best == sorted(best)
    assert {result[i].row["batch"] for i in order[:fitting]} == {1}
    excess = [result.excess[i] for i in order[fitting:]]
    assert excess == sorted(excess)
    assert excess[0] == pytest.approx(120 / 115 - 1)


def test_higher_is_better_for_throughput(rows):
    result = candidates_of(rows, goal=column_quantity("throughput_fps"))
    first, last = (result[result.nearest_first[i]].figure.value for i in (0, -1))
    assert first == max(result.figures.value)
    assert last == min(result.figures.value)


def test_rows_without_the_figure_are_no_candidates(limited_table):
    partly = limited_table.rows.copy()
    without = partly["variant"] == "int8"
    partly.loc[without, "latency_p99_ms"] = math.nan
    partly.loc[partly["batch"] == 1, "peak_rss_mib"] = math.nan
    result = candidates_of(
        limited_table.with_rows(partly).records, [Limit(MEMORY, 1e9, "max_memory_mib")]
    )
    assert len(result) == int((~without).sum())
    ((quantity, count),) = result.unknown()
    assert quantity is MEMORY
    assert count == int((~without & (partly["batch"] == 1)).sum())
    assert result.fits.sum() == len(result) - count


def test_labels_are_those_of_the_rows(rows):
    result = candidates_of(rows)
    assert result.labels([2, 0]) == (result[2].label, result[0].label)
    assert len(set(result.labels(range(len(result))))) == len(result)
