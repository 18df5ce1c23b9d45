"""Which rows a page shows."""

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from ovtool.report.content import latency_throughput_front, select_rows
from ovtool.results.rows import Rows

pairs = st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 1e5)), min_size=1)


def frame(figures):
    """A table of (latency, throughput), each of a configuration of its own."""
    table = pd.DataFrame(figures, columns=["latency_p50_ms", "throughput_fps"])
    same = {
        "environment": "e",
        "device": "CPU",
        "precision": "default",
        "shape": "",
        "data_shape": "",
        "kv_cache_precision": "",
    }
    return table.assign(
        **same, status="ok", emulated=None, batch=1, load="latency",
        variant_id=[str(n) for n in range(len(figures))],
        trial=[f"t{n}" for n in range(len(figures))],
    )  # fmt: skip


@given(pairs)
def test_front_is_what_no_other_point_dominates(figures):
    front = {figures[place] for place in latency_throughput_front(Rows.from_frame(frame(figures)))}
    for x, y in figures:
        dominated = any(a <= x and b >= y and (a, b) != (x, y) for a, b in figures)
        assert dominated != ((x, y) in front)


@given(pairs, st.integers(1, 20))
def test_selected_rows_include_the_front_up_to_the_limit(figures, limit):
    table = frame(figures)
    selected = select_rows(Rows.from_frame(table), ["t0"], limit).frame
    assert len(selected) == min(limit, len(figures))
    assert selected.index.is_monotonic_increasing
    front = latency_throughput_front(Rows.from_frame(table))
    first = {"t0", *(f"t{place}" for place in front)}
    assert len(first) > limit or first <= set(selected["trial"])
