"""Results as tables: data frames, short lines, and HTML that no name can break out of."""

from dataclasses import dataclass

import pandas as pd
import pytest

from ovtool.core.statistics import Interval
from ovtool.core.tabular import LONGEST_LINE, MAX_ROWS, Tabular, TabularList, interval_cells


@dataclass(frozen=True, slots=True, repr=False)
class Layers(Tabular):
    """Some layers."""

    names: tuple[str, ...]

    def _title(self):
        return f"layers {', '.join(self.names)}"

    def _rows(self):
        return [{"name": name, "ms": 1 / 3, "unknown": None} for name in self.names]


class Narrow(Layers):
    """Shows one column."""

    __slots__ = ()
    _SHOWN = ("ms", "absent")


def test_the_frame_has_the_rows():
    frame = Layers(("a", "b")).frame
    assert isinstance(frame, pd.DataFrame)
    assert list(frame["name"]) == ["a", "b"]
    assert list(frame.columns) == ["name", "ms", "unknown"]


@pytest.mark.parametrize("names", [("a",), ("long" * 100,), ("a\nb",), tuple("abc" * 50)])
def test_the_repr_is_one_short_line(names):
    for result in (Layers(names), TabularList([Layers(names)] * 3)):
        text = repr(result)
        assert len(text) <= LONGEST_LINE
        assert text.startswith(f"<{type(result).__name__}: layers ")
        assert text.endswith(">")
        assert "\n" not in text


def test_a_name_is_no_markup_and_controls_nothing():
    name = "<script>alert(1)</script>&\x1b]0;title\x07"
    page = Layers((name,))._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 2, "in the title and in the table"
    assert not set(page + repr(Layers((name,)))) & set("\x1b\x07")


def test_columns_without_values_are_not_shown():
    page = Layers(("a",))._repr_html_()
    assert "<th>ms</th>" in page
    assert "<th>unknown</th>" not in page
    assert "0.333" in page
    assert "<th>name</th>" not in Narrow(("a",))._repr_html_()


def test_long_tables_are_cut():
    whole = Layers(tuple(map(str, range(MAX_ROWS + 30))))
    assert len(whole.frame) == MAX_ROWS + 30
    assert whole._repr_html_().count("<tr>") <= MAX_ROWS + 3


def test_a_list_is_one_table():
    both = TabularList([Layers(("a",)), Layers(("b", "c"))])
    assert list(both.frame["name"]) == ["a", "b", "c"]
    assert both[1].names == ("b", "c")
    assert "<table" in TabularList([])._repr_html_()


def test_an_interval_has_three_cells():
    cells = interval_cells("x_ms", Interval(2.0, 1.0, 3.0))
    assert cells == {"x_ms": 2.0, "x_ms_ci_low": 1.0, "x_ms_ci_high": 3.0}
