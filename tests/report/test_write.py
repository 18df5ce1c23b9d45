"""Summary, charts, page, Markdown and files."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pandas as pd
import pytest
import vl_convert
from hypothesis import given
from hypothesis import strategies as st

from ovtool.charts import theme
from ovtool.charts.build import charts
from ovtool.charts.drawing import LINES, Axis
from ovtool.charts.label_placement import place
from ovtool.core.columns import COLUMNS
from ovtool.core.errors import InputError, NothingMeasuredError
from ovtool.core.markdown import escape
from ovtool.report.content import gather
from ovtool.report.shown import front, shown
from ovtool.report.summary import summary
from ovtool.report.write import write
from ovtool.results.rows import records
from ovtool.results.table import load
from ovtool.selection.limits import Limits
from tests.helpers import sweeps
from tests.helpers.report_pages import column_of, data_of, page_of

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>|`*"
EVIL = sweeps.Model(HOSTILE, 4.0, {"default": 3.0}, (48, 50))


class Page(HTMLParser):
    """What a browser finds in a page: elements and scripts."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs).get("type", ""), ""))

    def handle_data(self, data):
        if self.lasttag == "script" and self.scripts:
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)

    def handle_endtag(self, tag):
        if tag == "script":
            self.lasttag = ""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report with a hostile name, a failed row and a missing device."""
    root = tmp_path_factory.mktemp("w")
    models = (*sweeps.MODELS, EVIL)
    made = [
        sweeps.with_quality(sweeps.measure(t, models), next(m for m in models if m.id == t.variant))
        for t in sweeps.trials(models, batches=(1, 4))
    ]
    made[-1] = sweeps.failed(made[-1].trial, f"died of {HOSTILE}")
    folder = sweeps.make(root / "s", made, models, unavailable=[("NPU", HOSTILE)])
    (root / "out").mkdir()
    (root / "out" / "mine.txt").write_text("kept")
    return load([folder]), write([folder], root / "out")


def test_files_are_all_there_and_others_stay(written):
    _table, files = written
    assert files.page.name == "index.html"
    assert (files.page.parent / "mine.txt").read_text() == "kept"
    names = {path.name for path in files.charts}
    assert {"latency-throughput.svg", "quality.png", "size.svg", "speedup-f32.png"} <= names
    for path in files.charts:
        start = path.read_bytes()[:8]
        assert start.startswith(b"\x89PNG" if path.suffix == ".png" else b"<svg"), path
    assert not list(files.page.parent.rglob("*.tmp*"))


def test_csv_and_parquet_hold_the_table(written):
    table, files = written
    names = [name for column in COLUMNS for name in column.names]
    csv, parquet = pd.read_csv(files.csv), pd.read_parquet(files.parquet)
    assert list(csv.columns) == list(parquet.columns) == names
    assert csv["trial"].tolist() == parquet["trial"].tolist() == table["trial"].tolist()
    pd.testing.assert_series_equal(
        parquet["throughput_fps"], table["throughput_fps"], check_exact=True
    )
    assert parquet["executed_precision"].isna().sum() == 1, "unknown is empty"


def test_the_page_has_the_rows_of_the_csv(written):
    _, files = written
    csv = pd.read_csv(files.csv)
    text = files.page.read_text()
    for name in ("variant", "batch", "trial", "status"):
        assert column_of(text, name) == csv[name].astype(str).tolist()


def test_the_page_asks_nothing_of_the_network(written):
    text = written[1].page.read_text()
    found = Page(text)
    for tag, attributes in found.elements:
        for name in ("src", "href", "action", "data", "srcset"):
            value = attributes.get(name) or "data:"
            assert value.startswith(("data:", "#")), (tag, name, value)
        assert tag not in ("iframe", "object", "embed", "form", "base")
    outside_scripts = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"@import|url\(|https?://", outside_scripts)
    policy = next(a["content"] for t, a in found.elements if t == "meta" and "http-equiv" in a)
    assert policy.startswith("default-src 'none';")
    assert "unsafe-eval" not in policy
    assert "http" not in policy


def test_only_the_hashed_scripts_run_and_hostile_names_stay_text(written):
    text = written[1].page.read_text()
    found = Page(text)
    policy = next(a["content"] for t, a in found.elements if t == "meta" and "http-equiv" in a)
    running = [body for kind, body in found.scripts if not kind]
    assert len(running) == 2
    for body in running:
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
        assert "alert(1)" not in body
    assert not [t for t, _ in found.elements if t == "img"]
    assert html.escape(HOSTILE, quote=False) in text
    assert HOSTILE in column_of(text, "variant")
    assert HOSTILE in data_of(text)["points"]["config"]


def test_the_page_is_small_and_opens_with_the_recommendation(written):
    text = written[1].page.read_text()
    assert len(text) < 2_000_000
    assert (
        text.index('id="recommendation"') < text.index('id="variants"') < text.index('id="results"')
    )
    assert "NPU was not there" in text


def test_markdown_shows_hostile_names_as_they_are(written):
    text = written[1].markdown.read_text()
    assert "<script" not in text
    table = [line for line in text.splitlines() if line.startswith("| ")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {6}
    assert "charts/latency-throughput.svg" in text


@given(st.text())
def test_escaped_text_is_one_line_without_markup(text):
    shown = escape(text)
    assert len(shown.splitlines()) <= 1
    assert "<" not in shown
    assert not re.search(r"(?<!\\)(\\\\)*[|`*_]", shown)


def test_a_report_may_go_into_the_sweep_itself_and_be_repeated(tmp_path):
    folder = sweeps.whole(tmp_path / "s", batches=(1, 2))
    before = (folder / "journal.jsonl").read_bytes()
    write([folder], folder)
    write([folder], folder)
    assert (folder / "journal.jsonl").read_bytes() == before
    assert (folder / "results.parquet").is_file()


def test_nothing_measured_is_said_in_the_report(tmp_path):
    trial = sweeps.trials()[0]
    for name, made in (("none", []), ("failed", [sweeps.failed(trial, "no memory left")])):
        files = write([sweeps.make(tmp_path / name, made)], tmp_path / f"out-{name}")
        text = files.page.read_text()
        assert "Nothing was measured" in text
        assert "No recommendation" in text
        assert "Nothing was measured" in files.markdown.read_text()
    assert "no memory left" in text


def test_a_limit_that_nothing_meets_is_said_in_the_report(tmp_path):
    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    text = write([folder], tmp_path / "out", Limits(max_latency_ms=0.1)).page.read_text()
    assert "the nearest is int8" in text


def test_an_objective_that_was_not_measured_writes_nothing(tmp_path):
    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    with pytest.raises(InputError, match="energy"):
        write([folder], tmp_path / "out", objective="energy")
    assert not (tmp_path / "out").exists()


def test_summary_has_a_row_for_each_configuration(tmp_path):
    made = summary(load([sweeps.whole(tmp_path / "s")]))
    assert [row.name.split("\n")[0] for row in made.rows] == [
        "fp32 · f32",
        "fp32 · default (bf16)",
        "int8",
        "int8-weights",
    ]
    int8 = made.rows[2]
    assert int8.name.endswith("4.83 MiB")
    assert re.fullmatch(r"0\.940\n\[0\.\d+,0\.\d+\]", int8.quality)
    assert re.search(r"p50 3\.50 \[.*\]\np99 4\.0\d \[.*\]\nbatch 1 latency", int8.latency)
    assert "batch 8 throughput" in int8.throughput
    assert re.search(r"f32 2\.\d\d \[.*\]\ndefault 1\.\d\d \[.*\]", int8.speedup)
    assert made.headings[1] == "agreement"


def test_summary_fits_eighty_columns(tmp_path):
    made = summary(load([sweeps.whole(tmp_path / "s")]))
    words = [
        max(len(word) for row in made.rows for word in re.split(r"[ \n]", row.cells[i]))
        for i in range(len(made.headings))
    ]
    assert sum(words) + len(words) <= 80


def test_summary_needs_a_measured_row(tmp_path):
    with pytest.raises(NothingMeasuredError):
        summary(load([sweeps.make(tmp_path / "s", [])]))


def test_two_variants_of_one_name_are_told_apart(tmp_path):
    twin = sweeps.Model("other", 9.0, {"default": 2.0})
    models = (*sweeps.MODELS, twin)
    made = [sweeps.measure(t, models) for t in sweeps.trials(models, batches=(1,))]
    table = load([sweeps.make(tmp_path / "s", made, models)])
    table["variant"] = table["variant"].replace("other", "int8")
    names = [row.name for row in summary(table).rows]
    assert len(set(names)) == len(names)
    assert f"int8 · {twin.id[:6]}" in " ".join(names)


@pytest.mark.parametrize(
    ("models", "batches", "devices"),
    [
        (sweeps.MODELS[:2], (1,), ("CPU",)),
        (
            [sweeps.Model(f"variant {i}", 3, {"default": 2 + i}, (40, 50)) for i in range(12)],
            (1, 2, 4, 8, 16, 32, 64, 128),
            ("CPU",),
        ),
        (sweeps.MODELS, (1, 8), ("CPU", "GPU.0")),
    ],
)
def test_charts_draw_few_and_many(tmp_path, models, batches, devices):
    table = load([sweeps.whole(tmp_path / "s", models, batches, devices)])
    drawn = {chart.name: chart for chart in charts(table).drawn}
    assert {"latency-throughput", "size", "quality", "speedup-default", "start"} <= set(drawn)
    assert ("batch-scaling" in drawn) == (len(batches) > 1)
    for chart in drawn.values():
        assert vl_convert.vegalite_to_svg(chart.whole).startswith("<svg")
    svg = vl_convert.vegalite_to_svg(drawn["latency-throughput"].whole | {"config": theme.static()})
    for model in models:
        assert model.name in svg


def test_charts_that_cannot_be_drawn_are_said(tmp_path):
    trials = [t for t in sweeps.trials(batches=(1,)) if t.variant == sweeps.INT8.id]
    made = charts(load([sweeps.make(tmp_path / "s", [sweeps.measure(t) for t in trials])]))
    assert [chart.name for chart in made.drawn] == ["latency-throughput", "size", "start"]
    assert [reason.split(":")[0].split()[0] for reason in made.left_out] == [
        "Throughput",
        "Speed-up",
        "Speed-up",
        "Quality",
        "Quality",
    ]


def test_bars_start_at_zero(tmp_path):
    table = load([sweeps.whole(tmp_path / "s", batches=(1,))])
    for name in ("size", "start"):
        chart = next(chart for chart in charts(table).drawn if chart.name == name)
        assert '"zero": true' in json.dumps(chart.spec)


def test_charts_of_rows_without_intervals(tmp_path):
    table = load([sweeps.whole(tmp_path / "s", batches=(1, 2))])
    for name in table.columns:
        if "_ci_" in name:
            table[name] = float("nan")
    for chart in charts(table).drawn:
        assert "NaN" not in json.dumps(chart.whole)
        assert vl_convert.vegalite_to_svg(chart.whole).startswith("<svg")


pairs = st.lists(st.tuples(st.floats(0.1, 1e3), st.floats(0.1, 1e5)), min_size=1)


def frame(found):
    """A table of (latency, throughput), each of a configuration of its own."""
    table = pd.DataFrame(found, columns=["latency_p50_ms", "throughput_fps"])
    same = {
        "environment": "e",
        "device": "CPU",
        "precision": "default",
        "shape": "",
        "data_shape": "",
    }
    return table.assign(
        **same, status="ok", emulated=None, batch=1, load="latency",
        variant_id=[str(n) for n in range(len(found))], trial=[f"t{n}" for n in range(len(found))],
    )  # fmt: skip


@given(pairs)
def test_the_pareto_front_is_what_no_other_point_beats(found):
    kept = {found[place] for place in front(records(frame(found)))}
    for x, y in found:
        beaten = any(a <= x and b >= y and (a, b) != (x, y) for a, b in found)
        assert beaten != ((x, y) in kept)


@given(pairs, st.integers(1, 20))
def test_what_a_page_leaves_out_is_never_the_front_while_there_is_room(found, limit):
    table = frame(found)
    made = shown(records(table), ["t0"], limit)
    assert made.total == len(found)
    assert len(made.rows) == min(limit, len(found))
    assert made.rows.table.index.is_monotonic_increasing
    assert bool(made.why) == (len(found) > limit)
    first = {"t0", *(f"t{place}" for place in front(records(table)))}
    assert len(first) > limit or first <= set(made.rows.table["trial"])


def test_a_page_of_too_many_rows_says_what_it_leaves_out(tmp_path, monkeypatch):
    from ovtool.report.shown import LIMIT

    table = load([sweeps.whole(tmp_path / "s", batches=(1, 2, 4, 8))])
    copies = -(-2 * LIMIT // len(table))
    many = pd.concat([table] * copies, ignore_index=True)
    many["trial"] = [f"{trial}{n}" for n, trial in enumerate(many["trial"])]
    many["throughput_fps"] *= [1 - n / len(many) / 2 for n in range(len(many))]
    many.attrs = table.attrs
    content = gather(many, Limits(), "throughput", 99)
    text = page_of(content)
    assert len(text) < 5_000_000
    rows = column_of(text, "trial")
    assert len(rows) == LIMIT
    assert content.choice.winner["trial"] == rows[data_of(text)["best"]]
    assert {many["trial"][place] for place in front(records(many))} <= set(rows)
    assert f"Shown are {LIMIT} of {len(many)} rows" in text
    assert f"The other {len(many) - LIMIT} are in results.parquet and results.csv" in text
    assert set(data_of(text)["points"]["row"]) <= set(range(LIMIT))


@given(st.lists(st.tuples(st.floats(0, 700), st.floats(0, 400)), max_size=40))
def test_labels_cover_neither_points_nor_one_another(found):
    spots = place([p[0] for p in found], [p[1] for p in found])
    placed = [(x + spot.dx, y + spot.dy) for (x, y), spot in zip(found, spots, strict=True) if spot]
    for i, (x, y) in enumerate(placed):
        others = placed[:i] + placed[i + 1 :]
        assert not any(abs(x - a) < 12 and abs(y - b) < 10 for a, b in others)


@given(st.lists(st.just(0.0) | st.floats(1e-6, 1e9), min_size=1))
def test_an_axis_holds_all_its_values(values):
    axis = Axis.of(values)
    assert all(-1e-9 <= axis.share(value) <= 1 + 1e-9 for value in values)
    assert axis.log == (min(values) > 0 and max(values) / min(values) > 10)


def test_pictures_need_no_more_points_than_they_show(tmp_path):
    models = [
        sweeps.Model(f"v{i:02}", 3, {"default": 2 + i * (1 + i % 3)}, (40, 50))
        for i in range(LINES + 9)
    ]
    table = load([sweeps.whole(tmp_path / "s", models, batches=(1, 4))])
    found = charts(table, best=len(table) - 1)
    for name in ("latency-throughput", "batch-scaling"):
        (chart,) = (one for one in found.drawn if one.name == name)
        assert len(chart.points) < len(found.points)
        whole = replace(chart, points=found.points).whole
        few, every = (
            vl_convert.vegalite_to_svg(spec | {"config": theme.static()})
            for spec in (chart.whole, whole)
        )
        assert few == every


def test_charts_with_a_line_for_each_configuration_draw_the_fastest_and_say_so(tmp_path):
    models = [sweeps.Model(f"v{i:02}", 3, {"default": 2 + i}, (40, 50)) for i in range(LINES + 6)]
    table = load([sweeps.whole(tmp_path / "s", models, batches=(1,))])
    for chart in charts(table).drawn:
        if chart.name in ("speedup-default", "quality", "size", "start"):
            assert f"Of {LINES + 6} lines the {LINES} of most throughput" in chart.caption
            svg = vl_convert.vegalite_to_svg(chart.whole | {"config": theme.static()})
            assert [m.name in svg for m in models] == [True] * LINES + [False] * 6, chart.name
