"""Per-layer results as files: a table, a document and charts; and the charts of a saved profile."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.charts.layers import draw_roofline, draw_time_by_layer
from ovtool.charts.render import write_charts
from ovtool.core import files
from ovtool.core.errors import InputError
from ovtool.core.escaping import quote_cell
from ovtool.core.input_limits import parse_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.charts.drawing import Chart

LAYERS, CHARTS, PROFILE = "layers.csv", "charts", "profile.json"
_PROFILE_COLUMNS = {"name", "label", "type", "precision", "time_ms", "share_pct"}
_ROOFLINE_COLUMNS = {"gflops_per_s", "intensity", "bound"}
_TEXT_COLUMNS = {"name", "label", "type", "precision", "device", "primitive", "bound"}


@dataclass(frozen=True, slots=True)
class LayerFiles:
    """Paths of the files of a per-layer result."""

    csv: Path
    document: Path
    charts: tuple[Path, ...]


def write_layer_report(
    folder: Path,
    target: Path,
    name: str,
    document: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
    charts: Sequence[Chart] = (),
) -> LayerFiles:
    """Write a per-layer result into a folder, and return the paths after its renaming to target.

    ``name`` is that of the document, without ``.json``.  Only the columns of the rows are written.
    """
    files.write_text(folder / f"{name}.json", json.dumps(document, indent=2) + "\n")
    with (folder / LAYERS).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({k: quote_cell(v) if isinstance(v, str) else v for k, v in row.items()})
    pictures = write_charts(charts, folder / CHARTS)
    return LayerFiles(
        target / LAYERS,
        target / f"{name}.json",
        tuple(target / path.relative_to(folder) for path in pictures),
    )


def draw_profile(profile: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Draw the time by layer, the slowest first in ``rows``, and the roofline if calibrated."""
    caption = _caption(profile)
    charts = [draw_time_by_layer(rows, caption)]
    if (limits := profile.get("roofline")) is not None:
        charts.append(draw_roofline(rows, limits["peaks"], limits["bandwidths"], caption))
    return charts


def load_profile_charts(folders: Sequence[str | Path]) -> list[Chart]:
    """Draw the charts of profiles that ``ovtool profile --out`` wrote.

    Raises:
        InputError: A folder holds no profile or a damaged one.
    """
    charts = []
    for number, folder in enumerate(folders, 1):
        profile, rows = _load_profile(Path(folder))
        for chart in draw_profile(profile, rows):
            name = chart.name if number == 1 else f"{chart.name}-{number}"
            title = f"{chart.title}: {profile['variant']}"
            charts.append(replace(chart, name=name, title=title))
    return charts


def load_slowest_layers(folders: Sequence[str | Path], count: int = 8) -> list[dict[str, Any]]:
    """Return the settings and the slowest layers of profiles.

    Raises:
        InputError: A folder holds no profile or a damaged one.
    """
    profiles = (_load_profile(Path(folder)) for folder in folders)
    return [
        {
            "variant": profile["variant"],
            "device": profile["device"],
            "precision": profile["executed_precision"],
            "batch": profile["batch"],
            "load": profile["load"],
            "layers": [
                [row["type"], row["label"], row["precision"], row["time_ms"], row["share_pct"]]
                for row in rows[:count]
            ],
        }
        for profile, rows in profiles
    ]


def _caption(profile: Mapping[str, Any]) -> str:
    precision = f" in {profile['executed_precision']}" if profile["executed_precision"] else ""
    return (
        f"{profile['variant']} on {profile['device']}{precision}, batch {profile['batch']},"
        f" {profile['load']} hint. Mean of {profile['inferences']} sequential inferences with"
        " performance counters."
    )


def _load_profile(folder: Path) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
    document = folder / PROFILE
    if not document.is_file():
        raise InputError(
            f"{folder} is not a profile: it has no {PROFILE}",
            "create one with ovtool profile MODEL --out FOLDER",
        )
    table = files.existing_file(folder / LAYERS, "layers of the profile")
    try:
        profile = parse_json(document.read_text(encoding="utf-8"))
        _caption(profile)
        with table.open(newline="", encoding="utf-8") as stream:
            rows = [
                {name: _parse_cell(name, text) for name, text in row.items()}
                for row in csv.DictReader(stream)
            ]
        has_roofline = profile.get("roofline") is not None
        required = _PROFILE_COLUMNS | (_ROOFLINE_COLUMNS if has_roofline else set())
        missing = required - set(rows[0] if rows else ())
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise _damaged(folder, repr(error)) from error
    if missing:
        raise _damaged(folder, f"{LAYERS} has no rows or lacks {', '.join(sorted(missing))}")
    return profile, rows


def _parse_cell(name: str, text: Any) -> str | float | None:
    if not isinstance(text, str):
        raise TypeError(f"a row has more or fewer cells than {LAYERS} has columns")
    if name in _TEXT_COLUMNS:
        return text
    return float(text) if text else None


def _damaged(folder: Path, reason: str) -> InputError:
    return InputError(
        f"the profile in {folder} is damaged: {reason}", "run ovtool profile --out again"
    )
