"""A fleet in this process: a scheduler and hosts in a thread, with scripted latencies."""

import asyncio
import hashlib
import importlib.util
import json
import threading
import time
from pathlib import Path
from types import MappingProxyType

import pytest
from pydantic import TypeAdapter

from ovtool.benchmark import jobs
from ovtool.benchmark.engine import measure_group
from ovtool.benchmark.fake import FakeRunner
from ovtool.core.sweep_folder import Environment
from ovtool.core.sweep_spec import MeasurementSettings
from ovtool.core.trial import Trial
from ovtool.core.variant import Variant, versions
from ovtool.fleet import host
from ovtool.system.child_process import WorkerError
from tests.helpers.graphs import convolutional, save

HAS_DASK = importlib.util.find_spec("distributed") is not None
needs_dask = pytest.mark.skipif(not HAS_DASK, reason="needs the extra fleet")
TRIALS = TypeAdapter(tuple[Trial, ...])


class FakeMeasuring:
    """Stands for the process of a host that measures; its files and requests are real."""

    versions = None
    devices = MappingProxyType({})
    """Devices of each host; CPU by default."""
    default_precisions = MappingProxyType({})
    """Default precision of the devices of each host; unknown without."""
    groups = ()
    requests = ()
    delay_s = 0.0
    failure = None
    health_error = ""
    deaths = 0
    """Requests during which the process dies."""

    def __init__(self, *_):
        self.killed = False

    def request(self, method, *, host, **arguments):
        facts = {"cpu": "fake", "host": host}
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
        if method == "describe":
            return {
                "environment": Environment(id=digest, machine=host, facts=facts).model_dump(),
                "versions": self.versions or versions(),
                "devices": [
                    {
                        "name": name,
                        "available": True,
                        "full_name": "fake",
                        "properties": {"default_precision": self.default_precisions.get(host)},
                    }
                    for name in self.devices.get(host, ("CPU",))
                ],
                "health_fps": 100.0,
                "health_error": self.health_error,
            }
        trials = TRIALS.validate_python(arguments["trials"])
        type(self).requests += (arguments,)
        if self.deaths:
            type(self).deaths -= 1
            raise WorkerError("died", "killed", method)
        if self.failure is not None:
            raise WorkerError(self.failure, f"the worker failed: {self.failure}", method)
        type(self).groups += ((host, tuple(t.batch for t in trials), time.monotonic()),)
        until = time.monotonic() + self.delay_s
        while time.monotonic() < until and not self.killed:
            time.sleep(0.01)
        loaded = {v.id: v for v in map(Variant.load, arguments["folders"].values())}
        ready = [jobs.prepare_job(t, loaded[t.variant]) for t in trials]
        settings = MeasurementSettings.model_validate(arguments["settings"])
        rows = measure_group(ready, FakeRunner(lambda *_: 5.0), settings, digest)
        return {"measurements": [m.to_json() for m in rows]}

    def kill(self):
        self.killed = True

    def close(self):
        pass


@pytest.fixture
def measuring(monkeypatch):
    """Hosts of this process measure with scripted latencies."""
    fake = type("Fake", (FakeMeasuring,), {})
    monkeypatch.setattr(host, "ChildProcess", fake)
    return fake


class LocalMeasuring:
    """The process of a host that measures, in this process."""

    def __init__(self, *_):
        from ovtool.fleet.measuring import MeasuringWorker

        self._worker = MeasuringWorker()

    def request(self, method, **arguments):
        del arguments["timeout_s"]
        return getattr(self._worker, method)(arguments)

    def kill(self):
        pass

    close = kill


@pytest.fixture
def real_measuring(monkeypatch):
    """Hosts of this process measure for real."""
    monkeypatch.setattr(host, "ChildProcess", LocalMeasuring)


@pytest.fixture(scope="session")
def net(tmp_path_factory):
    """A variant with a few weights."""
    return save(tmp_path_factory.mktemp("net") / "net", convolutional())


class LocalFleet:
    """A scheduler and its hosts, in the event loop of a thread."""

    def __init__(self, folder, certificates=None):
        self.folder, self.certificates = Path(folder), certificates
        self.address, self._hosts = "", {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, coroutine, timeout_s=60):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout_s)

    async def _start(self):
        from ovtool.fleet.certificates import load_security
        from ovtool.fleet.dask_servers import FleetScheduler

        scheme = "tcp" if self.certificates is None else "tls"
        security = load_security(self.certificates, "scheduler")
        self.scheduler = await FleetScheduler(f"{scheme}://127.0.0.1:0", security)
        self.address = self.scheduler.address

    def start(self):
        self.run(self._start())
        return self

    def join(self, name, shared=None, **labels):
        """Start a host, and wait until it has joined."""
        from ovtool.fleet.serving import WorkerSettings, serve_host

        joined = threading.Event()
        settings = WorkerSettings(
            self.address, name, self.folder / name, labels, self.certificates, shared=shared
        )
        task = serve_host(settings, lambda line: joined.set() if "joined" in line else None)
        self._hosts[name] = asyncio.run_coroutine_threadsafe(task, self._loop)
        assert joined.wait(30)

    def vanish(self, name):
        """End a host without a word to the scheduler but the end of its connection."""

        async def abort():
            for worker in list(self.scheduler.workers.values()):
                if worker.name == name:
                    await self.scheduler.remove_worker(
                        worker.address, stimulus_id="test", close=False, expected=False
                    )

        self._hosts.pop(name).cancel()
        self.run(abort())

    async def _stop(self):
        await self.scheduler.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def stop(self):
        for task in self._hosts.values():
            task.cancel()
        self.run(asyncio.sleep(0.1))
        self.run(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()


@pytest.fixture
def start_fleet(tmp_path, measuring, monkeypatch):
    """Return a function that starts a fleet, stopped at the end of the test."""
    from ovtool.fleet import driver, hardening, serving

    monkeypatch.setattr(serving, "RETRY_S", 0.1)
    monkeypatch.setattr(driver, "POLL_S", 0.2)
    started = []

    def start(certificates=None):
        started.append(LocalFleet(tmp_path / "caches", certificates).start())
        return started[-1]

    with hardening.hardened():
        yield start
        for fleet in started:
            fleet.stop()
