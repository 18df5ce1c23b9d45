"""The page in a real browser: filters, charts, screen sizes, accessibility."""

from __future__ import annotations

import base64
import json
import math
import random
import re
import shlex
from dataclasses import asdict, replace

import pandas as pd
import pytest

from ovtool.charts.config_charts import LATENCY, THROUGHPUT
from ovtool.core.errors import InputError, NothingMeasuredError
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
from ovtool.selection.choice import NothingFitsError, choose_from, headline_of
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.selection.choice_table import tabulate_choice
from ovtool.selection.snippet import build_snippet
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
    profile = profile_folder(root / "layers", HOSTILE, roofline=LIMITS, executed_precision="bf16")
    with_limits(profile)
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
        "'.headline, .confidence, .tiles, #passed-over, #limits')]"
        ".map((element) => element.getBoundingClientRect().bottom))"
    )
    assert bottom <= 800
    text = page.evaluate("document.querySelector('.answer').innerText")
    for word in ("GPU.0", "batch 16", "samples/s"):
        assert word in text
    top = page.evaluate(
        "document.querySelector('[data-chart=latency-throughput]').getBoundingClientRect().top"
    )
    assert top < 300
    assert "compile_model(" in page.evaluate("document.getElementById('program').textContent")


def test_table_has_the_rows_of_the_csv(page, written):
    csv = pd.read_csv(written[1].csv)
    page.evaluate("document.getElementById('all-columns').click()")
    assert cells(page, "trial") == csv["trial"].tolist()
    assert cells(page, "batch") == csv["batch"].astype(str).tolist()
    assert [float(t.split(" ")[0]) for t in cells(page, "throughput_fps")[:-1]] == pytest.approx(
        csv["throughput_fps"][:-1], rel=5e-3
    )


def _chosen(table, spec):
    """The trial that ``choose`` recommends, or the nearest one; and whether it fits."""
    row, fits, _ = _answer(table, spec)
    return None if row is None else row["trial"], fits


def _answer(table, spec):
    """The row, whether it fits, and title and text of each doubt, as ``choose`` has them."""
    try:
        choice = choose_from(table, spec)
    except NothingFitsError as error:
        return None if error.nearest is None else error.nearest.row, False, []
    return choice.winner, True, [[doubt.title, doubt.text] for doubt in choice.doubts]


def _random_table(table, rng):
    """Some rows, with other figures and intervals, some of them unknown."""
    rows = table.rows.sample(rng.randint(1, 16), random_state=rng.randrange(1 << 30))
    rows = rows.reset_index(drop=True)
    for name in ("throughput_fps", "latency_p50_ms", "latency_p99_ms", "agreement_top1"):
        spread, width = rng.choice([0, 0.03, 0.5]), rng.choice([0, 0.001, 0.05, 0.3])
        for i in range(len(rows)):
            value = rows.loc[i, name] * math.exp(rng.gauss(0, spread))
            value = min(value, 1.0) if name == "agreement_top1" else value
            ends = [value * math.exp(sign * rng.uniform(0, width)) for sign in (-1, 1)]
            if rng.random() < 0.1:
                ends = [math.nan, math.nan]
            if rng.random() < 0.1 and name != "throughput_fps":
                value, ends = math.nan, [math.nan, math.nan]
            rows.loc[i, [name, f"{name}_ci_low", f"{name}_ci_high"]] = [value, *ends]
    return table.with_rows(rows)


def _random_limit(rng, values):
    """No limit, exactly one of the values, or one near them."""
    known = values.dropna().tolist()
    kind = rng.randrange(3)
    if kind == 0 or not known:
        return None
    return rng.choice(known) * (1 if kind == 1 else math.exp(rng.gauss(0, 0.1)))


