"""Writing a report: the page, the table as CSV and Parquet, Markdown, the charts as pictures."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ovtool.charts import profiles as layer_profiles
from ovtool.charts.render import Pictures
from ovtool.core import files
from ovtool.core.sweep_folder import RESULTS
from ovtool.report.content import Question, decide, describe
from ovtool.report.markdown import markdown
from ovtool.report.page import page
from ovtool.results.rows import records
from ovtool.results.table import background, load, plain
from ovtool.selection.limits import Limits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pandas as pd

PAGE, CSV, MARKDOWN, CHARTS = "index.html", "results.csv", "report.md", "charts"


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """Where the parts of a report are."""

    page: Path
    csv: Path
    parquet: Path
    markdown: Path
    charts: tuple[Path, ...]


def write(
    folders: Sequence[str | Path],
    out: Path,
    limits: Limits | None = None,
    objective: str = "throughput",
    percentile: int = 99,
    profiles: Sequence[str | Path] = (),
    reload_s: int | None = None,
) -> ReportFiles:
    """Write the report of some sweeps into a folder, each file whole or not at all.

    Other files in the folder stay as they are.  That nothing was measured, or nothing fits the
    limits, is said in the report.

    Args:
        folders: Sweep folders.
        out: Where to; may be one of them.
        limits: For the recommendation.
        objective: Of the recommendation.
        percentile: 50, 90 or 99: of the latency in limits and objective.
        profiles: Folders of profiles of layers, whose charts are added.
        reload_s: After how many seconds a browser reads the page again; None: never.

    Raises:
        InputError: A folder is no sweep or no profile, ``out`` cannot be written, or the objective
            is unknown or was not measured.
    """
    with Pictures() as pictures, ThreadPoolExecutor(1) as beside:
        pictures.prepare()
        table, more = load(folders), layer_profiles.charts(profiles)
        question = Question(
            records(table), background(table), limits or Limits(), objective, percentile
        )
        decided = decide(question)
        tables = beside.submit(_write_tables, table, out)  # nothing given is wrong from here on
        content = describe(question, decided)
        drawn = replace(content.charts, drawn=(*content.charts.drawn, *more))
        content = replace(content, charts=drawn)
        pictures.draw(drawn.drawn)
        return ReportFiles(
            page=files.write_text(out / PAGE, page(content, pictures.library(), reload_s)),
            markdown=files.write_text(out / MARKDOWN, markdown(content)),
            csv=tables.result()[0],
            parquet=tables.result()[1],
            charts=tuple(pictures.write(out / CHARTS)),
        )


def _write_tables(table: pd.DataFrame, out: Path) -> tuple[Path, Path]:
    """Write all rows as CSV (UTF-8, every text in quotes) and as Parquet."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    data = pa.Table.from_pandas(plain(table), preserve_index=False)
    return (
        files.write_file(out / CSV, lambda path: csv.write_csv(data, path)),
        files.write_file(out / RESULTS, lambda path: parquet.write_table(data, path)),
    )
