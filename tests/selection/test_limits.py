"""Limits, and the checks of rows against them."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ovtool.core.errors import InputError
from ovtool.core.paired import paired_difference
from ovtool.core.statistics import Interval
from ovtool.report.content import build_content
from ovtool.report.markdown import format_markdown
from ovtool.results.labels import figure_text
from ovtool.results.rows import Rows
from ovtool.results.table import load_results
from ovtool.selection.choice import NothingFitsError, choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.selection.limits import Check, Limit
from ovtool.selection.quantities import column_quantity, drop_quantity
from tests.helpers import sweeps
from tests.helpers.report_pages import page_of


@pytest.mark.slow
def test_memory_limit(limited_table):
    assert choose_from(limited_table).winner["batch"] == 8
    assert choose_from(limited_table, ChoiceSpec(max_memory_mib=125)).winner["batch"] == 2
    with pytest.raises(NothingFitsError, match="peak memory") as caught:
        choose_from(limited_table, ChoiceSpec(max_memory_mib=50))
    assert caught.value.nearest.row["batch"] == 1


def test_energy_limit(limited_table):
    small = choose_from(limited_table, ChoiceSpec(max_energy_mj=10, objective="latency"))
    assert small.winner["batch"] == 8
    with pytest.raises(NothingFitsError, match="energy"):
        choose_from(limited_table, ChoiceSpec(max_energy_mj=1))


@pytest.mark.slow
def test_unknown_energy_is_not_zero(tmp_path):
    unknown = load_results([sweeps.whole(tmp_path / "s")])
    with pytest.raises(NothingFitsError, match="energy") as caught:
        choose_from(unknown, ChoiceSpec(max_energy_mj=1e9))
    assert caught.value.nearest is None


@pytest.mark.slow
def test_report_contains_all_parts_of_a_choice(limited_table):
    content = build_content(limited_table, ChoiceSpec(rate=1))
    shown = page_of(content), format_markdown(content)
    for text in shown:
        assert "import openvino as ov" in text
        assert "resamples" in text
    assert content.front.rows
    assert f"{len(content.front.rows)} of {content.front.compared} rows" in shown[0]
    listed = shown[0].partition("Rows of the Pareto front")[2].partition("</table>")[0]
    for label, row in zip(content.front.labels, content.front.rows, strict=True):
        assert f'<th scope="row">{label}</th>' in listed
        assert figure_text(row, "throughput_fps").removesuffix(" samples/s") in listed
    tied = replace(content.choice, ties=tuple("abcde"))
    assert re.fullmatch(r"a; b; c .*\b2\b.*", tied.ties_text)
    for text in (
        page_of(replace(content, choice=tied)),
        format_markdown(replace(content, choice=tied)),
    ):
        assert tied.ties_text in text
    assert content.knees
    document = json.loads(json.dumps(content.choice.to_json(), allow_nan=False))
    assert {"confidence", "explanations", "front", "knees", "snippet"} <= set(document)
    assert document["front"]["rows"]


finite = st.floats(0.01, 1e6)


@given(finite, finite, st.floats(0, 0.5), st.sampled_from(["latency_p99_ms", "throughput_fps"]))
def test_check_is_satisfied_exactly_without_excess(value, limit, half, column):
    shown = Interval(value, value * (1 - half), value * (1 + half))
    check = Check(Limit(column_quantity(column), limit, ""), shown, "")
    assert check.satisfied == (check.excess == 0)
    if check.outcome == "met":
        assert check.satisfied
    if check.outcome == "missed":
        assert not check.satisfied
        assert check.limit.text.split()[0] in check.miss_text


def test_unknown_figure_satisfies_no_limit():
    limit = Limit(column_quantity("throughput_fps"), 1.0, "min_throughput_fps")
    check = Check(limit, Interval(math.nan, math.nan, math.nan), "-")
    assert not check.satisfied
    assert check.outcome == "unknown"


@pytest.mark.slow
def test_a_stored_cosine_is_a_quality(tmp_path):
    """Models that are no classifiers are judged by the cosine with the uncompressed model."""
    table = load_results([sweeps.whole(tmp_path / "s", quality_metric="output_cosine")])
    choice = choose_from(table, ChoiceSpec(min_quality=0.9))
    (check,) = choice.checks
    assert (check.limit.quantity.column.name, check.figure.value) == ("output_cosine", 0.98)
    assert "quality-unknown" not in {note.id for note in choice.warnings}
    with pytest.raises(NothingFitsError, match="cosine"):
        choose_from(table, ChoiceSpec(min_quality=0.99))


def by_error(folder, **errors):
    """A sweep whose quality is an error, by variant."""
    made = []
    for trial in sweeps.trials():
        measurement = sweeps.measure(trial)
        value = errors[trial.variant_name]
        figures = {"mean_absolute_error": value, "quality_samples": 50.0}
        made.append(replace(measurement, figures={**measurement.figures, **figures}))
    return load_results([sweeps.make(folder, made, quality_metric="mean_absolute_error")])


@pytest.mark.slow
def test_an_error_has_a_highest_acceptable_value(tmp_path):
    names = {trial.variant_name for trial in sweeps.trials()}
    table = by_error(tmp_path / "s", **dict.fromkeys(names, 3.0) | {"fp32": 2.0})
    free = choose_from(table)
    assert free.winner["variant"] != "fp32"
    assert "quality-lower" in {note.id for note in free.warnings}
    assert choose_from(table, ChoiceSpec(min_quality=2.5)).winner["variant"] == "fp32"
    assert choose_from(table, ChoiceSpec(objective="quality")).winner["variant"] == "fp32"
    with pytest.raises(NothingFitsError) as caught:
        choose_from(table, ChoiceSpec(min_quality=1.0))
    assert caught.value.nearest.row["variant"] == "fp32"


def by_perplexity(folder, figures):
    """A sweep over a text: perplexity and its rise by variant, each with an interval."""
    made = []
    for trial in sweeps.trials():
        value, rise, half = figures.get(trial.variant_name, (33.0, 10.0, 1.0))
        quality = {"quality_samples": 50.0}
        for name, figure, width in (
            ("perplexity", value, 3.0),
            ("perplexity_rise_pct", rise, half),
        ):
            quality |= {name: figure, f"{name}_ci_low": figure - width}
            quality[f"{name}_ci_high"] = figure + width
        measurement = sweeps.measure(trial)
        made.append(replace(measurement, figures={**measurement.figures, **quality}))
    return load_results([sweeps.make(folder, made, quality_metric="perplexity")])


@pytest.mark.slow
def test_the_rise_of_the_perplexity_is_limited_by_its_own_interval(tmp_path):
    table = by_perplexity(tmp_path / "s", {"fp32": (30.0, 0.0, 0.0), "int8": (30.4, 1.3, 0.5)})
    fastest = choose_from(table).winner["variant"]
    assert fastest == "int8"  # a rise of 1% is not excluded
    assert choose_from(table, ChoiceSpec(max_perplexity=30.2)).winner["variant"] == "fp32"
    assert choose_from(table, ChoiceSpec(max_drop=0.01)).winner["variant"] == "fp32"
    assert choose_from(table, ChoiceSpec(max_drop=0.014)).winner["variant"] == "int8"
    with pytest.raises(NothingFitsError) as caught:
        choose_from(table, ChoiceSpec(max_perplexity=29))
    assert caught.value.nearest.row["variant"] == "fp32"
    worse = by_perplexity(tmp_path / "t", {"fp32": (30.0, 0.0, 0.0), "int8": (30.9, 3.0, 0.5)})
    assert choose_from(worse).winner["variant"] == "fp32"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "limit"),
    [
        ("agreement_top1", 95),
        ("output_cosine", 1.1),
        ("mean_absolute_error", -1),
        ("perplexity", 0.5),
    ],
)
def test_a_limit_out_of_the_range_of_the_metric_is_rejected(tmp_path, metric, limit):
    table = load_results([sweeps.whole(tmp_path / "s", quality_metric=metric)])
    with pytest.raises(InputError, match=f"{limit}"):
        choose_from(table, ChoiceSpec(min_quality=limit))


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A sweep whose INT8 variant has a measurable loss by labels, and INT8 weights none."""
    folder = tmp_path_factory.mktemp("judged") / "s"
    losses = {"fp32": (0, 0), "int8": (12, 1), "int8-weights": (3, 2)}
    made = []
    for trial in sweeps.trials():
        one, (lost, won) = sweeps.measure(trial), losses[trial.variant_name]
        loss = paired_difference(lost, won, 300)
        figures = {
            "accuracy_top1": 0.8 - loss.value,
            "quality_loss": loss.value,
            "quality_loss_ci_low": loss.low,
            "quality_loss_ci_high": loss.high,
            "quality_samples": 300.0,
        }
        made.append(replace(one, figures={**one.figures, **figures}))
    return load_results([sweeps.make(folder, made, quality_metric="accuracy_top1")])


