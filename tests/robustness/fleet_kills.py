"""Sweeps of a fleet while its processes are killed: no row is lost, and none is repeated.

``python -m tests.robustness.fleet_kills --kills 50`` runs sweeps of three hosts, one after the
other, and ends processes by SIGKILL at random moments meanwhile: a worker, the process of a host
that measures, the scheduler, the client.  In network namespaces it also cuts the cable of a host
for a while.  After each sweep the journals are compared with those of an undisturbed one.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import statistics
import subprocess
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ovtool.core.sweep_folder import SweepFolder
from tests.helpers.fleet_lab import PROGRAM, Lab, kill_tree, started, tree
from tests.helpers.graphs import convolutional, save

KINDS = ("worker", "measuring", "scheduler", "client", "link")
BATCHES = ",".join(map(str, range(1, 7)))
OPTIONS = ("--device", "CPU", "--batch", BATCHES, "--hint", "latency", "--rounds", "3",
           "--round-s", "0.02", "--max-seconds", "0.1", "--no-starts", "--json")  # fmt: skip
PATIENCE_S = 900.0
IN_A_SWEEP = 17
"""Kills during one sweep, which then goes on undisturbed."""
IDENTITY = ("host", "host_labels", "variant", "device", "batch", "load", "precision", "status")


@dataclass
class Outcome:
    """What became of the sweeps."""

    kills: Counter[str] = field(default_factory=Counter)
    sweeps: int = 0
    rows: int = 0
    lost: int = 0
    repeated: int = 0
    failed: int = 0
    tables_differ: int = 0
    figures_differ: int = 0
    """Rows of a table whose throughput is not that of the journal."""
    throughput_x: list[float] = field(default_factory=list)
    """Throughput of each row over that of the undisturbed sweep."""
    resumed: int = 0
    restarts: int = 0

    @property
    def good(self) -> bool:
        return not (
            self.lost or self.repeated or self.failed or self.tables_differ or self.figures_differ
        )

    @property
    def text(self) -> str:
        """The outcome in one line; the ratios as a median and a range."""
        low, *_, high = sorted(self.throughput_x) or [float("nan")] * 2
        middle = statistics.median(self.throughput_x or [float("nan")])
        counts = {n: v for n, v in vars(self).items() if n not in ("throughput_x", "kills")}
        return f"{dict(self.kills)} {counts} throughput {middle:.3f} [{low:.3f}, {high:.3f}] x"


class Client:
    """The command of a sweep, which its user repeats when it was killed."""

    def __init__(self, lab: Lab, model: Path, out: Path) -> None:
        self._words = [*PROGRAM, "sweep", str(model), "--fleet", str(lab.hosts_file),
                       *OPTIONS, "--out", str(out)]  # fmt: skip
        self._log, self._printed = out.with_suffix(".log"), out.with_suffix(".json")
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        with self._log.open("ab") as log, self._printed.open("wb") as printed:
            self._process = subprocess.Popen(self._words, stdout=printed, stderr=log)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def result(self) -> dict[str, Any] | None:
        """The document of a sweep that is complete on all hosts; None if it is not."""
        if self._process.returncode:
            return None
        document: dict[str, Any] = json.loads(self._printed.read_text())
        complete = all(host["counts"] is not None for host in document["hosts"])
        return document if complete and len(document["hosts"]) == 3 else None


def sweep(lab: Lab, model: Path, out: Path, disturb: Any = None) -> tuple[dict[str, Any], int]:
    """Sweep until it is complete; ``disturb`` is called meanwhile.  Return it and the starts."""
    client, until = Client(lab, model, out), time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        if not client.ended:
            if disturb is None:
                time.sleep(0.2)
            else:
                disturb(client)
            continue
        document = client.result()
        if document is not None:
            return document, client.starts
        client.start()
    kill_tree(client.pid)
    raise TimeoutError(f"the sweep {out} did not end")


class Disturber:
    """Kills something after a random time."""

    def __init__(self, lab: Lab, rng: random.Random, outcome: Outcome, limit: int) -> None:
        self._lab, self._rng, self._outcome, self._limit = lab, rng, outcome, limit
        self._done = 0
        self._kinds = KINDS if lab.network is not None else KINDS[:-1]
        self._next: list[str] = []

    def __call__(self, client: Client) -> None:
        until = time.monotonic() + self._rng.uniform(0.5, 5.0)
        while time.monotonic() < until:
            if client.ended:
                return
            time.sleep(0.05)
        if self._done == IN_A_SWEEP or sum(self._outcome.kills.values()) >= self._limit:
            return
        if not self._next:  # each kind once, then again
            self._next = self._rng.sample(self._kinds, len(self._kinds))
        kind = self._next[-1]
        host = self._rng.choice(list(self._lab.labels))
        if self._apply(kind, host, client):
            self._next.pop()
            self._done += 1
            self._outcome.kills[kind] += 1
            print(f"{sum(self._outcome.kills.values())}: {kind} {host}", flush=True)

    def _apply(self, kind: str, host: str, client: Client) -> bool:
        if kind == "link":
            assert self._lab.network is not None
            self._lab.network.cut(host, self._rng.choice((1.0, 5.0, 15.0, 35.0)))
            return True
        if kind == "client":
            targets = tree(client.pid)[:2]
        elif kind == "scheduler":
            targets = tree(self._lab.processes["scheduler"].pid)[:2]
        else:
            processes = tree(self._lab.processes[host].pid)
            targets = processes[:2]
            if kind == "measuring":
                targets = [p for p in processes if "ovtool.fleet.measuring" in _command(p)]
        with contextlib.suppress(psutil.NoSuchProcess):
            if targets:
                self._rng.choice(targets).kill()
                return True
        return False


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(process.cmdline())
    return []


def table(document: dict[str, Any]) -> list[tuple[object, ...]]:
    """Return what the rows of a table are of, without their figures."""
    return sorted(tuple(row[name] for name in IDENTITY) for row in document["rows"])


def throughputs(document: dict[str, Any]) -> dict[tuple[str, int], float]:
    """Return the throughput of each host and batch."""
    return {(row["host"], row["batch"]): row["throughput_fps"] for row in document["rows"]}


def check(
    out: Path, lab: Lab, outcome: Outcome, document: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Count rows of the journals that are lost, repeated or failed, and compare their figures."""
    outcome.sweeps += 1
    outcome.tables_differ += table(document) != table(expected)
    printed, undisturbed = throughputs(document), throughputs(expected)
    outcome.throughput_x += [printed[k] / undisturbed[k] for k in printed.keys() & undisturbed]
    for host in lab.labels:
        folder = SweepFolder(out / host)
        rows = list(folder.measurements())
        counts = Counter(row.trial.id for row in rows)
        outcome.rows += len(counts)
        outcome.lost += len({t.id for t in folder.plan.trials} - counts.keys())
        outcome.repeated += sum(counts.values()) - len(counts)
        outcome.failed += sum(row.status != "ok" for row in rows)
        outcome.figures_differ += sum(
            printed.get((host, row.trial.batch)) != row.figures["throughput_fps"]
            for row in rows
            if row.status == "ok"
        )


def run_kills(folder: Path, kills: int, seed: int, *, namespaces: bool = True) -> Outcome:
    """Run sweeps until so many kills were done; return what became of them."""
    rng, outcome = random.Random(seed), Outcome()
    with started(folder, namespaces=namespaces) as lab:
        model = save(folder / "net", convolutional()).folder
        expected, _ = sweep(lab, model, folder / "undisturbed")
        while sum(outcome.kills.values()) < kills:
            disturb = Disturber(lab, rng, outcome, kills)
            out = folder / f"sweep-{outcome.sweeps}"
            document, starts = sweep(lab, model, out, disturb)
            outcome.resumed += starts - 1
            check(out, lab, outcome, document, expected)
        outcome.restarts = lab.restarts
    return outcome


def main() -> None:
    """Run the kills of the command line; exit with 1 if a row was lost or repeated."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--processes", action="store_true", help="no network namespaces")
    given = parser.parse_args()
    folder = given.folder or Path(tempfile.mkdtemp(prefix="fleet-kills-"))
    outcome = run_kills(folder, given.kills, given.seed, namespaces=not given.processes)
    print(outcome.text)
    raise SystemExit(not outcome.good)


if __name__ == "__main__":
    main()
