"""The result of the verb ``sweep``: numbers of trials, and the rows in the folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core.tabular import Tabular
from ovtool.results.frame import SHOWN

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False)
class SweepResult(Tabular):
    """Numbers of trials by outcome; ``reused`` trials were already in the folder.

    ``repeated`` of the others were in the folder too, but fell short of the settings.
    """

    folder: Path
    measured: int
    failed: int
    reused: int
    unavailable: Mapping[str, str]
    estimated: int = 0
    repeated: int = 0

    _SHOWN = SHOWN

    def __fspath__(self) -> str:
        """Return the folder: the result of a sweep is a path, for ``report`` and ``choose``."""
        return str(self.folder)

    @property
    def folders(self) -> list[Path]:
        """The sweep folders: a single one."""
        return [self.folder]

    def _title(self) -> str:
        counts = {"measured": self.measured, "estimated": self.estimated, "reused": self.reused,
                  "failed": self.failed}  # fmt: skip
        parts = [f"{count} {outcome}" for outcome, count in counts.items() if count]
        return f"{', '.join(parts)} in {self.folder}"

    @property
    def frame(self) -> pd.DataFrame:
        """The rows of all trials in the folder, with the columns of the results."""
        from ovtool.results.table import load_results

        return load_results([self.folder]).rows

    def to_json(self) -> dict[str, Any]:
        """Return the numbers, and the rows of all trials in the folder, as JSON types."""
        from ovtool.results.table import load_results

        rows = [dict(row) for row in load_results([self.folder]).records]
        return asdict(self) | {"folder": str(self.folder), "rows": rows}
