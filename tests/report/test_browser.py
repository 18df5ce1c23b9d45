"""The page in a real browser: filters, charts, screen sizes, accessibility."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest

from ovtool.charts.config_charts import LATENCY, THROUGHPUT
from ovtool.report.content import latency_throughput_front
from ovtool.report.write import report
from ovtool.results.labels import config_labels
from ovtool.results.rows import (
    Rows,
    find_highest_throughput,
    find_lowest_latency,
    group_by_config,
    measured_rows,
    real_rows,
)
from ovtool.results.table import load_results
from tests.charts.test_layer_report import LIMITS, profile_folder, with_limits
from tests.helpers import browser as browsers
from tests.helpers import sweeps

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(browsers.executable() is None, reason=browsers.MISSING),
]
HOSTILE = "</script><img src=x onerror=alert(1)>"
HOSTILE_MODEL = sweeps.Model(HOSTILE, 4.0, {"default": 3.0}, (48, 50))
MODELS = (*sweeps.MODELS, HOSTILE_MODEL)
WIDTHS = (375, 500, 800, 1280)


def _measured(trial):
    model = next(m for m in MODELS if m.id == trial.variant)
    measurement = sweeps.with_quality(sweeps.measure(trial, MODELS), model)
    startup = {"compile_cached_ms": 90.0 + trial.batch, "first_inference_ms": 12.5}
    return replace(measurement, figures={**measurement.figures, **startup})


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two devices, a hostile name, a contended row, a failed row and an unavailable device."""
    root = tmp_path_factory.mktemp("page")
    trials = sweeps.trials(MODELS, batches=(1, 4, 16), devices=("CPU", "GPU.0"))
    measurements = [_measured(trial) for trial in trials]
    measurements[3] = sweeps.contended(measurements[3])
    measurements[-1] = sweeps.failed(measurements[-1].trial, f"died of {HOSTILE}")
    folder = sweeps.make(root / "s", measurements, MODELS, unavailable=[("NPU", HOSTILE)])
    profile = with_limits(profile_folder(root / "layers", HOSTILE, roofline=LIMITS))
    return load_results([folder]), report([folder], out=root / "out", profiles=[profile])


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = browsers.Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture
def page(browser, written):
    browser.open(written[1].page)
    return browser


def choose(page, name, value):
    page.evaluate(
        f"(() => {{ const input = document.getElementById('filter-{name}');"
        f" input.value = {value!r};"
        f" input.dispatchEvent(new Event('{'input' if name == 'text' else 'change'}')); }})()"
    )
    page.evaluate("waiting.then(() => 1)")


def cells(page, column):
    """The texts of a column of the table, top to bottom."""
    return page.evaluate(
        "(() => { const heads = [...document.querySelectorAll('#table thead button')];"
        f" const at = heads.findIndex((head) => head.dataset.column === '{column}');"
        " return [...document.querySelectorAll('#table tbody tr')]"
        ".map((row) => row.children[at].textContent); })()"
    )


def view(page, chart, script):
    place = f"document.querySelector('[data-chart=\"{chart}\"]')"
    return page.evaluate(f"((view) => {script})(drawn.get({place}).view)")


def marks(page, chart, kind="symbol"):
    """The data of the marks of a chart."""
    return view(
        page,
        chart,
        "{ const data = []; const walk = (node) => { if (node.marktype === '"
        + kind
        + "') data.push(...node.items.map((item) => ({...item.datum, opacity: item.opacity})));"
        " (node.items ?? []).forEach(walk); }; walk(view.scenegraph().root);"
        " return data.filter((datum) => datum.config); }",
    )


