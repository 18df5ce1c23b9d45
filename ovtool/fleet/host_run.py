"""The work of one host, as requests and replies: files, an anchor trial, groups, the anchor again.

Nothing here waits: a driver sends each request that :func:`host_steps` yields, and hands in the
reply.  A request may be repeated without harm, so a lost host gets its last one again.
"""

from __future__ import annotations

import base64
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ovtool.benchmark.engine import failed_measurement
from ovtool.core.errors import InputError
from ovtool.core.fields import Record
from ovtool.core.measurement import Measurement
from ovtool.core.sweep_folder import ANCHORS, SweepFolder
from ovtool.core.units import MIB
from ovtool.fleet import messages
from ovtool.fleet.messages import MeasuringFailedError
from ovtool.sweep.schedule import TrialCounts, plan_groups

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from ovtool.core.sweep_folder import Environment, SweepPlan
    from ovtool.core.sweep_spec import MeasurementSettings
    from ovtool.core.trial import Trial
    from ovtool.fleet.messages import Data
    from ovtool.fleet.outgoing import Outgoing
    from ovtool.sweep.schedule import Resumption

EVALUATION_S = 7200.0
"""Time limit of evaluating the quality of a trial and of its baseline."""
Steps = Generator[Record, dict[str, Any], TrialCounts]


class HostReturnedError(Exception):
    """The host was lost during a request, and is there again: it may have lost its cache."""


@dataclass(slots=True)
class HostWork:
    """What a host has to do.

    Args:
        folder: Sweep folder of the host.
        outgoing: Files of the usable variants, and the dataset.
        failures: Reasons of the variants that cannot be measured, by id.
        settings: Measurement settings.
        on_start: Receives the measurements that are reused.
        on_finished: Receives each measurement after it is on the disk.
    """

    folder: Path
    plan: SweepPlan
    environment: Environment
    outgoing: Outgoing
    failures: Mapping[str, str]
    settings: MeasurementSettings
    retry_failed: bool = False
    on_start: Callable[[Resumption], None] = lambda _: None
    on_finished: Callable[[Measurement], None] = lambda _: None
    sent_mib: float = 0.0
    evaluated: set[tuple[object, ...]] = field(default_factory=set)
    """Configurations with known quality."""

    def paths(self) -> dict[str, Path]:
        """Return the files that the host needs, by their SHA-256."""
        contents, known = self.outgoing.contents, self.outgoing.paths
        used = {t.variant for t in self.plan.trials}
        data = self.outgoing.data
        if data is None:
            needed = {sha for i in used & contents.keys() for sha in contents[i].files.values()}
            return {sha256: known[sha256] for sha256 in known if sha256 in needed}
        return known

    def begin(self, resumption: Resumption) -> None:
        """Take over what the journal has."""
        self._learn(resumption.reused)
        self.on_start(resumption)

    def finish(self, measurement: Measurement) -> None:
        """Take over a measurement that is on the disk."""
        self._learn([measurement])
        self.on_finished(measurement)

    def _learn(self, measurements: Sequence[Measurement]) -> None:
        self.evaluated |= {
            m.trial.configuration for m in measurements if "quality_samples" in m.figures
        }


def host_steps(work: HostWork) -> Steps:
    """Yield the requests of a host, and receive their replies; return the numbers of trials.

    The journal of the folder has each group before the next request.

    Raises:
        InputError: As for :func:`ovtool.sweep.schedule.plan_groups`, or the host refuses.
    """
    groups = plan_groups(
        work.folder,
        work.plan,
        work.environment,
        retry_failed=work.retry_failed,
        on_start=work.begin,
        on_finished=work.finish,
    )
    try:
        try:
            group = next(groups)
        except StopIteration as end:  # all trials are in the journal
            return _counts(end)
        usable = work.outgoing.contents
        anchor = next((t for t in work.plan.trials if t.variant in usable), None)
        yield from _transfer(work)
        yield from _measure_anchor(work, anchor)
        while True:
            measured = yield from _measure_group(work, group)
            try:
                group = groups.send(measured)
            except StopIteration as end:
                counts = _counts(end)
                break
        yield from _measure_anchor(work, anchor)
        return counts
    finally:
        groups.close()


