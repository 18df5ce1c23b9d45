"""Results as tables: a data frame, one line of text, and HTML for notebooks."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from ovtool.core import units
from ovtool.core.escaping import quote_controls

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ovtool.core.statistics import Interval

LONGEST_LINE = 100
"""Characters of a ``repr``."""
MAX_ROWS = 20
"""Rows of the HTML table; more rows are cut in the middle."""


class Tabular:
    """Base of results that are also a table.

    A subclass has :meth:`_title`, and :meth:`_rows` or its own :attr:`frame`.  A dataclass needs
    ``repr=False``.
    """

    __slots__ = ()
    _SHOWN: ClassVar[Sequence[str]] = ()
    """Columns of the HTML table; empty for all.  Columns without values are left out."""

    def _title(self) -> str:
        """Return the result in one line."""
        raise NotImplementedError

    def _remarks(self) -> list[str]:
        """Return the lines of the HTML below the title."""
        return []

    def _rows(self) -> list[dict[str, Any]]:
        """Return the rows of the table by column name, unknown values as None."""
        raise NotImplementedError

    @property
    def frame(self) -> pd.DataFrame:
        """The result as a data frame, built on each access."""
        import pandas as pd

        return pd.DataFrame(self._rows())

    def __repr__(self) -> str:
        """Return the class and the title, shortened to :data:`LONGEST_LINE` characters."""
        line = f"<{type(self).__name__}: {quote_controls(' '.join(self._title().split()))}"
        return f"{units.shortened(line, LONGEST_LINE - 1)}>"

    def _repr_html_(self) -> str:
        """Return the title and the table for a notebook; names of models are escaped."""
        frame = self.frame
        shown = [name for name in self._SHOWN or frame.columns if name in frame.columns]
        known = [name for name in shown if frame[name].notna().any()]
        table = frame[known].to_html(
            index=False, border=0, na_rep=units.UNKNOWN, max_rows=MAX_ROWS, float_format=units.text
        )
        title, *remarks = (
            html.escape(quote_controls(text)) for text in (self._title(), *self._remarks())
        )
        lines = "".join(f"<br>{remark}" for remark in remarks)
        return f"<div><p><b>{title}</b>{lines}</p>{quote_controls(table)}</div>"


T = TypeVar("T", bound=Tabular)


class TabularList(list[T], Tabular, Generic[T]):
    """A list of results that is one table."""

    __slots__ = ()
    __repr__ = Tabular.__repr__

    def _title(self) -> str:
        return "; ".join(item._title() for item in self)  # noqa: SLF001 - of the same base

    def _rows(self) -> list[dict[str, Any]]:
        return [row for item in self for row in item._rows()]  # noqa: SLF001 - of the same base


def interval_cells(name: str, interval: Interval) -> dict[str, float]:
    """Return a figure and its interval as cells with the names of the results columns."""
    return {
        name: interval.value,
        f"{name}_ci_low": interval.low,
        f"{name}_ci_high": interval.high,
    }
