"""Scripted sweep folders of any size: rows as large as real ones, with invented figures."""

import itertools
from dataclasses import replace

from ovtool.core.notes import make_note
from ovtool.core.sweep_folder import JOURNAL, PLAN, SweepFolder
from ovtool.core.trial import Trial
from ovtool.results.sweep_rows import write_sweep_rows
from tests.helpers import sweeps

ROUNDS, WINDOWS = 8, 3
"""Rounds of a trial and windows of a round, as with the default settings."""
NOTES = (
    make_note("no-energy", "/sys/class/powercap has no package of RAPL"),
    make_note("disturbed-others"),
)


def trials(count):
    """Return trials of the scripted models with batches, hints, streams and requests."""
    loads = itertools.chain(
        ({"hint": hint} for hint in ("latency", "throughput")),
        (
            {"hint": None, "streams": s, "requests": r}
            for s, r in itertools.product(*[range(1, 40)] * 2)
        ),
    )
    grid = (
        Trial(m.id, m.name, "CPU", batch, precision=precision, **load)
        for load in loads
        for batch in (1, 2, 4, 8, 16)
        for m in sweeps.MODELS
        for precision in m.ms
    )
    return list(itertools.islice(grid, count))


def measurement(trial, env, index):
    """Return a measurement as large as a real one, with counters of each window and notes."""
    one = sweeps.measure(trial, env=env, rounds=ROUNDS)
    rounds = tuple(
        replace(
            r,
            windows=tuple(
                replace(
                    r.windows[0],
                    seconds=r.seconds / WINDOWS,
                    inferences=max(1, r.inferences // WINDOWS),
                    cpu_s=0.1987654321,
                    busy_s=0.2012345678,
                    steal_s=0.0,
                    delay_s=0.00123456,
                    stalled_s=0.0123456,
                    switches=3.0,
                    quota_wait_s=0.0,
                )
                for _ in range(WINDOWS)
            ),
            quiet=tuple(range(WINDOWS)),
            undisturbed_s=0.25,
            undisturbed_inferences=20,
        )
        for r in one.rounds
    )
    disturbed = replace(NOTES[1], evidence=f"{index % 7} of 24 windows, excluded")
    return replace(one, rounds=rounds, notes=(NOTES[0], disturbed))


def folders(root, count, rows):
    """Write ``count`` sweep folders with ``rows`` rows each, from as many machines.

    All folders have the same figures, which saves minutes.
    """
    planned = trials(rows)
    assert len(planned) == rows, f"the script has no more than {len(planned)} trials"
    measured = [measurement(trial, "machine 0", i) for i, trial in enumerate(planned)]
    paths = [sweeps.make(root / "sweep0", measured, env="machine 0")]
    old = sweeps.environment("machine 0").id.encode()
    for number in range(1, count):
        env = sweeps.environment(f"machine {number}")
        folder = SweepFolder(root / f"sweep{number}")
        folder.path.mkdir()
        for name in (PLAN, JOURNAL):
            content = (paths[0] / name).read_bytes()
            content = content.replace(b'"sweep0"', f'"sweep{number}"'.encode())
            (folder.path / name).write_bytes(content.replace(old, env.id.encode()))
        folder.write_environment(env)
        paths.append(folder.path)
    for path in paths:
        write_sweep_rows(path)
    return paths
