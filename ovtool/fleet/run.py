"""A sweep of a fleet: the same plan on every host, each into a sweep folder of its own."""

from __future__ import annotations

import itertools
import time
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

from ovtool.core import temporary, units
from ovtool.core.errors import (
    InputError,
    MissingDeviceError,
    MissingError,
    NothingMeasuredError,
    OvtoolError,
)
from ovtool.core.fields import with_fields
from ovtool.core.holding import holding_out
from ovtool.core.progress import SILENT, Progress
from ovtool.core.sweep_folder import SweepFolder, SweepPlan, Unavailable
from ovtool.core.sweep_spec import SweepFields, SweepSpec
from ovtool.core.tabular import Tabular
from ovtool.core.trial_grid import drop_default_precisions, plan_trials
from ovtool.core.variant import Variant
from ovtool.datasets.spec import DataSpec, VariantSamples, as_data_spec
from ovtool.devices.discovery import default_precisions, resolve
from ovtool.evaluation.metrics import MetricRequest
from ovtool.fleet import messages
from ovtool.fleet.client import (
    CheckedHost,
    Fleet,
    HostLostError,
    check_host,
    connect,
    locate,
    locate_shared,
)
from ovtool.fleet.driver import WAIT_S, HostRun, drive
from ovtool.fleet.host_run import HostWork, host_steps
from ovtool.fleet.hosts import as_labels
from ovtool.fleet.outgoing import Outgoing
from ovtool.results.frame import SHOWN
from ovtool.results.sweep_data import read_drift
from ovtool.sweep.preparation import Preparation
from ovtool.sweep.run import select_metric
from ovtool.sweep.variants import check_shapes, describe_variants, load_variants
from ovtool.sweep.view import outcome_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

    from ovtool.core.columns import Metric
    from ovtool.core.measurement import Measurement
    from ovtool.models.convert import ModelReference
    from ovtool.sweep.schedule import Resumption, TrialCounts


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """What became of a host; without counts, ``reason`` says why it has no or not all rows.

    Args:
        drift_pct: Change of the anchor's throughput from the first to the last; None if unknown.
        sent_mib: Files that were sent to its cache.
    """

    host: str
    labels: Mapping[str, str]
    folder: Path
    counts: TrialCounts | None = None
    reason: str = ""
    drift_pct: float | None = None
    sent_mib: float = 0.0


@dataclass(frozen=True, slots=True, repr=False)
class FleetResult(Tabular):
    """The outcome of each host; the sweep folders are paths for ``report`` and ``choose``."""

    folder: Path
    hosts: tuple[HostOutcome, ...]

    _SHOWN = SHOWN

    @property
    def folders(self) -> list[Path]:
        """The sweep folders that have rows."""
        return [h.folder for h in self.hosts if any(SweepFolder(h.folder).measurements())]

    @property
    def reused(self) -> int:
        """Number of trials that were in the folders before."""
        return sum(h.counts.reused for h in self.hosts if h.counts is not None)

    def _title(self) -> str:
        complete = sum(h.counts is not None for h in self.hosts)
        return f"{complete} of {len(self.hosts)} hosts complete in {self.folder}"

    @property
    def frame(self) -> pd.DataFrame:
        """The rows of all hosts, with the columns of the results."""
        from ovtool.results.table import load_results

        return load_results(self.folders).rows

    def to_json(self) -> dict[str, Any]:
        """Return the outcome of each host, and the rows of all hosts, as JSON types."""
        from ovtool.results.table import load_results

        hosts = [asdict(h) | {"folder": str(h.folder)} for h in self.hosts]
        rows = [dict(row) for row in load_results(self.folders).records] if self.folders else []
        return {"folder": str(self.folder), "hosts": hosts, "rows": rows}


