"""Styles of charts: for files (SVG and PNG), and for the page, which follows the color scheme.

The colors are those of Okabe and Ito (2008), which are distinct under all color vision
deficiencies, without yellow, which is too light on white.  Shapes repeat the colors, so that more
lines than colors remain distinct.  The page refers to colors by CSS variables, with lighter values
in dark mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

LIGHT = ("#0072b2", "#d55e00", "#009e73", "#aa4499", "#d08a00", "#3a9bdc", "#8b929b")
DARK = ("#58b0ee", "#f59355", "#3ccf9f", "#e08fd0", "#f2c14e", "#9bdcff", "#7d8791")
LIGHT_PRECISIONS = ("#4b2e83", "#8a6bbf", "#a985cc", "#a39a8c")
DARK_PRECISIONS = ("#c3a6ff", "#9a7fd6", "#7660ab", "#8f887d")
"""Of i8, bf16, f16 and f32: violets and a gray, as the other colors are those of variants."""
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
        precisions=LIGHT_PRECISIONS,
        background="white",
        halo="white",
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


def variables(colors: Sequence[str], precisions: Sequence[str]) -> dict[str, str]:
    """Return the CSS variables that :func:`page_config` refers to, without their dashes."""
    pairs = (("c", colors), ("p", precisions))
    return {f"{name}{i}": color for name, values in pairs for i, color in enumerate(values)}


def page_config() -> dict[str, Any]:
    """Return the Vega-Lite configuration of charts on the page."""
    names = [f"var(--{name})" for name in variables(LIGHT, LIGHT_PRECISIONS)]
    category, precisions = tuple(names[: len(LIGHT)]), tuple(names[len(LIGHT) :])
    return _config(
        ink="var(--ink)",
        soft="var(--soft)",
        grid="var(--grid)",
        line="var(--line)",
        category=category,
        precisions=precisions,
        background="transparent",
        halo="var(--card)",
    ) | {"padding": 4, "font": FONT}


def _config(
    *,
    ink: str,
    soft: str,
    grid: str,
    line: str,
    category: tuple[str, ...],
    precisions: tuple[str, ...],
    background: str,
    halo: str,
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
        "axisX": {"labelFlush": 12},
        "legend": {
            "labelColor": ink,
            "titleColor": soft,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "labelLimit": 320,
            "symbolSize": 80,
            "symbolStrokeWidth": 2,
            "symbolBaseFillColor": soft,
            "symbolBaseStrokeColor": soft,
        },
        "header": {"labelColor": ink, "titleColor": soft},
        "range": {
            "category": list(category),
            "ordinal": list(precisions),
            "symbol": list(SHAPES),
        },
        "style": {
            "label": {"color": ink, "fontSize": 10},
            "value": {"color": ink, "fontSize": 11},
            "single": {"color": soft},
            "chosen": {"color": ink, "strokeWidth": 2, "opacity": 1},
            "front": {"color": line, "strokeWidth": 7, "strokeOpacity": 0.5, "strokeCap": "round"},
            "panel": {"color": ink},
            "context": {"color": line, "opacity": 0.35},
            "limit": {"color": ink, "strokeDash": [6, 4], "strokeWidth": 1.5},
            "limit-label": {"color": ink, "fontSize": 11, "fontWeight": "bold"},
            "halo": {"fontSize": 11, "fontWeight": "bold", "stroke": halo, "strokeWidth": 5},
            "reference": {"color": soft, "strokeDash": [4, 3], "strokeWidth": 1.5},
        },
    }
