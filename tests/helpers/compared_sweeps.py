"""Sweeps with scripted speeds, to be compared."""

import math
from dataclasses import replace

from ovtool.results.sweep_data import read_sweep
from tests.helpers import sweeps

TRIALS = sweeps.trials(batches=(1, 4))


FLIPPED = {"better": "worse", "worse": "better"}


def at_speed(measurement, factor, **changes):
    """The same trial, faster by a factor."""
    figures = {
        name: value * factor
        if name.startswith("throughput")
        else value / factor
        if name.startswith("latency")
        else value
        for name, value in measurement.figures.items()
    }
    rounds = tuple(
        replace(
            one,
            windows=tuple(
                replace(w, seconds=w.seconds / factor, cpu_s=w.cpu_s / factor) for w in one.windows
            ),
        )
        for one in measurement.rounds
    )
    return replace(measurement, figures=figures, rounds=rounds, **changes)


def run(path, speed=lambda _: 1.0, trials=TRIALS, env="a", **changes):
    """A sweep of scripted speeds, read back."""
    made = [at_speed(sweeps.measure(t, env=env), speed(t), **changes) for t in trials]
    return read_sweep(sweeps.make(path, made, env=env))


def noisy(sweep, rng, sd, factor=1.0):
    """The same sweep at another time: each group of trials drifts, and each trial moves."""
    groups = {m.trial.group: rng.gauss(0, sd * 0.7) for m in sweep.measurements}
    return replace(
        sweep,
        measurements=tuple(
            at_speed(m, factor * math.exp(groups[m.trial.group] + rng.gauss(0, sd * 0.7)))
            for m in sweep.measurements
        ),
    )


def outcomes(found):
    return {(c.label, c.column): c.outcome for c in found.changes}