@pytest.mark.slow
def test_without_a_limit_a_measurable_loss_is_passed_over(judged):
    choice = choose_from(judged)
    assert choice.winner["variant"] == "int8-weights"
    assert choice.passed_over.row["variant"] == "int8"
    assert [check.limit.quantity.column.name for check in choice.passed_over.missed] == [
        "quality_loss"
    ]
    assert choose_from(judged, ChoiceSpec(min_quality=0.5)).winner["variant"] == "int8"
    assert choose_from(judged, ChoiceSpec(objective="quality")).passed_over is None


def test_the_default_applies_only_if_a_row_meets_it(judged):
    rows = judged.rows
    alone = judged.with_rows(rows[rows["variant"] == "int8"])
    choice = choose_from(alone)
    assert choice.winner["variant"] == "int8"
    assert not choice.checks


@pytest.mark.slow
@pytest.mark.parametrize(
    ("agreed", "of", "variant"),
    [(17, 20, "fp32"), (19, 20, "int8"), (950, 1000, "fp32"), (985, 1000, "int8")],
)
def test_without_labels_an_agreement_of_99_percent_must_be_possible(tmp_path, agreed, of, variant):
    models = (
        replace(sweeps.FP32, agreement=(of, of)),
        replace(sweeps.INT8, agreement=(agreed, of)),
    )
    choice = choose_from(load_results([sweeps.whole(tmp_path / "s", models)]))
    assert choice.winner["variant"] == variant


