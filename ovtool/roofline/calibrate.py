"""Calibration of a device: measures its rates and overheads with probes, and stores them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ovtool.benchmark.jobs import prepare_job
from ovtool.core import temporary
from ovtool.core.device_names import is_virtual, kind_of, normalize
from ovtool.core.errors import InputError, NothingMeasuredError
from ovtool.core.ports import ports
from ovtool.core.progress import SILENT, Progress
from ovtool.core.statistics import Interval
from ovtool.core.terminal import shows_progress
from ovtool.core.trial import Hint, Trial
from ovtool.core.units import MS_PER_S
from ovtool.core.variant import Source, Variant
from ovtool.devices.discovery import describe_environment, find_caveats, select_available
from ovtool.devices.rules import get_rules
from ovtool.roofline import calibration, probes
from ovtool.roofline.calibration import Calibration, Peak, ProbeMeasurement
from ovtool.roofline.model import COMPUTE_KINDS
from ovtool.roofline.predict import layer_tasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ovtool.benchmark.session import Job, Runner, Session
    from ovtool.core.measurement import Measurement
    from ovtool.core.notes import Note
    from ovtool.core.sweep_spec import MeasurementSettings
    from ovtool.graph.runtime import Layer
    from ovtool.roofline.probes import Probe

INT8 = "i8"
_GROUP_SIZE = 12
"""Number of probes measured in interleaved rounds."""
_PEAK_KIND = "product"


@dataclass(frozen=True, slots=True)
class _ProbeRun:
    probe: Probe
    precision: str
    """``i8``, or the precision of a trial."""
    hint: Hint = "latency"


@dataclass(slots=True)
class _ProbeBench:
    """Measures probes on one device.

    ``base`` is the precision of the layers of an INT8 probe that are not quantized; ``failures``
    are the reasons why probes failed, by precision.
    """

    device: str
    runner: Runner
    settings: MeasurementSettings
    environment: str
    scratch: Path
    progress: Progress
    base: str
    failures: dict[str, list[str]] = field(default_factory=dict)

    def announce(self, stage: str, count: int) -> None:
        """Report the next stage in one line; no progress bar disturbs the measurement."""
        self.progress.note(f"calibrating {self.device}: {stage} ({count} networks)")

    def measure(self, runs: Sequence[_ProbeRun]) -> Iterator[tuple[_ProbeRun, Measurement, Any]]:
        """Yield each successful run with its measurement and its executed layers."""
        from ovtool.benchmark.engine import measure_group

        for start in range(0, len(runs), _GROUP_SIZE):
            group = runs[start : start + _GROUP_SIZE]
            layers: dict[str, tuple[Layer, ...] | None] = {}

            def read_layers(trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
                layers[trial.id] = session.layers()  # noqa: B023 - called before the next group
                return {}, []

            rows = measure_group(
                [self._job(run) for run in group],
                self.runner,
                self.settings,
                self.environment,
                evaluate=read_layers,
            )
            for run, row in zip(group, rows, strict=True):
                if row.status == "ok":
                    yield run, row, layers.get(row.trial.id)
                else:
                    self.failures.setdefault(run.precision, []).append(
                        f"{run.probe.name} {run.precision}: {row.reason}"
                    )

    def _job(self, run: _ProbeRun) -> Job:
        int8 = run.precision == INT8
        folder = self.scratch / f"{run.probe.name}{'-int8' if int8 else ''}"
        if folder.is_dir():
            variant = Variant.load(folder)
        else:
            variant = _save_probe(run.probe, folder, int8=int8)
        precision = self.base if int8 else run.precision
        trial = Trial(variant.id, variant.name, self.device, 1, run.hint, precision=precision)
        return prepare_job(trial, variant)


def _save_probe(probe: Probe, folder: Path, *, int8: bool) -> Variant:
    from ovtool.core import variant

    model = probe.build(int8=int8)

    def describe(_: Path) -> dict[str, Any]:
        source = Source(kind="probe", reference=probe.name)
        return {"name": folder.name, "source": source, "batch": "static", **ports(model)}

    return variant.save(folder, model, describe)


@shows_progress()
def calibrate(
    device: str = "CPU",
    *,
    settings: MeasurementSettings | None = None,
    runner: Runner | None = None,
    probe_list: Sequence[Probe] | None = None,
    precisions: Sequence[str] | None = None,
    progress: Progress = SILENT,
) -> Calibration:
    """Measure the rates of a device with each kind of operation, and store them.

    Each probe runs in its own process, in interleaved rounds like the trials of a sweep.  All run
    under the latency hint; matrix products run under the throughput hint too, for their peak.  By
    default, all probes run in the precisions of the device kind and in ``i8``.

    Raises:
        InputError: The device is virtual or emulated.
        MissingDeviceError: The device is not available.
        NothingMeasuredError: Too few probes succeeded.
    """
    from ovtool.benchmark.process import ProcessRunner
    from ovtool.core.sweep_spec import MeasurementSettings

    device = normalize(device)
    if is_virtual(device):
        raise InputError(f"{device} is a virtual device", "calibrate its member devices instead")
    (name,), _ = select_available([device], strict=True)
    if find_caveats([name]):
        raise InputError(f"{name} is emulated: its speed is not that of a real device")
    now = describe_environment()
    selected = probes.probes() if probe_list is None else list(probe_list)
    # The settings are short, since there are hundreds of probes.
    settings = settings or MeasurementSettings(round_s=0.1, rounds=5, max_seconds=1.0, starts=False)
    supported = get_rules(kind_of(name)).precisions or ("default",)  # the most accurate first
    if precisions is None:
        precisions = (*supported, INT8)
    with temporary.scratch_folder("calibrate") as scratch:
        bench = _ProbeBench(
            name, runner or ProcessRunner(), settings, now.id, scratch, progress, supported[0]
        )
        measurements, peaks = _measure_all(bench, selected, precisions)
    result = Calibration(
        environment=now.id,
        machine=now.machine,
        device=name,
        full_name=now.facts["devices"][name]["name"],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **_evaluate(measurements, peaks, bench),
    )
    calibration.write(result)
    return result


def _measure_all(
    bench: _ProbeBench, selected: Sequence[Probe], precisions: Sequence[str]
) -> tuple[list[ProbeMeasurement], list[Peak]]:
    products = [p for p in selected if p.kind == _PEAK_KIND]
    most_rows = max((p.rows for p in products), default=0)
    largest = [p for p in products if p.rows == most_rows]
    memory = [p for p in selected if p.kind not in COMPUTE_KINDS]
    compute = [p for p in selected if p.kind in COMPUTE_KINDS and p.kind != _PEAK_KIND]
    bench.announce("bytes and overheads", len(memory))
    measurements = _measure(bench, [_ProbeRun(p, bench.base) for p in memory])
    peaks: list[Peak] = []
    for precision in precisions:
        bench.announce(f"products in {precision}", len(products))
        latency_rows = list(bench.measure([_ProbeRun(p, precision) for p in products]))
        throughput_runs = [_ProbeRun(p, precision, "throughput") for p in largest]
        peaks += _peak(precision, latency_rows)
        peaks += _peak(precision, list(bench.measure(throughput_runs)))
        measurements += [_probe_measurement(*row) for row in latency_rows]
        if not latency_rows and products:
            continue  # precision not supported: the reason is in bench.failures
        others = [p for p in compute if precision != INT8 or p.kind != "attention"]
        bench.announce(f"layers in {precision}", len(others))
        measurements += _measure(bench, [_ProbeRun(p, precision) for p in others])
    return measurements, peaks


def _measure(bench: _ProbeBench, runs: Sequence[_ProbeRun]) -> list[ProbeMeasurement]:
    return [_probe_measurement(*row) for row in bench.measure(runs)]


def _probe_measurement(
    run: _ProbeRun, row: Measurement, layers: tuple[Layer, ...] | None
) -> ProbeMeasurement:
    rate = _rate(row)
    return ProbeMeasurement(
        name=f"{run.probe.name} {run.precision}",
        kind=run.probe.kind,
        copies=run.probe.copies,
        seconds=Interval(1 / rate.value, 1 / rate.high, 1 / rate.low),
        verdict=row.verdict or "",
        tasks=tuple(layer_tasks(layers or ())),
    )


def _rate(row: Measurement) -> Interval:
    """Return the inferences per second, with one request in flight from the median latency.

    A contended measurement uses the minimum latency, without an interval: some of many short
    inferences run while no other process takes the CPU.
    """
    figures, unknown = row.figures, float("nan")
    requests = figures.get("requests", 1.0)
    if row.verdict == "contended":
        return Interval(requests * MS_PER_S / figures["latency_min_ms"], unknown, unknown)
    if requests == 1:
        ends = (figures.get(f"latency_p50_ms_ci_{end}", unknown) for end in ("high", "low"))
        return Interval(MS_PER_S / figures["latency_p50_ms"], *(MS_PER_S / end for end in ends))
    low, high = (figures.get(f"throughput_fps_ci_{end}", unknown) for end in ("low", "high"))
    return Interval(figures["throughput_fps"], low, high)


def _peak(precision: str, rows: Sequence[tuple[_ProbeRun, Measurement, Any]]) -> list[Peak]:
    """Return the fastest product that ran in the requested precision, if any."""
    peaks = []
    for run, row, layers in rows:
        products = [t for t in layer_tasks(layers or ()) if t.kind == _PEAK_KIND]
        executed = {t.precision for t in products}
        if executed != {precision}:
            continue
        flops, rate = sum(t.flops for t in products), _rate(row)
        streams = row.figures.get("streams")
        peaks.append(
            Peak(
                hint=run.hint,
                precision=precision,
                flops_per_s=flops * rate.value,
                ci_low=flops * rate.low if rate.known else None,
                ci_high=flops * rate.high if rate.known else None,
                streams=None if streams is None else int(streams),
                verdict=row.verdict or "",
            )
        )
    return [max(peaks, key=lambda peak: peak.flops_per_s)] if peaks else []


def _evaluate(
    measurements: Sequence[ProbeMeasurement], peaks: Sequence[Peak], bench: _ProbeBench
) -> dict[str, Any]:
    failures = [
        reasons[0] + (f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else "")
        for reasons in bench.failures.values()
    ]
    overheads = calibration.fit_overheads(measurements)
    if overheads is None:
        raise NothingMeasuredError(f"cannot calibrate {bench.device}", "; ".join(failures[:1]))
    layer, inference = overheads
    rates, left_out = calibration.compute_rates(measurements, layer.value_s, inference.value_s)
    if not rates:
        if not any(measurement.tasks for measurement in measurements):
            raise NothingMeasuredError(
                f"cannot calibrate {bench.device}: the device does not report executed layers"
            )
        raise NothingMeasuredError(
            f"cannot calibrate {bench.device}: no layer took longer than the overheads",
            "calibrate again on a quiet machine",
        )
    return {
        "layer": layer,
        "inference": inference,
        "peaks": tuple(peaks),
        "rates": rates,
        "left_out": (*failures, *left_out),
    }
