"""Many hosts and trials through one scheduler of a fleet, with scripted measurements.

``python -m tests.benchmarks.fleet_scale --hosts 1000 --trials 100`` has the real client, scheduler
and workers of Dask, messages and journals; only the measuring itself is scripted.  Client,
scheduler and hosts are a process each, so that CPU time and memory are known apart; all hosts share
one process, which a real fleet does not.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from ovtool.core.sweep_folder import Environment, SweepFolder
from ovtool.core.trial import Trial
from ovtool.core.variant import versions
from ovtool.fleet import hardening, messages
from ovtool.fleet.host import HOSTS
from ovtool.report.write import report
from tests.benchmarks import scripted
from tests.helpers.graphs import convolutional, save
from tests.helpers.sweeps import FP32

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection

_TRIALS: TypeAdapter[tuple[Trial, ...]] = TypeAdapter(tuple[Trial, ...])
HINTS = ("latency", "throughput")
START_S = 600.0


class ScriptedHost:
    """Answers as a host does, with scripted measurements; it has no files and no machine."""

    versions = versions()
    rows: dict[str, dict[str, Any]] = {}  # noqa: RUF012 - shared by the hosts of the process
    """The measurement of each trial."""

    def __init__(self, name: str) -> None:
        facts = {"cpu": "scripted", "host": name}
        digest = hashlib.sha256(name.encode()).hexdigest()[:12]
        self.environment = Environment(id=digest, machine=name, facts=facts)
        self.stopped = False

    def answer(self, text: str) -> str:
        request = messages.parse_request(text)
        ok: dict[str, Any] = {}
        if isinstance(request, messages.Describe):
            ok = {
                "environment": self.environment.model_dump(),
                "versions": self.versions,
                "devices": [{"name": "CPU", "available": True, "full_name": "scripted"}],
                "free_mib": 1e6,
                "clock_s": time.time(),
                "health_fps": 1.0,
            }
        elif isinstance(request, messages.Stored):
            ok = {"files": dict.fromkeys(request.files, (True, 1))}
        elif isinstance(request, messages.Measure):
            trials = _TRIALS.validate_python(request.trials)
            ok = {"measurements": [self._measure(t) for t in trials]}
        return messages.dump(messages.Reply(ok=ok))

    def _measure(self, trial: Trial) -> dict[str, Any]:
        if trial.id not in self.rows:
            like = replace(trial, variant=FP32.id, precision="f32")
            row = scripted.measurement(like, "a", 0)
            self.rows[trial.id] = replace(row, trial=trial).to_json()
        return self.rows[trial.id] | {"environment": self.environment.id}


def usage() -> dict[str, float]:
    """Return the CPU time and the peak of the memory of this process."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"cpu_s": used.ru_utime + used.ru_stime, "peak_mib": used.ru_maxrss / 1024}


def _raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))


async def _until_told(pipe: Connection) -> None:
    while not pipe.poll():
        await asyncio.sleep(0.1)
    pipe.recv()


async def _schedule(pipe: Connection) -> None:
    from ovtool.fleet.certificates import load_security
    from ovtool.fleet.dask_servers import FleetScheduler

    scheduler = await FleetScheduler("tcp://127.0.0.1:0", load_security(None, "scheduler"))
    pipe.send(scheduler.address)
    await _until_told(pipe)
    pipe.send(usage())
    await _until_told(pipe)
    await scheduler.close()


async def _host(pipe: Connection, address: str, count: int, scratch: str) -> None:
    from ovtool.fleet.certificates import load_security
    from ovtool.fleet.dask_servers import FleetWorker
    from ovtool.fleet.serving import resources

    workers, security = [], load_security(None, "worker")
    for number in range(count):
        name = f"host-{number}"
        HOSTS[name] = ScriptedHost(name)  # type: ignore[assignment]
        worker = FleetWorker(
            address, name=name, resources=resources({"site": "lab"}), security=security,
            local_directory=f"{scratch}/{name}", host="127.0.0.1",
        )  # fmt: skip
        workers.append(await worker)
    pipe.send(usage())
    await _until_told(pipe)
    pipe.send(usage())
    await asyncio.gather(*(worker.close(nanny=False) for worker in workers))


def _serve(role: Any, pipe: Connection, *arguments: Any) -> None:
    """Run a role in a process of its own."""
    _raise_file_limit()
    with hardening.hardened():
        asyncio.run(role(pipe, *arguments))


