"""Profiles of layers for a report, read from the folders that ``ovtool profile --out`` wrote."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.charts.profile_chart import caption, time_by_layer
from ovtool.charts.roofline_chart import roofline
from ovtool.core import files
from ovtool.core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ovtool.charts.drawing import Chart

LAYERS, DOCUMENT = "layers.csv", "profile.json"
_NEEDED = {"name", "label", "type", "precision", "time_ms", "share_pct"}
_ROOFLINE = {"gflops_per_s", "intensity", "bound"}
_TEXTS = {"name", "label", "type", "precision", "device", "primitive", "bound"}


def charts(folders: Sequence[str | Path]) -> list[Chart]:
    """Return the charts of each profile.

    Raises:
        InputError: A folder holds no profile, or a damaged one.
    """
    made = []
    for number, folder in enumerate(folders, 1):
        told, rows = _read(Path(folder))
        for chart in drawn(told, rows):
            name = chart.name if number == 1 else f"{chart.name}-{number}"
            made.append(replace(chart, name=name, title=f"{chart.title}: {told['variant']}"))
    return made


def drawn(told: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Chart]:
    """Return the charts of one profile: time by layer, and the roofline where there is one.

    Args:
        told: The profile as JSON types.
        rows: Its layers, the slowest first.
    """
    made = [time_by_layer(rows, caption(told))]
    if (limits := told.get("roofline")) is not None:
        made.append(roofline(rows, limits["peaks"], limits["bandwidths"], caption(told)))
    return made


def _read(folder: Path) -> tuple[Mapping[str, Any], list[dict[str, Any]]]:
    if not (folder / DOCUMENT).is_file():
        raise InputError(
            f"no profile in {folder}: it has no {DOCUMENT}", "ovtool profile MODEL --out makes one"
        )
    document = folder / DOCUMENT
    table = files.existing_file(folder / LAYERS, "layers of the profile")
    try:
        told = json.loads(document.read_text(encoding="utf-8"))
        caption(told)
        with table.open(newline="", encoding="utf-8") as stream:
            rows = [
                {name: _value(name, text) for name, text in row.items()}
                for row in csv.DictReader(stream)
            ]
        needed = _NEEDED | (_ROOFLINE if told.get("roofline") is not None else set())
        missing = needed - set(rows[0] if rows else ())
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(folder, repr(error)) from error
    if missing:
        raise _damaged(folder, f"no layers, or without {', '.join(sorted(missing))}")
    return told, rows


def _value(name: str, text: str) -> str | float | None:
    if name in _TEXTS:
        return text
    return float(text) if text else None


def _damaged(folder: Path, why: str) -> InputError:
    return InputError(
        f"the profile in {folder} cannot be read: {why}", "make it again: ovtool profile --out"
    )
