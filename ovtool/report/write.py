"""Writing a report: the page, the table as CSV and Parquet, Markdown, the charts as pictures."""

from __future__ import annotations

import functools
import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ovtool import files
from ovtool.report import profiles as layer_profiles
from ovtool.report import theme
from ovtool.report.content import gather
from ovtool.report.limits import Limits
from ovtool.report.markdown import markdown
from ovtool.report.page import page
from ovtool.report.table import load, plain
from ovtool.store import RESULTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from ovtool.report.drawing import Chart

PAGE, CSV, MARKDOWN, CHARTS = "index.html", "results.csv", "report.md", "charts"
_PIXELS = 2
"""Pixels of a PNG for one of the SVG."""


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
    table = load(folders)
    content = gather(table, limits or Limits(), objective, percentile)
    if profiles:
        drawn = (*content.charts.drawn, *layer_profiles.charts(profiles))
        content = replace(content, charts=replace(content.charts, drawn=drawn))
    data = plain(table)
    return ReportFiles(
        page=files.write_text(out / PAGE, page(content, reload_s)),
        csv=files.write_file(out / CSV, lambda path: _write_csv(data, path)),
        parquet=files.write_file(out / RESULTS, lambda path: data.to_parquet(path, index=False)),
        markdown=files.write_text(out / MARKDOWN, markdown(content)),
        charts=tuple(write_charts(content.charts.drawn, out / CHARTS)),
    )


def _write_csv(data: pd.DataFrame, path: Path) -> None:
    """Write UTF-8 with every text in quotes, ten times as fast as pandas does."""
    import pyarrow as pa
    from pyarrow import csv

    csv.write_csv(pa.Table.from_pandas(data, preserve_index=False), path)


def write_charts(charts: Sequence[Chart], folder: Path) -> list[Path]:
    """Write charts as SVG and PNG, each with its title and caption."""
    import vl_convert

    written = []
    for chart in charts:
        svg: str = vl_convert.vegalite_to_svg(_static(chart))
        png: bytes = vl_convert.svg_to_png(svg, scale=_PIXELS)
        written.append(files.write_text(folder / f"{chart.name}.svg", svg))
        target = folder / f"{chart.name}.png"
        written.append(files.write_file(target, functools.partial(Path.write_bytes, data=png)))
    return written


def _static(chart: Chart) -> dict[str, object]:
    """Return the specification of a chart that stands alone, with its title and caption."""
    title = {"text": chart.title, "subtitle": textwrap.wrap(chart.caption, 110)}
    return chart.whole | {"config": theme.static(), "title": title}