@pytest.fixture(scope="module")
def tables(written, tmp_path_factory):
    """Tables of several sweeps: with estimates, ties, few samples, failures, unknown quality."""
    root = tmp_path_factory.mktemp("tables")
    few = sweeps.Model("few", 4.0, {"default": 3.0}, (20, 20))
    twin = sweeps.Model("twin", 4.0, {"default": 3.0}, (996, 1000))
    unknown = sweeps.Model("unknown", 3.0, {"default": 2.9})
    models = (sweeps.FP32, few, twin, unknown)
    rows = []
    for number, trial in enumerate(sweeps.trials(models, (1, 4), devices=("CPU", "NPU"))):
        model = next(m for m in models if m.id == trial.variant)
        row = sweeps.with_quality(sweeps.measure(trial, models), model)
        row = sweeps.contended(row) if number % 3 else row
        row = sweeps.failed(trial, "out of memory") if number % 7 == 6 else row
        estimate = sweeps.estimate(trial, 2.0 * trial.batch)
        rows.append(estimate if trial.device == "NPU" else row)
    awkward = sweeps.make(root / "awkward", rows, models)
    two = [sweeps.whole(root / name, env=name, batches=(1, 8)) for name in "ab"]
    return [written[0], load_results([awkward]), load_results(two)]


def test_page_chooses_again_by_the_rule_of_choose(page, tables):
    rng, cases, expected = random.Random(7), [], []
    for number in range(60):
        table = _random_table(tables[number % len(tables)], rng)
        fixed = ChoiceSpec(
            objective=rng.choice(["throughput", "latency", "size", "throughput=2,latency=1"]),
            percentile=rng.choice([50, 99]),
            min_throughput_fps=_random_limit(rng, table.rows["throughput_fps"]),
            allow_estimates=rng.random() < 0.5,
        )
        try:
            choice = asdict(tabulate_choice(table, fixed, table.records))
        except (InputError, NothingMeasuredError) as error:
            with pytest.raises(type(error)):
                choose_from(table, fixed)
            continue
        for _ in range(4):
            latency = _random_limit(rng, table.rows[f"latency_p{fixed.percentile}_ms"])
            quality = _random_limit(rng, table.rows["agreement_top1"])
            quality = None if quality is None or choice["quality"] is None else min(quality, 1.0)
            limits = {"max_latency_ms": latency, "min_quality": quality}
            cases.append([choice, latency, quality])
            row, fits, doubts = _answer(table, fixed.model_copy(update=limits))
            keys = list(zip(table.rows["environment"], table.rows["trial"], strict=True))
            place = None if row is None else keys.index((row["environment"], row["trial"]))
            expected.append([place, fits, doubts])
    answers = page.evaluate(
        f"{json.dumps(cases)}.map(([table, latency, quality]) => {{"
        " const { winner, nearest, undecided } = chooseAgain(table, latency, quality);"
        " const place = winner ?? nearest;"
        " const doubts = winner === null ? [] : doubtsOf(table, winner, undecided);"
        " return [place === null ? null : table.rows[place], winner !== null,"
        "  doubts.map(([kind, text]) => [TITLES[kind], text])]; })"
    )
    assert answers == expected
    assert len(expected) > 120
    assert 0.2 < sum(fits for _, fits, _ in expected) / len(expected) < 0.95
    titles = {title for *_, doubts in expected for title, _ in doubts}
    assert titles == {"TOO FEW TO TELL", "ESTIMATE", "PROVISIONAL"}


def test_sliders_and_numbers_choose_as_the_command(page, written):
    places = [(1000, None), (0, None), (100, None), (300, 1000), (450, 0), (450, 990), (700, 600)]
    rng = random.Random(3)
    places += [(rng.randrange(1001), rng.randrange(1001)) for _ in range(20)]
    shown = page.evaluate(
        f"{json.dumps(places)}.map((pair) => {{"
        " element('limits-reset').click();"
        " ['limit-latency', 'limit-quality'].forEach((name, n) => {"
        "  if (pair[n] === null) return;"
        "  element(name).value = pair[n];"
        "  element(name).dispatchEvent(new Event('input')); });"
        " return [latencyLimit, qualityLimit, recommended, selected,"
        "  element('headline').textContent, element('command').textContent,"
        "  cellOf(selected, 'throughput_fps'),"
        "  document.querySelector('[data-tile=throughput_fps] dd').textContent]; })"
    )
    trials, outcomes = written[0].rows["trial"].tolist(), set()
    for latency, quality, recommended, selected, headline, command, cell, tile in shown:
        spec = ChoiceSpec(max_latency_ms=latency, min_quality=quality)
        trial, fits = _chosen(written[0], spec)
        assert (trials[selected], recommended is not None) == (trial, fits)
        outcomes.add(trial)
        row = written[0].records[selected]
        assert headline_of(row).removeprefix("Run ").removesuffix(".") in headline
        assert cell.split(" [")[0] in tile
        program, verb, folder, *words = shlex.split(command)
        assert (program, verb) == ("ovtool", "choose")
        assert load_results([folder]).rows["trial"].tolist() == trials
        given = dict(zip(words[::2], map(float, words[1::2]), strict=True))
        options = {"--max-latency-ms": latency, "--min-quality": quality}
        assert given == {name: value for name, value in options.items() if value is not None}
    assert len(outcomes) > 4
    assert page.problems == []


