"""Rows of a data frame: many rows give the same values as each row single."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.columns import BY_NAME
from ovtool.core.statistics import Interval, ratio_unpaired
from ovtool.results.rows import (
    CONFIG,
    Config,
    Figures,
    Rows,
    find_highest_throughput,
    find_lowest_estimate,
    find_lowest_latency,
    first_of_each_group,
    get_figure,
    get_figures,
    group_by_config,
    measured_rows,
    real_rows,
    resolve_column,
    resolve_figures,
)
from ovtool.results.table import load_results
from tests.helpers import sweeps

text = st.sampled_from(["a", "b", None])
number = st.one_of(st.none(), st.sampled_from([0.0, 1.0, 2.5, 40.0]))
VALUES = dict.fromkeys(CONFIG, text) | {
    "status": st.sampled_from(["ok", "failed", "estimated"]),
    "emulated": st.sampled_from(["yes", None]),
    "load": st.sampled_from(["latency", "throughput"]),
    "batch": st.integers(1, 3),
    "throughput_fps": number,
    "throughput_fps_ci_low": number,
    "throughput_fps_ci_high": number,
    "latency_p50_ms": number,
    "latency_estimate_ms": number,
    "tokens_s": st.none(),
}
ROW = st.fixed_dictionaries(VALUES)
tables = st.lists(ROW, max_size=12)


def rows_of(values):
    table = pd.DataFrame(values, columns=list(VALUES))
    numeric = [n for n in VALUES if (n in BY_NAME and not BY_NAME[n].text) or "_ci_" in n]
    kinds = dict.fromkeys(numeric, "float64") | {"batch": "int64"}
    return Rows.from_frame(table.astype(kinds | {n: "str" for n in VALUES if n not in kinds}))


def equal_figures(a, b):
    """Return whether two figures are equal; NaN equals NaN."""
    pairs = zip((a.value, a.low, a.high), (b.value, b.low, b.high), strict=True)
    return all(x == y or (math.isnan(x) and math.isnan(y)) for x, y in pairs)


@pytest.mark.slow
@given(tables)
def test_rows_return_values_of_frame(values):
    rows = rows_of(values)
    assert [dict(row) for row in rows] == values
    assert [dict(rows[n]) for n in range(-len(rows), 0)] == values
    assert [dict(row) for row in rows[1:3]] == values[1:3]
    for name in values[0] if values else ():
        assert rows.values(name) == [row[name] for row in values]
        assert rows.known(name).tolist() == [row[name] is not None for row in values]


@pytest.mark.slow
@given(tables)
def test_masks_select_matching_rows(values):
    rows = rows_of(values)
    assert [dict(r) for r in measured_rows(rows)] == [r for r in values if r["status"] == "ok"]
    assert [dict(r) for r in real_rows(rows)] == [
        r for r in values if not r["emulated"] and r["status"] != "estimated"
    ]
    assert rows.equal("shape", None).tolist() == [r["shape"] is None for r in values]
    assert rows.equal("shape", "none has it").tolist() == [False] * len(values)
    assert rows.unique("device") == list(dict.fromkeys(r["device"] for r in values))


@pytest.mark.slow
@given(tables)
def test_configurations_have_order_of_first_rows(values):
    expected = {}
    for row in values:
        expected.setdefault(Config.from_row(row), []).append(row)
    grouped = group_by_config(rows_of(values))
    assert list(grouped) == list(expected)
    assert [[dict(r) for r in some] for some in grouped.values()] == list(expected.values())


@pytest.mark.slow
@given(tables)
def test_figures_equal_figure_of_each_row(values):
    rows = rows_of(values)
    for name in ("throughput_fps", "latency_p50_ms"):
        assert all(
            map(equal_figures, get_figures(rows, name), [get_figure(row, name) for row in rows])
        )
        expected = [get_figure(row, resolve_column(row, name)) for row in rows]
        assert all(map(equal_figures, resolve_figures(rows, name), expected))


@pytest.mark.slow
@given(tables)
def test_best_row_is_first_of_equal_rows(values):
    def first(key, some):
        return min(some, key=key, default=None)

    def as_row(row):
        return None if row is None else dict(row)

    rows = rows_of(values)
    fast = [r for r in values if r["throughput_fps"] is not None]
    assert as_row(find_highest_throughput(rows)) == first(lambda r: -r["throughput_fps"], fast)
    known = [r for r in values if r["latency_p50_ms"] is not None]
    single = [r for r in known if r["batch"] == 1 and r["load"] == "latency"]
    assert as_row(find_lowest_latency(rows)) == first(
        lambda r: r["latency_p50_ms"], single or known
    )
    estimates = [r for r in values if r["latency_estimate_ms"] is not None]
    expected = first(lambda r: (r["batch"], r["latency_estimate_ms"]), estimates)
    assert as_row(find_lowest_estimate(rows)) == expected


ends = st.floats(0.01, 1e6) | st.just(math.nan)
intervals = st.builds(Interval, st.just(0.0) | st.floats(1e-3, 1e6), ends, ends)


@given(st.lists(intervals, min_size=1), intervals)
def test_ratios_equal_ratio_of_each(values, other):
    many = Figures(*np.array([(f.value, f.low, f.high) for f in values]).T)
    ratios = many.over(other)
    for index, figure in enumerate(values):
        single = ratio_unpaired(figure, other)
        shown = ratios[index]
        for a, b in (
            (shown.value, single.value),
            (shown.low, single.low),
            (shown.high, single.high),
        ):
            assert a == pytest.approx(b, nan_ok=True)
        assert ratios.excludes(1.0)[index] == single.excludes(1.0)
        assert many.known[index] == figure.known
        assert many.exact[index] == figure.exact


@given(
    st.lists(st.integers(0, 3), max_size=9).flatmap(
        lambda kinds: st.tuples(st.just(kinds), st.permutations(range(len(kinds))))
    )
)
def test_first_of_each_group_in_order(case):
    kinds, order = case
    expected = list({kinds[place]: place for place in reversed(order)}.values())
    values = first_of_each_group(np.array(kinds, np.intp), np.array(order, np.intp))
    assert sorted(values.tolist()) == sorted(expected)
    assert [order.index(place) for place in values] == sorted(order.index(p) for p in expected)


def test_mapping_of_other_origin_is_not_row():
    rows = rows_of([])
    with pytest.raises(TypeError):
        Rows.from_row({"device": "CPU"})
    assert len(rows) == 0


@pytest.mark.slow
def test_rows_are_mappings_with_none_for_unknown(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "s")])
    rows = table.records
    for row, (_, series) in zip(rows, table.rows.iterrows(), strict=True):
        assert list(row) == list(table.rows.columns)
        expected = {k: None if pd.isna(v) else v for k, v in series.items()}
        assert dict(row) == expected
        assert Config.from_row(row) == Config.from_row(expected)
    assert type(rows[0]["batch"]) is int
    assert type(rows[0]["throughput_fps"]) is float
    json.dumps(dict(rows[0]))
    with pytest.raises(KeyError):
        rows[0]["no such column"]
    assert rows[0].get("no such column") is None
