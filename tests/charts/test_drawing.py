"""What charts share: axes."""

from hypothesis import given
from hypothesis import strategies as st

from ovtool.charts.drawing import Axis


@given(st.lists(st.just(0.0) | st.floats(1e-6, 1e9), min_size=1))
def test_axis_contains_all_values(values):
    axis = Axis.of(values)
    assert all(-1e-9 <= axis.position(value) <= 1 + 1e-9 for value in values)
    assert axis.log == (min(values) > 0 and max(values) / min(values) > 10)