@pytest.mark.parametrize(
    ("name", "value", "limits"),
    [
        ("limit-latency-number", "7.5", [7.5, None]),
        ("limit-latency-number", "-3", [None, None]),
        ("limit-latency-number", "", [None, None]),
        ("limit-quality-number", "0.94", [None, 0.94]),
        ("limit-quality-number", "94", [None, None]),
    ],
)
def test_typed_limit_applies_if_the_metric_can_have_it(page, name, value, limits):
    page.evaluate(
        f"element('{name}').value = '{value}';element('{name}').dispatchEvent(new Event('change'))"
    )
    assert page.evaluate("[latencyLimit, qualityLimit]") == limits


def test_slider_moves_the_limit_and_the_answer(page, written):
    before = page.evaluate("recommended")
    page.evaluate(
        "(() => { const slider = document.getElementById('limit-latency'); slider.value = 300;"
        " slider.dispatchEvent(new Event('input')); })()"
    )
    page.evaluate("waiting.then(() => 1)")
    limit = page.evaluate("latencyLimit")
    choice = choose_from(written[0], ChoiceSpec(max_latency_ms=limit))
    row = page.evaluate("recommended")
    assert row != before
    assert written[0].rows["trial"][row] == choice.winner["trial"]
    assert page.evaluate("document.getElementById('headline').textContent") == choice.headline
    assert view(page, "latency-throughput", "view.signal('latency_limit')") == limit
    assert view(page, "latency-throughput", "view.signal('picked_row')") == row
    assert f"--max-latency-ms {limit:g}" in page.evaluate(
        "document.getElementById('command').textContent"
    )
    assert page.problems == []


def test_selected_row_has_its_settings_rounds_and_program(page, written):
    rows = written[0].records
    row = next(i for i, row in enumerate(rows) if row["status"] == "ok" and row["batch"] == 4)
    page.evaluate(f"selectRow({row})")
    page.evaluate("waiting.then(() => 1)")
    details = written[0].details_of(rows[row])
    program = page.evaluate("document.getElementById('program').textContent")
    assert program == build_snippet(rows[row], details)
    assert page.evaluate("document.querySelectorAll('#rounds circle').length") == len(
        details.rounds
    )
    assert len(details.rounds) == 6
    assert rows[row]["variant"] in page.evaluate(
        "document.getElementById('selected-facts').innerText"
    )
    assert page.problems == []


def test_saved_table_has_the_filtered_rows_and_saved_charts_have_no_variables(page, written):
    choose(page, "device", "GPU.0")
    lines = page.evaluate("csvText()").split("\n")
    assert len(lines) == 1 + (written[0].rows["device"] == "GPU.0").sum()
    assert "var(--" not in page.evaluate("JSON.stringify(resolved(data.config))")
    assert page.problems == []


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
        for axis, name in (("x", "latency_p99_ms"), ("y", "throughput_fps")):
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
        expected = rows.iloc[latency_throughput_front(Rows.from_frame(rows), 99)]["throughput_fps"]
        line = [m for m in marks(page, "latency-throughput", "line") if "before" in m]
        assert sorted(m["throughput_fps"] for m in line) == pytest.approx(
            sorted(expected), rel=1e-5
        )


