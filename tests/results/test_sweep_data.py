"""Sweep folders as data: current measurements of planned trials."""

import pytest

from ovtool.results.sweep_data import read_sweep
from ovtool.results.table import load_results
from tests.helpers import sweeps


def test_last_line_of_trial_counts(tmp_path):
    trial = sweeps.trials()[0]
    first, last = sweeps.failed(trial, "killed"), sweeps.measure(trial)
    sweep = read_sweep(sweeps.make(tmp_path / "s", [first, last]))
    assert sweep.measurements == (last,)


def test_trials_of_earlier_plans_are_counted_only(tmp_path):
    trials = sweeps.trials()
    measurements = [sweeps.measure(trial) for trial in trials[:3]]
    sweep = read_sweep(sweeps.make(tmp_path / "s", measurements, planned=trials[1:]))
    assert [m.trial for m in sweep.measurements] == trials[1:3]
    assert sweep.outdated == 1


@pytest.mark.slow
def test_quality_of_an_earlier_plan_is_that_of_the_same_configuration(tmp_path):
    whole = read_sweep(sweeps.whole(tmp_path / "whole", batches=(1, 2)))
    known = {
        m.trial.configuration: m.figures["output_cosine"]
        for m in whole.measurements if "output_cosine" in m.figures
    }  # fmt: skip
    later = [m.trial for m in whole.measurements if "output_cosine" not in m.figures]
    narrow = sweeps.make(tmp_path / "narrow", whole.measurements, planned=later)
    measurements = read_sweep(narrow).measurements
    assert [m.trial for m in measurements] == later
    assert known
    evaluated = [m for m in measurements if "output_cosine" in m.figures]
    assert {m.trial.configuration: m.figures["output_cosine"] for m in evaluated} == known
    assert len(evaluated) == len(known)
    rows = load_results([narrow]).rows
    assert rows["output_cosine"].notna().sum() == len(later)
