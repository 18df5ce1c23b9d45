"""Small multiples of latency and throughput: a panel for each variant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ovtool.charts.drawing import (
    HOVER,
    MAX_COLORS,
    POINTS_DATASET,
    Chart,
    Point,
    device_shape,
    layered_spec,
    over_points,
    over_values,
    require,
    with_figures,
)
from ovtool.charts.latency_throughput import LatencyView, lines_text, throughput_axis

if TYPE_CHECKING:
    from collections.abc import Sequence

PANEL_WIDTH, PANEL_HEIGHT, PANEL_COLUMNS = 190, 130, 4
"""Size in pixels of a small multiple, and their number side by side in a file."""
_MAX_CONTEXT = 120
"""Maximum number of gray points in a small multiple: each panel has all of them."""
MAX_PANELS = 36
"""Maximum number of small multiples."""


def draw_small_multiples(data: Sequence[Point], view: LatencyView) -> Chart | None:
    """Draw a panel of throughput over latency for each variant.

    None if the first chart has a color for each variant and all lines.
    """
    name, title = "by-variant", "Latency and throughput by variant"
    shown = with_figures(data, *view.axes)
    ranks: dict[str, int] = {}
    for point in shown:
        ranks[point["files"]] = min(point["speed_rank"], ranks.get(point["files"], 1 << 30))
    if len(ranks) < 2 or (len(ranks) <= MAX_COLORS and not lines_text(shown)):
        return None
    names = sorted(ranks, key=ranks.__getitem__)[:MAX_PANELS]
    x = view.x(shown, tickCount=3).title(f"{view.latency.split('_')[1]}, ms")
    y = throughput_axis(shown, tickCount=3).title("samples/s")
    own = {point["row"]: point for point in shown if point["files"] in names}
    in_order = sorted(shown, key=lambda point: point[view.latency])
    context = in_order[:: -(-len(in_order) // _MAX_CONTEXT)]
    layers = [
        over_values([{k: point[k] for k in view.axes} for point in context]).mark_point(
            style="context", size=8, filled=True, tooltip=None
        ),
        over_points().mark_line(style="panel", strokeWidth=1.4),
        over_points().mark_point(style="panel", filled=True, size=34, opacity=1, tooltip=HOVER),
    ]
    layers[0] = layers[0].encode(x=x, y=y)
    layers[1] = layers[1].encode(x=x, y=y, order="batch:Q", detail=["config:N", "load:N"])
    layers[2] = layers[2].encode(x=x, y=y, shape=device_shape(data))
    panel = layered_spec(layers, PANEL_HEIGHT) | {"width": PANEL_WIDTH}
    datasets = panel.pop("datasets")  # Vega-Lite reads them at the top only
    for layer in panel["layer"][1:]:  # a layer with data of its own is the same in every panel
        del layer["data"]
    by_speed = {"field": "speed_rank", "op": "min", "order": "ascending"}
    header = {"title": None, "labelLimit": PANEL_WIDTH}
    more = f" Shows the {len(names)} fastest of {len(ranks)}." if len(names) < len(ranks) else ""
    return Chart(
        name,
        title,
        f"One panel per variant, the fastest first. Small gray points: rows of all variants.{more}",
        {
            "data": {"name": POINTS_DATASET},
            "datasets": datasets,
            "transform": require(*view.axes),
            "facet": {"field": "files", "type": "nominal", "sort": by_speed, "header": header},
            "columns": PANEL_COLUMNS,
            "spec": panel,
        },
        list(own.values()),
    )