class Process:
    """A process with a role, which answers through a pipe."""

    def __init__(self, role: Any, *arguments: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(role, theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def answer(self) -> Any:
        if not self._pipe.poll(START_S):
            raise TimeoutError("no answer")
        return self._pipe.recv()

    def ask(self) -> Any:
        self._pipe.send(None)
        return self.answer()

    def end(self) -> None:
        self._pipe.send(None)
        self._process.join(60)
        self._process.kill()


@contextmanager
def many_hosts(count: int, scratch: Path) -> Iterator[tuple[str, Process, Process]]:
    """Start a scheduler and hosts; yield its address and the two processes."""
    scheduler = Process(_schedule)
    address = scheduler.answer()
    hosts = Process(_host, address, count, str(scratch))
    try:
        yield address, scheduler, hosts
    finally:
        hosts.end()
        scheduler.end()


class Clock:
    """Keeps when each trial finished, and prints where the sweep is."""

    def __init__(self) -> None:
        self.finished: list[float] = []

    def note(self, text: str) -> None:
        if "/" not in text:
            return
        self.finished.append(time.perf_counter())
        if len(self.finished) % 5000 == 0:
            seconds = self.finished[-1] - self.finished[0]
            print(f"{len(self.finished)} trials after {seconds:.1f} s", flush=True)

    def start(self, *_: object) -> None: ...
    def close(self) -> None: ...


def run(
    hosts: int, trials: int, variants: int, folder: Path, *, with_report: bool = True
) -> dict[str, Any]:
    """Sweep, and return seconds and MiB."""
    from ovtool.fleet.run import sweep_fleet

    _raise_file_limit()
    nets = [save(folder / f"net-{n}", convolutional(seed=n)) for n in range(variants)]
    batches = range(1, trials // (variants * len(HINTS)) + 1)
    with many_hosts(hosts, folder / "workers") as (address, scheduler, workers):
        joined = workers.answer()
        before, clock = usage(), Clock()
        started = time.perf_counter()
        result = sweep_fleet(
            nets, out=folder / "swept", fleet=address, batches=batches, hints=list(HINTS),
            precisions=["default"], rounds=3, starts=False, progress=clock,
        )  # type: ignore[arg-type] # fmt: skip
        seconds, after = time.perf_counter() - started, usage()
        shares = {"scheduler": scheduler.ask(), "hosts": workers.ask(), "client": after}
    done = sum(h.counts.measured for h in result.hosts if h.counts is not None)
    assert done == hosts * len(batches) * len(HINTS) * variants, result.hosts
    for host in result.hosts:
        rows = [m.trial.id for m in SweepFolder(host.folder).measurements()]
        assert len(rows) == len(set(rows)) == done // hosts, host
    tasks = hosts * (len(batches) * len(HINTS) + 4)  # describe, files, anchor twice
    shares["client"]["cpu_s"] -= before["cpu_s"]
    shares["hosts"]["cpu_s"] -= joined["cpu_s"]
    gaps = [b - a for a, b in itertools.pairwise(clock.finished)]
    tenth = max(1, len(gaps) // 10)
    figures: dict[str, Any] = {
        "hosts": hosts,
        "trials": done,
        "tasks": tasks,
        "wall_s": seconds,
        "until_first_trial_s": clock.finished[0] - started,
        "ms_per_task": 1000 * (clock.finished[-1] - clock.finished[0]) / tasks,
        "ms_per_trial": 1000 * (clock.finished[-1] - clock.finished[0]) / done,
        "first_tenth_ms": 1000 * statistics.fmean(gaps[:tenth]),
        "last_tenth_ms": 1000 * statistics.fmean(gaps[-tenth:]),
        "cpu_ms_per_task": {n: 1000 * each["cpu_s"] / tasks for n, each in shares.items()},
        "peak_mib": {n: each["peak_mib"] for n, each in shares.items()},
        "client_mib_before": before["peak_mib"],
        "load": os.getloadavg()[0],
    }
    if with_report:
        started = time.perf_counter()
        report(result.folders, out=folder / "report")
        figures["report_s"] = time.perf_counter() - started
        figures["report_peak_mib"] = usage()["peak_mib"]
    return figures


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=100, help="trials of a host")
    parser.add_argument("--variants", type=int, default=10, help="trials of a group")
    parser.add_argument("--no-report", action="store_true")
    parser.add_argument("--folder", help="keep the files in this folder")
    given = parser.parse_args()
    with (
        nullcontext(given.folder) if given.folder
        else tempfile.TemporaryDirectory(prefix="fleet-scale-")
    ) as folder:  # fmt: skip
        figures = run(
            given.hosts, given.trials, given.variants, Path(folder),
            with_report=not given.no_report,
        )  # fmt: skip
    print(json.dumps(figures, indent=1, default=str))


if __name__ == "__main__":
    main()
