"""Many rows at once say what each row alone does."""

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
}
ROW = st.fixed_dictionaries(VALUES)
tables = st.lists(ROW, max_size=12)


def made(found):
    table = pd.DataFrame(found, columns=list(VALUES))
    numeric = [n for n in VALUES if (n in BY_NAME and not BY_NAME[n].text) or "_ci_" in n]
    kinds = dict.fromkeys(numeric, "float64") | {"batch": "int64"}
    return Rows.from_frame(table.astype(kinds | {n: "str" for n in VALUES if n not in kinds}))


def same(one, other):
    """Whether two figures are the same, NaN too."""
    pairs = zip((one.value, one.low, one.high), (other.value, other.low, other.high), strict=True)
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in pairs)


@given(tables)
def test_rows_keep_what_they_were_made_of(found):
    rows = made(found)
    assert [dict(row) for row in rows] == found
    assert [dict(rows[n]) for n in range(-len(rows), 0)] == found
    assert [dict(row) for row in rows[1:3]] == found[1:3]
    for name in found[0] if found else ():
        assert rows.values(name) == [row[name] for row in found]
        assert rows.known(name).tolist() == [row[name] is not None for row in found]


@given(tables)
def test_masks_are_what_the_rows_say(found):
    rows = made(found)
    assert [dict(r) for r in measured_rows(rows)] == [r for r in found if r["status"] == "ok"]
    assert [dict(r) for r in real_rows(rows)] == [
        r for r in found if not r["emulated"] and r["status"] != "estimated"
    ]
    assert rows.equal("shape", None).tolist() == [r["shape"] is None for r in found]
    assert rows.equal("shape", "none has it").tolist() == [False] * len(found)
    assert rows.unique("device") == list(dict.fromkeys(r["device"] for r in found))


@given(tables)
def test_configurations_are_in_the_order_of_their_first_rows(found):
    expected = {}
    for row in found:
        expected.setdefault(Config.from_row(row), []).append(row)
    grouped = group_by_config(made(found))
    assert list(grouped) == list(expected)
    assert [[dict(r) for r in some] for some in grouped.values()] == list(expected.values())


@given(tables)
def test_figures_are_those_of_each_row(found):
    rows = made(found)
    for name in ("throughput_fps", "latency_p50_ms"):
        assert all(map(same, get_figures(rows, name), [get_figure(row, name) for row in rows]))
        told = [get_figure(row, resolve_column(row, name)) for row in rows]
        assert all(map(same, resolve_figures(rows, name), told))


@given(tables)
def test_the_best_row_is_the_first_of_the_best(found):
    def first(key, some):
        return min(some, key=key, default=None)

    def as_row(row):
        return None if row is None else dict(row)

    rows = made(found)
    fast = [r for r in found if r["throughput_fps"] is not None]
    assert as_row(find_highest_throughput(rows)) == first(lambda r: -r["throughput_fps"], fast)
    known = [r for r in found if r["latency_p50_ms"] is not None]
    single = [r for r in known if r["batch"] == 1 and r["load"] == "latency"]
    assert as_row(find_lowest_latency(rows)) == first(
        lambda r: r["latency_p50_ms"], single or known
    )
    guesses = [r for r in found if r["latency_estimate_ms"] is not None]
    expected = first(lambda r: (r["batch"], r["latency_estimate_ms"]), guesses)
    assert as_row(find_lowest_estimate(rows)) == expected


ends = st.floats(0.01, 1e6) | st.just(math.nan)
intervals = st.builds(Interval, st.just(0.0) | st.floats(1e-3, 1e6), ends, ends)


@given(st.lists(intervals, min_size=1), intervals)
def test_ratios_of_many_are_those_of_each(found, other):
    many = Figures(*np.array([(f.value, f.low, f.high) for f in found]).T)
    ratios = many.over(other)
    for index, one in enumerate(found):
        alone = ratio_unpaired(one, other)
        shown = ratios[index]
        for a, b in ((shown.value, alone.value), (shown.low, alone.low), (shown.high, alone.high)):
            assert a == pytest.approx(b, nan_ok=True)
        assert ratios.excludes(1.0)[index] == alone.excludes(1.0)
        assert many.known[index] == one.known
        assert many.exact[index] == one.exact


@given(
    st.lists(st.integers(0, 3), max_size=9).flatmap(
        lambda kinds: st.tuples(st.just(kinds), st.permutations(range(len(kinds))))
    )
)
def test_the_first_of_each_kind_in_an_order(case):
    kinds, order = case
    expected = list({kinds[place]: place for place in reversed(order)}.values())
    found = first_of_each_group(np.array(kinds, np.intp), np.array(order, np.intp))
    assert sorted(found.tolist()) == sorted(expected)
    assert [order.index(place) for place in found] == sorted(order.index(p) for p in expected)


def test_only_a_row_of_a_table_stands_alone():
    rows = made([])
    with pytest.raises(TypeError):
        Rows.from_row({"device": "CPU"})
    assert len(rows) == 0