def test_a_loss_without_interval_may_be_one_percent():
    limit = Limit(column_quantity("quality_loss"), 0.0, "min_quality", default=True)
    unknown = math.nan
    for value, satisfied in ((0.009, True), (0.011, False), (-0.2, True), (unknown, True)):
        assert bool(limit.satisfied(Interval(value, unknown, unknown))) is satisfied
    assert bool(limit.satisfied(Interval(0.02, -0.001, 0.04)))
    assert not bool(limit.satisfied(Interval(0.02, 0.001, 0.04)))


def text_of(page):
    return re.sub(r"<[^>]*>", "", page)


@pytest.mark.slow
def test_reports_name_the_row_that_was_passed_over(judged):
    content = build_content(judged, ChoiceSpec())
    assert content.choice.passed_over.row["variant"] == "int8"
    option = "--min-quality 0.76"
    assert option in content.choice.passed_over_text
    assert option in format_markdown(content).replace("\\", "")
    assert option in text_of(page_of(content))
    any_quality = build_content(judged, ChoiceSpec(min_quality=0))
    assert content.objective != any_quality.objective
    assert option not in text_of(page_of(any_quality))


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [(12.0, 8.0, "4.00 ms (50%) over 8"), (357.0, 1.0, "357x the limit of 1"),
     (3.57, 0.01, "357x the limit of 0.01")],
)  # fmt: skip
def test_a_miss_of_more_than_the_limit_is_a_multiple(value, limit, text):
    of_limit = Limit(column_quantity("latency_p99_ms"), limit, "max_latency_ms")
    check = Check(of_limit, Interval(value, value, value), f"{value} ms")
    assert text in check.miss_text


@pytest.mark.slow
def test_a_maximum_drop_is_relative_to_the_uncompressed_model(tmp_path):
    table = load_results([sweeps.whole(tmp_path / "sweep")])
    drops = {row["variant"]: 1 - row["agreement_top1"] for row in table.records
             if row["agreement_top1"] is not None}  # fmt: skip
    worst = max(drops, key=lambda name: drops[name])
    free = choose_from(table, ChoiceSpec(max_drop=drops[worst] + 1e-9))
    assert free.winner["variant"] == worst
    kept = choose_from(table, ChoiceSpec(max_drop=drops[worst] / 2))
    assert drops[kept.winner["variant"]] <= drops[worst] / 2
    assert [check.limit.option for check in kept.checks] == ["max_drop"]


@pytest.mark.parametrize("metric", ["agreement_top1", "output_cosine"])
def test_without_labels_a_drop_is_what_outputs_miss_of_agreement(metric):
    quantity = drop_quantity(metric)
    figures = {metric: 0.97, f"{metric}_ci_low": 0.96, f"{metric}_ci_high": 0.99}
    rows = Rows.from_frame(pd.DataFrame([{"status": "ok", **figures}]))
    figure = quantity.of(rows)[0]
    assert (figure.value, figure.low, figure.high) == pytest.approx((0.03, 0.01, 0.04))
    assert quantity.lower