@holding_out
def sweep_fleet(
    variants: ModelReference | Sequence[ModelReference],
    *,
    out: str | Path,
    fleet: str,
    certificates: str | Path | None = None,
    hosts: Mapping[str, str] | str | None = None,
    spec: SweepSpec | None = None,
    data: DataSpec | str | Path | None = None,
    labels: str | Path | None = None,
    limit: int | None = None,
    metric: Metric | None = None,
    outputs: Sequence[str] = (),
    strict: bool = False,
    retry_failed: bool = False,
    wait_s: float = WAIT_S,
    progress: Progress = SILENT,
    **fields: Unpack[SweepFields],
) -> FleetResult:
    """Measure the same plan on the hosts of a fleet, each into the folder ``out/HOST``.

    The hosts measure at the same time, each one group after the other.  The journals are on this
    machine: a call with the same folder resumes, on the hosts that are there.

    Args:
        variants: Variants, or models that are converted into the folder first; or a single one.
        out: Folder of the sweep folders.
        fleet: Address of the scheduler, or ``HOSTS.yaml``.
        certificates: Folder of certificates; None: that of ``HOSTS.yaml``, on loopback none, or
            that of ``ovtool fleet certs``.
        hosts: Labels and values that a host needs (``npu=4000``); None: all hosts.
        spec: Axes and measurement settings; a device that a host does not have has no rows there.
        data: Held-out samples, which are sent to each host once: inputs of the requests, and data
            of the quality, which each host judges on its devices.
        labels: Labels of a folder of images.
        limit: Maximum number of samples.
        metric: Quality metric, but no ``module:function``: a host imports no code.
        outputs: Names of the outputs to judge; all by default.
        strict: Whether a host that cannot be used, or has not all devices, is an error.
        retry_failed: Whether to repeat trials that failed.
        wait_s: Seconds for which the sweep waits for a lost host.
        progress: Receives a line for each finished trial.
        fields: Fields of ``spec``.

    Raises:
        InputError: An axis, a variant or the address is not valid; with ``strict``, a host too.
        MissingError: The scheduler is not reached, or no host can be used.
        NothingMeasuredError: No trial of any host could be measured.
    """
    spec, folder = with_fields(SweepSpec, spec, fields), Path(out)
    judged = Judged(as_data_spec(data, labels, limit), MetricRequest(metric, tuple(outputs)))
    if metric is not None and ":" in metric:
        raise InputError(
            f"metric {metric} is not available: a host imports no function",
            "use a metric by name, or sweep without --fleet",
        )
    if spec.with_estimates:
        raise InputError("a fleet measures and gives no estimates", "sweep without --fleet")
    with (
        temporary.scratch_folder("fleet-client") as scratch,
        connect(*locate(fleet, certificates)) as connection,
    ):
        checked = _check_hosts(connection, as_labels(hosts), strict=strict, progress=progress)
        plans = _Plans(variants, spec, folder, judged, scratch, progress)
        planned = plans.of_hosts(checked, strict=strict)
        if (shared := locate_shared(fleet)) is not None:
            put = shared.put(plans.outgoing.paths)
            progress.note(f"{put} of {len(plans.outgoing.paths)} files put into the shared folder")
        runs = [_start(plans, *each, retry_failed, progress) for each in planned]
        try:
            drive(connection, runs, wait_s, progress)
        finally:
            for run in runs:
                run.steps.close()
    return _finish(folder, runs)


def _check_hosts(
    fleet: Fleet, labels: Mapping[str, str], *, strict: bool, progress: Progress
) -> list[CheckedHost]:
    """Return the hosts that pass the join check; the others are named."""
    shown = ",".join(f"{name}={value}" for name, value in labels.items())
    present = fleet.hosts(labels)
    if not present:
        every = ", ".join(host.name for host in fleet.hosts()) or "none"
        raise MissingError(
            f"no host of the fleet has {shown}" if shown else "the fleet has no hosts",
            f"hosts: {every}; start one: ovtool fleet worker {fleet.address} --label NAME=VALUE",
        )
    asked = [(host, time.time(), fleet.send(host.name, messages.Describe())) for host in present]
    checked, refused = [], list[InputError]()
    for host, asked_s, task in asked:
        try:
            checked.append(check_host(host, fleet.result(task, 300.0), asked_s))
        except (InputError, HostLostError) as error:
            refused.append(error if isinstance(error, InputError) else InputError(str(error)))
    if refused and (strict or not checked):
        _note_left_out(refused[1:], progress)
        raise MissingError(str(refused[0]), refused[0].hint)
    _note_left_out(refused, progress)
    return checked


def _note_left_out(reasons: Sequence[OvtoolError], progress: Progress) -> None:
    for each in reasons:
        progress.note(f"warning: host left out: {each.full_text}")


@dataclass(frozen=True, slots=True)
class Judged:
    """What the quality is judged on, and how."""

    data: DataSpec | None
    request: MetricRequest


