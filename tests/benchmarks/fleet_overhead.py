"""The same plan on one host, without and with a fleet, in alternating pairs.

``python -m tests.benchmarks.fleet_overhead --pairs 5`` prints the ratio of the wall times and of
the throughputs of each pair, with the fleet over without.  The goal is 1.02 for the wall time of a
plan, on an idle machine; the load of the machine is printed with the figures.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

from ovtool.core.sweep_folder import SweepFolder
from tests.helpers.fleet_lab import PROGRAM, run, started
from tests.helpers.graphs import convolutional, save


def timed(model: Path, out: Path, seconds: float, *extra: str) -> float:
    """Sweep, and return the wall time."""
    options = ("--device", "CPU", "--batch", "1,2,4,8", "--hint", "latency,throughput",
               "--max-seconds", str(seconds), "--no-starts", "--json")  # fmt: skip
    begun = time.perf_counter()
    run(*PROGRAM, "sweep", model, *options, *extra, "--out", out)
    return time.perf_counter() - begun


def rates(folder: Path) -> dict[str, float]:
    """Return the throughput of each trial."""
    rows = SweepFolder(folder).measurements()
    return {m.trial.id: m.figures["throughput_fps"] for m in rows if m.status == "ok"}


def main() -> None:
    """Print each pair, then the median ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="longest time of a trial")
    given = parser.parse_args()
    walls, speeds = [], []
    with (
        tempfile.TemporaryDirectory(prefix="fleet-overhead-") as folder,
        started(Path(folder), namespaces=False, hosts=("alpha",)) as lab,
    ):
        model = save(Path(folder) / "net", convolutional()).folder
        for pair in range(given.pairs):
            alone, fleet = Path(folder) / f"alone-{pair}", Path(folder) / f"fleet-{pair}"
            seconds = {}
            for name in ("alone", "fleet") if pair % 2 else ("fleet", "alone"):
                if name == "alone":
                    seconds[name] = timed(model, alone, given.seconds)
                else:
                    address = ("--fleet", str(lab.hosts_file))
                    seconds[name] = timed(model, fleet, given.seconds, *address)
            before, after = rates(alone), rates(fleet / "alpha")
            ratios = [after[trial] / before[trial] for trial in before.keys() & after.keys()]
            walls.append(seconds["fleet"] / seconds["alone"])
            speeds.append(statistics.geometric_mean(ratios))
            print(json.dumps({
                "wall_s": seconds, "wall_x": walls[-1], "throughput_x": speeds[-1],
                "load": os.getloadavg()[0],
            }), flush=True)  # fmt: skip
    print(json.dumps({
        "wall_x": [min(walls), statistics.median(walls), max(walls)],
        "throughput_x": [min(speeds), statistics.median(speeds), max(speeds)],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