def _profiled_row(table):
    """The first row that the profile of the fixture belongs to."""
    rows = table.records
    same = {"variant": HOSTILE, "device": "CPU", "executed_precision": "bf16"}
    return next(n for n, row in enumerate(rows) if same.items() <= dict(row).items())


def test_selected_row_has_the_layers_of_its_own_profile(page, written):
    row = _profiled_row(written[0])
    for selected, layers in ((row, 3), (0, 0)):
        page.evaluate(f"selectRow({selected})")
        assert page.evaluate("document.querySelectorAll('#layers td.number').length") == 2 * layers
    page.evaluate(f"details.layers[0].precision = 'i8'; selectRow({row})")
    assert page.evaluate("document.querySelectorAll('#layers td').length") == 0
    assert page.problems == []


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_horizontally(browser, written, width):
    browser.open(written[1].page, width=width)
    browser.evaluate(f"selectRow({_profiled_row(written[0])})")
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
        ".filter((input) => !input.labels.length && !input.ariaLabel).length"
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


MANY = [sweeps.FP32] + [
    sweeps.Model(f"int8-keep-{n}", 4.0, {"default": 3.0 + 0.2 * n}, (45, 50)) for n in range(11)
]


def _write_many(folder):
    """Twelve variants on three devices, every fifth row failed."""
    trials = sweeps.trials(MANY, batches=(1, 8), devices=("CPU", "GPU.0", "NPU"))
    measured = [sweeps.with_quality(sweeps.measure(t, MANY), MANY[-1]) for t in trials]
    failed = [sweeps.failed(t, "out of memory " * 20) for t in trials]
    rows = [failed[n] if n % 5 == 0 else row for n, row in enumerate(measured)]
    sweeps.make(folder, rows, MANY)
    return report([folder], out=folder / "out")


@pytest.mark.parametrize("many", [False, True])
def test_print_is_short_and_has_no_controls(browser, written, tmp_path, many):
    browser.open((_write_many(tmp_path / "s") if many else written[1]).page)
    if not many:
        browser.evaluate(f"selectRow({_profiled_row(written[0])})")
    pdf = browser.send("Page.printToPDF", preferCSSPageSize=True)
    sheets = re.findall(rb"/Type\s*/Page\b", base64.b64decode(pdf["data"]))
    assert 1 < len(sheets) <= 5
    browser.media("print")
    shown = browser.evaluate(
        "[...document.querySelectorAll('button, input, select, nav, .filters, #table')]"
        ".filter((element) => element.checkVisibility()).length"
    )
    assert shown == 0
    for name in ("headline", "program", "method"):
        assert browser.evaluate(f"document.getElementById('{name}').checkVisibility()")
    browser.media()


def test_page_without_an_answer_shows_the_nearest_row(browser, written, tmp_path):
    spec = ChoiceSpec(max_latency_ms=0.5)
    folder = sweeps.whole(tmp_path / "s", MODELS, (1, 4), ("CPU", "GPU.0"))
    table = load_results([folder])
    browser.open(report([folder], out=tmp_path / "out", max_latency_ms=0.5).page)
    nearest, fits = _chosen(table, spec)
    assert not fits
    assert browser.evaluate("recommended") is None
    assert table.rows["trial"][browser.evaluate("selected")] == nearest
    missed = "[...document.querySelectorAll('.missed')].map((tile) => tile.dataset.tile)"
    assert browser.evaluate(missed) == ["latency_p99_ms"]
    browser.evaluate(
        "element('limit-latency').value = 1000;"
        "element('limit-latency').dispatchEvent(new Event('input'))"
    )
    assert table.rows["trial"][browser.evaluate("recommended")] == _chosen(table, ChoiceSpec())[0]
    assert browser.evaluate(missed) == []
    assert browser.problems == []


def test_watched_page_reloads_and_finished_page_does_not(browser, written, tmp_path):
    folder = sweeps.whole(tmp_path / "s", batches=(1,))
    for seconds in (600, None):  # no reload while the page is opened
        files = report([folder], out=tmp_path / "out", reload_s=seconds)
        browser.open(files.page)
        content = browser.evaluate("document.querySelector('meta[http-equiv=refresh]')?.content")
        assert content == (str(seconds) if seconds else None)
