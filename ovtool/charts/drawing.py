"""What all charts share: the record of a chart, its data transforms, axes and encodings.

Every chart of a sweep draws the same points, one for each row of the table, and selects among them
in its own specification.  A filter of the page therefore applies to all charts, and a chart shows
the same on the page and as a file.  Each chart is a single view, so that the page can stretch it,
and takes its colors from :mod:`ovtool.charts.theme`.  Names from the user are data only, never part
of an expression.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import altair as alt

WIDTH, HEIGHT = 720, 420
LOG_RATIO = 10.0
"""An axis is logarithmic if its largest value exceeds its smallest value by this factor."""
MAX_CONFIGS = 24
"""Maximum number of configurations in a chart with a line for each."""
MAX_LAYERS = 25
"""Maximum number of layers in a chart with a line for each."""
_LABEL_CHARACTERS = 48
"""Maximum length of a layer's label that the axis does not truncate."""
MAX_COLORS = 7
"""Maximum number of colors of variants; the last one is that of :data:`OTHERS` beyond it."""
OTHERS = "other variants"
_PRECISIONS = ("i8", "bf16", "f16", "f32")
"""Precisions in the order of their colors, so that each has the same color in every chart."""
POINTS_DATASET = "rows"
"""Name of the points in a specification."""
HOVER: dict[str, Any] = {"content": "data"}
"""Tooltip with all fields of a point."""
Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: file name without suffix, title, how to read it, and Vega-Lite specification."""

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    points: Sequence[Point] = ()
    """The points that the chart shows without a filter; empty for a chart with its own data."""

    @property
    def standalone_spec(self) -> dict[str, Any]:
        """The specification with the fields of the points that it refers to."""
        if not self.points:
            return self.spec
        text = json.dumps(self.spec)
        names = [n for n in dict.fromkeys(n for p in self.points for n in p) if n in text]
        values = [{name: p[name] for name in names if name in p} for p in self.points]
        return self.spec | {"datasets": self.spec.get("datasets", {}) | {POINTS_DATASET: values}}


@dataclass(frozen=True, slots=True)
class OmittedChart:
    """A chart without data, and the reason."""

    name: str
    title: str
    reason: str


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of positive values: linear from zero, or logarithmic for a wide range."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Sequence[float], *, log: bool = False) -> Axis:
        """Return the axis for some values; ``log`` prefers a logarithmic axis for any range."""
        low, high = min(values), max(values)
        if low > 0 and (log or high / low > LOG_RATIO):
            return cls(low / 1.1, high * 1.1, log=True)
        return cls(0.0, 1.06 * high, log=False)

    def position(self, value: float) -> float:
        """Return the position of a value on the axis, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return value / self.high if self.high else 0.0

    @property
    def scale(self) -> alt.Scale:
        """The scale; it adapts to the values that a filter selects."""
        import altair as alt

        if self.log:
            return alt.Scale(type="log", nice=False, padding=16)
        return alt.Scale(type="linear", zero=True, nice=4)


def with_figures(data: Sequence[Point], *names: str) -> list[Point]:
    """Return the points that have all of the figures."""
    return [point for point in data if all(name in point for name in names)]


def axis_values(data: Sequence[Point], name: str) -> list[float]:
    """Return the values of a figure and the bounds of its intervals."""
    keys = (name, f"{name}_low", f"{name}_high")
    return [point[key] for point in data for key in keys if key in point]


def require(*names: str) -> list[dict[str, Any]]:
    """Return the transforms that keep the points with all of the figures."""
    return [{"filter": f"isValid(datum.{name})"} for name in names]


def first_of_each(*fields: str, by: str = "row") -> list[dict[str, Any]]:
    """Return the transforms that keep one point of each group, with the smallest ``by``."""
    ranks = {"window": [{"op": "row_number", "as": "rank"}], "sort": [_ascending(by)]}
    return [ranks | {"groupby": list(fields)}, {"filter": "datum.rank === 1"}]


def fastest_configs() -> list[dict[str, Any]]:
    """Return the transforms that keep the :data:`MAX_CONFIGS` fastest configurations."""
    places = {"window": [{"op": "dense_rank", "as": "place"}], "sort": [_ascending("speed_rank")]}
    return [places, {"filter": f"datum.place <= {MAX_CONFIGS}"}]


def _ascending(field: str) -> dict[str, str]:
    return {"field": field, "order": "ascending"}


def points_of_fastest(data: Sequence[Point]) -> list[Point]:
    """Return the points that :func:`fastest_configs` keeps without a filter."""
    ranks = set(sorted({point["speed_rank"] for point in data})[:MAX_CONFIGS])
    return [point for point in data if point["speed_rank"] in ranks]


def truncation_text(data: Sequence[Point], field: str = "config") -> str:
    """Return the sentence on names that are not drawn; empty if all are drawn."""
    count = len({point[field] for point in data})
    if count <= MAX_CONFIGS:
        return ""
    return f" Shows the {MAX_CONFIGS} fastest of {count}; filter to see more."


