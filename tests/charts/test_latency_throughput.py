"""The placement of labels next to points."""

from hypothesis import given
from hypothesis import strategies as st

from ovtool.charts.latency_throughput import place_labels


@given(st.lists(st.tuples(st.floats(0, 700), st.floats(0, 400)), max_size=40))
def test_labels_cover_no_point_and_no_label(points):
    offsets = place_labels([p[0] for p in points], [p[1] for p in points])
    placed = [(x + o.dx, y + o.dy) for (x, y), o in zip(points, offsets, strict=True) if o]
    for i, (x, y) in enumerate(placed):
        rest = placed[:i] + placed[i + 1 :]
        assert not any(abs(x - a) < 12 and abs(y - b) < 10 for a, b in rest)
