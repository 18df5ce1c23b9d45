"""The choice: who wins, how sure that is, and what is said when nobody can."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ovtool.core.errors import InputError, LimitNotMetError, NothingMeasuredError
from ovtool.core.statistics import Interval
from ovtool.core.trial import Trial
from ovtool.results.table import load_results
from ovtool.selection.choice import NothingFitsError, choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.selection.limits import Check
from ovtool.selection.quantities import measured_in
from tests.helpers import sweeps


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return load_results([sweeps.whole(tmp_path_factory.mktemp("t") / "s")])


def ids(choice):
    return [note.id for note in (*choice.warnings, *choice.explanations)]


def test_most_throughput_wins_and_says_why(table):
    choice = choose_from(table)
    best = table.rows.loc[table.rows["throughput_fps"].idxmax()]
    assert choice.winner["trial"] == best["trial"]
    assert choice.winner["variant"] == "int8"
    assert choice.properties == {"PERFORMANCE_HINT": "THROUGHPUT"}
    assert "int8-weights" in choice.reasons[0]
    assert "beyond the noise" in choice.reasons[0]
    assert any("in f32" in r and "faster" in r for r in choice.reasons)
    assert "batch 8" in choice.headline
    assert "2 streams" in choice.headline


def test_streams_set_by_hand_are_said_once(tmp_path):
    trial = Trial(sweeps.FP32.id, "fp32", "CPU", 4, hint=None, streams=2, requests=4)
    choice = choose_from(load_results([sweeps.make(tmp_path / "s", [sweeps.measure(trial)])]))
    assert choice.headline.endswith("batch 4, with 1 stream, 2 requests.")


def test_each_objective_has_its_winner(table):
    assert choose_from(table, ChoiceSpec(objective="latency")).winner["batch"] == 1
    smallest = choose_from(table, ChoiceSpec(objective="size"))
    assert smallest.winner["variant"] == "int8-weights"
    assert smallest.winner["throughput_fps"] == max(
        table.rows[table.rows["variant"] == "int8-weights"]["throughput_fps"]
    ), "equal sizes are settled by throughput"
    assert not smallest.ties, "rows of the same files are no ties"


def test_the_percentile_is_that_of_limit_and_objective(table):
    row = choose_from(table, ChoiceSpec(objective="latency", percentile=50)).winner
    limit = (row["latency_p50_ms"] + row["latency_p99_ms"]) / 2
    assert choose_from(table, ChoiceSpec(max_latency_ms=limit, percentile=50))
    with pytest.raises(NothingFitsError):
        choose_from(table, ChoiceSpec(max_latency_ms=limit, percentile=99))


def test_a_limit_rules_rows_out_and_runners_up_say_what_they_lack(table):
    choice = choose_from(table, ChoiceSpec(min_quality=0.97))
    assert choice.winner["variant"] == "int8-weights"
    int8 = next(r for r in choice.runners_up if r.row["variant"] == "int8")
    assert "agreement" in int8.lacks
    assert "under 0.97, within its interval" in int8.lacks
    assert "limit-uncertain" in ids(choice)


def test_runners_up_are_one_for_each_configuration(table):
    choice = choose_from(table)
    configs = [(r.row["variant"], r.row["precision"]) for r in choice.runners_up]
    assert configs == [("int8-weights", "default"), ("fp32", "default"), ("fp32", "f32")]
    assert "less" in choice.runners_up[0].lacks


def test_rows_within_the_noise_are_named(table):
    near = table.rows.copy()
    weights = near["variant"] == "int8-weights"
    best = near["throughput_fps"].max()
    for name, factor in (("", 0.99), ("_ci_low", 0.97), ("_ci_high", 1.02)):
        near.loc[weights & (near["batch"] == 8), f"throughput_fps{name}"] = best * factor
    choice = choose_from(table.with_rows(near))
    assert choice.winner["variant"] == "int8", "the value decides"
    assert any("int8-weights, batch 8" in tie for tie in choice.ties)
    assert "within the noise" in choice.reasons[0]


def test_nothing_fits_carries_the_nearest_miss(table):
    with pytest.raises(LimitNotMetError) as caught:
        choose_from(table, ChoiceSpec(max_latency_ms=3.5, min_throughput_fps=280))
    error = caught.value
    assert error.exit_code == 1
    assert "\n" not in str(error)
    assert isinstance(error, NothingFitsError)
    assert error.nearest.row["variant"] == "int8"
    assert error.nearest.row["batch"] == 1
    (miss,) = error.nearest.missed
    assert miss.excess == pytest.approx(3.5 * 1.15 / 3.5 - 1)
    assert json.loads(json.dumps(error.to_json(), allow_nan=False))


def test_rows_without_a_limited_figure_are_left_out_and_said(table):
    partly = table.rows.copy()
    partly.loc[partly["variant"] == "int8", "agreement_top1"] = math.nan
    choice = choose_from(table.with_rows(partly), ChoiceSpec(min_quality=0.5))
    assert choice.winner["variant"] != "int8"
    assert "limit-on-unknown" in ids(choice)
    int8 = next(r for r in choice.runners_up if r.row["variant"] == "int8")
    assert "not known" in int8.lacks
    partly["agreement_top1"] = math.nan
    with pytest.raises(NothingFitsError, match="is not known of any") as caught:
        choose_from(table.with_rows(partly), ChoiceSpec(min_quality=0.5))
    assert caught.value.nearest is None


def test_an_objective_that_nobody_measured_says_why(table):
    with pytest.raises(InputError, match="no counter can be read here"):
        choose_from(table, ChoiceSpec(objective="energy"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "thruput"}, "thruput"),
        ({"percentile": 95}, "95"),
    ],
)
def test_wrong_arguments_are_refused(table, arguments, message):
    with pytest.raises(ValidationError, match=message):
        choose_from(table, ChoiceSpec(**arguments))


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_latency_ms": 0},
        {"max_latency_ms": math.nan},
        {"min_throughput_fps": -1},
        {"max_model_mib": math.inf},
        {"min_quality": 95},
    ],
)
def test_wrong_limits_are_refused(wrong):
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        ChoiceSpec(**wrong)


def test_nothing_measured_is_its_own_error(tmp_path):
    failed = [sweeps.failed(t, "boom") for t in sweeps.trials(batches=(1,))]
    for made in ([], failed):
        with pytest.raises(NothingMeasuredError):
            choose_from(load_results([sweeps.make(tmp_path / str(len(made)), made)]))


def test_warnings_tell_what_limits_the_trust(tmp_path):
    trials = sweeps.trials(batches=(1, 8))
    made = [sweeps.contended(sweeps.measure(t)) for t in trials[:-1]]
    made.append(sweeps.failed(trials[-1], "out of memory"))
    choice = choose_from(
        load_results([sweeps.make(tmp_path / "s", made, unavailable=[("NPU", "no driver")])])
    )
    assert {"measured-contended", "quality-unknown", "failed-rows", "device-unavailable"} <= set(
        ids(choice)
    )


def test_poor_quality_without_a_limit_is_a_warning(table):
    assert "quality-lower" in ids(choose_from(table))
    assert "quality-interval-wide" in ids(choose_from(table))
    assert "quality-lower" not in ids(choose_from(table, ChoiceSpec(min_quality=0.5)))


def test_a_choice_is_json(table):
    document = json.loads(json.dumps(choose_from(table).to_json(), allow_nan=False))
    assert document["winner"]["variant"] == "int8"
    assert document["properties"]
    assert document["headline"]


def test_machines_are_compared_only_with_a_warning(tmp_path):
    folders = [sweeps.whole(tmp_path / e, env=e) for e in "ab"]
    choice = choose_from(load_results(folders))
    assert "several-environments" in ids(choice)
    assert "env 1" in choice.label


finite = st.floats(0.01, 1e6)


@given(finite, finite, st.floats(0, 0.5), st.sampled_from(["latency_p99_ms", "throughput_fps"]))
def test_a_check_is_kept_exactly_when_it_misses_by_nothing(value, limit, half, column):
    shown = Interval(value, value * (1 - half), value * (1 + half))
    check = Check(measured_in(column), limit, shown, "")
    assert check.kept == (check.excess == 0)
    if check.outcome == "met":
        assert check.kept
    if check.outcome == "missed":
        assert not check.kept
        assert check.limit_text.split()[0] in check.miss_text


def test_an_unknown_figure_keeps_no_limit():
    check = Check(measured_in("throughput_fps"), 1.0, Interval(math.nan, math.nan, math.nan), "-")
    assert not check.kept
    assert check.outcome == "unknown"


def test_a_figure_without_interval_is_taken_as_it_is(table):
    row = choose_from(table, ChoiceSpec(objective="latency")).winner
    choice = choose_from(
        table,
        ChoiceSpec(max_latency_ms=row["latency_p90_ms"] * 1.01, objective="latency", percentile=90),
    )
    assert [c.outcome for c in choice.checks] == ["met"]