def drawn_rows(page):
    """Throughput by row of the points, and of the ring, of the first chart."""
    return {mark["row"]: mark["throughput_fps"] for mark in marks(page, "latency-throughput")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_opens_from_disk_without_requests_and_without_errors(browser, written, scheme):
    browser.open(written[1].page, scheme=scheme)
    assert browser.problems == []
    assert (
        browser.evaluate("document.querySelectorAll('[data-chart] svg').length")
        == len(written[1].charts) / 2
    )
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(246, 248, 250)", "dark": "rgb(15, 19, 24)"}[scheme]


def test_hostile_names_remain_text(page):
    assert page.evaluate("document.images.length") == 0
    assert sum(HOSTILE in text for text in cells(page, "variant")) == 12
    assert page.evaluate(f"document.body.innerText.includes({HOSTILE!r})")
    shown = page.evaluate("hover({ row: data.rows.length - 1 })")
    assert "<img" not in shown
    assert page.problems == []


def test_recommendation_is_on_the_first_screen(page):
    bottom = page.evaluate(
        "Math.max(...[...document.querySelectorAll("
        "'.headline, .confidence, .answer dl, .answer pre')]"
        ".map((element) => element.getBoundingClientRect().bottom))"
    )
    assert bottom <= 800
    text = page.evaluate("document.querySelector('.answer').innerText")
    for word in ("GPU.0", "batch 16", "samples/s", "compile_model("):
        assert word in text


def test_table_has_the_rows_of_the_csv(page, written):
    csv = pd.read_csv(written[1].csv)
    page.evaluate("document.getElementById('all-columns').click()")
    assert cells(page, "trial") == csv["trial"].tolist()
    assert cells(page, "batch") == csv["batch"].astype(str).tolist()
    assert [float(t.split(" ")[0]) for t in cells(page, "throughput_fps")[:-1]] == pytest.approx(
        csv["throughput_fps"][:-1], rel=5e-3
    )


@pytest.mark.parametrize(
    ("name", "value", "column"),
    [
        ("device", "GPU.0", "device"),
        ("variant", "int8", "variant"),
        ("batch", "4", "batch"),
        ("hint", "latency", "load"),
        ("verdict", "contended", "verdict"),
    ],
)
def test_filter_applies_to_table_and_charts(page, written, name, value, column):
    table = written[0].rows
    fits = table[table["hint" if name == "hint" else name].astype(str) == value]
    choose(page, name, value)
    texts = cells(page, column)
    assert len(texts) == len(fits)
    assert {text.removesuffix(" (recommended)") for text in texts} == {value}
    assert page.evaluate("document.getElementById('count').textContent") == (
        f"{len(fits)} of {len(table)} rows"
    )
    drawn = fits[fits["status"] == "ok"]
    for chart in ("latency-throughput", "batch-scaling", "quality-size", "size", "start"):
        assert view(page, chart, "view.data('rows').length") == len(drawn), chart
    assert len(drawn_rows(page)) == len(drawn)
    page.evaluate("document.getElementById('reset').click()")
    page.evaluate("waiting.then(() => 1)")
    assert len(cells(page, "variant")) == len(table)
    assert len(drawn_rows(page)) == len(table) - 1
    assert page.problems == []


def test_filters_combine_and_search_covers_all_columns(page, written):
    table = written[0].rows
    choose(page, "device", "CPU")
    choose(page, "text", "INT8 throughput")
    fits = table[
        (table["device"] == "CPU")
        & table["variant"].str.contains("int8")
        & (table["load"] == "throughput")
    ]
    assert len(cells(page, "variant")) == len(fits)
    choose(page, "text", "nothing has this")
    assert cells(page, "variant") == []
    assert page.evaluate("document.querySelector('.empty').hidden") is False
    choose(page, "text", "")
    assert page.evaluate("document.querySelector('.empty').hidden") is True
    assert page.problems == []


def test_filters_survive_a_reload(page):
    choose(page, "device", "CPU")
    choose(page, "text", "int8 stable")
    before = page.evaluate("shown.join()")
    page.reload()
    assert page.evaluate("document.getElementById('filter-device').value") == "CPU"
    assert page.evaluate("document.getElementById('filter-text').value") == "int8 stable"
    assert page.evaluate("shown.join()") == before
    assert len(drawn_rows(page)) == before.count(",") + 1
    assert page.problems == []


def test_filter_works_by_keyboard(page):
    page.evaluate("document.getElementById('filter-device').focus()")
    page.press("ArrowDown", 40)
    page.evaluate("waiting.then(() => 1)")
    assert set(cells(page, "device")) == {"CPU"}


def test_headings_sort_in_both_directions_with_unknown_values_last(page, written):
    click = "document.querySelector('[data-column=\"latency_p50_ms\"]').click()"
    sort = (
        "document.querySelector('[data-column=\"latency_p50_ms\"]').closest('th')"
        ".getAttribute('aria-sort')"
    )
    assert page.evaluate(sort) == "none"
    for direction, sign in (("ascending", 1), ("descending", -1)):
        page.evaluate(click)
        assert page.evaluate(sort) == direction
        *values, last = cells(page, "latency_p50_ms")
        numbers = [float(text.split(" ")[0]) for text in values]
        assert numbers == sorted(numbers, key=lambda value: sign * value)
        assert last == "-"
    assert page.evaluate("document.activeElement.dataset.column") == "latency_p50_ms"


def test_axes_contain_the_values_of_the_table(page, written):
    table = written[0].rows
    fine = table[table["status"] == "ok"]
    for chosen in ("", "GPU.0"):
        choose(page, "device", chosen)
        rows = fine[fine["device"] == chosen] if chosen else fine
        for axis, name in (("x", "latency_p50_ms"), ("y", "throughput_fps")):
            low, high = view(page, "latency-throughput", f"view.scale('{axis}').domain()")
            ends = rows[[name, f"{name}_ci_low", f"{name}_ci_high"]]
            assert low <= ends.min().min()
            assert ends.max().max() <= high < 3 * ends.max().max()
        drawn = sorted(drawn_rows(page).values())
        assert drawn == pytest.approx(sorted(rows["throughput_fps"]), rel=1e-5)


def test_speedup_chart_selects_the_rows_of_the_summary(page, written):
    rows = measured_rows(real_rows(written[0].records))
    labels = config_labels(rows)
    expected = {
        (labels[config], spot): row["throughput_fps"]
        for config, same in group_by_config(rows).items()
        for spot, row in (
            (LATENCY, find_lowest_latency(same)),
            (THROUGHPUT, find_highest_throughput(same)),
        )
        if row["speedup_default_x"] is not None
    }
    drawn = {
        (mark["config"], mark["operating_point"]): mark["throughput_fps"]
        for mark in marks(page, "speedup-default")
    }
    assert drawn == pytest.approx(expected, rel=1e-5)


def test_front_is_drawn_and_follows_the_filters(page, written):
    table = written[0].rows
    for chosen in ("", "GPU.0"):
        choose(page, "device", chosen)
        rows = table[table["device"] == chosen] if chosen else table
        expected = rows.iloc[latency_throughput_front(Rows.from_frame(rows))]["throughput_fps"]
        line = [m for m in marks(page, "latency-throughput", "line") if "before" in m]
        assert sorted(m["throughput_fps"] for m in line) == pytest.approx(
            sorted(expected), rel=1e-5
        )


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_horizontally(browser, written, width):
    browser.open(written[1].page, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    overflowing = browser.evaluate(
        "[...document.querySelectorAll('[data-chart] svg, .filters *, .card')]"
        f".filter((element) => element.getBoundingClientRect().right > {width} + 1).length"
    )
    assert overflowing == 0
    assert browser.problems == []


def test_all_controls_and_charts_have_names(page):
    unnamed = page.evaluate(
        "[...document.querySelectorAll('select, input')]"
        ".filter((input) => !input.labels.length).length"
    )
    assert unnamed == 0
    names = page.evaluate(
        "[...document.querySelectorAll('[role=img]')]"
        ".map((image) => image.getAttribute('aria-label'))"
    )
    assert all(names)
    assert any(re.search(r", ms from [\d.]+ to [\d.]+", name) for name in names)
    assert sum("layers.csv" in name for name in names) == 2
    assert page.evaluate("document.querySelectorAll('main, header, nav, footer').length") == 4
    uncaptioned = (
        "[...document.querySelectorAll('main table')].filter((table) => !table.caption).length"
    )
    assert page.evaluate(uncaptioned) == 0
    page.press("Tab", 9)
    assert page.evaluate("document.activeElement.className") == "skip"


def test_print_has_no_controls_and_all_details(page, written):
    page.media("print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    hidden = page.evaluate(
        "['.filters', 'nav', '#more'].every((selector) =>"
        " getComputedStyle(document.querySelector(selector)).display === 'none')"
    )
    assert hidden
    assert page.evaluate(
        "[...document.querySelectorAll('details')].every((details) => details.open)"
    )
    assert len(cells(page, "variant")) == len(written[0].rows)
    page.media()


def test_watched_page_reloads_and_finished_page_does_not(browser, written, tmp_path):
    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    for seconds in (5, None):
        files = report([folder], out=tmp_path / "out", reload_s=seconds)
        browser.open(files.page)
        content = browser.evaluate("document.querySelector('meta[http-equiv=refresh]')?.content")
        assert content == (str(seconds) if seconds else None)
