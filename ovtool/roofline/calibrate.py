"""Measuring what a device reaches, once."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovtool.benchmark import jobs
from ovtool.core.errors import InputError, NothingMeasuredError
from ovtool.core.progress import SILENT, Progress
from ovtool.core.statistics import Interval
from ovtool.core.trial import Hint, Trial
from ovtool.core.units import MS_PER_S
from ovtool.core.variant import Source, Variant
from ovtool.devices.selection import available, emulated, environment_here
from ovtool.roofline import calibration, probes
from ovtool.roofline.calibration import Calibration, Peak, Probed
from ovtool.roofline.model import COMPUTING
from ovtool.roofline.predict import tasks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ovtool.benchmark.engine import MeasurementSettings
    from ovtool.benchmark.session import Job, Runner, Session
    from ovtool.core.measurement import Measurement
    from ovtool.core.notes import Note
    from ovtool.graph.runtime_layers import Layer
    from ovtool.roofline.probes import Probe

INT8 = "i8"
_GROUP = 12
"""Probes that are measured in turn."""
_PEAK_KIND = "product"
_HINTS: tuple[Hint, ...] = ("latency", "throughput")


def quick() -> MeasurementSettings:
    """Return how long a probe is measured: there are many of them."""
    from ovtool.benchmark.engine import MeasurementSettings

    return MeasurementSettings(round_s=0.1, min_rounds=5, max_s=1.0, starts=False)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A probe in a precision under a hint."""

    probe: Probe
    precision: str
    """``i8`` or one that a trial may ask for."""
    hint: Hint = "latency"


@dataclass(slots=True)
class _Bench:
    """What the probes are measured with.

    Args:
        device: Where.
        runner: What opens sessions.
        settings: How long and how sure.
        environment: Its id.
        scratch: A folder for the probes' files.
        progress: Told of the stages.
        base: The precision that INT8 networks are asked to run in otherwise.
        failures: Why probes could not be measured, by precision.
    """

    device: str
    runner: Runner
    settings: MeasurementSettings
    environment: str
    scratch: Path
    progress: Progress
    base: str
    failures: dict[str, list[str]] = field(default_factory=dict)

    def say(self, what: str, count: int) -> None:
        """Tell what is measured next, in a line: nothing is drawn while it is."""
        self.progress.note(f"calibrating {self.device}: {what} ({count} networks)")

    def measured(self, asked: Sequence[_Asked]) -> Iterator[tuple[_Asked, Measurement, Any]]:
        """Yield each probe that could be measured, with its row and its executed layers."""
        from ovtool.benchmark.engine import measure_group

        for start in range(0, len(asked), _GROUP):
            some = asked[start : start + _GROUP]
            layers: dict[str, tuple[Layer, ...] | None] = {}

            def look(trial: Trial, session: Session) -> tuple[dict[str, float], list[Note]]:
                layers[trial.id] = session.layers()  # noqa: B023 - called before the next group
                return {}, []

            jobs = [self._job(one) for one in some]
            rows = measure_group(jobs, self.runner, self.settings, self.environment, evaluate=look)
            for one, row in zip(some, rows, strict=True):
                if row.status == "ok":
                    yield one, row, layers.get(row.trial.id)
                else:
                    self.failures.setdefault(one.precision, []).append(
                        f"{one.probe.name} {one.precision}: {row.reason}"
                    )

    def _job(self, asked: _Asked) -> Job:
        int8 = asked.precision == INT8
        folder = self.scratch / f"{asked.probe.name}{'-int8' if int8 else ''}"
        variant = (
            Variant.load(folder) if folder.is_dir() else _saved(asked.probe, folder, int8=int8)
        )
        precision = self.base if int8 else asked.precision
        trial = Trial(variant.id, variant.name, self.device, 1, asked.hint, precision=precision)
        return jobs.prepare_job(trial, variant)


