"""Jobs and scripted runners, with invented devices."""

from dataclasses import dataclass, field, replace

from ovtool.benchmark.fake import FakeRunner, Script
from ovtool.benchmark.session import Job, TrialFailedError
from ovtool.core.trial import Trial

BASE = Trial("a" * 12, "a", "CPU", 2)


def jobs(folder, *names, **fields):
    """Jobs of one group, each with a file where its weights would be."""
    created = []
    for name in names:
        (folder / f"{name}.bin").write_bytes(b"weights")
        trial = replace(BASE, variant=name * 12, variant_name=name, **fields)
        created.append(
            Job(trial, folder / f"{name}.xml", ("x",), ((2, 3),), ((2, 3),), (0,), {"A": "B"})
        )
    return created


def even(trial, index):
    return 5.0


@dataclass
class Watched:
    """A fake runner that records what is opened, measured and closed, in order.

    ``open`` is a compile without a cache, ``reopen`` one from it, ``start`` one from it that is
    not measured; their ends are ``close`` and, for the last, ``stop``.
    """

    script: Script = even
    noise_pct: float = 0.5
    events: list = field(default_factory=list)

    def prepare(self, jobs):
        self.events.append(("prepare", len(jobs)))

    def open(self, job, cache=None, *, warm_up=True):
        kind = "start" if not warm_up else "reopen" if cache else "open"
        session = FakeRunner(self._scripted, self.noise_pct).open(job, cache, warm_up=warm_up)
        name = job.trial.variant_name
        self.events.append((kind, name))
        close = session.close

        def noted():
            if not session.closed:
                self.events.append(("close" if warm_up else "stop", name))
            close()

        session.close = noted
        return session

    def close(self):
        self.events.append(("closed", ""))

    def _scripted(self, trial, index):
        if index >= 0:
            self.events.append((index, trial.variant_name))
        return self.script(trial, index)

    def of(self, kind):
        return [name for event, name in self.events if event == kind]

    def order(self):
        """Names by round, in the order in which they were measured."""
        by_round = {}
        for event, name in self.events:
            if isinstance(event, int):
                by_round.setdefault(event, []).append(name)
        return by_round


def fails(name, at, reason="it died"):
    """A script in which one trial fails at a round; at -1 it fails to compile."""

    def script(trial, index):
        if trial.variant_name == name and index == at:
            raise TrialFailedError(reason)
        return 5.0

    return script
