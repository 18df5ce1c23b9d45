"""A report as files: the page, the table as CSV and Parquet, Markdown, the charts as pictures."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ovtool.charts.layer_report import load_profile_charts, load_slowest_layers
from ovtool.charts.render import ChartRenderer
from ovtool.core import files
from ovtool.core.escaping import quote_column
from ovtool.core.fields import with_fields
from ovtool.core.holding import holding
from ovtool.core.sweep_folder import RESULTS
from ovtool.core.tabular import Tabular
from ovtool.report.content import Sources, build_content
from ovtool.report.markdown import format_markdown
from ovtool.report.page import render_page
from ovtool.report.tracking import TrackedRun, require_mlflow, track
from ovtool.results.frame import SHOWN
from ovtool.results.sweep_rows import write_sweep_rows
from ovtool.results.table import load_results
from ovtool.selection.choice_spec import ChoiceFields, ChoiceSpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from os import PathLike

    import pandas as pd

    from ovtool.results.table import ResultsTable

PAGE, CSV, MARKDOWN, CHARTS = "index.html", "results.csv", "report.md", "charts"


@dataclass(frozen=True, slots=True, repr=False)
class ReportFiles(Tabular):
    """Paths of the files of a report; ``tracked`` is its run in MLflow."""

    page: Path
    csv: Path
    parquet: Path
    markdown: Path
    charts: tuple[Path, ...]
    tracked: TrackedRun | None = None
    _SHOWN = SHOWN

    def _title(self) -> str:
        return f"{self.page}, {len(self.charts)} charts"

    @property
    def frame(self) -> pd.DataFrame:
        """The rows of the report, with the columns of the results."""
        import pandas as pd

        return pd.read_parquet(self.parquet)


def report(
    sweeps: str | PathLike[str] | Sequence[str | PathLike[str]],
    *,
    out: str | Path | None = None,
    spec: ChoiceSpec | None = None,
    profiles: Sequence[str | Path] = (),
    mlflow: bool = False,
    reload_s: int | None = None,
    **fields: Unpack[ChoiceFields],
) -> ReportFiles:
    """Write a page, tables and charts of sweeps, also if nothing fits the limits.

    Each file is written completely or not at all.  Other files in the folder are kept.

    Args:
        sweeps: Folders or results of sweeps, of any number of machines; or a single one.
        out: Folder of the report; defaults to the first sweep.
        spec: Objective and limits of the recommended trial.
        profiles: Folders of profiles that :func:`ovtool.api.profile` wrote, to add their charts.
        mlflow: Whether to log rows and files to MLflow, see :mod:`ovtool.report.tracking`.
        reload_s: Interval at which a browser reloads the page; None to not reload.
        fields: Fields of ``spec``: ``max_latency_ms=20``.

    Raises:
        InputError: A folder is not a sweep or a profile, ``out`` is not writable, or the objective
            was not measured, or MLflow cannot be used.
        MissingDependencyError: ``mlflow`` is requested and not installed.
    """
    client = require_mlflow() if mlflow else None
    sweeps, spec = files.path_list(sweeps), with_fields(ChoiceSpec, spec, fields)
    folder = Path(sweeps[0] if out is None else out)
    # The page and the tables use the other processor.
    with holding(folder), ChartRenderer(workers=1) as renderer:
        renderer.prepare_library()
        if is_sweep_folder := _is_only_sweep(sweeps, folder):
            write_sweep_rows(folder)
        table, profile_charts = load_results(sweeps), load_profile_charts(profiles)
        content = build_content(table, spec, Sources.of(sweeps, profiles, folder))
        charts = (*content.charts.drawn, *profile_charts)
        content = replace(
            content,
            charts=replace(content.charts, drawn=charts),
            layers=tuple(load_slowest_layers(profiles)),
        )
        renderer.draw(charts)
        names = [PAGE, CSV, MARKDOWN, *(f"{CHARTS}/{name}" for name in renderer.file_names())]
        files.claim_files(folder, names if is_sweep_folder else [*names, RESULTS])
        _write_tables(table, folder, with_parquet=not is_sweep_folder)
        page = render_page(content, renderer.library(), reload_s)
        written = ReportFiles(
            page=files.write_text(folder / PAGE, page),
            csv=folder / CSV,
            parquet=folder / RESULTS,
            markdown=files.write_text(folder / MARKDOWN, format_markdown(content)),
            charts=tuple(renderer.write(folder / CHARTS)),
        )
    if client is None:
        return written
    tables = (written.page, written.csv, written.parquet, written.markdown)
    artifacts = [(path, "report") for path in tables]
    artifacts += [(path, f"report/{CHARTS}") for path in written.charts]
    return replace(written, tracked=track(client, table, content.choice, artifacts))


def _is_only_sweep(sweeps: Sequence[str | Path], folder: Path) -> bool:
    """Return whether the folder of the report is the only sweep, with a Parquet file of its own."""
    return len(sweeps) == 1 and Path(sweeps[0]).resolve() == folder.resolve()


def _write_tables(table: ResultsTable, folder: Path, *, with_parquet: bool) -> None:
    """Write all rows as CSV (UTF-8, all text quoted), and as Parquet."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    data = pa.Table.from_pandas(table.rows, preserve_index=False)
    cells = pa.table([quote_column(column) for column in data.columns], data.column_names)
    files.write_file(folder / CSV, lambda path: csv.write_csv(cells, path))
    if with_parquet:
        files.write_file(folder / RESULTS, lambda path: parquet.write_table(data, path))
