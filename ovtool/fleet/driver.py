"""Sends the requests of all hosts at the same time, and gives lost hosts their requests again."""

from __future__ import annotations

import queue
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ovtool.core.errors import InputError
from ovtool.fleet import messages
from ovtool.fleet.client import CheckedHost, Fleet, HostLostError, Task
from ovtool.fleet.host_run import HostReturnedError, HostWork, Steps
from ovtool.fleet.messages import MeasuringFailedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ovtool.core.progress import Progress
    from ovtool.sweep.schedule import TrialCounts

POLL_S = 2.0
"""Seconds between two looks at which hosts are there."""
WAIT_S = 120.0
"""Seconds for which a sweep waits for a lost host."""
MAX_LOSSES = 3
"""Losses of a host in one request after which its trials have failed."""


@dataclass(slots=True)
class HostRun:
    """The work of a host under way."""

    checked: CheckedHost
    work: HostWork
    steps: Steps
    request: Any = None
    task: Task | None = None
    lost_s: float | None = None
    losses: int = 0
    """How often the host was lost while it answered the current request."""
    address: str = ""
    counts: TrialCounts | None = None
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do or to wait for."""
        return self.counts is not None or bool(self.reason)

    @property
    def name(self) -> str:
        """Name of the host."""
        return self.checked.host.name


def drive(fleet: Fleet, runs: Sequence[HostRun], wait_s: float, progress: Progress) -> None:
    """Send the requests of all hosts until each is complete, refused, or lost for too long."""
    replies: queue.SimpleQueue[HostRun] = queue.SimpleQueue()
    active = list(runs)
    for run in runs:
        _advance(fleet, run, lambda run=run: next(run.steps), replies)
    looked_s = time.monotonic()
    while any(not run.ended for run in active):
        try:
            run = replies.get(timeout=POLL_S / 4)
        except queue.Empty:
            pass
        else:
            if run.task is not None and run.task.done and not run.reason:
                _receive(fleet, run, replies, progress)
        if time.monotonic() - looked_s >= POLL_S:
            active = [run for run in active if not run.ended]
            _look(fleet, active, replies, wait_s, progress)
            looked_s = time.monotonic()


def _advance(fleet: Fleet, run: HostRun, step: Any, replies: queue.SimpleQueue[HostRun]) -> None:
    """Take the next request of a host, and send it; record the end of its work."""
    try:
        run.request, run.losses = step(), 0
    except StopIteration as end:
        run.counts, run.task = end.value, None
        return
    except InputError as error:
        run.reason, run.task = error.full_text, None
        return
    _send(fleet, run, replies)


def _send(fleet: Fleet, run: HostRun, replies: queue.SimpleQueue[HostRun]) -> None:
    run.task = fleet.send(run.name, run.request)
    run.task.future.add_done_callback(lambda _: replies.put(run))


def _receive(
    fleet: Fleet, run: HostRun, replies: queue.SimpleQueue[HostRun], progress: Progress
) -> None:
    assert run.task is not None  # noqa: S101 - checked by the caller
    try:
        reply = fleet.result(run.task, 30.0)
    except HostLostError:
        run.losses += 1
        _lose(run, progress)
    except InputError as error:
        refusal = error
        _advance(fleet, run, lambda: run.steps.throw(refusal), replies)
    else:
        _advance(fleet, run, lambda: run.steps.send(reply), replies)


def _lose(run: HostRun, progress: Progress) -> None:
    """Take the group of a lost host back; it gets the group again when it returns."""
    if run.task is not None:
        fleet_future, run.task = run.task.future, None
        fleet_future.cancel(force=True)
    if run.lost_s is None:
        run.lost_s = time.monotonic()
        progress.note(f"warning: host {run.name} was lost; waiting for it")


def _look(
    fleet: Fleet,
    active: Sequence[HostRun],
    replies: queue.SimpleQueue[HostRun],
    wait_s: float,
    progress: Progress,
) -> None:
    """Find hosts that were lost or have returned, and give up those that are lost for too long."""
    try:
        present = fleet.addresses()
    except HostLostError:
        present = {}
    for run in active:
        address = present.get(run.name)
        if run.lost_s is None and address != run.address:
            _lose(run, progress)
        elif run.lost_s is None:
            continue
        elif address is not None:
            run.address, run.lost_s = address, None
            progress.note(f"host {run.name} is back")
            _repeat(fleet, run, replies)
        elif time.monotonic() - run.lost_s > wait_s:
            run.reason = f"host {run.name} was lost; the same command resumes when it is back"


def _repeat(fleet: Fleet, run: HostRun, replies: queue.SimpleQueue[HostRun]) -> None:
    """Give a host that has returned its request again, unless it was lost by this request."""
    error: Exception = HostReturnedError()
    if run.losses >= MAX_LOSSES:
        error = MeasuringFailedError(f"the host was lost {run.losses} times during this request")
    elif not isinstance(run.request, messages.Measure):
        _send(fleet, run, replies)
        return
    losses = run.losses
    _advance(fleet, run, lambda: run.steps.throw(error), replies)
    if isinstance(error, HostReturnedError):
        run.losses = losses
