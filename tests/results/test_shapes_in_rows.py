"""Rows of several shapes of inputs: whatever groups rows keeps them apart."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from ovtool.charts.sweep_charts import draw_sweep_charts
from ovtool.report.content import build_content
from ovtool.report.summary import summarize_table
from ovtool.results.table import load_results
from ovtool.selection.choice import choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps
from tests.helpers.report_pages import column_of, page_of

SHORT, LONG = "ids=?x128 mask=?x128", "ids=?x1024 mask=?x1024"
MODELS = sweeps.MODELS[:2]


def form(size, field="shapes"):
    return {field: (("ids", (-1, size)), ("mask", (-1, size)))}


def measured(trial):
    """Eight times the length is eight times the work, and other quality."""
    long = 1024 in dict(trial.shapes or trial.data_shapes).get("ids", ())
    model = next(m for m in MODELS if m.id == trial.variant)
    hits = (30, 50) if long else model.agreement
    slower = replace(model, ms={p: ms * (8 if long else 1) for p, ms in model.ms.items()})
    return sweeps.measure(trial, [slower]), replace(model, agreement=hits)


def table_of(folder, *forms):
    """Only the first trial of each configuration has its quality, as in a sweep."""
    made, seen = [], set()
    for trial in sweeps.trials(MODELS, batches=(1, 4), forms=forms):
        one, model = measured(trial)
        if trial.configuration not in seen:
            seen.add(trial.configuration)
            one = sweeps.with_quality(one, model)
        made.append(one)
    return load_results([sweeps.make(folder, made, MODELS)])


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return table_of(tmp_path_factory.mktemp("s") / "s", form(128), form(1024))


def test_a_row_says_its_shapes_and_nothing_of_the_models_own(tmp_path):
    rows = table_of(tmp_path / "s", {}, form(128) | form(64, "data_shapes")).rows
    shaped = rows["shape"].notna()
    assert set(rows[shaped]["shape"]) == {SHORT}
    assert set(rows[shaped]["data_shape"]) == {"ids=?x64 mask=?x64"}
    assert rows[~shaped]["data_shape"].isna().all()


def test_rows_stand_in_the_order_of_the_plan_and_not_of_the_text(table):
    for _, same in table.rows.groupby(["variant", "precision"]):
        assert same["shape"].tolist() == [SHORT] * 4 + [LONG] * 4


def test_quality_is_not_shared_between_shapes(table):
    by = table.rows.groupby(["variant", "shape"])["agreement_top1"]
    assert by.nunique().eq(1).all()
    assert by.first().to_dict() == {
        ("fp32", SHORT): 1.0,
        ("int8", SHORT): 0.94,
        ("fp32", LONG): 0.6,
        ("int8", LONG): 0.6,
    }


def test_a_speedup_is_over_the_baseline_of_the_same_shape(table):
    int8 = table.rows[table.rows["variant"] == "int8"]
    for _, same in int8.groupby(["batch", "load"]):
        short, long = same["speedup_default_x"]
        assert short == pytest.approx(4.5 / 3.5, rel=0.03)
        assert long == pytest.approx(4.5 / 3.5, rel=0.03)


@pytest.mark.parametrize("field", ["shapes", "data_shapes"])
def test_summary_and_charts_have_a_line_for_each_shape(tmp_path, field):
    rows = table_of(tmp_path / "s", form(128, field), form(1024, field))
    said = "data " if field == "data_shapes" else ""
    expected = [
        f"{name} · {said}{shape}"
        for name in ("fp32 · f32", "fp32 · default (bf16)", "int8")
        for shape in (SHORT, LONG)
    ]
    assert [row.name.split("\n")[0] for row in summarize_table(rows).rows] == expected
    for chart in draw_sweep_charts(rows).drawn:
        drawn = json.dumps(chart.standalone_spec, ensure_ascii=False)
        assert chart.name == "size" or all(f'"{label}"' in drawn for label in expected)


def test_one_shape_alone_is_not_repeated_in_every_name(tmp_path):
    rows = table_of(tmp_path / "s", form(128))
    assert [row.name.split("\n")[0] for row in summarize_table(rows).rows][-1] == "int8"


def test_a_choice_names_the_shape_and_warns_that_several_were_compared(table):
    choice = choose_from(table)
    assert f"shape {SHORT}, with" in choice.headline
    assert LONG in "".join(r.label for r in choice.runners_up)
    note = {note.id: note for note in choice.warnings}["several-shapes"]
    assert note.evidence == "2 shapes"
    alone = choose_from(table.with_rows(table.rows[table.rows["shape"] == LONG]))
    assert "several-shapes" not in {note.id for note in alone.warnings}
    assert f"shape {LONG}, with" in alone.headline


def test_the_page_and_what_failed_name_the_shape(tmp_path):
    trials = sweeps.trials(MODELS, batches=(1,), forms=(form(128), form(1024)))
    made = [sweeps.measure(t, MODELS) for t in trials[:-1]]
    folder = sweeps.make(tmp_path / "s", [*made, sweeps.failed(trials[-1], "too long")], MODELS)
    content = build_content(load_results([folder]), ChoiceSpec())
    (failed,) = content.failed
    assert LONG in failed.label
    assert LONG in column_of(page_of(content), "shape")
