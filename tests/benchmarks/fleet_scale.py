"""Many hosts and trials through one scheduler of a fleet, with scripted measurements.

``python -m tests.benchmarks.fleet_scale --hosts 1000 --trials 100`` has the real client, scheduler
and workers of Dask, messages and journals; only the measuring itself is scripted.  All hosts are in
one process, so the times are those of client, scheduler and hosts together.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import hashlib
import itertools
import json
import resource
import statistics
import tempfile
import threading
import time
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
    from collections.abc import Sequence

_TRIALS: TypeAdapter[tuple[Trial, ...]] = TypeAdapter(tuple[Trial, ...])


class ScriptedHost:
    """Answers as a host does, with scripted measurements; it has no files and no machine."""

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
                "versions": versions(),
                "devices": [{"name": "CPU", "available": True, "full_name": "scripted"}],
                "free_mib": 1e6,
                "clock_s": time.time(),
                "health_fps": 1.0,
            }
        elif isinstance(request, messages.Stored):
            ok = {"files": dict.fromkeys(request.files, (True, 1))}
        elif isinstance(request, messages.Measure):
            ok = {
                "measurements": [self._measure(t) for t in _TRIALS.validate_python(request.trials)]
            }
        return messages.dump(messages.Reply(ok=ok))

    def _measure(self, trial: Trial) -> dict[str, Any]:
        like = dataclasses.replace(trial, variant=FP32.id, precision="f32")
        row = scripted.measurement(like, "a", 0)
        return dataclasses.replace(row, trial=trial, environment=self.environment.id).to_json()


class ManyHosts:
    """A scheduler and its workers, in the event loop of a thread."""

    def __init__(self, names: Sequence[str], scratch: Path) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._run(self._start(names, scratch))

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(3600)

    async def _start(self, names: Sequence[str], scratch: Path) -> None:
        from ovtool.fleet.certificates import load_security
        from ovtool.fleet.dask_servers import FleetScheduler, FleetWorker
        from ovtool.fleet.serving import resources

        security = load_security(None, "scheduler")
        self._scheduler = await FleetScheduler("tcp://127.0.0.1:0", security)
        self.address = self._scheduler.address
        self._workers = []
        for name in names:
            HOSTS[name] = ScriptedHost(name)  # type: ignore[assignment]
            worker = FleetWorker(
                self.address, name=name, resources=resources({"site": "lab"}), security=security,
                local_directory=str(scratch / name), host="127.0.0.1",
            )  # fmt: skip
            self._workers.append(await worker)

    def stop(self) -> None:
        async def close() -> None:
            await asyncio.gather(*(worker.close(nanny=False) for worker in self._workers))
            await self._scheduler.close()

        self._run(close())
        HOSTS.clear()


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(hosts: int, trials: int, folder: Path, *, with_report: bool = True) -> dict[str, float]:
    """Sweep, and return seconds and MiB."""
    from ovtool.fleet.run import sweep_fleet

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    net = save(folder / "net", convolutional())
    with hardening.hardened():
        fleet = ManyHosts([f"host-{number}" for number in range(hosts)], folder / "workers")
        before_mib = peak_mib()
        finished: list[float] = []

        class Clock:
            """Keeps when each trial finished."""

            def note(self, text: str) -> None:
                if "/" in text:
                    finished.append(time.perf_counter())

            def start(self, *_: object) -> None: ...
            def close(self) -> None: ...

        started, cpu = time.perf_counter(), time.process_time()
        result = sweep_fleet(
            [net], out=folder / "swept", fleet=fleet.address, batches=range(1, trials // 2 + 1),
            hints=["latency", "throughput"], rounds=3, starts=False, progress=Clock(),
        )  # type: ignore[arg-type] # fmt: skip
        seconds, cpu_s = time.perf_counter() - started, time.process_time() - cpu
        fleet.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    done = sum(h.counts.measured for h in result.hosts if h.counts is not None)
    gaps = [b - a for a, b in itertools.pairwise(finished)]
    tenth = max(1, len(gaps) // 10)
    figures = {
        "hosts": hosts,
        "trials": done,
        "groups": hosts * (trials + 2),
        "wall_s": seconds,
        "cpu_s": cpu_s,
        "ms_per_group": 1000 * seconds / (hosts * (trials + 2)),
        "first_tenth_ms": 1000 * statistics.fmean(gaps[:tenth]),
        "last_tenth_ms": 1000 * statistics.fmean(gaps[-tenth:]),
        "hosts_mib": before_mib,
        "peak_mib": peak_mib(),
    }
    assert done == hosts * trials
    rows = sum(1 for h in result.hosts[:3] for _ in SweepFolder(h.folder).measurements())
    assert rows == min(3, hosts) * trials
    if with_report:
        started = time.perf_counter()
        report(result.folders, out=folder / "report")
        figures["report_s"] = time.perf_counter() - started
    return figures


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", type=int, default=1000)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--no-report", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-scale-") as folder:
        figures = run(given.hosts, given.trials, Path(folder), with_report=not given.no_report)
    print(json.dumps({name: round(value, 3) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
