"""Quantities: cost and sustained rate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ovtool.core.errors import InputError
from ovtool.core.notes import make_note
from ovtool.core.trial import Trial
from ovtool.results.table import load_results
from ovtool.selection.choice import NothingFitsError, choose_from
from ovtool.selection.choice_spec import ChoiceSpec
from ovtool.selection.prices import Prices
from tests.helpers import sweeps

EUROS = Prices("EUR", (("*cpu a*", 0.5), ("*cpu b*", 5.0)))


@pytest.mark.slow
def test_cost_follows_the_measured_throughput(tmp_path):
    machines = load_results([sweeps.whole(tmp_path / e, env=e) for e in "abc"])
    choice = choose_from(machines, ChoiceSpec(prices=EUROS, objective="cost"))
    row = choice.winner
    assert "Example CPU a" in row["machine"]
    assert f"{0.5 / 3600 * 1e6 / row['throughput_fps']:.3g} [" in choice.reasons[0]
    assert "EUR/million samples" in choice.reasons[0]
    assert "0.5 EUR/h at" in choice.reasons[0]
    assert {"objective-on-unknown"} <= {n.id for n in choice.warnings}, "c has no price"
    limit = 5.0 / 3600 * 1e6 / row["throughput_fps"] / 2
    kept = choose_from(machines, ChoiceSpec(max_cost=limit, prices=EUROS, objective="size"))
    assert "Example CPU a" in kept.winner["machine"], "b is dear, and c without a price"
    with pytest.raises(NothingFitsError, match=r"cost at most 0\.001 EUR/million samples"):
        choose_from(machines, ChoiceSpec(max_cost=0.001, prices=EUROS))
    with pytest.raises(InputError, match="Example CPU a"):
        choose_from(machines, ChoiceSpec(prices=Prices("EUR", (("other", 1.0),)), objective="cost"))


def arrivals(rate, kept):
    trial = Trial(sweeps.FP32.id, "fp32", "CPU", 2, hint="throughput", rate=rate)
    one = sweeps.measure(trial)
    notes = () if kept else (make_note("rate-not-kept"),)
    return replace(one, notes=notes, figures={**one.figures, "rate_rps": rate})


@pytest.mark.slow
def test_rate_is_sustained_by_capacity_or_by_arrivals(tmp_path):
    busy = sweeps.measure(Trial(sweeps.FP32.id, "fp32", "CPU", 2, hint="throughput"))
    capacity = busy.figures["throughput_fps"] / 2
    choice = choose_from(
        load_results([sweeps.make(tmp_path / "a", [busy])]), ChoiceSpec(rate=0.9 * capacity)
    )
    assert choice.checks[0].outcome == "met", "its lower end sustains it"
    assert "throughput / batch" in choice.checks[0].text
    assert "rate-by-capacity" in {n.id for n in choice.warnings}
    near = choose_from(
        load_results([sweeps.make(tmp_path / "b", [busy])]), ChoiceSpec(rate=0.995 * capacity)
    )
    assert near.checks[0].outcome == "uncertain"

    kept = load_results([sweeps.make(tmp_path / "c", [arrivals(100.0, True)])])
    choice = choose_from(kept, ChoiceSpec(rate=100))
    assert choice.checks[0].outcome == "met"
    assert "open loop" in choice.checks[0].text
    assert "rate-by-capacity" not in {n.id for n in choice.warnings}
    with pytest.raises(NothingFitsError, match="sustained rate"):
        choose_from(kept, ChoiceSpec(rate=101))
    late = load_results([sweeps.make(tmp_path / "d", [arrivals(9000.0, False)])])
    with pytest.raises(NothingFitsError, match="9000 requests/s"):
        choose_from(late, ChoiceSpec(rate=9000))
