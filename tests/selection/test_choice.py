"""The choice: who wins, how sure that is, and what is said when nobody can."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from ovtool.core import units
from ovtool.core.errors import (
    InputError,
    LimitNotMetError,
    NothingMeasuredError,
    UndecidedError,
)
from ovtool.core.notes import make_note
from ovtool.core.trial import Trial
from ovtool.results.table import load_results
from ovtool.selection.choice import NothingFitsError, choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from tests.helpers import sweeps

ANY = ChoiceSpec(min_quality=0)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return load_results([sweeps.whole(tmp_path_factory.mktemp("t") / "s")])


def ids(choice):
    return [note.id for note in (*choice.warnings, *choice.explanations)]


@pytest.mark.slow
def test_highest_throughput_wins_with_reasons(table):
    choice = choose_from(table, ANY)
    best = table.rows.loc[table.rows["throughput_fps"].idxmax()]
    assert choice.winner["trial"] == best["trial"]
    assert choice.winner["variant"] == "int8"
    assert choice.properties == {"PERFORMANCE_HINT": "THROUGHPUT"}
    assert "int8-weights" in choice.reasons[0]
    f32_ratio = units.text(best["speedup_f32_x"])
    assert not choice.ties
    assert any(f32_ratio in reason for reason in choice.reasons)
    assert "batch 8" in choice.headline
    assert "2 streams" in choice.headline


@pytest.mark.slow
def test_the_choice_says_why_its_metric_decides(tmp_path):
    reason = "no labels; output y is a softmax"
    choice = choose_from(load_results([sweeps.whole(tmp_path / "s", quality_reason=reason)]))
    document = choice.to_json()
    assert (document["quality_metric"], document["quality_reason"]) == ("agreement_top1", reason)
    assert sum(reason in line for line in choice.reasons) == 1


def test_headline_names_explicit_streams_once(tmp_path):
    trial = Trial(sweeps.FP32.id, "fp32", "CPU", 4, hint=None, streams=2, requests=4)
    choice = choose_from(load_results([sweeps.make(tmp_path / "s", [sweeps.measure(trial)])]))
    assert choice.headline.endswith("batch 4, with 1 stream, 2 requests.")


@pytest.mark.slow
def test_each_objective_has_its_winner(table):
    assert choose_from(table, ChoiceSpec(min_quality=0, objective="latency")).winner["batch"] == 1
    smallest = choose_from(table, ChoiceSpec(min_quality=0, objective="size"))
    assert smallest.winner["variant"] == "int8-weights"
    assert smallest.winner["throughput_fps"] == max(
        table.rows[table.rows["variant"] == "int8-weights"]["throughput_fps"]
    ), "equal sizes are settled by throughput"
    assert not smallest.ties, "rows of the same files are no ties"


def test_percentile_applies_to_limit_and_objective(table):
    row = choose_from(table, ChoiceSpec(min_quality=0, objective="latency", percentile=50)).winner
    limit = (row["latency_p50_ms"] + row["latency_p99_ms"]) / 2
    assert choose_from(table, ChoiceSpec(min_quality=0, max_latency_ms=limit, percentile=50))
    with pytest.raises(NothingFitsError):
        choose_from(table, ChoiceSpec(min_quality=0, max_latency_ms=limit, percentile=99))


def test_limit_excludes_rows_and_runners_up_have_a_shortfall(table):
    choice = choose_from(table, ChoiceSpec(min_quality=0.97))
    assert choice.winner["variant"] == "int8-weights"
    int8 = next(r for r in choice.runners_up if r.row["variant"] == "int8")
    assert "agreement" in int8.shortfall
    assert "0.97" in int8.shortfall
    assert "limit-uncertain" in ids(choice)


def test_each_configuration_has_one_runner_up(table):
    choice = choose_from(table, ANY)
    configs = [(r.row["variant"], r.row["precision"]) for r in choice.runners_up]
    assert configs == [("int8-weights", "default"), ("fp32", "default"), ("fp32", "f32")]
    best, second = choice.winner, choice.runners_up[0]
    loss = 100 * (1 - second.row["throughput_fps"] / best["throughput_fps"])
    assert f"{units.text(loss, 2)}%" in second.shortfall


def with_tie(table, factor, **figures):
    """The table, with the throughput of int8-weights at batch 8 near the best of int8.

    ``figures`` are more figures of that row.
    """
    near = table.rows.copy()
    row = (
        (near["variant"] == "int8-weights") & (near["batch"] == 8) & (near["load"] == "throughput")
    )
    best = near["throughput_fps"].max()
    ends = {"": 1.0, "_ci_low": 0.98, "_ci_high": 1.03}
    for name, end in ends.items():
        near.loc[row, f"throughput_fps{name}"] = best * factor * end
    for name, value in figures.items():
        near.loc[row, name] = value
    return table.with_rows(near)


def latency(ms):
    return {
        f"latency_p99_ms{end}": ms * f
        for end, f in {"": 1, "_ci_low": 0.9, "_ci_high": 1.1}.items()
    }


def test_rows_without_significant_difference_are_ties(table):
    choice = choose_from(with_tie(table, 0.99), ANY)
    assert choice.winner["variant"] == "int8", "its latency is lower too"
    assert choice.settled_by == ""
    assert any("int8-weights, batch 8" in tie for tie in choice.ties)


def test_ties_go_to_the_lower_latency(table):
    """A throughput of 2% more within noise is not worth four times the latency."""
    tied = with_tie(table, 0.98, **latency(10.0))
    best = choose_from(table, ANY).winner
    assert best["latency_p99_ms"] > 40
    choice = choose_from(tied, ANY)
    assert choice.winner["variant"] == "int8-weights"
    assert choice.winner["latency_p99_ms"] == 10
    assert choice.settled_by == "latency_p99_ms"
    assert any("int8, batch 8" in tie for tie in choice.ties)
    assert units.text(best["throughput_fps"]) in choice.reasons[0]
    assert choice.confidence.row < 0.5, "the confidence is that of the winner"
    (runner,) = (r for r in choice.runners_up if r.row["variant"] == "int8")
    assert "2.0% more" in runner.shortfall
    assert choice.to_json()["settled_by"] == "latency_p99_ms"


@pytest.mark.parametrize(
    ("factor", "figures"),
    [
        (0.95, latency(10.0)),  # a significant difference
        (0.80, {"throughput_fps_ci_high": 1e4, **latency(10.0)}),  # within noise, but far
        (0.98, {"throughput_fps_ci_high": math.nan, **latency(10.0)}),
    ],
    ids=["significant", "far", "no interval"],
)
def test_the_value_decides_where_there_is_no_tie(table, factor, figures):
    assert choose_from(with_tie(table, factor, **figures), ANY).winner["variant"] == "int8"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("column", "value", "settled_by"),
    [("peak_rss_mib", 90.0, "peak_rss_mib"), ("model_mib", 1.0, "model_mib"), ("batch", 8, "")],
)
def test_ties_of_latency_go_to_the_smaller_memory_then_size(table, column, value, settled_by):
    best = choose_from(table, ANY).winner
    equal = latency(best["latency_p99_ms"] * 1.01) | {"model_mib": best["model_mib"]}
    choice = choose_from(with_tie(table, 0.99, **equal | {column: value}), ANY)
    assert choice.settled_by == settled_by
    assert (choice.winner["variant"] == "int8-weights") is bool(settled_by)


def test_a_tie_within_the_limits_only(table):
    """A row of lower latency that misses a limit settles nothing."""
    tied = with_tie(table, 0.98, agreement_top1=0.5, **latency(10.0))
    assert choose_from(tied, ChoiceSpec(min_quality=0.9)).winner["variant"] == "int8"


def test_nothing_fits_error_carries_the_nearest_miss(table):
    with pytest.raises(LimitNotMetError) as caught:
        choose_from(table, ChoiceSpec(min_quality=0, max_latency_ms=3.5, min_throughput_fps=280))
    error = caught.value
    assert error.exit_code == 1
    assert "\n" not in str(error)
    assert isinstance(error, NothingFitsError)
    assert error.nearest.row["variant"] == "int8"
    assert error.nearest.row["batch"] == 1
    (miss,) = error.nearest.missed
    assert miss.excess == pytest.approx(3.5 * 1.15 / 3.5 - 1)
    assert json.loads(json.dumps(error.to_json(), allow_nan=False))


def test_rows_without_a_limited_figure_are_left_out_with_a_note(table):
    partly = table.rows.copy()
    partly.loc[partly["variant"] == "int8", "agreement_top1"] = math.nan
    choice = choose_from(table.with_rows(partly), ChoiceSpec(min_quality=0.5))
    assert choice.winner["variant"] != "int8"
    assert "limit-on-unknown" in ids(choice)
    int8 = next(r for r in choice.runners_up if r.row["variant"] == "int8")
    assert "agreement is unknown" in int8.shortfall
    partly["agreement_top1"] = math.nan
    with pytest.raises(NothingFitsError, match="agreement") as caught:
        choose_from(table.with_rows(partly), ChoiceSpec(min_quality=0.5))
    assert caught.value.nearest is None
    assert caught.value.exit_code == UndecidedError.exit_code


def test_objective_without_figures_has_the_reason(table):
    with pytest.raises(InputError, match="no counter can be read here"):
        choose_from(table, ChoiceSpec(objective="energy"))


@pytest.mark.slow
def test_nothing_measured_is_an_error(tmp_path):
    failed = [sweeps.failed(t, "boom") for t in sweeps.trials(batches=(1,))]
    for made in ([], failed):
        with pytest.raises(NothingMeasuredError):
            choose_from(load_results([sweeps.make(tmp_path / str(len(made)), made)]))


def test_choice_is_json(table):
    document = json.loads(json.dumps(choose_from(table, ANY).to_json(), allow_nan=False))
    assert document["winner"]["variant"] == "int8"
    assert document["properties"]
    assert document["headline"]


def test_figure_without_interval_is_met_or_missed(table):
    row = choose_from(table, ChoiceSpec(min_quality=0, objective="latency")).winner
    choice = choose_from(
        table,
        ChoiceSpec(max_latency_ms=row["latency_p90_ms"] * 1.01, objective="latency", percentile=90),
    )
    assert [c.outcome for c in choice.checks] == ["met"]


def unsteady(name, *more):
    evidence = f"{name}: two runs differ"
    return {name: (make_note("outputs-not-repeatable", evidence), *more)}


@pytest.mark.slow
def test_a_variant_with_outputs_that_are_not_repeatable_is_not_chosen(tmp_path, table):
    assert choose_from(table, ANY).winner["variant"] == "int8"
    folder = sweeps.whole(tmp_path / "s", variant_notes=unsteady("int8"))
    choice = choose_from(load_results([folder]), ANY)
    assert choice.winner["variant"] != "int8"
    assert all(runner.row["variant"] != "int8" for runner in choice.runners_up)
    evidence = {note.id: note.evidence for note in choice.warnings}["unrepeatable-left-out"]
    assert "int8 on CPU" in evidence
    assert "objective-on-unknown" not in ids(choice), "these rows have a throughput"


@pytest.mark.slow
@pytest.mark.parametrize(("streams", "chosen"), [(2, True), (1, False)])
def test_outputs_that_differ_with_several_streams_leave_one_stream(tmp_path, streams, chosen):
    note = make_note("outputs-not-repeatable", "int8: other outputs")
    rows = [sweeps.measure(trial) for trial in sweeps.trials()]
    wrong = next(
        row for row in rows if row.trial.variant == sweeps.INT8.id
        and row.figures["streams"] == streams
    )  # fmt: skip
    rows[rows.index(wrong)] = replace(wrong, notes=(note,))
    table = load_results([sweeps.make(tmp_path / "s", rows)])
    choice = choose_from(table, ChoiceSpec(objective="latency"))
    assert (choice.winner["variant"] == "int8") == chosen
    assert choice.winner["streams"] == 1
    assert "unrepeatable-left-out" in ids(choice)


@pytest.mark.slow
def test_a_graph_with_random_operations_can_be_chosen(tmp_path):
    notes = unsteady("int8", make_note("outputs-random", "RandomUniform"))
    folder = sweeps.whole(tmp_path / "s", variant_notes=notes)
    choice = choose_from(load_results([folder]), ANY)
    assert choice.winner["variant"] == "int8"
    assert "unrepeatable-left-out" not in ids(choice)


def test_nothing_is_chosen_if_no_model_has_repeatable_outputs(tmp_path):
    names = {model.name for model in sweeps.MODELS}
    notes = {k: v for name in names for k, v in unsteady(name).items()}
    folder = sweeps.whole(tmp_path / "s", variant_notes=notes)
    with pytest.raises(LimitNotMetError, match="repeatable"):
        choose_from(load_results([folder]), ANY)