def _saved(probe: Probe, folder: Path, *, int8: bool) -> Variant:
    from ovtool.core import variant

    model = probe.build(int8=int8)

    def describe(_: Path) -> dict[str, Any]:
        source = Source(kind="probe", reference=probe.name)
        return {"name": folder.name, "source": source, "batch": "static", **variant.ports(model)}

    return variant.save(folder, model, describe)


def calibrate(
    device: str = "CPU",
    *,
    settings: MeasurementSettings | None = None,
    runner: Runner | None = None,
    chosen: Sequence[Probe] | None = None,
    precisions: Sequence[str] | None = None,
    progress: Progress = SILENT,
) -> Calibration:
    """Measure what a device reaches with each kind of operation, and store it.

    Each probe has a process of its own, and they are measured in turn as a sweep's trials are.  All
    run under the latency hint; matrix products under the throughput hint too, for their peak.

    Args:
        device: One that stands for itself.
        settings: How long and how sure.
        runner: What opens sessions; a test gives a fake one.
        chosen: The probes; by default all.
        precisions: What to try; by default all that this kind of device may run, and ``i8``.
        progress: Told of the stages.

    Raises:
        InputError: The device is a virtual or an emulated one.
        MissingDeviceError: It is not there.
        NothingMeasuredError: Too few probes could be measured.
    """
    from ovtool.benchmark.process import ProcessRunner
    from ovtool.core.device_names import is_virtual

    if is_virtual(device):
        raise InputError(f"{device} hands the work to other devices: calibrate those")
    (name,), _ = available([device], strict=True)
    if emulated([name]):
        raise InputError(f"{name} is emulated: it has no speed of its own")
    now = environment_here()
    wanted = probes.probes() if chosen is None else list(chosen)
    with tempfile.TemporaryDirectory(prefix="ovtool-calibrate-") as scratch:
        bench = _Bench(
            name, runner or ProcessRunner(), settings or quick(), now.id, Path(scratch), progress,
            _precisions(name)[0],
        )  # fmt: skip
        tried = (*_precisions(name), INT8) if precisions is None else precisions
        probed, peaks = _all(bench, wanted, tried)
    found = _evaluated(probed, peaks, bench)
    made = Calibration(
        environment=now.id,
        machine=now.machine,
        device=name,
        full_name=now.facts["devices"][name]["name"],
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        **found,
    )
    calibration.write(made)
    return made


def _precisions(device: str) -> tuple[str, ...]:
    """Return the precisions that a kind of device may be asked for, the most accurate first."""
    from ovtool.core.device_names import kind_of
    from ovtool.devices.rules import rules_of

    return rules_of(kind_of(device)).precisions or ("default",)


def _all(
    bench: _Bench, wanted: Sequence[Probe], precisions: Sequence[str]
) -> tuple[list[Probed], list[Peak]]:
    """Measure the probes in every precision that the device runs."""
    first = [p for p in wanted if p.kind == _PEAK_KIND]
    moving = [p for p in wanted if p.kind not in COMPUTING]
    rest = [p for p in wanted if p.kind in COMPUTING and p.kind != _PEAK_KIND]
    probed: list[Probed] = []
    peaks: list[Peak] = []
    bench.say("bytes and overheads", len(moving))
    probed += _probed(bench, [_Asked(p, bench.base) for p in moving])
    for precision in precisions:
        bench.say(f"products in {precision}", len(first))
        by_hint = {
            hint: list(bench.measured([_Asked(p, precision, hint) for p in _for(hint, first)]))
            for hint in _HINTS
        }
        for rows in by_hint.values():
            peaks += _peak(precision, rows)
        probed += [_as_probed(*one) for one in by_hint["latency"]]
        if not by_hint["latency"] and first:
            continue  # the device does not run in it: bench.failures says why
        others = [p for p in rest if precision != INT8 or p.kind != "attention"]
        bench.say(f"layers in {precision}", len(others))
        probed += _probed(bench, [_Asked(p, precision) for p in others])
    return probed, peaks


