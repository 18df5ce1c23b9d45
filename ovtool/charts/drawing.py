"""What all charts share: the record of a chart, the points that they draw, axes.

Every chart draws the same points, one a row of the table, and says in its own specification which
of them it takes: so a filter of the page changes them all alike, and a chart means the same on the
page and as a file.  Each is a single view, so that the page can stretch it to its column, and has
no colours of its own (``theme``).  Names only ever appear as data, never in an expression.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ovtool.core.columns import BY_NAME
from ovtool.results.rows import Config, by_config, figures

if TYPE_CHECKING:
    from collections.abc import Sequence

    import altair as alt

    from ovtool.results.rows import Rows

WIDTH, HEIGHT = 720, 420
LOG_FROM = 10.0
"""Largest over least value from which an axis is logarithmic."""
LINES = 24
"""Configurations of a chart that has a line for each: more could not be overlooked."""
POINTS = "rows"
"""Name of the points in a specification."""
_FIGURES = (
    "latency_p50_ms",
    "throughput_fps",
    "speedup_f32_x",
    "speedup_default_x",
    "model_mib",
    "compile_cold_ms",
    "compile_cached_ms",
    "first_inference_ms",
)
Point = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart: its name as a file, what it shows in words, and its specification.

    ``points`` are those that its data called :data:`POINTS` need have where nothing is filtered;
    empty for a chart with data of its own.
    """

    name: str
    title: str
    caption: str
    spec: dict[str, Any]
    points: Sequence[Point] = ()

    @property
    def whole(self) -> dict[str, Any]:
        """The specification with what it mentions of its points, as it can be drawn anywhere."""
        if not self.points:
            return self.spec
        text = json.dumps(self.spec)
        names = [n for n in dict.fromkeys(n for p in self.points for n in p) if n in text]
        kept = [{name: p[name] for name in names if name in p} for p in self.points]
        return self.spec | {"datasets": self.spec.get("datasets", {}) | {POINTS: kept}}


@dataclass(frozen=True, slots=True)
class Axis:
    """A range of positive values, from zero, or logarithmic where they lie far apart."""

    low: float
    high: float
    log: bool

    @classmethod
    def of(cls, values: Sequence[float]) -> Axis:
        """Return the axis for some values."""
        least, most = min(values), max(values)
        if least > 0 and most / least > LOG_FROM:
            return cls(least / 1.1, most * 1.1, log=True)
        return cls(0.0, 1.06 * most, log=False)

    def share(self, value: float) -> float:
        """Return where a value lies, from 0 to 1."""
        if self.log:
            return math.log(value / self.low) / math.log(self.high / self.low)
        return value / self.high if self.high else 0.0

    @property
    def scale(self) -> alt.Scale:
        """The scale; it fits itself to the values that a filter leaves."""
        import altair as alt

        if self.log:
            return alt.Scale(type="log", nice=False, padding=16)
        return alt.Scale(type="linear", zero=True, nice=4)


def points(
    rows: Rows, labels: dict[Config, str], quality: str | None, best: int | None = None
) -> list[Point]:
    """Return a point for each row: its place in the table, its names, and the charts' figures.

    What is not known is left out.  An interval is there with both its ends or not at all.

    Args:
        rows: All rows, in the order of the table; those that failed or ran on an emulated device
            have no point.
        labels: Names of the configurations of the others.
        quality: Column of quality; None when it was not evaluated.
        best: Which of the rows is the recommended one.
    """
    drawn = rows.equal("status", "ok") & ~rows.known("emulated")
    numbers, kept = np.flatnonzero(drawn).tolist(), rows.take(drawn)
    configs = [Config.of(row) for row in kept]
    places = {label: place for place, label in enumerate(labels.values())}
    standing, files = _standing(kept), _file_labels(kept)
    made: list[Point] = [
        {
            "row": number,
            "config": labels[config],
            "order": places[labels[config]],
            "standing": standing[config],
            "files": files[config.variant_id],
            "batch": batch,
            "load": load,
        }
        for number, config, batch, load in zip(
            numbers, configs, kept.values("batch"), kept.values("load"), strict=True
        )
    ]
    for name in _FIGURES:
        _add(made, kept, name, name)
    if quality is not None:
        _add(made, kept, quality, "quality")
    if best in numbers:
        made[numbers.index(best)]["best"] = 1
    return made


def _standing(rows: Rows) -> dict[Config, int]:
    """Return the place of each configuration by its greatest throughput, from 0."""
    most = {c: np.nan_to_num(r.numbers("throughput_fps")).max() for c, r in by_config(rows).items()}
    ranked = sorted(most, key=lambda config: -most[config])
    return {config: place for place, config in enumerate(ranked)}