class _Plans:
    """The variants of a sweep, and the plan of each host."""

    def __init__(
        self,
        variants: ModelReference | Sequence[ModelReference],
        spec: SweepSpec,
        folder: Path,
        judged: Judged,
        scratch: Path,
        progress: Progress,
    ) -> None:
        self.spec, self.folder, self._progress = spec, folder, progress
        several = [variants] if isinstance(variants, str | Path | Variant) else list(variants)
        has_data = judged.data is not None
        with closing(Preparation(folder, spec.timeout_s, progress, judged=has_data)) as preparation:
            preparation.start(several)
            self.loaded, baseline = load_variants(several, spec, preparation, progress)
            weights = preparation.measure_weights(self.loaded, baseline)
        self.failures = dict(preparation.failures)
        self.usable = [v for v in self.loaded if v.id not in self.failures]
        self.samples = None
        if judged.data is not None and self.usable:
            self.samples = VariantSamples(judged.data, progress)
        self.planned = describe_variants(
            self.loaded, baseline, self.samples, weights, self.failures
        )
        self.judge = None
        if self.usable:
            self.judge = select_metric(
                judged.request, self.samples, self.usable, self.planned, progress
            )
        self.outgoing = Outgoing()
        self.outgoing.add_variants(self.usable)
        if self.samples is not None and judged.data is not None:
            request = judged.request
            if self.judge is not None:
                request = replace(request, metric=self.judge.metric)
            baselines = {v.id: self.planned[v.id].baseline for v in self.usable}
            self.outgoing.add_data(judged.data, request, baselines, scratch)

    def of_hosts(
        self, hosts: Sequence[CheckedHost], *, strict: bool
    ) -> list[tuple[CheckedHost, SweepPlan]]:
        """Return the hosts with their plans; a host without the devices is left out.

        Raises:
            MissingDeviceError: No host has a device, or with ``strict`` one lacks a device.
        """
        plans, missing = [], list[MissingDeviceError]()
        dropped: dict[str, list[str]] = {}
        for host in hosts:
            try:
                plans.append((host, self._of(host, dropped, strict=strict)))
            except MissingDeviceError as error:
                missing.append(error)
        if missing and (strict or not plans):
            raise missing[0]
        _note_left_out(missing, self._progress)
        for default, names in dropped.items():
            shown = units.listing(names, 3)
            self._progress.note(
                f"the default precision is {default} of host {shown}: not measured twice"
            )
        return plans

    def _of(self, host: CheckedHost, dropped: dict[str, list[str]], *, strict: bool) -> SweepPlan:
        """Return the plan of a host: its devices only.

        ``dropped`` gets the name of the host, by default precisions that are not measured twice.
        """
        devices, missing = resolve(self.spec.devices, host.devices)
        requested = plan_trials(self.loaded, devices, self.spec)
        defaults = default_precisions(devices, host.devices)
        trials = drop_default_precisions(requested, defaults)
        if len(trials) < len(requested):
            default = units.listing([f"{v} on {k}" for k, v in defaults.items()], 3)
            dropped.setdefault(default, []).append(host.host.name)
        if missing and (strict or not devices):
            reasons = "; ".join(f"{name}: {reason}" for name, reason in missing.items())
            raise MissingDeviceError(f"host {host.host.name}: not available: {reasons}")
        fitting = [t for t in trials if t.variant not in self.failures]
        check_shapes(fitting, self.usable, self.samples)
        return SweepPlan(
            name=f"{self.folder.resolve().name}-{host.host.name}",
            variants=self.planned,
            trials=trials,
            unavailable=tuple(Unavailable(device=d, reason=why) for d, why in missing.items()),
            quality_metric=None if self.judge is None else self.judge.column,
            quality_reason="" if self.judge is None else self.judge.reason,
            evaluated_on=self.samples.description(self.usable[0]) if self.samples else None,
            settings=self.spec.measurement_settings(),
        )


def _start(
    plans: _Plans, checked: CheckedHost, plan: SweepPlan, retry_failed: bool, progress: Progress
) -> HostRun:
    name, done = checked.host.name, [0]
    folder = plans.folder / name
    SweepFolder.create(folder)

    def start(resumption: Resumption) -> None:
        done[0] = len(resumption.reused)
        reused = f", {done[0]} reused" if done[0] else ""
        progress.note(f"{name}: {len(plan.trials)} trials{reused}")

    def finish(measurement: Measurement) -> None:
        done[0] += 1
        progress.note(f"{name} {done[0]}/{len(plan.trials)} {outcome_text(measurement)}")

    work = HostWork(
        folder=folder,
        plan=plan,
        environment=checked.environment,
        outgoing=plans.outgoing,
        failures=plans.failures,
        settings=plans.spec,
        retry_failed=retry_failed,
        on_start=start,
        on_finished=finish,
    )
    return HostRun(checked, work, host_steps(work), address=checked.host.address)


def _drift_pct(folder: Path) -> float | None:
    drift = read_drift(SweepFolder(folder))
    return None if drift is None else drift.change_pct


def _finish(folder: Path, runs: Sequence[HostRun]) -> FleetResult:
    from ovtool.results.sweep_rows import write_sweep_rows

    outcomes = tuple(
        HostOutcome(
            run.name,
            dict(run.checked.host.labels),
            run.work.folder,
            run.counts,
            run.reason,
            _drift_pct(run.work.folder),
            run.work.sent_mib,
        )
        for run in runs
    )
    result = FleetResult(folder, outcomes)
    folders = result.folders
    for each in folders:
        write_sweep_rows(each)
    failure = ""
    for row in itertools.chain.from_iterable(SweepFolder(f).measurements() for f in folders):
        if row.status == "ok":
            return result
        failure = failure or row.reason
    lost = next((run.reason for run in runs if run.reason), "")
    raise NothingMeasuredError(
        "no host of the fleet could measure", lost or failure or "the plan is empty"
    )