def _for(hint: Hint, products: Sequence[Probe]) -> list[Probe]:
    """Return the products to measure under a hint: for the peak alone, those of the most rows."""
    if hint == "latency" or not products:
        return list(products)
    most = max(p.rows for p in products)
    return [p for p in products if p.rows == most]


def _probed(bench: _Bench, asked: Sequence[_Asked]) -> list[Probed]:
    return [_as_probed(*one) for one in bench.measured(asked)]


def _as_probed(asked: _Asked, row: Measurement, layers: tuple[Layer, ...] | None) -> Probed:
    rate = _rate(row)
    return Probed(
        name=f"{asked.probe.name} {asked.precision}",
        kind=asked.probe.kind,
        copies=asked.probe.copies,
        seconds=Interval(1 / rate.value, 1 / rate.high, 1 / rate.low),
        verdict=row.verdict or "",
        tasks=tuple(tasks(layers or ())),
    )


def _rate(row: Measurement) -> Interval:
    """Return inferences a second: of one request at a time by the median latency.

    Where others took the CPU that is by the least latency: of many short inferences some fall into
    moments without them.  It has no interval.
    """
    told, unknown = row.figures, float("nan")
    requests = told.get("requests", 1.0)
    if row.verdict == "contended":
        return Interval(requests * MS_PER_S / told["latency_min_ms"], unknown, unknown)
    if requests == 1:
        ends = (told.get(f"latency_p50_ms_ci_{end}", unknown) for end in ("high", "low"))
        return Interval(MS_PER_S / told["latency_p50_ms"], *(MS_PER_S / end for end in ends))
    low, high = (told.get(f"throughput_fps_ci_{end}", unknown) for end in ("low", "high"))
    return Interval(told["throughput_fps"], low, high)


def _peak(precision: str, rows: Sequence[tuple[_Asked, Measurement, Any]]) -> list[Peak]:
    """Return the fastest product that ran in the precision asked for."""
    found = []
    for asked, row, layers in rows:
        products = [t for t in tasks(layers or ()) if t.kind == _PEAK_KIND]
        executed = {t.precision for t in products}
        if executed != {precision}:
            continue
        flops, rate = sum(t.flops for t in products), _rate(row)
        streams = row.figures.get("streams")
        found.append(
            Peak(
                hint=asked.hint,
                precision=precision,
                flops_per_s=flops * rate.value,
                ci_low=flops * rate.low if rate.known else None,
                ci_high=flops * rate.high if rate.known else None,
                streams=None if streams is None else int(streams),
                verdict=row.verdict or "",
            )
        )
    return [max(found, key=lambda peak: peak.flops_per_s)] if found else []


def _evaluated(probed: Sequence[Probed], peaks: Sequence[Peak], bench: _Bench) -> dict[str, Any]:
    """Return the fields of a calibration that come from the probes.

    Raises:
        NothingMeasuredError: There are no overheads, or no rates.
    """
    failures = [reasons[0] + _more(reasons) for reasons in bench.failures.values()]
    over = calibration.overheads(probed)
    if over is None:
        why = failures[0] if failures else ""
        raise NothingMeasuredError(f"{bench.device} could not be calibrated", why)
    layer, inference = over
    rates, left_out = calibration.rates(probed, layer.value_s, inference.value_s)
    if not rates:
        if not any(one.tasks for one in probed):
            raise NothingMeasuredError(
                f"{bench.device} could not be calibrated: it does not show what it executes"
            )
        raise NothingMeasuredError(
            f"{bench.device} could not be calibrated: no layer took more than the overheads",
            "calibrate again on a quiet machine",
        )
    return {
        "layer": layer,
        "inference": inference,
        "peaks": tuple(peaks),
        "rates": rates,
        "left_out": (*failures, *left_out),
    }


def _more(reasons: Sequence[str]) -> str:
    return f" (and {len(reasons) - 1} more)" if len(reasons) > 1 else ""
