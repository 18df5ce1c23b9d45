"""Sweep folders as data: current measurements of planned trials."""

from ovtool.results.sweep_data import read_sweep
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
