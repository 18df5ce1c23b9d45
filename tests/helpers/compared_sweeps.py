"""Sweeps with scripted speeds, to be compared."""

import math
from dataclasses import replace

from ovtool.benchmark.figures import summarize
from ovtool.benchmark.session import CompiledInfo, RawRound
from ovtool.benchmark.windows import HostLoad
from ovtool.core.measurement import Window
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


THREADS = 2


def under_load(sweep, rng, load, slower=1.0):
    """The same sweep beside processes that take a random share of the CPU, up to ``load``.

    Each window loses its own share of wall time.  The CPU time of the whole run is inflated too, up
    to twice: caches, memory and cores are shared.  A load of 0 is an idle machine.
    """
    return replace(
        sweep, measurements=tuple(_under_load(m, rng, load, slower) for m in sweep.measurements)
    )


def _under_load(measurement, rng, load, slower):
    trial, idle_ms = measurement.trial, measurement.figures["latency_p50_ms"] * slower
    inflation = 1 + rng.random() * min(1.0, 2 * load)
    rounds = []
    for index in range(8):
        drawn = []
        for _ in range(3):
            lost = load * rng.random()
            latencies = [
                idle_ms * rng.gauss(1, 0.01) / (1 - lost)
                for _ in range(max(4, round(100 / idle_ms)))
            ]
            seconds, count = sum(latencies) / 1000, len(latencies)
            demand = THREADS * seconds
            counters = (demand * (1 - lost) * inflation, demand * (1 - lost), 0.0, demand * lost)
            cpu_s, own, steal, delay = counters
            window = Window(
                seconds, count, 1000 * seconds / count, max(latencies), own if load == 0 else cpu_s,
                own if load == 0 else cpu_s + demand * lost + 0.1 * load, steal, delay,
            )  # fmt: skip
            drawn.append((window, tuple(latencies)))
        rounds.append((index, RawRound(*zip(*drawn, strict=True))))
    info = CompiledInfo({"threads": float(THREADS), "requests": 1.0}, "f32", {})
    summary = summarize(trial, info, rounds, HostLoad(THREADS, THREADS, uses_cpu=True), 2.0)
    return replace(
        measurement,
        figures=summary.figures,
        verdict=summary.verdict,
        rounds=summary.rounds,
        finished=str(rng.random()),
    )


def outcomes(found):
    return {(c.label, c.column): c.outcome for c in found.changes}
