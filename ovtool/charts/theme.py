"""Styles of charts: for files (SVG and PNG), and for the page, which follows the color scheme.

The colors are those of Okabe and Ito (2008), which are distinct under all color vision
deficiencies, without yellow, which is too light on white.  Shapes repeat the colors, so that more
lines than colors remain distinct.  The page refers to colors by CSS variables, with lighter values
in dark mode.
"""

from __future__ import annotations

from typing import Any

LIGHT = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#d08a00", "#3a9bdc", "#555555")
DARK = ("#58b0ee", "#f59355", "#3ccf9f", "#e08fd0", "#f2c14e", "#9bdcff", "#bdbdbd")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES = ([1, 0], [5, 3], [2, 2], [8, 3, 2, 3], [12, 4])
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def file_config() -> dict[str, Any]:
    """Return the Vega-Lite configuration of charts in files."""
    return _config(
        ink="#1c2128",
        soft="#57606a",
        grid="#e4e8ec",
        line="#8c959f",
        category=LIGHT,
        background="white",
    ) | {
        "padding": 14,
        "title": {
            "anchor": "start",
            "font": "Arial, sans-serif",
            "fontSize": 15,
            "subtitleFont": "Arial, sans-serif",
            "subtitleFontSize": 11,
            "subtitleColor": "#57606a",
            "subtitlePadding": 6,
            "offset": 14,
        },
        "font": "Arial, sans-serif",
    }


def page_config() -> dict[str, Any]:
    """Return the Vega-Lite configuration of charts on the page."""
    category = tuple(f"var(--c{i})" for i in range(len(LIGHT)))
    return _config(
        ink="var(--ink)",
        soft="var(--soft)",
        grid="var(--grid)",
        line="var(--line)",
        category=category,
        background="transparent",
    ) | {"padding": 4, "font": FONT}


def _config(
    *, ink: str, soft: str, grid: str, line: str, category: tuple[str, ...], background: str
) -> dict[str, Any]:
    return {
        "background": background,
        "view": {"stroke": None},
        "axis": {
            "labelColor": soft,
            "titleColor": soft,
            "gridColor": grid,
            "domainColor": line,
            "tickColor": line,
            "labelFontSize": 11,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "titlePadding": 10,
            "labelLimit": 320,
        },
        "axisQuantitative": {"tickCount": 7},
        "legend": {
            "labelColor": ink,
            "titleColor": soft,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "labelLimit": 320,
            "symbolSize": 80,
            "symbolStrokeWidth": 2,
        },
        "range": {"category": list(category), "symbol": list(SHAPES)},
        "style": {
            "label": {"color": ink, "fontSize": 10},
            "value": {"color": ink, "fontSize": 11},
            "single": {"color": category[0]},
            "chosen": {"stroke": ink, "strokeWidth": 1.5, "opacity": 1},
            "front": {"color": line, "strokeWidth": 7, "strokeOpacity": 0.5, "strokeCap": "round"},
            "reference": {"color": soft, "strokeDash": [4, 3], "strokeWidth": 1.5},
        },
    }
