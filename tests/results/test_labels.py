"""Names of configurations, also where the summary, charts, page and choice show them."""

import json
import math

import pytest

from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.core.statistics import Interval
from ovtool.report.content import build_content
from ovtool.report.summary import summarize_table
from ovtool.results.labels import classify_ratio, ratio_text
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps
from tests.helpers.report_pages import column_of, page_of
from tests.helpers.shaped_sweeps import LONG, MODELS, SHORT, form, table_of

DEVICE = "AUTO:GPU,CPU"


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("s") / "s", form(128), form(1024))


@pytest.mark.slow
@pytest.mark.parametrize("field", ["shapes", "data_shapes"])
def test_summary_and_charts_have_line_for_each_shape(tmp_path, field):
    rows = table_of(tmp_path / "s", form(128, field), form(1024, field))
    prefix = "data " if field == "data_shapes" else ""
    expected = [
        f"{name} · {prefix}{shape}"
        for name in ("fp32 · f32", "fp32 · default (bf16)", "int8")
        for shape in (SHORT, LONG)
    ]
    assert [row.name.split("\n")[0] for row in summarize_table(rows).rows] == expected
    for chart in draw_sweep_charts(rows).drawn:
        drawn = json.dumps(chart.standalone_spec, ensure_ascii=False)
        assert chart.name == "size" or all(f'"{label}"' in drawn for label in expected)


@pytest.mark.slow
def test_single_shape_is_not_part_of_names(tmp_path):
    rows = table_of(tmp_path / "s", form(128))
    assert [row.name.split("\n")[0] for row in summarize_table(rows).rows][-1] == "int8"


@pytest.mark.slow
def test_choice_names_shape_and_warns_of_several(table):
    choice = choose_from(table)
    assert SHORT in choice.headline
    assert LONG in "".join(r.label for r in choice.runners_up)
    note = {note.id: note for note in choice.warnings}["several-shapes"]
    assert note.evidence == "2 shapes"
    alone = choose_from(table.with_rows(table.rows[table.rows["shape"] == LONG]))
    assert "several-shapes" not in {note.id for note in alone.warnings}
    assert LONG in alone.headline


@pytest.mark.slow
def test_page_and_failed_trials_name_shape(tmp_path):
    trials = sweeps.trials(MODELS, batches=(1,), forms=(form(128), form(1024)))
    measurements = [sweeps.measure(t, MODELS) for t in trials[:-1]]
    folder = sweeps.make(
        tmp_path / "s", [*measurements, sweeps.failed(trials[-1], "too long")], MODELS
    )
    content = build_content(load_results([folder]), ChoiceSpec())
    (failed,) = content.failed
    assert LONG in failed.label
    assert LONG in column_of(page_of(content), "shape")


def virtual_device_table(folder, ran_on):
    trials = sweeps.trials(models=(sweeps.FP32,), batches=(1,), devices=(DEVICE,))
    return load_results([sweeps.make(folder, [sweeps.measure(t, ran_on=ran_on) for t in trials])])


def test_fallback_device_is_named_with_warning(tmp_path):
    table = virtual_device_table(tmp_path / "s", "CPU")
    assert set(table.rows["ran_on"]) == {"CPU"}
    choice = choose_from(table)
    assert f"{DEVICE} (ran on CPU)" in choice.headline
    assert f"{DEVICE} (ran on CPU)" in choice.label
    (warning,) = (w for w in choice.explanations if w.id == "device-fallback")
    assert DEVICE in warning.evidence
    assert all(f"{DEVICE} (ran on CPU)" in row.name for row in summarize_table(table).rows)


@pytest.mark.slow
def test_requested_device_is_not_fallback(tmp_path):
    choice = choose_from(virtual_device_table(tmp_path / "s", "GPU.0"))
    assert "(ran on GPU.0)" in choice.headline
    assert "device-fallback" not in {w.id for w in choice.explanations}


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (Interval(1.2, 1.1, 1.3), "faster"),
        (Interval(0.8, 0.7, 0.9), "slower"),
        (Interval(1.2, 0.9, 1.5), "no significant difference"),
        (Interval(1.2, math.nan, math.nan), "interval unknown"),
    ],
)
def test_ratio_is_faster_or_slower_only_where_interval_excludes_one(ratio, expected):
    assert classify_ratio(ratio) == expected
    assert ratio_text(ratio).endswith(expected)