def _add(data: Sequence[Point], rows: Rows, column: str, name: str) -> None:
    """Add a figure and its interval to the points of rows, where they are known."""
    has_interval = BY_NAME[column].interval
    for point, value in zip(data, figures(rows, column), strict=True):
        if math.isfinite(value.value):
            point[name] = value.value
            if has_interval and value.known:
                point[f"{name}_low"], point[f"{name}_high"] = value.low, value.high


def _file_labels(rows: Rows) -> dict[str, str]:
    """Return the name of each variant, with its id where two share a name."""
    names = dict(zip(rows.values("variant_id"), rows.values("variant"), strict=True))
    shared = len(set(names.values())) < len(names)
    return {one: f"{name} · {one[:6]}" if shared else name for one, name in names.items()}


def found(data: Sequence[Point], *names: str) -> list[Point]:
    """Return the points that have all of the figures."""
    return [point for point in data if all(name in point for name in names)]


def ends(data: Sequence[Point], name: str) -> list[float]:
    """Return the values of a figure and the ends of its intervals."""
    keys = (name, f"{name}_low", f"{name}_high")
    return [point[key] for point in data for key in keys if key in point]


def keep(*names: str) -> list[dict[str, Any]]:
    """Return the transform that keeps the points that have all of the figures."""
    return [{"filter": f"isValid(datum.{name})"} for name in names]


def first_of(*fields: str, by: str = "row") -> list[dict[str, Any]]:
    """Return the transforms that keep one point of each group, with the least of ``by``."""
    return [
        {
            "window": [{"op": "row_number", "as": "rank"}],
            "sort": [{"field": by, "order": "ascending"}],
            "groupby": list(fields),
        },
        {"filter": "datum.rank === 1"},
    ]


def few_lines() -> list[dict[str, Any]]:
    """Return the transforms that keep the :data:`LINES` configurations of most throughput."""
    return [
        {
            "window": [{"op": "dense_rank", "as": "place"}],
            "sort": [{"field": "standing", "order": "ascending"}],
        },
        {"filter": f"datum.place <= {LINES}"},
    ]


def few(data: Sequence[Point]) -> list[Point]:
    """Return the points that :func:`few_lines` keeps of all of these."""
    kept = set(sorted({point["standing"] for point in data})[:LINES])
    return [point for point in data if point["standing"] in kept]


def few_lines_text(data: Sequence[Point]) -> str:
    """Say so where that leaves some out; empty where it does not."""
    count = len({point["config"] for point in data})
    if count <= LINES:
        return ""
    return f" Of {count} lines the {LINES} of most throughput are drawn: filters bring the others."


def base(*transforms: dict[str, Any]) -> alt.Chart:
    """Return an empty chart over the points."""
    import altair as alt

    chart = alt.Chart(alt.NamedData(name=POINTS))
    if transforms:
        chart.transform = list(transforms)
    return chart


def spec(
    layers: Sequence[alt.Chart], height: float | dict[str, Any], *transforms: dict[str, Any]
) -> dict[str, Any]:
    """Return the specification of layers drawn one over another, without altair's config.

    It is not held against the schema, which would take most of the time of a report: the tests draw
    every chart.

    Args:
        layers: From the lowest.
        height: In pixels, or of each line of the chart: ``step(30)``.
        transforms: Of the points, before those of the layers.
    """
    import altair as alt

    made: dict[str, Any] = alt.layer(*layers).properties(width=WIDTH).to_dict(validate=False)
    made.pop("config", None)
    if transforms:  # a layer inherits them only with the data
        made |= {"data": {"name": POINTS}, "transform": list(transforms)}
        for layer in made["layer"]:
            if layer.get("data") == made["data"]:
                del layer["data"]
    return made | {"height": height}


def step(pixels: int) -> dict[str, Any]:
    """Return a height that grows with the lines of a chart."""
    return {"step": pixels, "for": "position"}


def color(data: Sequence[Point]) -> alt.Color:
    """Return the colour of a configuration, the same in every chart."""
    import altair as alt

    return alt.Color("config:N", **_told(data))


def shape(data: Sequence[Point]) -> alt.Shape:
    """Return the shape of a configuration, the same in every chart."""
    import altair as alt

    return alt.Shape("config:N", **_told(data))


def _told(data: Sequence[Point]) -> dict[str, Any]:
    """Return title, scale and legend of the configurations."""
    import altair as alt

    return {
        "title": "variant",
        "scale": alt.Scale(domain=_configs(data)),
        "legend": alt.Legend(symbolLimit=LINES + 1),
    }


def _configs(data: Sequence[Point]) -> list[str]:
    """Return the configurations in the order of a legend: of too many the drawn ones first."""
    standing = {point["config"]: point["standing"] for point in data}
    names = list(standing)
    return names if len(names) <= LINES else sorted(names, key=lambda name: standing[name])
