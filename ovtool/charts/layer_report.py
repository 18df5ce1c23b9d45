"""Writing what was found of each layer: a table, a document and charts."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core import files

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

CSV, CHARTS = "layers.csv", "charts"


@dataclass(frozen=True, slots=True)
class LayerFiles:
    """Where the parts of a written answer are."""

    csv: Path
    document: Path
    charts: tuple[Path, ...]


def write(
    folder: Path,
    target: Path,
    name: str,
    document: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    drawn: Sequence[Any] = (),
) -> LayerFiles:
    """Write the parts into a folder that will be called ``target``, and say where they will be.

    Args:
        folder: Where they are written.
        target: The folder's name to be.
        name: Of the document, without ``.json``.
        document: The whole answer.
        rows: Of the table; what is not in ``columns`` is left out.
        columns: Of the table.
        drawn: Charts, as :mod:`ovtool.report` makes them.
    """
    from ovtool.charts.render import write_charts

    files.write_text(folder / f"{name}.json", json.dumps(document, indent=2) + "\n")
    with (folder / CSV).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    charts = write_charts(drawn, folder / CHARTS)
    return LayerFiles(
        target / CSV,
        target / f"{name}.json",
        tuple(target / path.relative_to(folder) for path in charts),
    )