def over_values(values: Sequence[Point]) -> alt.Chart:
    """Return an empty chart with data of its own."""
    import altair as alt

    return alt.Chart(alt.InlineData(values=values))


def over_points(*transforms: dict[str, Any]) -> alt.Chart:
    """Return an empty chart over the points."""
    import altair as alt

    chart = alt.Chart(alt.NamedData(name=POINTS_DATASET))
    if transforms:
        chart.transform = list(transforms)
    return chart


def layered_spec(
    layers: Sequence[alt.Chart], height: float | dict[str, Any], *transforms: dict[str, Any]
) -> dict[str, Any]:
    """Return the specification of layers from bottom to top, without altair's config.

    The transforms precede those of the layers.  Validation against the schema is off: it would
    dominate the time of a report.  The tests draw every chart.
    """
    import altair as alt

    spec: dict[str, Any] = alt.layer(*layers).properties(width=WIDTH).to_dict(validate=False)
    spec.pop("config", None)
    if transforms:  # a layer inherits transforms only together with the data
        spec |= {"data": {"name": POINTS_DATASET}, "transform": list(transforms)}
        for layer in spec["layer"]:
            if layer.get("data") == spec["data"]:
                del layer["data"]
    return spec | {"height": height}


def step_height(pixels: int) -> dict[str, Any]:
    """Return a height of some pixels for each line of a chart."""
    return {"step": pixels, "for": "position"}


_SHORT_LABEL = "truncate(datum.label, 52, 'center')"
"""A label without its middle, as names of configurations differ at their ends.

The page replaces the number of characters.
"""


def config_axis(field: str = "config") -> alt.Y:
    """Return the axis with a line for each name, in the order of the table."""
    import altair as alt

    by_order = alt.EncodingSortField(field="order", op="min", order="ascending")
    return alt.Y(f"{field}:N", title=None, sort=by_order, axis=alt.Axis(labelExpr=_SHORT_LABEL))


def color_groups(ranks: Mapping[str, int], first: str | None = None) -> dict[str, str]:
    """Return the name by which each variant is colored: its own, or :data:`OTHERS`.

    With more variants than colors, ``first`` and the fastest by their rank have a color.
    """
    names = list(ranks)
    if len(names) > MAX_COLORS:
        names.sort(key=lambda name: (name != first, ranks[name]))
        names = names[: MAX_COLORS - 1]
    return {name: name if name in names else OTHERS for name in ranks}


def variant_color(data: Sequence[Point], *, legend: bool = True) -> alt.Color:
    """Return the color of a variant, the same in every chart."""
    import altair as alt

    domain = sorted({p["color"]: p["order"] for p in reversed(data)}.items(), key=lambda i: i[1])
    names = [name for name, _ in domain if name != OTHERS]
    if len(names) < len(domain):
        names += [*[""] * (MAX_COLORS - 1 - len(names)), OTHERS]  # the gray is the last color
    return alt.Color(
        "color:N",
        title="variant",
        scale=alt.Scale(domain=names),
        legend=alt.Legend(symbolLimit=MAX_COLORS, labelExpr=_SHORT_LABEL) if legend else None,
    )


def device_shape(data: Sequence[Point]) -> alt.Shape:
    """Return the shape of a device, the same in every chart; a single device needs no legend."""
    import altair as alt

    devices = list(dict.fromkeys(point["device"] for point in data))
    legend = alt.Legend(symbolLimit=MAX_COLORS) if len(devices) > 1 else None
    return alt.Shape("device:N", title="device", scale=alt.Scale(domain=devices), legend=legend)


def number_text(name: str) -> str:
    """Return the expression for a figure as :func:`ovtool.core.units.text` formats it."""
    return f"datum.{name} >= 100 ? format(datum.{name}, '.0f') : format(datum.{name}, '.3r')"


def layer_label(place: int, kind: str, name: str) -> str:
    """Return the label of a layer: its place, its type and its shortened name."""
    prefix = f"{place}. {kind} "
    return prefix + units.shortened(name, max(8, _LABEL_CHARACTERS - len(prefix)))


def precision_color(used: Iterable[str]) -> alt.Color:
    """Return the color of the executed precision."""
    import altair as alt

    names = set(used)
    domain = [*_PRECISIONS, *sorted(names - set(_PRECISIONS))]
    return alt.Color(
        "precision:N",
        title="executed in",
        scale=alt.Scale(domain=domain, range="ordinal"),
        legend=alt.Legend(values=[name for name in domain if name in names]),
    )


def tooltips(**titles: str) -> list[alt.Tooltip]:
    """Return a tooltip with some fields and their titles."""
    import altair as alt

    return [alt.Tooltip(f"{name}:N", title=title) for name, title in titles.items()]