def _counts(end: StopIteration) -> TrialCounts:
    counts: TrialCounts = end.value
    return counts


def _transfer(work: HostWork) -> Generator[Record, Any, None]:
    """Send the files that the cache of the host does not have."""
    wanted = work.paths()
    if not wanted:
        return
    present = yield messages.Stored(files=tuple(wanted))
    for sha256, path in wanted.items():
        done, offset = present["files"][sha256]
        size = path.stat().st_size
        while not done:
            with path.open("rb") as stream:
                stream.seek(offset)
                chunk = stream.read(messages.CHUNK_BYTES)
            content = base64.b64encode(chunk).decode()
            reply = yield messages.Store(sha256=sha256, size=size, offset=offset, content=content)
            done, stored = reply["stored"]
            if not done and stored == offset:
                raise InputError(f"the host did not store {path}", "run the command again")
            work.sent_mib += len(chunk) / MIB
            offset = stored


def _measure_group(
    work: HostWork, group: Sequence[Trial]
) -> Generator[Record, Any, list[Measurement]]:
    """Measure the trials of a group whose variants can be; the others have failed."""
    usable = [t for t in group if t.variant in work.outgoing.contents]
    rows: dict[str, Measurement] = {}
    if usable:
        try:
            measured = yield from _measure(work, usable, work.settings, work.outgoing.data)
            rows = {m.trial.id: m for m in measured}
        except MeasuringFailedError as error:
            failed = [failed_measurement(t, work.environment.id, str(error)) for t in usable]
            rows = {m.trial.id: m for m in failed}
    reasons = work.failures
    return [
        rows.get(t.id) or failed_measurement(t, work.environment.id, reasons[t.variant])
        for t in group
    ]


def _measure_anchor(work: HostWork, anchor: Trial | None) -> Generator[Record, Any, None]:
    """Measure the anchor trial briefly, and append it to its file."""
    if anchor is None:
        return
    brief = {"rounds": 3, "starts": False, "max_seconds": min(2.0, work.settings.max_seconds)}
    settings = work.settings.model_copy(update=brief)
    try:
        (measured,) = yield from _measure(work, [anchor], settings, None)
    except MeasuringFailedError as error:
        measured = failed_measurement(anchor, work.environment.id, str(error))
    SweepFolder(work.folder).append([measured], ANCHORS)


def _measure(
    work: HostWork,
    trials: Sequence[Trial],
    settings: MeasurementSettings,
    data: Data | None,
) -> Generator[Record, Any, list[Measurement]]:
    """Measure trials; after a loss of the host, its cache gets what it lacks."""
    needed = {t.variant for t in trials}
    if data is not None:
        needed |= {base for i in needed if (base := data.baselines.get(i)) is not None}
    limit_s = 4 * settings.timeout_s + 20 * settings.max_seconds
    request = messages.Measure(
        environment=work.environment.id,
        trials=tuple(t.to_json() for t in trials),
        variants={i: work.outgoing.contents[i] for i in sorted(needed)},
        settings=settings.measurement_settings(),
        data=data,
        evaluated=tuple(t.id for t in trials if t.configuration in work.evaluated),
        timeout_s=len(trials) * (limit_s if data is None else limit_s + EVALUATION_S),
    )
    while True:
        try:
            reply = yield request
        except HostReturnedError:
            yield from _transfer(work)
        else:
            return _read(reply, trials, work.environment.id)


def _read(reply: Any, trials: Sequence[Trial], environment: str) -> list[Measurement]:
    """Return the measurements of a reply.

    Raises:
        InputError: They are not those of the trials, or of another environment.
    """
    try:
        rows = [Measurement.from_content(row) for row in reply["measurements"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError("the host sent invalid measurements") from error
    if [m.trial.id for m in rows] != [t.id for t in trials]:
        raise InputError("the host sent the measurements of other trials")
    if any(m.environment != environment for m in rows):
        raise InputError("the host sent measurements of another environment")
    return rows
