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

    def again(measurement):
        inflation = 1 + rng.random() * min(1.0, 2 * load)
        idle_ms = measurement.figures["latency_p50_ms"] * slower

        def window(_):
            lost = load * rng.random()
            latencies = latencies_ms(rng, idle_ms, 1 / (1 - lost))
            demand_s = THREADS * sum(latencies) / 1000
            cpu_s = demand_s * (1 - lost) * inflation
            return made_window(
                latencies, cpu_s, cpu_s + demand_s * lost + 0.1 * load, demand_s * lost
            )

        return measured_again(measurement, rng, window)

    return replace(sweep, measurements=tuple(map(again, sweep.measurements)))


def slowed(sweep, rng, slow_rounds):
    """The same sweep, in which some rounds take twice the time and no counter shows why."""

    def again(measurement):
        idle_ms = measurement.figures["latency_p50_ms"]

        def window(index):
            latencies = latencies_ms(rng, idle_ms, 2.0 if index in slow_rounds else 1.0)
            cpu_s = THREADS * sum(latencies) / 1000
            return made_window(latencies, cpu_s, cpu_s, 0.0)

        return measured_again(measurement, rng, window)

    return replace(sweep, measurements=tuple(map(again, sweep.measurements)))


def latencies_ms(rng, idle_ms, factor):
    """Latencies of about 100 ms on an idle machine, times a factor."""
    return [idle_ms * factor * rng.gauss(1, 0.01) for _ in range(max(4, round(100 / idle_ms)))]


def made_window(latencies, cpu_s, busy_s, delay_s):
    seconds, count = sum(latencies) / 1000, len(latencies)
    mean_ms = 1000 * seconds / count
    one = Window(seconds, count, mean_ms, max(latencies), cpu_s, busy_s, 0.0, delay_s)
    return one, tuple(latencies)


def measured_again(measurement, rng, window):
    """The trial measured again in 8 rounds of 3 windows; ``window`` returns one of a round."""
    rounds = [
        (index, RawRound(*zip(*(window(index) for _ in range(3)), strict=True)))
        for index in range(8)
    ]
    info = CompiledInfo({"threads": float(THREADS), "requests": 1.0}, "f32", {})
    host = HostLoad(THREADS, THREADS, uses_cpu=True)
    summary = summarize(measurement.trial, info, rounds, host, 2.0)
    return replace(
        measurement,
        figures=summary.figures,
        verdict=summary.verdict,
        rounds=summary.rounds,
        finished=str(rng.random()),
    )


def outcomes(found):
    return {(c.label, c.column): c.outcome for c in found.changes}
