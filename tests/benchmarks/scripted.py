"""Sweep folders of any size, scripted: rows as long as real ones, whose figures are invented."""

import itertools
from dataclasses import replace

from ovtool.core.notes import make_note
from ovtool.core.sweep_folder import JOURNAL, PLAN, SweepFolder
from ovtool.core.trial import Trial
from ovtool.results.sweep_rows import write_sweep_rows
from tests.helpers import sweeps

ROUNDS, WINDOWS = 8, 3
"""Of a trial: as the default settings give."""
NOTES = (
    make_note("no-energy", "/sys/class/powercap has no package of RAPL"),
    make_note("disturbed-others"),
)


def trials(count):
    """So many trials of the scripted models, in batches, hints and loads set by hand."""
    loads = itertools.chain(
        ({"hint": hint} for hint in ("latency", "throughput")),
        (
            {"hint": None, "streams": s, "requests": r}
            for s, r in itertools.product(*[range(1, 40)] * 2)
        ),
    )
    made = (
        Trial(m.id, m.name, "CPU", batch, precision=precision, **load)
        for load in loads
        for batch in (1, 2, 4, 8, 16)
        for m in sweeps.MODELS
        for precision in m.ms
    )
    return list(itertools.islice(made, count))


def measurement(trial, env, index):
    """As large as a real one, with every window's counters and notes of its own."""
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
    """Write so many sweep folders of so many rows each, as sweeps of as many machines leave them.

    They have the same figures, which the script would take minutes to write again.
    """
    planned = trials(rows)
    assert len(planned) == rows, f"the script has no more than {len(planned)} trials"
    measured = [measurement(trial, "machine 0", i) for i, trial in enumerate(planned)]
    made = [sweeps.make(root / "sweep0", measured, env="machine 0")]
    old = sweeps.environment("machine 0").id.encode()
    for number in range(1, count):
        env = sweeps.environment(f"machine {number}")
        folder = SweepFolder(root / f"sweep{number}")
        folder.path.mkdir()
        for name in (PLAN, JOURNAL):
            content = (made[0] / name).read_bytes()
            content = content.replace(b'"sweep0"', f'"sweep{number}"'.encode())
            (folder.path / name).write_bytes(content.replace(old, env.id.encode()))
        folder.write_environment(env)
        made.append(folder.path)
    for path in made:
        write_sweep_rows(path)
    return made
